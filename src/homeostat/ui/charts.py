"""Geometry of the drawings that the server makes: a reading over time, inside its healthy band, with marks.

A line is drawn against the band of the version that answered then; where another version took over, the band steps.
Marks say where something was noticed (an incident) and where something was done (a decision carried out). The same
points make the table beside the drawing, from which the browser draws the large chart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from homeostat.governance.records import Decision
from homeostat.monitoring.records import Incident, Window

ACTS = {
    "retrain": "retrained",
    "roll_back": "rolled back",
    "promote": "took over",
    "reuse": "reused",
    "quarantine": "set aside",
}


class Point(Struct, frozen=True):
    """One reading at event time `at`, and its healthy band."""

    at: int
    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    version: int | None = None


class Mark(Struct, frozen=True):
    """Something noticed or done at event time `at`."""

    at: int
    kind: Literal["noticed", "done"]
    words: str
    href: str = ""


class Band(Struct, frozen=True):
    """A rectangle of the healthy band."""

    x: float
    y: float
    width: float
    height: float


class Line(Struct, frozen=True):
    """A mark as a vertical line."""

    x: float
    kind: str
    words: str


class Drawing(Struct, frozen=True):
    """What a template draws: everything in the coordinates of its view box."""

    width: int
    height: int
    lines: tuple[str, ...]  # the points of each unbroken stretch
    bands: tuple[Band, ...]
    marks: tuple[Line, ...]
    last: tuple[float, float] | None
    inside: bool | None  # whether the last reading lies in its band; None where there is no band
    words: str


def answering(windows: Sequence[Window]) -> list[Window]:
    """One window for each start: that of the version that answered most of it. Oldest first."""
    most: dict[int, Window] = {}
    for window in windows:
        found = most.get(window.start)
        if found is None or (window.rows, window.version) > (found.rows, found.version):
            most[window.start] = window
    return [most[start] for start in sorted(most)]


def quality(windows: Sequence[Window]) -> list[Point]:
    """The quality of each window that has any."""
    return [
        Point(w.end, w.metric.value, w.metric.low, w.metric.high, w.metric.n, w.version)
        for w in windows
        if w.metric is not None and w.metric.value is not None
    ]


def marks(incidents: Sequence[Incident], decisions: Sequence[Decision]) -> list[Mark]:
    """Where something was noticed, and where something was done, by event time."""
    found = [Mark(i.event_at, "noticed", f"{i.cause} incident", f"/incidents/{i.id}") for i in incidents]
    for decision in decisions:
        done = decision.state in ("done", "acting") and decision.verdict in ACTS
        if done and decision.event_at is not None:
            found.append(Mark(decision.event_at, "done", ACTS[decision.verdict], f"/decisions/{decision.id}"))
    return sorted(found, key=lambda mark: mark.at)


def spark(
    points: Sequence[Point], shown: Sequence[Mark] = (), *, width: int = 220, height: int = 44, name: str = "quality"
) -> Drawing | None:
    """A drawing of the points, or None where there are none."""
    read = [p for p in points if p.value is not None]
    if not read:
        return None
    pad = 3.0
    first, last = read[0].at, read[-1].at
    bounds = [v for p in read for v in (p.value, p.low, p.high) if v is not None]
    low, high = min(bounds), max(bounds)
    room = (high - low) * 0.12 or abs(high) * 0.1 or 1.0
    low, high = low - room, high + room

    def x(at: int) -> float:
        return round(pad + (width - 2 * pad) * (at - first) / (last - first), 1) if last > first else width / 2

    def y(value: float) -> float:
        return round(height - (value - low) / (high - low) * height, 1)

    end = read[-1]
    return Drawing(
        width=width,
        height=height,
        lines=(" ".join(f"{x(p.at)},{y(p.value or 0.0)}" for p in read),),
        bands=_bands(read, x, y, width, height),
        marks=tuple(Line(x(m.at), m.kind, m.words) for m in shown if first <= m.at <= last),
        last=(x(end.at), y(end.value or 0.0)),
        inside=within(end),
        words=_words(read, name),
    )


def within(point: Point) -> bool | None:
    """Whether a reading lies in its band; None where there is none."""
    if point.value is None or (point.low is None and point.high is None):
        return None
    return (point.low is None or point.value >= point.low) and (point.high is None or point.value <= point.high)


def _bands(read: Sequence[Point], x: object, y: object, width: int, height: int) -> tuple[Band, ...]:
    """One rectangle for each stretch of points with the same band, from its first point to the next stretch."""
    assert callable(x) and callable(y)
    stretches: list[tuple[float, Point]] = []
    for point in read:
        if not stretches or (stretches[-1][1].low, stretches[-1][1].high) != (point.low, point.high):
            stretches.append((x(point.at) if stretches else 0.0, point))
    found = []
    for (start, point), stop in zip(stretches, [*(s for s, _ in stretches[1:]), float(width)], strict=True):
        if point.low is None and point.high is None:
            continue
        top = 0.0 if point.high is None else max(0.0, y(point.high))
        bottom = float(height) if point.low is None else min(float(height), y(point.low))
        found.append(Band(start, top, round(stop - start, 1), round(bottom - top, 1)))
    return tuple(found)


def _words(read: Sequence[Point], name: str) -> str:
    end = read[-1]
    said = f"{name} over {len(read)} windows, last {end.value:.3g}"
    if end.low is not None and end.high is not None:
        return f"{said}, healthy band {end.low:.3g} to {end.high:.3g}"
    if end.low is not None:
        return f"{said}, healthy at {end.low:.3g} or above"
    return f"{said}, healthy at {end.high:.3g} or below" if end.high is not None else said
