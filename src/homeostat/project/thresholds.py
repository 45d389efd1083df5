"""Where a binary classifier's answer turns positive: the score that gives the best F1. Worker-side.

F1 is piecewise constant in the threshold, so only the midpoints between neighbouring scores are looked at. Scores are
rounded to float32 first, as they are served.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

BALANCED = (0.2, 0.8)  # shares of positives between which 0.5 is a sensible threshold
_LEAST = 1e-6


def choose(wanted: float | Literal["f1"] | None, truth: Array, score: Array, share: float) -> tuple[float, bool]:
    """The threshold, and whether it was picked on these rows (then their own figures flatter it a little).

    `wanted` is what the model asks for; None means 0.5 when the `share` of positives it learnt from is within
    BALANCED, else the best F1. `truth` is bool [n], `score` the probability of the positive class [n].
    """
    if wanted is not None and wanted != "f1":
        return float(wanted), False
    if wanted is None and BALANCED[0] <= share <= BALANCED[1]:
        return 0.5, False
    found = best_f1(truth, score)
    return (0.5, False) if found is None else (found, True)


def best_f1(truth: Array, score: Array) -> float | None:
    """The threshold with the greatest F1 on these rows; None where there is no positive, or no two scores differ."""
    score = np.asarray(score, dtype=np.float32).astype(np.float64)
    positives = int(np.sum(truth))
    if positives == 0:
        return None
    order = np.argsort(-score, kind="stable")
    ranked = score[order]
    hits = np.cumsum(np.asarray(truth)[order].astype(np.float64))
    last = np.flatnonzero(np.diff(ranked) != 0)  # the last row called positive, for each cut between two scores
    if not len(last):
        return None
    f1 = 2 * hits[last] / (last + 1 + positives)
    cut = int(last[int(np.argmax(f1))])
    return float(np.clip((ranked[cut] + ranked[cut + 1]) / 2, _LEAST, 1 - _LEAST))


def crossed(truth: Array, score: Array, threshold: float) -> Array:
    """The decision on each row at a threshold it had no part in: even rows by the odd rows' best F1, and the reverse.

    Rates taken from these decisions are those of the procedure "pick the threshold by F1" on rows it has not seen
    (two-fold cross-fitting), where `threshold`'s own on the rows it was picked on would flatter it.
    """
    called = np.empty(len(truth), dtype=bool)
    for half in (0, 1):
        other = best_f1(truth[1 - half :: 2], score[1 - half :: 2])
        called[half::2] = score[half::2] >= (threshold if other is None else other)
    return called
