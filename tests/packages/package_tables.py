"""Samples that are hard on a conversion: ties, nulls, text, whole numbers, and a target that needs them all."""

from __future__ import annotations

import numpy as np
import polars as pl

ROWS = 1500


def numbers(*, nulls: float = 0.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """X [n, 5] with tied and whole-numbered columns, a binary target and a numeric one."""
    random = np.random.default_rng(seed)
    X = random.normal(size=(ROWS, 5))
    X[:, 0] = random.integers(0, 24, ROWS)
    X[:, 1] = random.exponential(40, ROWS).round(2)
    value = X[:, 1] / 20 + X[:, 2] * X[:, 3] + 2 * (X[:, 0] < 6)
    label = (value + random.normal(size=ROWS) / 2 > 2).astype(int)
    if nulls:
        X[random.random(X.shape) < nulls] = np.nan
    return X, label, value


def mixed(*, seed: int = 0) -> tuple[pl.DataFrame, np.ndarray, np.ndarray]:
    """A frame of every kind (text with nulls), a binary target and a numeric one."""
    X, label, value = numbers(seed=seed)
    random = np.random.default_rng(seed)
    kind = random.choice(np.array(["food", "fuel", "travel", None], object), ROWS)
    frame = pl.DataFrame(
        {
            "kind": pl.Series(kind.tolist(), dtype=pl.String),
            "hour": X[:, 0].astype(np.int64),
            "amount": X[:, 1],
            "abroad": X[:, 2] > 0,
            "speed": X[:, 3],
        }
    )
    value = value + (kind == "fuel")
    return frame, label ^ ((kind == "travel") & (X[:, 3] > 1)), value
