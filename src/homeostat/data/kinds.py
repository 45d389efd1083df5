"""What kind each column is, and its cells turned into that kind. Worker-side: it loads polars.

A kind is stated by a rule, else known from earlier versions, else inferred from the first files that have values in
the column: bool, int or float where at least `ENOUGH` of the values read as that (the others are bad cells), else text.
Whole numbers written with leading zeros are text, and so is a key that does not fit 64 bits: both would lose something
as numbers. An inferred int widens to float when a file brings fractions; a kind that a rule states never changes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

import polars as pl

from homeostat.data.reading import ROW
from homeostat.data.records import ColumnKind

ENOUGH = 0.9
WIDER: frozenset[tuple[str, str]] = frozenset({("int", "float"), ("int", "string"), ("bool", "string")})
DTYPES: dict[ColumnKind, type[pl.DataType]] = {
    "float": pl.Float64,
    "int": pl.Int64,
    "bool": pl.Boolean,
    "string": pl.String,
    "time": pl.Int64,
}
_NO_VALUE = ("", "nan", "null", "na")
_TRUE, _FALSE = ("true", "t", "yes", "1"), ("false", "f", "no", "0")
_EXACT = 2.0**53  # whole floats beyond it stand for several integers
_FORMATS = ("%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d")


@dataclass
class Evidence:
    """How many of a column's values read as what; summed over files."""

    values: int = 0
    ints: int = 0
    fractions: int = 0
    bools: int = 0
    times: int = 0
    huge: int = 0  # whole numbers that do not fit 64 bits
    padded: int = 0  # whole numbers with leading zeros
    floats_by_form: int = 0  # whole, but written as "3.0" or in a column its file declares as float

    def add(self, other: Evidence) -> None:
        """Sum it up."""
        for name in self.__dataclass_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


def gather(column: pl.Series) -> Evidence:
    """What one file's column reads as."""
    found = Evidence(values=column.len() - column.null_count())
    if column.dtype == pl.Int64:
        found.ints = found.values
    elif column.dtype == pl.Float64:
        found.fractions = int((column != column.floor()).sum())
        found.ints = found.values - found.fractions
        found.floats_by_form = found.values
    elif column.dtype == pl.Boolean:
        found.bools = found.values
    elif isinstance(column.dtype, pl.Datetime):
        found.times = found.values
    elif found.values:
        text = _cleaned(column).drop_nulls()
        whole, number = text.cast(pl.Int64, strict=False), text.cast(pl.Float64, strict=False)
        number = number.set(~number.is_finite().fill_null(True), None)
        found.values = text.len()
        found.huge = int((whole.is_null() & text.str.contains(r"^[+-]?\d+$")).sum())
        dotted = whole.is_null() & ((number == number.floor()) & (number.abs() <= _EXACT)).fill_null(False)
        found.floats_by_form = int(dotted.sum())
        found.ints = text.len() - whole.null_count() + found.floats_by_form
        found.fractions = text.len() - number.null_count() - found.ints - found.huge
        found.padded = int(text.str.contains(r"^[+-]?0\d").sum())
        found.bools = int(text.str.to_lowercase().is_in(["true", "false"]).sum())
    return found


def decide(found: Evidence, *, numeric: bool = False, key: bool = False) -> ColumnKind | None:
    """The kind that fits the evidence; None without values. `numeric`: a rule gives the column a range."""
    if not found.values:
        return None
    if found.times:
        return "time" if found.times == found.values else "string"
    if not numeric:
        if found.padded or (key and found.huge):
            return "string"
        if found.bools >= ENOUGH * found.values:
            return "bool"
        if found.ints + found.fractions + found.huge < ENOUGH * found.values:
            return "string"
    return "float" if found.fractions or found.huge or found.floats_by_form else "int"


