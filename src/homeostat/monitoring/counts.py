"""One pass over a window's rows: how often each bin and each value was seen. Worker-side.

Drift and data quality are both computed from these counts, so a window is read once, in pieces of any size, in memory
that does not grow with its rows.

A numeric value x falls in bin i where ``edges[i-1] <= x < edges[i]``, the first bin open below, the last above; this is
also how a reference profile counts. Sorting pieces of 16,384 values and looking the edges up among them costs an eighth
of looking each value up among the edges (numpy's vectorised sort: 6 ms against 47 ms for a million).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import polars as pl
from numpy.typing import NDArray

from homeostat.packages.records import CategoryProfile, NumericProfile

_PIECE = 16_384
_MOST_VALUES = 10_000  # values of a category kept by name; the rest only as "unseen"


class NumericCounts:
    """A numeric column so far: `bins`, rows, nulls (NaN included), and `outside`: rows far outside the training range.

    Far is further out than half the range's width: a wrong unit or a sentinel such as -999, where a value just beyond
    the range is for drift to judge.
    """

    def __init__(self, profile: NumericProfile) -> None:
        self.rows = 0
        self.nulls = 0
        self.outside = 0
        self.bins: NDArray[np.int64] = np.zeros(len(profile.edges) + 1, dtype=np.int64)
        self._marks = np.array(profile.edges, dtype=np.float64)
        room = (profile.high - profile.low) / 2
        self._low, self._high = profile.low - room, profile.high + room

    def add(self, values: pl.Series) -> None:
        """Count these values: numbers or booleans, null or NaN where there is none."""
        flat = values.cast(pl.Float64, strict=False).to_numpy()
        for start in range(0, len(flat), _PIECE):
            piece = np.sort(flat[start : start + _PIECE])  # NaN last
            known = int(np.searchsorted(piece, np.nan, side="left"))
            below = np.searchsorted(piece[:known], self._marks, side="left")
            self.bins += np.diff(np.concatenate([[0], below, [known]]))
            self.outside += int(np.searchsorted(piece[:known], self._low, side="left"))
            self.outside += known - int(np.searchsorted(piece[:known], self._high, side="right"))
            self.nulls += len(piece) - known
        self.rows += len(flat)


class CategoryCounts:
    """A categorical column so far: rows of each value the profile knows, nulls, and `unseen` for all others."""

    def __init__(self, profile: CategoryProfile) -> None:
        self.rows = 0
        self.nulls = 0
        self.unseen = 0
        self.values: dict[str, int] = dict.fromkeys(profile.shares, 0)
        self.strangers: dict[str, int] = {}

    def add(self, values: pl.Series) -> None:
        """Count these values by their text form."""
        text = values if values.dtype == pl.String else values.cast(pl.String, strict=False)
        tally = text.rename("value").value_counts(name="rows")
        for value, rows in tally.iter_rows():
            if value is None:
                self.nulls += rows
            elif value in self.values:
                self.values[value] += rows
            else:
                self.unseen += rows
                if value in self.strangers or len(self.strangers) < _MOST_VALUES:
                    self.strangers[value] = self.strangers.get(value, 0) + rows
        self.rows += len(values)


Counts = NumericCounts | CategoryCounts


def counter(profile: NumericProfile | CategoryProfile) -> Counts:
    """An empty count for a column with this profile."""
    return NumericCounts(profile) if isinstance(profile, NumericProfile) else CategoryCounts(profile)


def count(
    profiles: dict[str, NumericProfile | CategoryProfile], frames: Iterable[pl.DataFrame]
) -> dict[str, NumericCounts | CategoryCounts]:
    """Count every profiled column over all frames; a column a frame does not have counts as null there."""
    found = {name: counter(profile) for name, profile in profiles.items()}
    for frame in frames:
        for name, counts in found.items():
            if name in frame.columns:
                counts.add(frame[name])
            else:
                counts.rows += frame.height
                counts.nulls += frame.height
    return found
