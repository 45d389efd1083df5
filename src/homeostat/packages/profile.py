"""The reference profile: what a version's inputs and scores looked like at training, small enough to travel with it.

Numeric columns (bools too, as 0 and 1) are kept as at most 64 bins between reference quantiles, text columns as the
shares of their 64 most frequent values. A low number of distinct values gives fewer bins, one for each value.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from msgspec import structs

from homeostat.packages.columns import Table
from homeostat.packages.records import CategoryProfile, NumericProfile, ReferenceProfile, Signature

BINS = 64
VOCABULARY = 64


def profile(X: Any, scores: Any, signature: Signature, **held_out: Any) -> ReferenceProfile:
    """The profile of a training table (Polars, pandas or NumPy) and the model's scores on it (or on held-out rows).

    Take the scores from the loaded package, not from the estimator: they are then exactly what is served. They
    are [n] for binary classification and regression, [n, classes] for more classes, where the greatest probability of
    each row is profiled. `held_out` are the `held_out_*`, `loss*`, `misses`, `false_alarms` and
    `metric*` fields of `ReferenceProfile`, when they are known already (see also `complete`).
    """
    table = Table(X)
    columns = {
        column.name: (
            categories(table.values(column.name)) if column.kind == "string" else numeric(table.numbers(column.name))
        )
        for column in signature.inputs
    }
    found = np.asarray(scores, np.float32).astype(np.float64)  # rounded as served, so that equal scores share a bin
    if found.ndim == 2:
        found = found.max(axis=1) if found.shape[1] > 2 else found[:, -1]
    return ReferenceProfile(rows=table.rows, columns=columns, score=numeric(found), **held_out)


def complete(reference: ReferenceProfile, **held_out: Any) -> ReferenceProfile:
    """The profile with the hold-out's figures filled in, once they are measured."""
    return structs.replace(reference, **held_out)


def numeric(values: np.ndarray) -> NumericProfile:
    """Bins of a numeric column, null as NaN. What no float32 holds counts in the outermost bins only.

    Bin i holds edges[i-1] <= x < edges[i], so `np.searchsorted(edges, x, side="right")` is a value's bin; monitoring
    counts in the same way. Edges are values of the column itself (quantiles by the inverse of its distribution,
    Hyndman and Fan 1996, type 1), so that a value shared by many rows begins a bin exactly.
    """
    values = np.asarray(values, np.float64)
    present = values[~np.isnan(values)]
    nulls = 1.0 - len(present) / len(values) if len(values) else 0.0
    finite = present[np.abs(present) <= np.finfo(np.float32).max]
    if not len(finite):
        return NumericProfile(edges=(), shares=(1.0,), nulls=nulls, low=0.0, high=0.0, mean=0.0, deviation=0.0)
    ordered = np.sort(finite)
    at = np.ceil(np.arange(1, BINS) / BINS * len(ordered)).astype(np.int64) - 1
    edges = np.unique(ordered[at])
    if len(edges) < BINS - 1:  # some quantiles coincide: perhaps there are few values, and each can have its bin
        distinct = np.unique(ordered)
        edges = distinct if len(distinct) <= BINS else edges
    edges = edges[edges > ordered[0]]  # the first bin is open below, and must not be empty at training
    counts = np.bincount(np.searchsorted(edges, present, side="right"), minlength=len(edges) + 1)
    return NumericProfile(
        edges=tuple(edges.tolist()),
        shares=tuple((counts / len(present)).tolist()),
        nulls=nulls,
        low=float(ordered[0]),
        high=float(ordered[-1]),
        mean=float(finite.mean()),
        deviation=float(finite.std()),
    )


def categories(values: list[Any]) -> CategoryProfile:
    """Shares of the most frequent values of a text column, null as None; ties in order of the text."""
    counts = Counter(values)
    missing = counts.pop(None, 0)
    present = sum(counts.values())
    kept = sorted(counts.items(), key=lambda item: (-item[1], str(item[0])))[:VOCABULARY]
    shares = {str(value): count / present for value, count in kept}
    other = (present - sum(count for _, count in kept)) / present if present else 0.0
    return CategoryProfile(shares=shares, other=other, nulls=missing / len(values) if values else 0.0)
