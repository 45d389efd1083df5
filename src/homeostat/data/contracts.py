"""Rules for a dataset's rows, as its project writes them::

    checks=[column("amount").between(0, 50_000), column("country").not_null(), fresher_than("2d")]

Rows that break a rule go to quarantine with the reason; `stop=True` keeps the whole new version from being published
when any row breaks the rule. The key is never null and unique, and the time never null, without a rule saying so.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Set
from typing import Any

import msgspec

from homeostat.data.records import ColumnKind, Dataset, Rule
from homeostat.foundation.clock import format_duration, parse_duration
from homeostat.foundation.errors import Kind, entry
from homeostat.foundation.ids import check_name

BAD_RULE = entry("data.bad_rule", Kind.INVALID, "rule {rule!r} cannot be kept: {why}", "{fix}")
BAD_DATASET = entry("data.bad_dataset", Kind.INVALID, "dataset {dataset!r}: {why}", "{fix}")

KINDS: dict[ColumnKind, str] = {
    "float": "a finite number",
    "int": "a whole number of 64 bits",
    "bool": "true or false",
    "string": "text",
    "time": "a time: ISO 8601, or microseconds since 1970 UTC",
}
# Columns the platform adds to every row it takes in (see `ingest`).
RESERVED = ("_version", "_row", "_file", "_recorded_at")


class Column:
    """A column that rules are written for; each method gives one rule."""

    def __init__(self, name: str) -> None:
        self.name = name

    def kind(self, kind: ColumnKind, *, stop: bool = False) -> Rule:
        """Every value is of `kind`: "float", "int", "bool", "string" or "time". Also settles how the column is kept."""
        return self._rule("type", stop, column_kind=kind)

    def not_null(self, *, stop: bool = False) -> Rule:
        """Every row has a value."""
        return self._rule("not_null", stop)

    def between(self, low: float | None, high: float | None, *, stop: bool = False) -> Rule:
        """Every value lies between `low` and `high`, both included; None leaves that side open. Nulls pass."""
        return self._rule("between", stop, low=low, high=high)

    def one_of(self, *allowed: str | int | float | bool | Collection[Any], stop: bool = False) -> Rule:
        """Every value is one of `allowed` (or of the one list or set given). Nulls pass."""
        first = allowed[0] if len(allowed) == 1 else allowed
        values = (first,) if isinstance(first, str) or not isinstance(first, Collection) else tuple(first)
        return self._rule("one_of", stop, allowed=tuple(sorted(values, key=str)) if isinstance(first, Set) else values)

    def unique(self, *, stop: bool = False) -> Rule:
        """No value comes twice, also not in an earlier version; the first one stays. Nulls pass."""
        return self._rule("unique", stop)

    def matches(self, pattern: str, *, stop: bool = False) -> Rule:
        """Every value, as text, matches the whole of the regular expression `pattern` (Python's `re`). Nulls pass."""
        return self._rule("matches", stop, pattern=pattern)

    def _rule(self, kind: Any, stop: bool, **values: Any) -> Rule:
        return check_rule(Rule(kind=kind, column=self.name, severity="stop" if stop else "quarantine", **values))


def column(name: str) -> Column:
    """The column called `name`, to write rules for."""
    return Column(name)


def fresher_than(age: str | int) -> Rule:
    """The newest event is at most `age` ("2d", "6h") old when files are taken in; a staler version is not published."""
    return check_rule(Rule(kind="fresher_than", within=parse_duration(age, field="fresher_than"), severity="stop"))


def words(rule: Rule) -> str:
    """The rule as a person says it: "amount between 0 and 50,000"."""
    match rule.kind:
        case "type":
            return f"{rule.column} is {KINDS[rule.column_kind or 'string']}"
        case "not_null":
            return f"{rule.column} is not null"
        case "between" if rule.high is None:
            return f"{rule.column} at least {_number(rule.low)}"
        case "between" if rule.low is None:
            return f"{rule.column} at most {_number(rule.high)}"
        case "between":
            return f"{rule.column} between {_number(rule.low)} and {_number(rule.high)}"
        case "one_of":
            return f"{rule.column} one of {', '.join(str(value) for value in rule.allowed)}"
        case "unique":
            return f"{rule.column} is unique"
        case "matches":
            return f"{rule.column} matches {rule.pattern}"
        case "fresher_than":
            return f"newest event at most {format_duration(rule.within or 0)} old"


def stated_kinds(dataset: Dataset) -> dict[str, ColumnKind]:
    """The kinds that the definition itself settles: those of "type" rules, and the time column's."""
    stated = {rule.column: rule.column_kind for rule in dataset.rules if rule.kind == "type"}
    kinds = {name: kind for name, kind in stated.items() if name is not None and kind is not None}
    if dataset.time is not None:
        kinds[dataset.time] = "time"
    return kinds


def full_rules(dataset: Dataset) -> tuple[Rule, ...]:
    """The rules as written, and before them those that key and time bring along (unless written too)."""
    implied = [Rule(kind="not_null", column=dataset.time)] if dataset.time is not None else []
    if dataset.key is not None:
        implied += [Rule(kind="not_null", column=dataset.key), Rule(kind="unique", column=dataset.key)]
    written = {(rule.kind, rule.column) for rule in dataset.rules}
    return (*(rule for rule in implied if (rule.kind, rule.column) not in written), *dataset.rules)


def needed_columns(dataset: Dataset) -> dict[str, str]:
    """Columns a file must have, each with what asks for it: "the key", "the time", or a rule in words."""
    needed = {rule.column: f"the rule '{words(rule)}'" for rule in dataset.rules if rule.column is not None}
    if dataset.time is not None:
        needed[dataset.time] = "the time"
    if dataset.key is not None:
        needed[dataset.key] = "the key"
    return needed


def check_rule(rule: Rule) -> Rule:
    """Return `rule` if it can be kept, else raise `data.bad_rule`."""
    if rule.kind == "fresher_than":
        if rule.column is not None or not rule.within or rule.within < 0:
            raise _bad(rule, "it needs an age above zero and no column", "fresher_than('2d')")
        return rule
    if not rule.column:
        raise _bad(rule, "it names no column", "column('amount').not_null()")
    if rule.kind == "type" and rule.column_kind not in KINDS:
        raise _bad(rule, f"{rule.column_kind!r} is no kind", f"use one of: {', '.join(KINDS)}")
    if rule.kind == "between":
        sides = [side for side in (rule.low, rule.high) if side is not None]
        if not sides or any(not isinstance(side, int | float) or math.isnan(side) for side in sides):
            raise _bad(rule, "its limits are not numbers", "between(0, 50_000)")
        if rule.low is not None and rule.high is not None and rule.low > rule.high:
            raise _bad(rule, f"{rule.low} is above {rule.high}", "give the lower limit first")
    if rule.kind == "one_of" and not rule.allowed:
        raise _bad(rule, "it allows nothing", "one_of('card', 'cash')")
    if rule.kind == "matches":
        try:
            re.compile(rule.pattern or "")
        except re.error as why:
            raise _bad(rule, f"{rule.pattern!r} is no regular expression ({why})", "mend the pattern") from None
    return rule


def check_dataset(dataset: Dataset) -> Dataset:
    """Return `dataset` if it can be kept, else raise `name.invalid`, `data.bad_rule` or `data.bad_dataset`."""
    check_name("dataset", dataset.name)
    roles: dict[str, str] = {}
    for role in ("key", "time", "label"):
        name = getattr(dataset, role)
        if name is None:
            continue
        if not isinstance(name, str) or not name or name in RESERVED:
            raise BAD_DATASET(
                field=role, dataset=dataset.name, why=f"{name!r} cannot be a column", fix="name a column of the files"
            )
        if name in roles:
            raise BAD_DATASET(
                field=role,
                dataset=dataset.name,
                why=f"column {name!r} is both {roles[name]} and {role}",
                fix="give each its own column",
            )
        roles[name] = role
    if dataset.label_delay < 0:
        raise BAD_DATASET(
            field="label_delay", dataset=dataset.name, why="the label delay is below zero", fix="write it as '3d'"
        )
    for rule in dataset.rules:
        check_rule(rule)
    _check_kinds(dataset)
    return dataset


def _check_kinds(dataset: Dataset) -> None:
    """Two rules may not ask for two kinds of one column, nor a range of text."""
    kinds: dict[str, ColumnKind] = {} if dataset.time is None else {dataset.time: "time"}
    for rule in dataset.rules:
        if rule.kind != "type" or rule.column is None or rule.column_kind is None:
            continue
        if kinds.setdefault(rule.column, rule.column_kind) != rule.column_kind:
            raise _bad(rule, f"{rule.column} is to be {kinds[rule.column]} already", "keep one of the two")
    for rule in dataset.rules:
        if rule.kind == "fresher_than" and dataset.time is None:
            raise _bad(rule, "the dataset names no time column", "give the dataset time='...'")
        if rule.kind == "between" and kinds.get(rule.column or "") in ("string", "bool"):
            raise _bad(rule, f"{rule.column} is to be {kinds[rule.column or '']}", "keep one of the two")


def _bad(rule: Rule, why: str, fix: str) -> Exception:
    try:
        text = words(rule)
    except (TypeError, ValueError, KeyError):  # a rule too broken to be said
        text = msgspec.json.encode(rule, enc_hook=repr).decode()
    return BAD_RULE(field=f"checks.{rule.column}" if rule.column else "checks", rule=text, why=why, fix=fix)


def _number(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return "infinity" if value and value > 0 else "-infinity"
    return f"{int(value):,}" if value == int(value) else f"{value:,}"
