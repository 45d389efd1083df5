"""Traffic, errors and latency of a window against their budgets. Worker-side.

Latency is wall time, and both it and errors come in bursts, so their shares are watched with a day effect of DAY_EFFECT
(see `monitoring.sequential`): "at most SLOW_SHARE of the requests take longer than the budget" (the p99 promise, with
room), "at most ERROR_SHARE of the requests fail". A refused request (4xx) is the caller's error and counts for neither.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from homeostat.monitoring.sequential import Observed, counted, track
from homeostat.monitoring.states import Track

SLOW_SHARE = 0.02
ERROR_SHARE = 0.01
DAY_EFFECT = 0.5


class Traffic(Struct, frozen=True, kw_only=True):
    """What a window's requests were like: latency quantiles in microseconds over answered requests, None if none."""

    requests: int
    answered: int
    rows: int
    errors: int  # 5xx
    refused: int  # 4xx
    slow: int  # answered later than the budget
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None


def traffic(latency: NDArray[Any], status: NDArray[Any], *, rows: int, budget: float | None = None) -> Traffic:
    """Sum up requests: one element a request; `budget` in microseconds."""
    good = np.asarray(status) < 400
    answered = np.asarray(latency, dtype=np.float64)[good]
    quantiles = [float(v) for v in np.quantile(answered, [0.5, 0.95, 0.99])] if answered.size else [None, None, None]
    return Traffic(
        requests=len(good),
        answered=int(good.sum()),
        rows=rows,
        errors=int((np.asarray(status) >= 500).sum()),
        refused=int(((np.asarray(status) >= 400) & (np.asarray(status) < 500)).sum()),
        slow=0 if budget is None else int((answered > budget).sum()),
        p50=quantiles[0],
        p95=quantiles[1],
        p99=quantiles[2],
    )


def tracks(*, budget: float | None) -> tuple[Track, ...]:
    """What to watch: "errors" always, "slow" where there is a budget."""
    errors = track("errors", 0.0, ERROR_SHARE, day_effect=DAY_EFFECT)
    if budget is None:
        return (errors,)
    return errors, track("slow", 0.01, SLOW_SHARE, day_effect=DAY_EFFECT)


def observed(seen: Traffic, *, start: int) -> dict[str, Observed]:
    """The window's shares as the detectors take them; `start` is the window's start in event time."""
    judged = seen.answered + seen.errors
    return {"errors": counted(seen.errors, judged, start), "slow": counted(seen.slow, seen.answered, start)}
