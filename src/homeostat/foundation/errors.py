"""The error catalogue: every way Homeostat says no, with a stable code, the rule that was broken and the fix.

A folder declares its entries beside the code that raises them::

    UNKNOWN_COLUMN = entry("data.unknown_column", Kind.INVALID,
                           "column {column!r} is not in dataset {dataset!r}",
                           "use one of: {columns}")
    raise UNKNOWN_COLUMN(field="checks", column="amuont", dataset="transactions", columns="amount, hour")

An error is translated once for the command line (`cli`) and once for HTTP (`api`); nothing between catches it to
re-word it. `docs/reference/errors.md` lists the catalogue, and a test fails when an entry is missing there.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any


class Kind(Enum):
    """What sort of failure it is; decides the HTTP status and the exit code of the command line."""

    INVALID = (400, 1)
    USAGE = (400, 2)
    UNAUTHENTICATED = (401, 1)
    DENIED = (403, 1)
    NOT_FOUND = (404, 3)
    CONFLICT = (409, 1)
    TOO_LARGE = (413, 1)
    REFUSED = (422, 4)
    WAITING = (202, 5)
    FAILED = (500, 1)
    UNAVAILABLE = (503, 1)

    @property
    def status(self) -> int:
        """The HTTP status that carries this kind."""
        return self.value[0]

    @property
    def exit_code(self) -> int:
        """The exit code the command line ends with."""
        return self.value[1]


class HomeostatError(Exception):
    """One failure a person can act on: `code`, `message` (the rule, with values), `field`, `hint` (what to do)."""

    def __init__(self, entry: Entry, field: str | None, values: dict[str, Any]) -> None:
        self.entry = entry
        self.field = field
        self.values = values
        self.message = entry.rule.format_map(values)
        self.hint = entry.fix.format_map(values)
        super().__init__(f"{field}: {self.message}" if field else self.message)

    @property
    def code(self) -> str:
        """The stable code, such as ``data.unknown_column``."""
        return self.entry.code

    @property
    def kind(self) -> Kind:
        """The sort of failure."""
        return self.entry.kind

    def as_dict(self) -> dict[str, Any]:
        """The one JSON form, used by every border: code, message, field, hint and the plain values."""
        values = {k: v for k, v in self.values.items() if isinstance(v, str | int | float | bool | None)}
        return {"code": self.code, "message": str(self), "field": self.field, "hint": self.hint, "values": values}


@dataclass(frozen=True)
class Entry:
    """One line of the catalogue; calling it makes the error to raise."""

    code: str
    kind: Kind
    rule: str
    fix: str

    def __call__(self, *, field: str | None = None, **values: Any) -> HomeostatError:
        """Make the error: `field` names the input at fault, `values` fill the rule and the fix."""
        return HomeostatError(self, field, values)


CATALOGUE: dict[str, Entry] = {}


def entry(code: str, kind: Kind, rule: str, fix: str) -> Entry:
    """Declare a catalogue entry; a code is declared once in the whole package."""
    if code in CATALOGUE and CATALOGUE[code] != Entry(code, kind, rule, fix):
        raise ValueError(f"error code {code!r} is declared twice")
    return CATALOGUE.setdefault(code, Entry(code, kind, rule, fix))


class RemoteError(HomeostatError):
    """An error that another Homeostat process raised, carried over a border word for word."""

    def __init__(self, kind: Kind, data: dict[str, Any]) -> None:
        code = str(data.get("code", "remote.error"))
        literal = Entry(code, kind, "{message}", "{hint}")
        super().__init__(literal, None, {"message": data.get("message", code), "hint": data.get("hint", "")})
        self.field = data.get("field")


def from_dict(data: dict[str, Any], status: int = 500) -> HomeostatError:
    """Rebuild an error from `HomeostatError.as_dict`; the kind is taken from the catalogue, else from `status`."""
    known = CATALOGUE.get(str(data.get("code")))
    kind = known.kind if known else next((k for k in Kind if k.status == status), Kind.FAILED)
    return RemoteError(kind, data)


INTERNAL = entry("internal", Kind.FAILED, "something failed inside Homeostat: {what}", "run it again with --debug")
