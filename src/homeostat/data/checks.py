"""Hold rows against rules, a column at a time. Worker-side: it loads polars."""

from __future__ import annotations

import re
from dataclasses import dataclass

import polars as pl

from homeostat.data import kinds
from homeostat.data.contracts import words
from homeostat.data.reading import ROW
from homeostat.data.records import ColumnKind, QuarantineReason, Rule

_EXAMPLES = 3
_LONGEST = 200


@dataclass
class Breach:
    """The rows of one file that break one rule."""

    rule: Rule
    rows: pl.Series  # bool, one for each row of the file


@dataclass
class Checked:
    """One file's rows: as they were read, as their kinds, and what is wrong with them."""

    raw: pl.DataFrame
    typed: pl.DataFrame  # same rows, `_row` included
    breaches: list[Breach]

    @property
    def bad(self) -> pl.Series:
        """Which rows break any rule."""
        total = pl.repeat(False, self.raw.height, dtype=pl.Boolean, eager=True)
        for breach in self.breaches:
            total = total | breach.rows
        return total


@dataclass
class Group:
    """Files of one shape (columns and types), one below the other: worked on at once, since each call has its price."""

    files: list[int]  # which ones, in order
    raw: pl.DataFrame


def group(raws: list[pl.DataFrame]) -> list[Group]:
    """Put files of one shape together."""
    shapes: dict[tuple[tuple[str, str], ...], list[int]] = {}
    for i, raw in enumerate(raws):
        shapes.setdefault(tuple((name, str(kind)) for name, kind in raw.schema.items()), []).append(i)
    return [Group(files, pl.concat([raws[i] for i in files], rechunk=True)) for files in shapes.values()]


def check(
    groups: list[Group], heights: list[int], columns: dict[str, ColumnKind], rules: tuple[Rule, ...]
) -> list[Checked]:
    """Turn cells into their kinds and hold the rows against every rule but uniqueness; one answer for each file."""
    found: dict[int, Checked] = {}
    for grouped in groups:
        whole = _check(grouped.raw, columns, rules)
        start = 0
        for i in grouped.files:
            part = [Breach(breach.rule, breach.rows.slice(start, heights[i])) for breach in whole.breaches]
            raw, typed = (frame.slice(start, heights[i]) for frame in (whole.raw, whole.typed))
            found[i] = Checked(raw, typed, [breach for breach in part if breach.rows.any()])
            start += heights[i]
    return [found[i] for i in range(len(heights))]


def _check(raw: pl.DataFrame, columns: dict[str, ColumnKind], rules: tuple[Rule, ...]) -> Checked:
    made, breaches = [raw[ROW]], []
    stated = {rule.column: rule for rule in rules if rule.kind == "type"}
    bad_cells: dict[str, pl.Series] = {}
    for name, kind in columns.items():
        if name not in raw.columns:
            made.append(pl.Series(name, [None] * raw.height, kinds.DTYPES[kind]))
            continue
        column, bad = kinds.convert(raw[name], kind)
        made.append(column.alias(name))
        bad_cells[name] = bad
        if bad.any():
            rule = stated.get(name) or Rule(kind="type", column=name, column_kind=kind)
            breaches.append(Breach(rule, bad))
    typed = pl.DataFrame(made)
    for rule in rules:
        if rule.column is None or rule.kind in ("type", "unique"):
            continue
        # A column without a kind has had no value yet: every cell is null.
        column = typed[rule.column] if rule.column in typed.columns else pl.Series([None] * raw.height, dtype=pl.String)
        rows = _broken(rule, column, columns.get(rule.column)) & ~bad_cells.get(rule.column, pl.Series([False]))
        if rows.any():
            breaches.append(Breach(rule, rows))
    return Checked(raw, typed, breaches)


