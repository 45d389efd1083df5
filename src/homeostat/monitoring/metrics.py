"""Metrics of a model's quality over some labelled rows, in numpy; equal to scikit-learn's of the same names.

Worker-side. `truth` is bool for binary classification (is it the positive class), the class's index for more classes,
a number for regression; `score` is the probability of the positive class [n], of each class [n, k], or the value. A
metric that the rows cannot tell (no positives, one class only, no rows) is None, never a made-up number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homeostat.foundation.errors import Kind, entry

Array = NDArray[Any]

UNKNOWN_METRIC = entry(
    "monitoring.unknown_metric",
    Kind.INVALID,
    "there is no metric {metric!r} for this kind of model",
    "use one of: {metrics}",
)

LOWER_IS_BETTER = frozenset({"log_loss", "brier", "mae", "rmse"})


def measure(metric: str, truth: Array, score: Array, *, threshold: float | None = None) -> float | None:
    """The metric over these rows, or None where they cannot tell it; raises `monitoring.unknown_metric`.

    `threshold` is the deployed one (binary; 0.5 when there is none); with more classes the decision is the largest.
    """
    found = METRICS.get(metric)
    if found is None:
        raise UNKNOWN_METRIC(field="metric", metric=metric, metrics=", ".join(sorted(METRICS)))
    if len(truth) == 0:
        return None
    cut = 0.5 if threshold is None else threshold
    value = found(np.asarray(truth), np.asarray(score, dtype=np.float64), cut)
    return None if value is None or not np.isfinite(value) else float(value)


def decide(score: Array, threshold: float) -> Array:
    """The decision on each row: positive at or above the threshold (binary), else the likeliest class."""
    if score.ndim == 2:
        return np.asarray(np.argmax(score, axis=1))
    return np.asarray(score >= threshold)


def _accuracy(truth: Array, score: Array, cut: float) -> float | None:
    return float(np.mean(decide(score, cut) == truth))


def _per_class(truth: Array, score: Array, cut: float) -> tuple[Array, Array, Array]:
    """For each class: rows right, rows called it, rows that are it; binary has the positive class only."""
    called = decide(score, cut)
    classes = np.union1d(truth, called) if score.ndim == 2 else np.array([True])
    right = np.array([np.sum((called == c) & (truth == c)) for c in classes], dtype=np.float64)
    calls = np.array([np.sum(called == c) for c in classes], dtype=np.float64)
    cases = np.array([np.sum(truth == c) for c in classes], dtype=np.float64)
    return right, calls, cases


def _ratio(above: Array, below: Array) -> Array:
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)


def _precision(truth: Array, score: Array, cut: float) -> float | None:
    right, calls, _ = _per_class(truth, score, cut)
    return float(_ratio(right, calls).mean())


def _recall(truth: Array, score: Array, cut: float) -> float | None:
    right, _, cases = _per_class(truth, score, cut)
    return None if score.ndim == 1 and cases[0] == 0 else float(_ratio(right, cases).mean())


def _f1(truth: Array, score: Array, cut: float) -> float | None:
    right, calls, cases = _per_class(truth, score, cut)
    return None if score.ndim == 1 and cases[0] == 0 else float(_ratio(2 * right, calls + cases).mean())


def _balanced_accuracy(truth: Array, score: Array, cut: float) -> float | None:
    called = decide(score, cut)
    return float(np.mean([np.mean(called[truth == c] == c) for c in np.unique(truth)]))


def _average_precision(truth: Array, score: Array, cut: float) -> float | None:
    """Sum over distinct scores of (recall gained) times precision; ties count as one step, as scikit-learn has it."""
    if score.ndim == 2:
        return None
    positives = float(np.sum(truth))
    if positives == 0:
        return None
    order = np.argsort(-score, kind="stable")
    ranked, hits = score[order], np.cumsum(truth[order].astype(np.float64))
    last = np.flatnonzero(np.append(np.diff(ranked) != 0, True))  # the last row of each group of equal scores
    hits = hits[last]
    precision = hits / (last + 1.0)
    return float(np.sum(np.diff(np.concatenate([[0.0], hits])) * precision) / positives)


def _roc_auc(truth: Array, score: Array, cut: float) -> float | None:
    """The chance that a positive scores above a negative, ties half (Mann-Whitney)."""
    if score.ndim == 2:
        return None
    truth = truth.astype(bool)
    positives, negatives = int(truth.sum()), int((~truth).sum())
    if positives == 0 or negatives == 0:
        return None
    _, group, sizes = np.unique(score, return_inverse=True, return_counts=True)
    ranks = np.cumsum(sizes) - (sizes - 1) / 2.0  # mean rank within each group of equal scores
    above = ranks[group][truth].sum() - positives * (positives + 1) / 2.0
    return float(above / (positives * negatives))


def _log_loss(truth: Array, score: Array, cut: float) -> float | None:
    eps = np.finfo(np.float64).eps
    if score.ndim == 2:
        p = np.clip(score, eps, 1 - eps)
        p = p / p.sum(axis=1, keepdims=True)
        return float(-np.mean(np.log(p[np.arange(len(truth)), truth.astype(np.int64)])))
    p = np.clip(score, eps, 1 - eps)
    return float(-np.mean(np.where(truth.astype(bool), np.log(p), np.log1p(-p))))


def _brier(truth: Array, score: Array, cut: float) -> float | None:
    return None if score.ndim == 2 else float(np.mean((score - truth) ** 2))


def _mae(truth: Array, score: Array, cut: float) -> float | None:
    return float(np.mean(np.abs(truth - score)))


def _rmse(truth: Array, score: Array, cut: float) -> float | None:
    return float(np.sqrt(np.mean((truth - score) ** 2)))


def _r2(truth: Array, score: Array, cut: float) -> float | None:
    spread = float(np.sum((truth - truth.mean()) ** 2))
    return None if spread == 0 else 1.0 - float(np.sum((truth - score) ** 2)) / spread


METRICS: dict[str, Callable[[Array, Array, float], float | None]] = {
    "accuracy": _accuracy,
    "average_precision": _average_precision,
    "balanced_accuracy": _balanced_accuracy,
    "brier": _brier,
    "f1": _f1,
    "log_loss": _log_loss,
    "mae": _mae,
    "precision": _precision,
    "r2": _r2,
    "recall": _recall,
    "rmse": _rmse,
    "roc_auc": _roc_auc,
}


def healthy_band(
    metric: str,
    truth: Array,
    score: Array,
    *,
    window_rows: int,
    threshold: float | None = None,
    coverage: float = 0.99,
    resamples: int = 400,
    seed: int = 0,
) -> tuple[float, float] | None:
    """The band the metric stays in over one healthy window of `window_rows` rows, from held-out rows in time order.

    A seasonal block bootstrap (Politis 2001): a window is put together from runs of consecutive rows (a twenty-fourth
    of a window), each from the same part of some held-out window, so that a night is never made of noons. With less
    than two windows of rows the runs may begin anywhere (circular blocks, Politis and Romano 1992). It is a band to
    look at, not a test: about 1 - `coverage` of healthy windows lie outside, more when few windows were held out. None
    where fewer than half of the windows can tell the metric.
    """
    n = len(truth)
    if n == 0 or window_rows <= 0:
        return None
    rng = np.random.default_rng(seed)
    run = min(max(1, window_rows // 24), n)
    runs = -(-window_rows // run)
    values: list[float] = []
    for _ in range(resamples):
        starts = _run_starts(rng, n, window_rows, run, runs)
        rows = ((starts[:, None] + np.arange(run)[None, :]).ravel()[:window_rows]) % n
        value = measure(metric, truth[rows], score[rows], threshold=threshold)
        if value is not None:
            values.append(value)
    if len(values) * 2 < resamples:
        return None
    low, high = np.quantile(values, [(1 - coverage) / 2, (1 + coverage) / 2])
    return float(low), float(high)


def _run_starts(rng: np.random.Generator, n: int, window_rows: int, run: int, runs: int) -> NDArray[np.int64]:
    """Where each run of one resampled window begins: in its own part of a random window, else anywhere."""
    windows = n // window_rows
    if windows < 2:
        return rng.integers(0, n, size=runs)
    return rng.integers(0, windows, size=runs) * window_rows + np.arange(runs) * run
