"""Every moment of the loop at which the tests kill a process: the point, the day it is armed on, and who dies there.

A point of the product (`foundation.killpoints.passing`) is passed by control or by a worker, whichever does that part
of the work, and that process dies ("itself"), or another does while it stands there: the inference process, or the
server that forks the workers, with all of them. The point "request.sent" is none of the product: the driver itself
kills when a request is on its way.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from driver import CHANGE_DAY, HISTORY, LEAKY_DAY

START = None  # armed before the first process starts
SERVED = HISTORY  # the first day of traffic
ADAPTING = CHANGE_DAY + 1  # incident, retrain, gate, canary and promotion come after this day has begun


class Kill(NamedTuple):
    """One death."""

    point: str
    day: int | None
    victim: Literal["itself", "inference", "workers", "control"] = "itself"

    def __str__(self) -> str:
        when = "start" if self.day is None else f"day{self.day}"
        return f"{self.point}-{when}" + ("" if self.victim == "itself" else f"-{self.victim}")


FIRST_VERSION = (
    "plan.written",
    "plan.followed",
    "step.ingest.running.after",
    "append.datasets.before",
    "append.datasets.after",
    "ingest.returned",
    "step.ingest.succeeded.before",
    "step.train.running.after",
    "package.before",
    "package.after",
    "step.train.succeeded.before",
    "step.train.succeeded.after",
    "version.registered",
    "step.register.succeeded.before",
    "step.register.succeeded.after",
    "deployment.requested",
    "gate.judged",
    "gate.returned",
    "gate.saved",
)
TRAFFIC = (
    "append.predictions.before",
    "append.predictions.after",
    "intake.returned",
    "intake.remembered",
    "labels.stored",
    "labels.recorded",
    "append.labels.before",
    "append.labels.after",
    "fold.returned",
    "metrics.recorded",
    "window.observed",
    "window.returned",
    "window.kept",
)
CHANGE = (
    "incident.returned",
    "incident.raised",
    "decision.entered",
    "retrain.acting",
    "retrain.started",
    "append.datasets.after",
    "step.train.running.after",
    "package.after",
    "retrain.requested",
    "gate.judged",
    "gate.saved",
    "plan.written",
    "evidence.read",
    "evidence.judged",
    "promotion.saved",
    "retrain.over",
)
ROLLBACK = ("evidence.judged", "rollback.saved", "rollback.applied")

KILLS = (
    *(Kill(point, START) for point in FIRST_VERSION),
    *(Kill(point, SERVED) for point in TRAFFIC),
    *(Kill(point, ADAPTING) for point in CHANGE),
    *(Kill(point, LEAKY_DAY) for point in ROLLBACK),
    Kill("request.sent", SERVED, "inference"),
    Kill("request.sent", SERVED, "control"),
    Kill("request.sent", LEAKY_DAY, "inference"),
    Kill("intake.returned", SERVED, "inference"),
    Kill("plan.written", LEAKY_DAY, "inference"),
    Kill("promotion.saved", ADAPTING, "inference"),
    Kill("rollback.saved", LEAKY_DAY, "inference"),
    Kill("request.sent", ADAPTING, "workers"),
    Kill("step.train.running.after", LEAKY_DAY, "workers"),
)