def add_repeats(files: list[Checked], rule: Rule, earlier: pl.Series) -> None:
    """Note the rows whose value in the rule's column came before: in `earlier` (text), or in a good row of these files.

    The first good row with a value keeps it.
    """
    name = rule.column
    having = [file for file in files if name in file.typed.columns]
    if name is None or not having:
        return
    value = pl.concat([file.typed[name].cast(pl.String).alias("value") for file in having])
    usable = pl.concat([~file.bad for file in having]) & value.is_not_null()
    good = pl.DataFrame([value]).with_row_index("at").filter(usable)
    first = good.unique("value", keep="first").join(earlier.alias("value").to_frame(), on="value", how="anti")
    repeated = usable.set(pl.int_range(value.len(), eager=True).is_in(first["at"].implode()), False)
    start = 0
    for file in having:
        rows = repeated.slice(start, file.raw.height)
        start += file.raw.height
        if rows.any():
            file.breaches.append(Breach(rule, rows))


def reasons(file: Checked, path: str, dataset: str, version: int | None, held: str | None) -> list[QuarantineReason]:
    """One reason for each rule that rows of the file break, with a few of the rows."""
    found = []
    for breach in file.breaches:
        sample = file.raw.filter(breach.rows).head(_EXAMPLES)
        cells = sample.with_columns(pl.exclude(ROW).cast(pl.String).str.slice(0, _LONGEST))
        examples = [{"row": row.pop(ROW), **row} for row in cells.to_dicts()]
        found.append(
            QuarantineReason(
                dataset=dataset,
                version=version,
                rule=words(breach.rule),
                rows=int(breach.rows.sum()),
                file=path,
                examples=tuple(examples),
                column=breach.rule.column,
                held=held,
            )
        )
    return found


def bad_rows(file: Checked, path: str) -> pl.DataFrame:
    """The file's bad rows, cells as text, with `_file`, `_row` and `_reasons`: each rule with the value at fault."""
    told = []
    for i, breach in enumerate(file.breaches):
        name = breach.rule.column
        value = pl.col(name).cast(pl.String).fill_null("null") if name in file.raw.columns else pl.lit("null")
        told.append(pl.when(breach.rows).then(pl.lit(words(breach.rule) + ": ") + value).alias(f"_{i}"))
    if not told:
        return file.raw.clear()
    return (
        file.raw.with_columns(
            pl.concat_list(told).list.drop_nulls().alias("_reasons"), pl.lit(path).alias("_file"), *_text(file.raw)
        )
        .filter(file.bad)
        .select("_file", ROW, "_reasons", pl.exclude("_file", ROW, "_reasons"))
    )


def _text(frame: pl.DataFrame) -> list[pl.Expr]:
    return [pl.col(name).cast(pl.String) for name in frame.columns if name != ROW]


def _broken(rule: Rule, column: pl.Series, kind: ColumnKind | None) -> pl.Series:
    """Which values of a column break the rule; a null breaks only `not_null`."""
    if rule.kind == "not_null":
        return column.is_null()
    if kind is None:
        return pl.repeat(False, column.len(), dtype=pl.Boolean, eager=True)
    if rule.kind == "between":
        number = column.cast(pl.Float64, strict=False)
        low = number < rule.low if rule.low is not None else pl.Series([False])
        high = number > rule.high if rule.high is not None else pl.Series([False])
        return (low | high).fill_null(False)
    if rule.kind == "one_of":
        # Compared as the column's kind, so that 1 is allowed in a float column and "1" in neither.
        allowed, bad = kinds.convert(pl.Series(list(rule.allowed), strict=False), kind)
        return ~column.is_in(allowed.filter(~bad).implode()) & column.is_not_null()
    assert rule.kind == "matches"
    pattern, text = re.compile(rule.pattern or ""), column.cast(pl.String)
    fits = {value: pattern.fullmatch(value) is not None for value in text.drop_nulls().unique().to_list()}
    return ~text.replace_strict(fits, default=True, return_dtype=pl.Boolean) & text.is_not_null()
