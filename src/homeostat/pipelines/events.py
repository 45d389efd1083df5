"""What pipelines tell: runs begin and end, steps fail."""

from __future__ import annotations

from typing import Any

from msgspec import field

from homeostat.foundation.events import Event


class PipelineDefined(Event, frozen=True, kw_only=True, tag="pipelines.pipeline_defined"):
    """A pipeline is new or has changed; `steps` are their names in order."""

    pipeline: str
    steps: tuple[str, ...]


class RunStarted(Event, frozen=True, kw_only=True, tag="pipelines.run_started"):
    """A pipeline run began (or, with `resumed`, went on after it had failed)."""

    run: str
    pipeline: str
    trigger: str
    resumed: bool = False


class RunFinished(Event, frozen=True, kw_only=True, tag="pipelines.run_finished"):
    """A pipeline run ended; `context` is what its starter sent along, `result` its last step's JSON object."""

    run: str
    pipeline: str
    state: str
    trigger: str
    model: str | None = None
    error: str | None = None
    result: dict[str, Any] = field(default_factory=dict)
    context: dict[str, Any] = field(default_factory=dict)


class StepFailed(Event, frozen=True, kw_only=True, tag="pipelines.step_failed"):
    """A step failed for good."""

    run: str
    pipeline: str
    step: str
    attempt: int
    error: str
