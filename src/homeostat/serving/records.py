"""Endpoints, the arms under them, and how far the prediction log was taken in."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

ArmName = Literal["champion", "canary", "shadow", "previous"]


class EndpointArm(Struct, frozen=True, kw_only=True):
    """A version under an endpoint, and its share of the answered traffic."""

    name: ArmName
    version: int
    share: float
    since: int  # wall time
    since_event: int | None = None  # the endpoint's watermark then


class Endpoint(Struct, frozen=True, kw_only=True):
    """A name that answers, backed by versions of one model."""

    id: str
    name: str
    model: str
    created_at: int
    arms: tuple[EndpointArm, ...] = ()
    epoch: int = 0  # plan epoch that put these arms in place
    paused: bool = False  # no automatic action while true
    watermark: int | None = None  # newest event_at seen: the endpoint's event-time "now"
    predictions: int = 0  # rows answered and taken into the prediction log
    replaying: bool = False  # event times come from a replay: wall time says nothing about them
    replayed_at: int | None = None  # wall time at which a replay was last seen

    def arm(self, name: str) -> EndpointArm | None:
        """The arm of that name, or None."""
        return next((a for a in self.arms if a.name == name), None)


class Taken(Struct, frozen=True, kw_only=True):
    """What one pass of the intake took in, for one endpoint.

    Event times are None where nothing was answered; `told` says that callers gave them, `replayed` that they lie
    further from the wall time than a delay would explain.
    """

    endpoint: str
    project: str
    requests: int
    rows: int
    failed: int
    first_event_at: int | None
    last_event_at: int | None
    replayed: bool
    told: bool = True


class SegmentPart(Struct, frozen=True, kw_only=True):
    """The part of one segment that was not taken in yet: from offset `start` to whatever is written."""

    stem: str
    path: str
    start: int


class IntakeJob(Struct, frozen=True, kw_only=True):
    """What the worker half of the intake is asked to do."""

    parts: tuple[SegmentPart, ...]
    names: dict[str, str]  # endpoint id -> name


class IntakeResult(Struct, frozen=True, kw_only=True):
    """How far each segment was taken in (stem -> offset), and what that was."""

    ends: dict[str, int]
    taken: tuple[Taken, ...]
