"""Are the inputs that arrive whole? Nulls, unseen categories, values far out of the training range. Worker-side.

Each share is watched by a track whose null is "at most the profile's share plus MARGIN": a feed that loses one value in
two pages at the end of its window, one that loses two in a hundred after some. The rows of a window share their fate
(a broken feed breaks many), so the evidence is tempered with a day effect of DAY_EFFECT (see `monitoring.sequential`).
All columns together are one detector.
"""

from __future__ import annotations

from homeostat.monitoring.counts import Counts, NumericCounts
from homeostat.monitoring.drift import SCORE
from homeostat.monitoring.records import Statistic
from homeostat.monitoring.sequential import Observed, counted, track
from homeostat.monitoring.states import Track
from homeostat.packages.records import NumericProfile, ReferenceProfile

MARGIN = 0.01
DAY_EFFECT = 0.5


def tracks(profile: ReferenceProfile) -> tuple[Track, ...]:
    """Two tracks a column: "amount nulls", and "amount out of range" or "merchant_kind unseen"."""
    made: list[Track] = []
    for name, healthy in _healthy(profile).items():
        made.append(track(name, healthy, healthy + MARGIN, day_effect=DAY_EFFECT))
    return tuple(made)


def observed(counts: dict[str, Counts], *, start: int) -> dict[str, Observed]:
    """The window's shares as the detector takes them; `start` is the window's start in event time."""
    return {name: counted(hits, rows, start) for name, (hits, rows) in _hits(counts).items()}


def readings(profile: ReferenceProfile, counts: dict[str, Counts]) -> tuple[Statistic, ...]:
    """The window's shares beside the largest that is healthy, worst first; only those that are not zero."""
    healthy = _healthy(profile)
    made = [
        Statistic(name=name, value=hits / rows, high=healthy[name] + MARGIN, n=rows)
        for name, (hits, rows) in _hits(counts).items()
        if rows and hits
    ]
    return tuple(sorted(made, key=lambda s: -((s.value or 0.0) / (s.high or 1.0))))


def _healthy(profile: ReferenceProfile) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, column in profile.columns.items():
        found[f"{name} nulls"] = column.nulls
        if isinstance(column, NumericProfile):
            found[f"{name} out of range"] = 0.0
        else:
            found[f"{name} unseen"] = column.other
    return found


def _hits(counts: dict[str, Counts]) -> dict[str, tuple[int, int]]:
    """(rows at fault, rows) of every share; an absent value is neither outside its range nor unseen."""
    found: dict[str, tuple[int, int]] = {}
    for name, column in counts.items():
        if name == SCORE:
            continue
        present = column.rows - column.nulls
        found[f"{name} nulls"] = (column.nulls, column.rows)
        if isinstance(column, NumericCounts):
            found[f"{name} out of range"] = (column.outside, present)
        else:
            found[f"{name} unseen"] = (column.unseen, present)
    return found
