"""Pipelines, their runs, and the calls an engine makes."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

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
    """One step of one pipeline run; retries raise `attempt`."""

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
