"""Read one CSV or Parquet file into columns of a few plain types. Worker-side: it loads polars.

CSV cells stay text, so that one bad cell spoils its row and not the file. Parquet columns become one of String, Int64,
Float64, Boolean, Datetime (microseconds, UTC; a time without a zone is taken as UTC); nested ones become JSON text.
Every frame carries `_row`: 1 for the first row below the header. Blank CSV lines are not rows; an empty cell is null.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl
from blake3 import blake3

ROW = "_row"
_TEXT = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz")
_PARQUET = (".parquet", ".pq")


class Unreadable(Exception):
    """The file cannot be read as a table; the message says why in words."""


class Empty(Exception):
    """The file holds not even a header."""


def read(path: Path) -> pl.DataFrame:
    """The file's rows; raises `Unreadable` or `Empty`."""
    name = path.name.lower()
    try:
        if path.stat().st_size == 0:
            raise Empty
        if name.endswith(_PARQUET):
            frame = pl.read_parquet(path, glob=False)
        elif name.endswith(_TEXT):
            frame = _read_text(path)
        else:
            raise Unreadable(f"its name ends in neither {', '.join(_PARQUET)} nor {', '.join(_TEXT)}")
    except pl.exceptions.NoDataError:
        raise Empty from None
    except OSError as why:
        raise Unreadable(_short(why)) from None
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as why:  # a damaged file can panic the reader
        raise Unreadable(
            f"it is not {'Parquet' if name.endswith(_PARQUET) else 'CSV in UTF-8'}: {_short(why)}"
        ) from None
    repeated = sorted(column for column in frame.columns if column.endswith("_duplicated_0"))
    if repeated:
        raise Unreadable(f"column {repeated[0].removesuffix('_duplicated_0')!r} comes twice")
    nameless = {column: f"column_{i}" for i, column in enumerate(frame.columns) if not column.strip()}
    frame = frame.rename(nameless) if nameless else frame
    if ROW in frame.columns:
        raise Unreadable(f"the column name {ROW!r} is kept for the platform: rename it")
    frame = frame.with_columns(pl.int_range(1, pl.len() + 1, dtype=pl.Int64).alias(ROW))
    if name.endswith(_TEXT):
        cells = [column for column in frame.columns if column != ROW]
        empty = pl.col(pl.String).exclude(ROW)
        frame = frame.with_columns(pl.when(empty.str.len_bytes() > 0).then(empty))
        return frame.filter(~pl.all_horizontal(pl.col(cells).is_null())) if cells else frame.clear()
    return frame.with_columns(_plain(frame[column]) for column in frame.columns)


def digest_of_file(path: Path) -> str:
    """The blake3 digest of the file's bytes."""
    return blake3(max_threads=blake3.AUTO).update_mmap(path).hexdigest()


def _read_text(path: Path) -> pl.DataFrame:
    separator = "\t" if ".tsv" in path.name.lower() else ","
    frame = pl.read_csv(path, infer_schema=False, separator=separator, glob=False)
    if len(frame.columns) == 1:  # the header knows another separator
        other = next((mark for mark in (";", "\t", ",") if mark != separator and mark in frame.columns[0]), None)
        if other is not None:
            frame = pl.read_csv(path, infer_schema=False, separator=other, glob=False)
    return frame


def _plain(column: pl.Series) -> pl.Series:
    kind = column.dtype
    if kind in (pl.String, pl.Int64, pl.Float64, pl.Boolean):
        return column.fill_nan(None) if kind == pl.Float64 else column
    if isinstance(kind, pl.Datetime):
        column = column.dt.replace_time_zone("UTC") if kind.time_zone is None else column.dt.convert_time_zone("UTC")
        return column.cast(pl.Datetime("us", "UTC"))
    if kind == pl.Date:
        return column.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    if kind.is_integer():
        small = column.cast(pl.Int64, strict=False)
        return small if small.null_count() == column.null_count() else column.cast(pl.String)
    if kind.is_float() or kind.is_decimal():
        return column.cast(pl.Float64).fill_nan(None)
    if kind == pl.Duration:
        return column.dt.total_microseconds()
    if kind == pl.Binary:
        return column.bin.encode("hex")
    if kind.is_nested():
        name = column.name
        text = column.to_frame().select(pl.when(pl.col(name).is_not_null()).then(pl.struct(name).struct.json_encode()))
        return text.to_series().alias(name)
    return column.cast(pl.String)


def _short(why: BaseException) -> str:
    lines = [line.strip() for line in str(why).splitlines() if line.strip()]
    return (lines[0] if lines else type(why).__name__)[:300]
