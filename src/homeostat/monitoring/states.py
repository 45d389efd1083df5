"""What a sequential detector remembers between windows, and what it says when it alarms.

Plain structs without numpy, so that control can keep them as rows; `monitoring.sequential` computes with them in a
worker. All evidence is in natural logarithms, so nothing overflows, and every number is finite, so JSON carries it.
"""

from __future__ import annotations

from msgspec import Struct

EMPTY = -1e300  # the logarithm of no evidence at all: finite, because JSON has no infinity


class Track(Struct, frozen=True, kw_only=True):
    """One bounded quantity that a detector watches: a rate, a loss, or one column's distance from its reference.

    The null is "the block's mean is at most `limit`"; `reference` is the estimate the limit was made from. `bets[k]` is
    the stake of the k-th betting process, `log_mass[k]` its Shiryaev-Roberts sum. `run*[k]` follow the start that best
    explains what was seen: log evidence since it, its event time, and the count and sum of observations since it.
    """

    name: str
    reference: float
    limit: float
    day_effect: float  # standard deviation, in log odds, of what the rows of one block may have in common
    bets: tuple[float, ...]
    log_mass: tuple[float, ...]
    run: tuple[float, ...]
    run_start: tuple[int, ...]
    run_count: tuple[int, ...]
    run_sum: tuple[float, ...]
    observations: int = 0


class DetectorState(Struct, frozen=True, kw_only=True):
    """A detector: the mean evidence of its tracks against one threshold. `at` is how far in event time it has read."""

    cause: str
    tracks: tuple[Track, ...]
    at: int
    windows: int = 0
    alarms: int = 0


class Contribution(Struct, frozen=True, kw_only=True):
    """What one track adds to an alarm: `observed` is its mean since `change_at`; evidence as log10, largest first."""

    name: str
    reference: float
    limit: float
    observed: float
    count: int
    change_at: int
    log10_evidence: float


class Alarm(Struct, frozen=True, kw_only=True):
    """A detector went over its threshold at event time `at`; `change_at` is when the change most likely began."""

    cause: str
    at: int
    change_at: int
    log10_evidence: float
    log10_threshold: float
    tracks: tuple[Contribution, ...]
