"""Checks on the columns of a dataset, as a project file says them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal, get_args

from homeostat.data.records import ColumnKind, Rule
from homeostat.foundation.clock import parse_duration
from homeostat.foundation.errors import Kind, entry

BAD_CHECK = entry(
    "project.bad_check", Kind.INVALID, "the check on {column!r} must {rule}, not {value!r}", "write it as {example}"
)

Severity = Literal["quarantine", "stop"]


class Checked:
    """A column that a check is being written for: `hs.column("amount").between(0, 50_000)`.

    Each check sets aside (quarantines) the rows that break it; with `stop=True` a single one keeps the new data from
    being published.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def is_a(self, kind: ColumnKind, *, stop: bool = False) -> Rule:
        """Values are of this kind: 'float', 'int', 'bool', 'string' or 'time'."""
        if kind not in get_args(ColumnKind):
            raise self._bad("name a kind (float, int, bool, string, time)", kind, "is_a('float')")
        return Rule(kind="type", column=self.name, column_kind=kind, severity=_severity(stop))

    def not_null(self, *, stop: bool = False) -> Rule:
        """There is a value in every row."""
        return Rule(kind="not_null", column=self.name, severity=_severity(stop))

    def between(self, low: float | None, high: float | None, *, stop: bool = False) -> Rule:
        """Values lie from `low` to `high`, both included; None means no bound on that side. A null passes."""
        for bound in (low, high):
            if bound is not None and (isinstance(bound, bool) or not isinstance(bound, int | float)):
                raise self._bad("have numbers as bounds", bound, "between(0, 50_000)")
        if (low is None and high is None) or (low is not None and high is not None and low > high):
            raise self._bad("have a lower bound that is not above the upper one", (low, high), "between(0, 50_000)")
        return Rule(kind="between", column=self.name, low=low, high=high, severity=_severity(stop))

    def one_of(self, allowed: Sequence[str | int | float | bool], *, stop: bool = False) -> Rule:
        """Values are among these. A null passes."""
        if isinstance(allowed, str) or not allowed:
            raise self._bad("list the values that are allowed", allowed, "one_of(['card', 'cash'])")
        return Rule(kind="one_of", column=self.name, allowed=tuple(allowed), severity=_severity(stop))

    def unique(self, *, stop: bool = False) -> Rule:
        """No two rows have the same value."""
        return Rule(kind="unique", column=self.name, severity=_severity(stop))

    def matches(self, pattern: str, *, stop: bool = False) -> Rule:
        """Texts match this regular expression."""
        try:
            re.compile(pattern)
        except (re.error, TypeError):
            raise self._bad("have a regular expression", pattern, "matches('[A-Z]{2}')") from None
        return Rule(kind="matches", column=self.name, pattern=pattern, severity=_severity(stop))

    def _bad(self, rule: str, value: Any, example: str) -> Exception:
        written = f"hs.column({self.name!r}).{example}"
        return BAD_CHECK(field="checks", column=self.name, rule=rule, value=value, example=written)


def column(name: str) -> Checked:
    """Begin a check on the column `name`."""
    if not isinstance(name, str) or not name:
        raise BAD_CHECK(
            field="checks", column="?", rule="name a column", value=name, example="hs.column('amount').not_null()"
        )
    return Checked(name)


def fresher_than(within: str | int, *, stop: bool = True) -> Rule:
    """The newest event is not older than `within` ('2d') when the data is taken in. Whole datasets stop on it."""
    return Rule(kind="fresher_than", within=parse_duration(within, field="fresher_than"), severity=_severity(stop))


def _severity(stop: bool) -> Severity:
    return "stop" if stop else "quarantine"
