"""The tracking side of a tracked step: a run opened before it, fed from its output, finished after it.

The tracking run has the step run's id, so a step that is tried again goes on with the run it has.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from homeostat.foundation.database import Transaction
from homeostat.foundation.errors import Kind, entry
from homeostat.foundation.objects import Objects
from homeostat.pipelines.records import PipelineRun, Step, StepRun
from homeostat.tracking import artifacts, metrics, params, runs, tags
from homeostat.tracking.records import Metric, RunState

BAD_REPORT = entry(
    "pipelines.bad_report",
    Kind.INVALID,
    "the step's output says {field_name}, and that is not {rule}",
    "return it as {example}",
)


def is_tracked(step: Step) -> bool:
    """Whether the step asks for a tracking run."""
    return bool(step.settings.get("tracked"))


def open_run(tx: Transaction, run: PipelineRun, step: Step, step_run: StepRun, given: Mapping[str, Any]) -> None:
    """Begin the step's tracking run, or begin it again after an attempt that ended badly."""
    experiment = str(step.settings.get("experiment") or run.pipeline)
    name = f"{run.pipeline}/{step.name}"
    opened = runs.start(tx, experiment, name=name, step_run_id=step_run.id, run_id=step_run.id)
    if opened.state != "RUNNING":
        runs.finish(tx, opened.id, "RUNNING")
    fresh = {key: value for key, value in given.items() if key not in opened.params}
    params.log(tx, opened.id, fresh)


def close_run(tx: Transaction, step_run_id: str, state: RunState) -> None:
    """Finish the step's tracking run."""
    runs.finish(tx, step_run_id, state)


def log_report(tx: Transaction, objects: Objects, step_run_id: str, value: Mapping[str, Any], at: int) -> None:
    """Log what a step's output reports about itself: "metrics", "params", "tags" and "artifacts" (path -> digest)."""
    reported = {name: _mapping(value, name) for name in ("metrics", "params", "tags", "artifacts")}
    points = [Metric(key=key, value=number, at=at) for key, number in reported["metrics"].items() if number is not None]
    metrics.log(tx, step_run_id, points)
    known = runs.get(tx, step_run_id).params
    params.log(tx, step_run_id, {key: v for key, v in reported["params"].items() if key not in known})
    tags.set(tx, step_run_id, reported["tags"])
    for path, digest in reported["artifacts"].items():
        artifacts.record(tx, step_run_id, path, digest, objects.size(digest))


def _mapping(value: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = value.get(name) or {}
    if not isinstance(found, dict):
        raise BAD_REPORT(field=name, field_name=name, rule="an object", example='{"loss": 0.25}')
    return found
