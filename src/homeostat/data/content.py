"""The digest of rows by their content: the same on every machine, whatever wrote the files. Worker-side.

A file's digest covers its good rows in order: for each column that has a value, by name: the name, the kind, where the
nulls are, and the values (numbers as little-endian 64 bits, text as lengths and UTF-8). A version's digest folds its
files' digests, in order of path, into its parent's. So it does not matter how many ingests took the files in, as long
as they came in the same order.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from blake3 import blake3

from homeostat.data.records import ColumnKind


def digests(frame: pl.DataFrame, heights: list[int], columns: dict[str, ColumnKind]) -> list[str]:
    """The digests of consecutive parts of a frame, `heights[i]` rows each, by the columns named; none of no rows."""
    parts = [_Part(name, columns[name], frame[name]) for name in sorted(columns)]
    found, start = [], 0
    for height in heights:
        if not height:
            continue
        hasher = blake3(height.to_bytes(8, "little"))
        for part in parts:
            part.update(hasher, start, start + height)
        found.append(hasher.hexdigest())
        start += height
    return found


def fold(parent: str | None, files: list[str]) -> str:
    """The digest of a version that is `parent` and then the rows of files with these digests."""
    digest = parent or ""
    for file in files:
        digest = blake3(f"{digest}\n{file}".encode()).hexdigest()
    return digest


class _Part:
    """One column as plain memory: what a digest takes of it."""

    def __init__(self, name: str, kind: ColumnKind, column: pl.Series) -> None:
        self.head = f"{name}\0{kind}\0".encode()
        self.nulls = column.is_null().to_numpy()
        self.text = b""
        if column.dtype == pl.String:
            column = column.fill_null("")
            self.text = "".join(column.to_list()).encode()
            column = column.str.len_bytes().cast(pl.Int64)
            self.ends = np.concatenate([[0], np.cumsum(column.to_numpy())])
        elif column.dtype == pl.Boolean:
            column = column.fill_null(False).cast(pl.Int64)
        self.values = column.fill_null(0).to_numpy().astype("<f8" if column.dtype == pl.Float64 else "<i8")

    def update(self, hasher: blake3, start: int, end: int) -> None:
        """Hash rows `start` to `end`, unless they are all null."""
        nulls = self.nulls[start:end]
        if nulls.all():
            return
        hasher.update(len(self.head).to_bytes(8, "little") + self.head)
        hasher.update(np.packbits(nulls).tobytes())
        hasher.update(self.values[start:end].tobytes())
        if self.text:
            hasher.update(self.text[self.ends[start] : self.ends[end]])