def settle(
    frames: Iterable[pl.DataFrame],
    *,
    known: dict[str, ColumnKind],
    stated: dict[str, ColumnKind],
    ranged: frozenset[str],
    key: str | None,
) -> dict[str, ColumnKind]:
    """The kind of every column that has values so far, in order of appearance."""
    kinds = {name: stated.get(name, kind) for name, kind in known.items()}
    evidence: dict[str, Evidence] = {}
    for frame in frames:
        for name in frame.columns:
            if name in stated:
                kinds.setdefault(name, stated[name])
            if name == ROW or name in stated or known.get(name, "int") != "int":
                continue
            evidence.setdefault(name, Evidence()).add(gather(frame[name]))
    for name, found in evidence.items():
        if name in known:
            kinds[name] = "float" if found.fractions and name != key else "int"
            continue
        kind = decide(found, numeric=name in ranged, key=name == key)
        if kind is not None:
            kinds[name] = kind
    return kinds


def convert(column: pl.Series, kind: ColumnKind) -> tuple[pl.Series, pl.Series]:
    """The column as `kind` (bad cells null), and which cells were bad: they have a value, and not of that kind."""
    if kind == "string":
        return _as_text(column), pl.repeat(False, column.len(), dtype=pl.Boolean, eager=True)
    source = _cleaned(column) if column.dtype == pl.String else column
    made = {"float": _as_float, "int": _as_int, "bool": _as_bool, "time": _as_time}[kind](source)
    return made.alias(column.name), (made.is_null() & source.is_not_null()).alias(column.name)


def _cleaned(column: pl.Series) -> pl.Series:
    """Text without surrounding space; null where it spells "no value"."""
    text = column.str.strip_chars()
    return text.set(text.str.to_lowercase().is_in(list(_NO_VALUE)).fill_null(False), None)


def _as_text(column: pl.Series) -> pl.Series:
    if isinstance(column.dtype, pl.Datetime):
        return column.dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")
    return column.cast(pl.String)


def _as_float(column: pl.Series) -> pl.Series:
    if isinstance(column.dtype, pl.Datetime):
        column = column.dt.epoch("us")
    made = column.cast(pl.Float64, strict=False)
    return made.set(~made.is_finite().fill_null(True), None)


def _as_int(column: pl.Series) -> pl.Series:
    if isinstance(column.dtype, pl.Datetime):
        return column.dt.epoch("us")
    if column.dtype in (pl.Int64, pl.Boolean):
        return column.cast(pl.Int64)
    number = _as_float(column)
    whole = number.set(((number != number.floor()) | (number.abs() > _EXACT)).fill_null(True), None)
    exact = column.cast(pl.Int64, strict=False) if column.dtype == pl.String else None
    found = whole.cast(pl.Int64, strict=False)
    return found if exact is None else exact.zip_with(exact.is_not_null(), found)


def _as_bool(column: pl.Series) -> pl.Series:
    if column.dtype == pl.Boolean:
        return column
    if column.dtype != pl.String:
        column = _as_int(column).cast(pl.String)
    text = column.str.to_lowercase()
    return text.replace_strict({**dict.fromkeys(_TRUE, True), **dict.fromkeys(_FALSE, False)}, default=None).cast(
        pl.Boolean
    )


def _as_time(column: pl.Series) -> pl.Series:
    """Microseconds since 1970 UTC of ISO 8601 text (no zone: UTC), of whole numbers as they are, of datetimes."""
    if column.dtype != pl.String:
        return column.cast(pl.Int64) if column.dtype == pl.Boolean else _as_int(column)
    made = column.cast(pl.Int64, strict=False)
    zoned = column.str.to_datetime("%+", time_unit="us", time_zone="UTC", strict=False)
    tries = [zoned] + [column.str.to_datetime(f, time_unit="us", time_zone="UTC", strict=False) for f in _FORMATS]
    for attempt in tries:
        made = made.zip_with(made.is_not_null(), attempt.dt.epoch("us"))
    left = column.filter(made.is_null() & column.is_not_null()).unique()
    if left.len():
        spelled = {text: _iso(text) for text in left.to_list()}
        rest = column.replace_strict(spelled, default=None, return_dtype=pl.Int64)
        made = made.zip_with(made.is_not_null(), rest)
    return made


def _iso(text: str) -> int | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    try:
        return round(moment.timestamp() * 1_000_000)
    except (OverflowError, ValueError):  # outside of what the calendar holds
        return None
