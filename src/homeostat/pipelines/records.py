"""Pipelines, their runs, and the calls an engine makes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct

if TYPE_CHECKING:
    from homeostat.foundation.stores import Stores

StepState = Literal["waiting", "running", "succeeded", "failed", "cached", "skipped"]
PipelineState = Literal["running", "succeeded", "failed", "cancelled"]


class Step(Struct, frozen=True, kw_only=True):
    """A node of the graph. `function` is "module:qualname", or "project:name" for a function of the project's file.

    `inputs` maps each parameter to the step whose output it takes. `params` are the keyword-only arguments with their
    defaults. `code_digest` covers the function's source (the project file's, or the package version's) for the cache.
    """

    name: str
    function: str
    inputs: dict[str, str] = {}
    params: dict[str, Any] = {}
    code_digest: str = ""
    cache: bool = True
    settings: dict[str, Any] = {}  # what the platform tells a step of its own (dataset, gate, split), JSON-like


class Pipeline(Struct, frozen=True, kw_only=True):
    """A graph as its project defines it; `code` is the object digest of the project file it was read from."""

    name: str
    steps: tuple[Step, ...]
    code: str | None = None
    code_path: str | None = None
    schedule: int | None = None  # microseconds of event time between runs
    model: str | None = None


class PipelineRun(Struct, frozen=True, kw_only=True):
    """One execution of a pipeline. `context` rides along to what reacts to its end (gate rule, since when to learn)."""

    id: str
    pipeline: str
    state: PipelineState
    params: dict[str, Any]
    trigger: str  # "person", "schedule", "decision/ID"
    started_at: int
    started_by: str
    finished_at: int | None = None
    decision_id: str | None = None
    context: dict[str, Any] = {}
    error: str | None = None
    result: dict[str, Any] = {}  # JSON result of the last step, such as {"model": "fraud", "version": 3}


class StepRun(Struct, frozen=True, kw_only=True):
    """One step of one pipeline run. Its id stays through retries; each raises `attempt`, a dead worker also `lost`.

    A tracked step's run (`tracking.runs`) has the step run's id.
    """

    id: str
    pipeline_run_id: str
    step: str
    state: StepState
    attempt: int
    cache_key: str | None = None
    inputs: dict[str, str] = {}  # parameter -> digest
    output: str | None = None  # object digest
    output_kind: str | None = None  # "json", "arrow", "numpy", "bytes"
    started_at: int | None = None
    finished_at: int | None = None
    error: str | None = None
    log: str | None = None  # object digest of its console output
    lost: int = 0


class Output(Struct, frozen=True, kw_only=True):
    """What a step made: an object and how to read it ("json", "arrow", "numpy", "bytes")."""

    digest: str
    kind: str


class StepJob(Struct, frozen=True, kw_only=True):
    """One step to run in a worker: the job of `pipelines.steps:run_step`."""

    project: str
    pipeline: str
    pipeline_run_id: str
    step_run_id: str
    step: str
    function: str
    attempt: int
    actor: str
    now: int
    inputs: dict[str, Output] = {}
    params: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    context: dict[str, Any] = {}
    run_id: str | None = None
    code: str | None = None
    code_path: str | None = None
    decision_id: str | None = None


class StepResult(Struct, frozen=True, kw_only=True):
    """What a step's worker answers. `value` is the output itself where it is a JSON object of at most 64 KiB."""

    output: Output
    value: dict[str, Any] | None = None


class Features(Struct, frozen=True, kw_only=True):
    """The steps of a project that stand between its datasets and a training, as one run ran them.

    `step` is the one whose frame was trained on, `versions` the Delta version of each dataset to make it from now.
    """

    pipeline: Pipeline
    step: str
    run: str
    params: dict[str, Any] = {}
    versions: dict[str, int] = {}


@dataclass(frozen=True, kw_only=True)
class StepContext:
    """What a platform step is told besides its inputs, and the one argument of a control action.

    `run_id` is the tracking run's id where the step is tracked, `context` is `PipelineRun.context`, `now` the recorded
    time at which the step was started (microseconds UTC). `step_run_id` stays the same when a step is tried again:
    use it as the key of whatever must happen once. `inputs` holds an action's decoded inputs (JSON outputs as values,
    others as {"digest", "kind"}); a worker's function gets its inputs as arguments. Workers find `stores`.
    """

    project: str
    pipeline: str
    pipeline_run_id: str
    step_run_id: str
    step: str
    attempt: int
    actor: str
    now: int
    run_id: str | None = None
    params: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    context: dict[str, Any] = field(default_factory=dict)
    inputs: dict[str, Any] = field(default_factory=dict)
    code: str | None = None
    code_path: str | None = None
    decision_id: str | None = None
    worker_stores: Stores | None = None

    @property
    def stores(self) -> Stores:
        """The home's objects and tables; only in a worker."""
        if self.worker_stores is None:
            raise RuntimeError("a control action has no stores: bulk state is the workers' business")
        return self.worker_stores


class Call(Struct, frozen=True, kw_only=True):
    """A function to run in a worker process, with its one argument: a msgpack-encoded struct or dict.

    Platform functions have the signature `f(job: SomeStruct, stores: Stores) -> SomeStruct` and are named
    "module:qualname". They must be idempotent: a lost worker means the same call is made again.
    """

    function: str
    payload: bytes
    label: str = ""  # for logs: "window fraud 2026-03-01"
    env: dict[str, str] = {}


class Outcome(Struct, frozen=True, kw_only=True):
    """How a call ended. `lost` means that the worker died without a word."""

    state: Literal["succeeded", "failed", "lost"]
    result: bytes = b""
    error: dict[str, Any] | None = None  # HomeostatError.as_dict(), or code "internal" with the traceback in "detail"
    log: str = ""
    seconds: float = 0.0
