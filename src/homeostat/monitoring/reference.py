"""What monitoring will compare a version with: its mistakes, metric band and drift, from rows held out. Worker-side.

Called where the version is made, after the model has predicted the held-out rows, which it has not seen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from msgspec.structs import replace
from numpy.typing import NDArray

from homeostat.monitoring import drift, metrics, performance
from homeostat.monitoring.counts import count
from homeostat.packages.records import ReferenceProfile, Signature

SPREAD = 2.0
FEWEST = 4  # reference windows
LOSS_SCALE_QUANTILE = 0.95  # regression: the held-out error that only one row in twenty exceeds counts as 1


def complete(
    profile: ReferenceProfile,
    signature: Signature,
    *,
    labels: Sequence[Any],
    score: NDArray[np.float64],
    event_at: NDArray[np.int64],
    window: int,
    metric: str | None = None,
) -> ReferenceProfile:
    """The profile with its held-out figures.

    `labels` are raw values, `score` the output on the same rows ([n], or [n, k] for more classes, or the value),
    `event_at` their event times in order, `window` the length of a monitoring window in microseconds.
    """
    truth, known = performance.truth_of(signature, labels)
    truth, score, event_at = truth[known], score[known], event_at[known]
    if not len(truth):
        return profile
    scale = None
    if signature.task == "regression":
        scale = float(np.quantile(np.abs(truth - score), LOSS_SCALE_QUANTILE)) or 1.0
    loss = performance.bounded_loss(truth, score, task=signature.task, scale=scale)
    made = replace(profile, held_out_rows=len(truth), held_out_positives=0, loss=float(loss.mean()), loss_scale=scale)
    if signature.threshold is not None and truth.dtype == np.bool_:
        called = metrics.decide(score, signature.threshold)
        positives = int(truth.sum())
        made = replace(made, held_out_positives=positives)
        if 0 < positives < len(truth):
            misses, false_alarms = float(np.mean(~called[truth])), float(np.mean(called[~truth]))
            made = replace(made, misses=misses, false_alarms=false_alarms)
    if metric is None:
        return made
    value = metrics.measure(metric, truth, score, threshold=signature.threshold)
    span = max(int(event_at[-1] - event_at[0]), 1)
    rows = min(max(round(len(truth) * window / span), 1), len(truth))
    band = metrics.healthy_band(metric, truth, score, window_rows=rows, threshold=signature.threshold)
    low, high = band or (None, None)
    return replace(made, metric=metric, metric_value=value, metric_low=low, metric_high=high)


def calibrate(
    profile: ReferenceProfile, frame: pl.DataFrame, event_at: NDArray[np.int64], *, window: int
) -> ReferenceProfile:
    """The profile with how far the reference's own windows lie from the whole of it, column by column.

    That is the mean of their distances plus SPREAD standard deviations (widened for few windows as a prediction
    interval is): the stream's own idea of an ordinary window, not a confidence limit. `frame` holds the rows the
    profile was made of (a column "score" if the score is to be calibrated), `event_at` their event times. Fewer than
    FEWEST windows say nothing, and leave the profile as it is.
    """
    starts = event_at // window
    seen: dict[str, list[float]] = {}
    whole = np.unique(starts)
    if len(whole) < FEWEST:
        return profile
    profiles = {name: p for name, p in drift.profiles(profile).items() if name in frame.columns}
    for start in whole:
        part = frame.filter(pl.Series(starts == start))
        for name, (value, _) in drift.distances(profile, count(profiles, [part])).items():
            seen.setdefault(name, []).append(value)
    enough = {name: np.array(values) for name, values in seen.items() if len(values) >= FEWEST}
    ordinary = {name: _ordinary(values) for name, values in enough.items()}
    return replace(profile, drift=ordinary, drift_windows=min((len(v) for v in enough.values()), default=0))


def _ordinary(values: NDArray[np.float64]) -> float:
    spread = float(values.std(ddof=1)) * math.sqrt(1 + 1 / len(values))
    return min(float(values.mean()) + SPREAD * spread, 1.0)
