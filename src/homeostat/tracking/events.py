"""What tracking tells: runs begin and end. Points, params and tags are data, not events."""

from __future__ import annotations

from homeostat.foundation.events import Event


class ExperimentCreated(Event, frozen=True, kw_only=True, tag="tracking.experiment_created"):
    """A new experiment."""

    experiment: str


class RunStarted(Event, frozen=True, kw_only=True, tag="tracking.run_started"):
    """A run began."""

    run_id: str
    experiment: str


class RunFinished(Event, frozen=True, kw_only=True, tag="tracking.run_finished"):
    """A run ended, as `state` says."""

    run_id: str
    state: str
