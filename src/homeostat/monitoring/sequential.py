"""Sequential change detection with a stated rate of false alarms, in event time.

The method is the Shiryaev-Roberts e-detector of Shin, Ramdas and Rinaldo, "E-detectors: a nonparametric framework for
sequential change detection" (New England Journal of Statistics in Data Science 2, 2023; arXiv:2203.03532). Worker-side.

*What is tested.* Each track watches a quantity x in [0, 1] whose mean must not exceed `limit`. A bet with stake b >= 0
multiplies its wealth by ``1 + b (x - limit)``: never negative (b < 1/limit) and of expectation at most one while the
mean is at most the limit, whatever the distribution (Waudby-Smith and Ramdas 2024). With ``b = (q - limit) / (limit (1
- limit))`` it is, for 0/1 outcomes, the likelihood ratio of rate q against rate `limit`. Several stakes run side by
side and their evidence is averaged, so the size of the change need not be known.

*The unit is a block: one whole window.* Let E_t be the product over the block's observations, and w_t the event time
the block covers, in days. ``M_t = E_t (M_{t-1} + w_t)`` sums, over every possible start of a change, the evidence since
that start. While nothing has changed, ``M_t - sum(w)`` is a supermartingale, so at the first time T with M_T >= c,

    c <= E[M_T] <= E[w_1 + ... + w_T] = expected event time until a false alarm, in days.

So a threshold is a duration: c = 90 means one false alarm in 90 days of event time or more, at any traffic and with no
conversion from observations. With k detectors on a model, each at c = 90 k, their alarms together come at most once in
90 days (`log_threshold`). Averaging tracks or stakes keeps the bound, since a mean of such M is such an M.

*What the promise rests on.* The mean of a whole block, given the past, is at most `limit`. Inside a block the rate may
go up and down (night and day): for independent rows with means p_i the expected product is prod(1 + b (p_i - limit)),
which by concavity of the logarithm is at most (1 + b (mean(p_i) - limit))^n, so only the block's mean matters. That is
why blocks are whole seasonal periods and alarms are looked for at their ends only.

Rows of a block that stick together (a bad evening, one merchant) break independence. Two defences: E_t is raised to the
power ``1 / (1 + s^2 n limit (1 - limit))``, the inverse of the variance inflation that a common random effect of
standard deviation s in log odds would cause (`day_effect`, 0.15 unless told); a power below one of an e-value is an
e-value (Jensen), so this costs some speed and never validity. And `limit` has a margin. Neither is a proof against
every dependence; benches/monitoring/arl.py shows what happens with such effects.

*The reference is an estimate.* From n held-out rows with mean m, `limit` is the larger of the upper confidence limit u
with ``n KL(m, u) = log(1 / CONFIDENCE_MISS)`` (Chernoff-Hoeffding, valid for any variable in [0, 1]) and m plus a
margin of MARGIN standard deviations of a 0/1 outcome. So the promise holds with probability 1 - CONFIDENCE_MISS over
the held-out sample, and changes within the margin are not worth waking anybody.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from homeostat.foundation.clock import DAY
from homeostat.monitoring.states import EMPTY, Alarm, Contribution, DetectorState, Track


class Observed(Struct, frozen=True):
    """Observations of one track in one block: values in [0, 1], their event times, and how often each was seen.

    `counts` None means once each. Two values 0 and 1 with their counts stand for any number of rows.
    """

    values: NDArray[np.float64]
    times: NDArray[np.int64]
    counts: NDArray[np.int64] | None = None


def counted(hits: int, rows: int, at: int) -> Observed:
    """`hits` outcomes of 1 among `rows`, all at event time `at`."""
    kept = [(0.0, rows - hits), (1.0, hits)] if rows > 0 else []
    values, counts = [v for v, n in kept if n > 0], [n for _, n in kept if n > 0]
    return Observed(np.array(values), np.full(len(values), at, dtype=np.int64), np.array(counts, dtype=np.int64))


FALSE_ALARM_PERIOD = 90 * DAY
CONFIDENCE_MISS = 0.2  # how often the reference's upper limit may fail; a loose bound: about 0.04 for rare outcomes
MARGIN = 0.05  # standard deviations of a 0/1 outcome that are nobody's business
DAY_EFFECT = 0.15  # standard deviation, in log odds, of what a block's rows have in common
ROW_SHIFTS = (0.25, 0.5, 1.0, 1.5, 2.25, 3.0)  # log-odds changes the stakes are tuned to, observations being rows
WINDOW_SHIFTS = (1.0, 2.0, 3.5, 5.0)  # the same, an observation being a whole window


def log_threshold(detectors: int, *, period: int = FALSE_ALARM_PERIOD) -> float:
    """The log evidence at which each of `detectors` alarms, so that all together do so once per `period` at most."""
    return math.log(period / DAY * max(detectors, 1))


def upper_limit(mean: float, rows: float, *, miss: float = CONFIDENCE_MISS) -> float:
    """The upper confidence limit of a mean in [0, 1] seen over `rows` independent rows (Hoeffding 1963, theorem 1)."""
    if rows <= 0:
        return 1.0
    budget = math.log(1.0 / miss) / rows
    low, high = mean, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _divergence(mean, middle) < budget else (low, middle)
    return high


def null_limit(mean: float, rows: float, *, margin: float = MARGIN) -> float:
    """The largest mean that still counts as healthy: the reference's upper limit, at least a margin above it."""
    floor = mean + margin * math.sqrt(mean * (1 - mean))
    return min(max(upper_limit(mean, rows), floor, 1e-4), 1 - 1e-4)


