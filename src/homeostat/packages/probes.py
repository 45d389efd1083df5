"""The rows on which an estimator and its served form are compared: at least 1,000, and chosen to tell them apart.

Half are rows of the sample; the others are rows of it with one column moved to where forms differ: at a split
threshold and its float32 neighbours, midway between two neighbouring values (where a tree's thresholds lie, also
behind a scaler), at and beyond the extremes, tied, null where nulls are allowed. Categories never seen are a block of
their own, because an estimator may rightly refuse them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from homeostat.packages.columns import Table
from homeostat.packages.records import Signature

ROWS = 1000  # of the sample, and again of probes
_EACH = 48  # probes of one kind in one column, at most
UNSEEN = "a value never seen in training"


@dataclass(frozen=True)
class Probes:
    """The rows to compare on (`known`), and rows with unseen categories (None without a text column)."""

    known: Table
    unseen: Table | None


def probes(table: Table, signature: Signature, thresholds: dict[str, np.ndarray], *, seed: int = 0) -> Probes:
    """Build the rows from a sample; the same sample and seed give the same rows.

    `thresholds` are split points known of a column, beside those guessed from its values.
    """
    random = np.random.default_rng(seed)
    picked = random.permutation(table.rows)[:ROWS]
    if table.rows < ROWS:
        picked = np.concatenate([np.arange(table.rows), random.integers(0, table.rows, ROWS - table.rows)])
    moves: list[tuple[str, list[Any]]] = []
    for column in signature.inputs:
        if column.kind in ("float", "int"):
            moves.append((column.name, _numbers(table, column.name, thresholds.get(column.name), random)))
        if column.nullable:
            moves.append((column.name, [None] * _EACH))
    rows = _moved(table, picked, moves, random)
    texts = [c.name for c in signature.inputs if c.kind == "string"]
    unseen = [(name, [UNSEEN] * _EACH) for name in texts]
    return Probes(rows, _moved(table, picked[:0], unseen, random) if texts and _can_hold_text(table, texts) else None)


def _moved(table: Table, picked: np.ndarray, moves: list[tuple[str, list[Any]]], random: np.random.Generator) -> Table:
    """The picked rows, then random rows with the values of each move put into its column."""
    count = sum(len(values) for _, values in moves)
    index = np.concatenate([picked, random.integers(0, table.rows, max(count, ROWS - len(picked)))]).astype(np.int64)
    rows = table.take(index)
    at = len(picked)
    for name, values in moves:
        column = list(rows.column(name)) if table.library != "polars" else rows.column(name).to_list()
        column[at : at + len(values)] = [_null_of(table, name) if v is None else v for v in values]
        rows = rows.put(name, column)
        at += len(values)
    return rows


def _null_of(table: Table, name: str) -> Any:
    """A null as the table's library holds it there: NaN in NumPy's and pandas' numbers, else None."""
    if table.library == "polars":
        return None
    if table.kinds[name] != "string":
        return math.nan
    return next((v for v in table.column(name) if v is None or v != v), None)


def _numbers(table: Table, name: str, known: np.ndarray | None, random: np.random.Generator) -> list[Any]:
    values = table.numbers(name)
    distinct = np.unique(values[np.isfinite(values)])
    if not len(distinct):
        return []
    low, high = float(distinct[0]), float(distinct[-1])
    reach = (high - low) or 1.0
    found: list[np.ndarray] = [np.array([low, high, low - reach, high + reach, 0.0, distinct[len(distinct) // 2]])]
    if known is not None and len(known):
        near = known[(known >= low - reach) & (known <= high + reach)]
        near = random.permutation(near)[:_EACH]
        single = near.astype(np.float32)
        below, above = np.nextafter(single, np.float32(-np.inf)), np.nextafter(single, np.float32(np.inf))
        found += [near, single.astype(float), below.astype(float), above.astype(float)]
    if len(distinct) > 1:
        gaps = random.integers(0, len(distinct) - 1, _EACH)
        found.append((distinct[gaps] + distinct[gaps + 1]) / 2)
    lowest, highest = table.bounds(name)
    chosen = np.concatenate(found)
    if table.kinds[name] == "int":
        whole = np.unique(np.floor(chosen))
        return [int(v) for v in whole if lowest <= v <= highest and abs(v) < 2**63]
    return [float(v) for v in chosen if np.isfinite(v)]


def _can_hold_text(table: Table, names: list[str]) -> bool:
    """Whether a text that is not there yet fits the columns: not in a closed list of categories."""
    closed = ("cat", "enum", "<u")
    return not any(str(table.column(name).dtype).lower().startswith(closed) for name in names)
