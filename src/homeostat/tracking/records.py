"""Experiments and runs, in MLflow's meanings."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

RunState = Literal["RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"]


class Experiment(Struct, frozen=True, kw_only=True):
    """A named group of runs."""

    id: str
    name: str
    created_at: int
    lifecycle: Literal["active", "deleted"] = "active"
    tags: dict[str, str] = {}


class Metric(Struct, frozen=True, kw_only=True):
    """One point of a metric: wall time `at` in microseconds."""

    key: str
    value: float
    at: int
    step: int = 0


class Artifact(Struct, frozen=True, kw_only=True):
    """A row (run, path) -> digest."""

    path: str
    digest: str
    size: int


class Run(Struct, frozen=True, kw_only=True):
    """One tracked run; `metrics` holds the latest value of each key."""

    id: str
    experiment_id: str
    name: str
    state: RunState
    started_at: int
    ended_at: int | None = None
    started_by: str = ""
    step_run_id: str | None = None
    params: dict[str, str] = {}
    metrics: dict[str, float] = {}
    tags: dict[str, str] = {}
    lifecycle: Literal["active", "deleted"] = "active"
