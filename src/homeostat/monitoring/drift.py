"""Do inputs and scores still look as they did at training? Worker-side.

*The statistic.* For each column of a window: the Jensen-Shannon divergence (Lin 1991), in bits, between the window's
shares and the reference profile's, less what sampling alone would give (``(k - 1) / (8 ln 2) (1/n + 1/N)`` for k bins,
n rows in the window and N in the reference; Grosse et al. 2002), not below 0. It lies in [0, 1]. Bins are merged until
each holds about 20 rows of the window. For small shifts it is about a sixth of PSI: 0.018 bits for PSI 0.1, 0.045 for
PSI 0.25; a mean that moves by half a standard deviation gives about 0.04.

*The test.* A window is one observation of a Shiryaev-Roberts e-detector (`monitoring.sequential`), whose null is "the
mean of the statistic, given the past, is at most `limit`". Nothing is assumed of the rows inside a window: they may
depend on one another as they like. `limit` is MARGIN, an effect size, so no number of rows makes a tiny true difference
page; and where the profile tells how far whole windows of the reference period lay from the whole of it
(`profile.drift`: their mean plus two standard deviations), that if it is larger, so a stream whose days differ by
nature (weather, weekdays) is compared with how its days used to differ.

*What is promised.* A page comes at most once in the stated event time while the mean distance of a window stays within
`limit`. Without calibration windows in the profile this is a promise about shifts larger than MARGIN only: a stream
that wanders from day to day further than that does page, rightly, that its inputs moved; whether the model suffers is
for `monitoring.performance` to tell. Drift of one column among many is found later than drift of all: the evidence of
the columns is averaged, at a price of log(columns).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from homeostat.monitoring.counts import CategoryCounts, Counts, NumericCounts
from homeostat.monitoring.records import Statistic
from homeostat.monitoring.sequential import WINDOW_SHIFTS, Observed, track
from homeostat.monitoring.states import Track
from homeostat.packages.records import CategoryProfile, NumericProfile, ReferenceProfile

Shares = NDArray[np.float64]
Profile = NumericProfile | CategoryProfile

MARGIN = 0.02  # bits; about PSI 0.1, below which no rule of thumb asks anybody to look
SCORE = "score"
_ROWS_A_BIN = 20
_FEWEST_BINS = 4
_FEWEST_ROWS = 20  # below this a window says nothing of a column


def jensen_shannon(p: Shares, q: Shares) -> float:
    """The Jensen-Shannon divergence of two distributions over the same bins, in bits: 0 equal, 1 disjoint."""
    middle = (p + q) / 2

    def towards(a: Shares) -> float:
        on = a > 0
        return float(np.sum(a[on] * np.log2(a[on] / middle[on])))

    return min(max((towards(p) + towards(q)) / 2, 0.0), 1.0)


def psi(window: NDArray[np.int64], reference: Shares) -> float:
    """The population stability index; half a row is added to each of the window's bins, so an empty one is finite."""
    p = (window + 0.5) / (window.sum() + 0.5 * len(window))
    q = np.maximum(reference, 1e-6)
    return float(np.sum((p - q) * np.log(p / q)))


def distance(window: NDArray[np.int64], reference: Shares, reference_rows: int) -> float:
    """The statistic of this module for one column: counts of a window against the reference's shares, in bits."""
    n = int(window.sum())
    if n == 0:
        return 0.0
    p, q = _merge(window / n, reference / max(float(reference.sum()), 1e-12), n)
    bins = int(np.sum((p > 0) | (q > 0)))
    noise = (bins - 1) / (8 * math.log(2)) * (1 / n + 1 / max(reference_rows, 1))
    return max(jensen_shannon(p, q) - noise, 0.0)


def aligned(counts: Counts, profile: Profile) -> tuple[NDArray[np.int64], Shares]:
    """The column's counts and the profile's shares over the same bins (a category's last bin is "any other")."""
    if isinstance(counts, NumericCounts) and isinstance(profile, NumericProfile):
        return counts.bins, np.asarray(profile.shares, dtype=np.float64)
    assert isinstance(counts, CategoryCounts) and isinstance(profile, CategoryProfile)
    names = list(profile.shares)
    seen = np.array([*(counts.values[name] for name in names), counts.unseen], dtype=np.int64)
    return seen, np.array([*(profile.shares[name] for name in names), profile.other], dtype=np.float64)


def distances(profile: ReferenceProfile, counts: dict[str, Counts]) -> dict[str, tuple[float, int]]:
    """For each column with enough rows in the window: its distance and the number of rows it was seen in."""
    known = profiles(profile)
    found: dict[str, tuple[float, int]] = {}
    for name, column in counts.items():
        window, reference = aligned(column, known[name])
        n = int(window.sum())
        if n >= _FEWEST_ROWS:
            found[name] = (distance(window, reference, profile.rows), n)
    return found


def profiles(profile: ReferenceProfile) -> dict[str, Profile]:
    """The profile of every input column, and of the score under SCORE."""
    return {**profile.columns, SCORE: profile.score}


def limits(profile: ReferenceProfile) -> dict[str, float]:
    """The largest healthy mean distance of each column, and of the score."""
    return {name: _limit(profile, name) for name in profiles(profile)}


def tracks(profile: ReferenceProfile) -> tuple[tuple[Track, ...], Track]:
    """What to watch: a track for each input column (one detector of all), and one for the score (a detector alone)."""
    made = {
        name: track(name, profile.drift.get(name, 0.0), limit, shifts=WINDOW_SHIFTS)
        for name, limit in limits(profile).items()
    }
    score = made.pop(SCORE)
    return tuple(made.values()), score


def observed(found: dict[str, tuple[float, int]], *, start: int) -> dict[str, Observed]:
    """The window's distances as the detectors take them; `start` is the window's start in event time."""
    at = np.array([start], dtype=np.int64)
    return {name: Observed(np.array([value]), at) for name, (value, _) in found.items()}


def readings(profile: ReferenceProfile, found: dict[str, tuple[float, int]]) -> tuple[Statistic, ...]:
    """The window's distances beside their limits, furthest over its limit first."""
    bounds = limits(profile)
    made = [Statistic(name=k, value=value, high=bounds[k], n=n) for k, (value, n) in found.items()]
    return tuple(sorted(made, key=lambda s: -((s.value or 0.0) / (s.high or 1.0))))


def _limit(profile: ReferenceProfile, name: str) -> float:
    return max(MARGIN, profile.drift.get(name, 0.0))


def _merge(p: Shares, q: Shares, rows: int) -> tuple[Shares, Shares]:
    """Merge neighbouring bins into groups of about equal reference share, few enough for this number of rows."""
    wanted = max(rows // _ROWS_A_BIN, _FEWEST_BINS)
    if len(q) <= wanted:
        return p, q
    middle = np.cumsum(q) - q / 2
    group = np.minimum((middle * wanted).astype(np.int64), wanted - 1)
    merged = [np.bincount(group, weights=shares, minlength=wanted).astype(np.float64) for shares in (p, q)]
    return merged[0], merged[1]
