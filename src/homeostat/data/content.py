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


def digest_of_rows(frame: pl.DataFrame, columns: dict[str, ColumnKind]) -> str:
    """The digest of a frame's rows, taking the columns named (those without any value make no difference)."""
    hasher = blake3(frame.height.to_bytes(8, "little"))
    for name in sorted(columns):
        column = frame[name]
        if column.null_count() == column.len():
            continue
        head = f"{name}\0{columns[name]}\0".encode()
        hasher.update(len(head).to_bytes(8, "little") + head)
        hasher.update(np.packbits(column.is_null().to_numpy()).tobytes())
        hasher.update(_values(column))
    return hasher.hexdigest()


def fold(parent: str | None, file: str) -> str:
    """The digest of a version that is `parent` and then the rows of a file with digest `file`."""
    return blake3(f"{parent or ''}\n{file}".encode()).hexdigest()


def _values(column: pl.Series) -> bytes:
    if column.dtype == pl.String:
        text = column.fill_null("")
        lengths = text.str.len_bytes().cast(pl.Int64).to_numpy().astype("<i8").tobytes()
        return lengths + "".join(text.to_list()).encode()
    if column.dtype == pl.Boolean:
        return column.fill_null(False).cast(pl.UInt8).to_numpy().tobytes()
    kind = "<f8" if column.dtype == pl.Float64 else "<i8"
    return column.fill_null(0).to_numpy().astype(kind).tobytes()
