"""How a run moves: which steps may start, what an outcome makes of a step, when the run is over. No I/O here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
from msgspec.structs import replace

from homeostat.foundation.errors import from_dict
from homeostat.pipelines.engine import LOST
from homeostat.pipelines.records import Outcome, Output, Pipeline, PipelineRun, Step, StepResult, StepRun

MOST_LOST = 3  # workers that may die under one step
MOST_ATTEMPTS = 12  # restarts of control count too, but must not end a long step early

DONE = ("succeeded", "cached")


@dataclass
class Progress:
    """One run as it stands: what it runs, and each step run by the step's name."""

    project: str
    run: PipelineRun
    pipeline: Pipeline
    steps: dict[str, StepRun]


def ready(pipeline: Pipeline, steps: Mapping[str, StepRun]) -> list[Step]:
    """The steps that wait and whose inputs are all there; none once a step has failed."""
    states = {name: step.state for name, step in steps.items()}
    if "failed" in states.values():
        return []
    waiting = (step for step in pipeline.steps if states[step.name] == "waiting")
    return [step for step in waiting if all(states[source] in DONE for source in step.inputs.values())]


def inputs_of(step: Step, steps: Mapping[str, StepRun]) -> dict[str, Output]:
    """The outputs that a ready step takes, by parameter."""
    taken = {}
    for parameter, source in step.inputs.items():
        made = steps[source]
        assert made.output is not None and made.output_kind is not None
        taken[parameter] = Output(digest=made.output, kind=made.output_kind)
    return taken


def begun(step: StepRun, inputs: Mapping[str, Output], cache_key: str | None, at: int) -> StepRun:
    """A step as it is handed to a worker."""
    return replace(
        step,
        state="running",
        attempt=step.attempt + 1,
        inputs={parameter: output.digest for parameter, output in inputs.items()},
        cache_key=cache_key,
        started_at=at,
        finished_at=None,
        error=None,
    )


def orphaned(step: StepRun, at: int) -> StepRun:
    """A step that ran under a control that is gone: it waits again, unless that happened too often."""
    if step.attempt >= MOST_ATTEMPTS:
        words = f"it was begun {step.attempt} times and never ended"
        return replace(step, state="failed", error=words, finished_at=at)
    return replace(step, state="waiting")


def ended(step: StepRun, outcome: Outcome, log: str | None, at: int) -> tuple[StepRun, StepResult | None]:
    """What an outcome makes of a running step, and its result when it succeeded."""
    if outcome.state == "succeeded":
        result = msgspec.msgpack.decode(outcome.result, type=StepResult)
        made = {"output": result.output.digest, "output_kind": result.output.kind}
        return replace(step, state="succeeded", finished_at=at, log=log, **made), result
    if outcome.state == "failed":
        words = str(from_dict(outcome.error or {}))
        return failed(step, words, at, log), None
    lost = step.lost + 1
    if lost < MOST_LOST:
        return replace(step, state="waiting", lost=lost, log=log), None
    words = f"{LOST(label=step.step).message} ({lost} times)"
    return replace(failed(step, words, at, log), lost=lost), None


def failed(step: StepRun, words: str, at: int, log: str | None = None) -> StepRun:
    """A step that failed for good, with its one-line error."""
    line = " ".join(words.split())[:1000]
    return replace(step, state="failed", error=line, finished_at=at, log=log or step.log)


def verdict(pipeline: Pipeline, steps: Mapping[str, StepRun]) -> Literal["running", "succeeded", "failed"]:
    """Whether the run is over: when every step is done, or one failed and none is running any more."""
    states = {steps[step.name].state for step in pipeline.steps}
    if states <= set(DONE):
        return "succeeded"
    return "failed" if "failed" in states and "running" not in states else "running"


def kept_steps(before: Pipeline, after: Pipeline, steps: Iterable[StepRun]) -> dict[str, StepRun]:
    """The step runs that a resumed run keeps: done, defined as before, and resting only on steps that are kept."""
    done = {step.step: step for step in steps if step.state in DONE}
    as_before = {step.name: step for step in before.steps}
    kept: dict[str, StepRun] = {}
    open_ = [step for step in after.steps if step.name in done and as_before.get(step.name) == step]
    while True:
        found = [step for step in open_ if step.name not in kept and kept.keys() >= set(step.inputs.values())]
        if not found:
            return kept
        kept.update({step.name: done[step.name] for step in found})


def closed(
    progress: Progress, steps: Mapping[str, StepRun], state: str, at: int, result: dict[str, Any]
) -> tuple[PipelineRun, dict[str, StepRun]]:
    """The run and its steps as they end: what still waits is skipped, the first failure is the run's error."""
    over = {name: replace(s, state="skipped") if s.state == "waiting" else s for name, s in steps.items()}
    bad = next((over[s.name] for s in progress.pipeline.steps if over[s.name].state == "failed"), None)
    error = f"step {bad.step!r}: {bad.error}" if bad is not None else None
    return replace(progress.run, state=state, finished_at=at, error=error, result=result), over
