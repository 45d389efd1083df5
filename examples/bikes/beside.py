"""What the loop is measured against: the same estimator without a loop, retrained on a fixed schedule or never.

scikit-learn only, and generous to the schedule: a retrain learns every row whose label is known at that moment, holds
none back to measure on, and answers from the next row on. The loop holds rows out, asks its gate and runs in the shadow
for days before a version may answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import rides
from numpy.typing import NDArray

from homeostat.project.load import execute

PROJECT = Path(__file__).with_name("project.py")
THRESHOLD = 0.5


def answers(first: pl.DataFrame, rest: pl.DataFrame, retrain_at: Sequence[int]) -> NDArray[np.int64]:
    """The answers to the rows of `rest` of a model fitted on `first`, and again at each moment of `retrain_at` (us)."""
    declared = execute(PROJECT.read_bytes(), PROJECT)
    every = pl.concat([first, rest])
    X, y = every.select([*declared.CALENDAR, *declared.WEATHER]), every["busy"].to_numpy()
    at = every["at"].dt.epoch("us").to_numpy()
    said = np.zeros(every.height, dtype=np.int64)
    known = np.arange(every.height) < first.height
    moments = [int(at[first.height]), *retrain_at]
    for moment, until in zip(moments, [*retrain_at, int(at[-1]) + 1], strict=True):
        if moment != moments[0]:
            known = at + rides.LABEL_DELAY <= moment
        model = declared.busy(X.filter(known), y[known])
        answered = np.flatnonzero((at >= moment) & (at < until))
        if len(answered):
            said[answered] = model.predict_proba(X[answered])[:, 1] >= THRESHOLD
    return said[first.height :]


def evenly(begin: int, end: int, times: int) -> list[int]:
    """`times` moments that cut the span from `begin` to `end` into equal parts."""
    return [begin + (end - begin) * k // (times + 1) for k in range(1, times + 1)]