def track(
    name: str,
    reference: float,
    limit: float,
    *,
    shifts: tuple[float, ...] = ROW_SHIFTS,
    day_effect: float = DAY_EFFECT,
) -> Track:
    """A track that has seen nothing: `reference` is what was measured, `limit` the largest healthy mean.

    `shifts` are the log-odds changes its stakes are tuned to.
    """
    limit = min(max(limit, 1e-4), 1 - 1e-4)
    odds = limit / (1 - limit)
    rates = [odds * math.exp(s) / (1 + odds * math.exp(s)) for s in shifts]
    bets = tuple((q - limit) / (limit * (1 - limit)) for q in rates)
    return Track(name=name, reference=reference, limit=limit, day_effect=day_effect, bets=bets, **_nothing(len(bets)))


def detector(cause: str, tracks: tuple[Track, ...], *, at: int) -> DetectorState:
    """A detector over `tracks` that begins at event time `at` (when the version began to serve)."""
    return DetectorState(cause=cause, tracks=tracks, at=at)


def log_evidence(state: DetectorState) -> float:
    """The detector's log evidence of a change: the mean over tracks and stakes of their Shiryaev-Roberts sums."""
    return _log_mean([m for t in state.tracks for m in t.log_mass])


def began(state: DetectorState) -> int | None:
    """When, by the evidence so far, the change began: the best start of the track with most evidence."""
    alarm = _alarm(state, state.at, 0.0)
    return alarm.change_at if alarm.tracks else None


def update(
    state: DetectorState, observed: Mapping[str, Observed], *, at: int, span: int, threshold: float
) -> tuple[DetectorState, Alarm | None]:
    """Take in one block: for each track what was observed.

    `at` is the event time the block ends at, `span` the event time a block covers (the window). A track without values
    stays as it was: no evidence, and no new start. After an alarm the evidence begins again at nothing, so the rate
    holds for the next alarm as well. Returns the new state and the alarm, if there is one.
    """
    weight = min(max(at - state.at, 0), span) / DAY
    seen = [t for t in state.tracks if t.name in observed and observed[t.name].values.size]
    if not seen:
        return replace(state, at=max(at, state.at)), None
    tracks = tuple(_advance(t, observed[t.name], weight) if t in seen else t for t in state.tracks)
    moved = replace(state, tracks=tracks, at=max(at, state.at), windows=state.windows + 1)
    if log_evidence(moved) < threshold:
        return moved, None
    fresh = tuple(replace(t, **_nothing(len(t.bets))) for t in tracks)
    return replace(moved, tracks=fresh, alarms=state.alarms + 1), _alarm(moved, at, threshold)


def _advance(t: Track, seen: Observed, weight: float) -> Track:
    """One block into one track: its evidence into the sums, row by row into the best start."""
    order = np.argsort(seen.times, kind="stable")
    x = np.clip(np.asarray(seen.values, dtype=np.float64), 0.0, 1.0)[order]
    n = np.ones(x.size, dtype=np.int64) if seen.counts is None else seen.counts[order]
    rows = int(n.sum())
    power = 1.0 if rows == 1 else 1.0 / (1.0 + t.day_effect**2 * rows * t.limit * (1 - t.limit))
    steps = power * n * np.log1p(np.asarray(t.bets)[:, None] * (x - t.limit)[None, :])  # [stakes, observations]
    log_weight = math.log(weight) if weight > 0 else EMPTY
    log_mass = np.logaddexp(np.asarray(t.log_mass), log_weight) + steps.sum(axis=1)
    run, start, count, total = _best_starts(t, steps, x, n, seen.times[order])
    return replace(
        t,
        log_mass=tuple(float(max(m, EMPTY)) for m in log_mass),
        run=run,
        run_start=start,
        run_count=count,
        run_sum=total,
        observations=t.observations + rows,
    )


def _best_starts(
    t: Track,
    steps: NDArray[np.floating[Any]],
    x: NDArray[np.float64],
    n: NDArray[np.int64],
    times: NDArray[np.int64],
) -> tuple[tuple[float, ...], tuple[int, ...], tuple[int, ...], tuple[float, ...]]:
    """For each stake, the start that maximises the evidence up to the block's end (the cusum of Page 1954).

    With S the cumulative evidence and `run` what was carried in, the best start inside the block is just after the
    least S; it wins over the carried one when that least S lies below ``-run``.
    """
    stakes, last = steps.shape
    ends = np.concatenate([np.zeros((stakes, 1)), np.cumsum(steps, axis=1)], axis=1)
    rows = np.concatenate([[0], np.cumsum(n)])
    sums = np.concatenate([[0.0], np.cumsum(n * x)])
    lowest = last - np.argmin(ends[:, ::-1], axis=1)  # the latest of equals: never dated earlier than it must be
    found: list[tuple[float, int, int, float]] = []
    for j in range(stakes):
        low = int(lowest[j])
        if t.run[j] > 0 and ends[j, low] > -t.run[j]:
            run, count, total = t.run[j] + ends[j, last], t.run_count[j] + rows[last], t.run_sum[j] + sums[last]
            found.append((float(run), t.run_start[j], int(count), float(total)))
        else:
            start = int(times[low]) if low < last else 0
            run, count, total = ends[j, last] - ends[j, low], rows[last] - rows[low], sums[last] - sums[low]
            found.append((float(run), start, int(count), float(total)))
    runs, starts, counts, totals = zip(*found, strict=True)
    return runs, starts, counts, totals


def _alarm(state: DetectorState, at: int, threshold: float) -> Alarm:
    """Tell which tracks carry the evidence, and since when."""
    parts: list[Contribution] = []
    for t in state.tracks:
        best = max(range(len(t.bets)), key=lambda j: t.run[j])
        count = t.run_count[best]
        if count == 0:
            continue
        parts.append(
            Contribution(
                name=t.name,
                reference=t.reference,
                limit=t.limit,
                observed=t.run_sum[best] / count,
                count=count,
                change_at=t.run_start[best],
                log10_evidence=_log_mean(list(t.log_mass)) / math.log(10),
            )
        )
    parts.sort(key=lambda p: -p.log10_evidence)
    return Alarm(
        cause=state.cause,
        at=at,
        change_at=parts[0].change_at if parts else at,
        log10_evidence=log_evidence(state) / math.log(10),
        log10_threshold=threshold / math.log(10),
        tracks=tuple(parts),
    )


def _nothing(stakes: int) -> dict[str, Any]:
    """The fields of a track that has seen nothing."""
    return {
        "log_mass": (EMPTY,) * stakes,
        "run": (0.0,) * stakes,
        "run_start": (0,) * stakes,
        "run_count": (0,) * stakes,
        "run_sum": (0.0,) * stakes,
    }


def _divergence(a: float, b: float) -> float:
    """KL divergence between 0/1 outcomes of rates a and b, in nats."""
    left = a * math.log(a / b) if a > 0 else 0.0
    right = (1 - a) * math.log((1 - a) / (1 - b)) if a < 1 else 0.0
    return left + right


def _log_mean(logs: list[float]) -> float:
    top = max(logs)
    if top <= EMPTY:
        return EMPTY
    return top + math.log(sum(math.exp(v - top) for v in logs) / len(logs))
