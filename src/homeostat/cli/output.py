"""How the command line speaks: data on stdout, talk on stderr, an error as one line and a hint.

A listing is a table: drawn by rich on a terminal, else plain columns that `cut` and `awk` can take. With `--json` it is
the API's own answer.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from homeostat.foundation.clock import iso

Row = Mapping[str, Any]
Columns = Sequence[tuple[str, Callable[[Any], Any]]]


def error(message: str, hint: str = "") -> None:
    """`error:` and, where something can be done, `hint:`, each on one line of stderr."""
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    if hint:
        print(f"hint: {' '.join(hint.split())}", file=sys.stderr)


def talk(message: str) -> None:
    """Say something that is not data."""
    print(message, file=sys.stderr, flush=True)


def data(value: Any) -> None:
    """Print a value as JSON."""
    json.dump(value, sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")


def listing(rows: Sequence[Row], columns: Columns, *, as_json: bool, empty: str, answer: Any = None) -> None:
    """Print rows; a column is a heading and what to take from a row. `empty` is said on stderr where there is none."""
    if as_json:
        data(rows if answer is None else answer)
        return
    if not rows:
        talk(empty)
        return
    cells = [[_text(take(row)) for _, take in columns] for row in rows]
    table([heading for heading, _ in columns], cells)


def table(headings: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    """Print cells under headings."""
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table

        drawn = Table(*headings, box=None, header_style="dim", pad_edge=False)
        for line in cells:
            drawn.add_row(*line)
        Console(markup=False, highlight=False).print(drawn)
        return
    widths = [max(len(line[i]) for line in (headings, *cells)) for i in range(len(headings))]
    for line in (headings, *cells):
        print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def facts(pairs: Iterable[tuple[str, Any]]) -> None:
    """Print name and value, one to a line; what is None is left out."""
    known = [(name, _text(value)) for name, value in pairs if value is not None]
    width = max((len(name) for name, _ in known), default=0)
    for name, value in known:
        print(f"{name.ljust(width)}  {value}")


def when(at: int | None) -> str:
    """A point in time as people read it, to the second, in UTC; "-" for none."""
    return "-" if at is None else iso(at)[:19].replace("T", " ")


def number(value: float | None, digits: int = 4) -> str:
    """A number with so many significant digits; "-" for none."""
    return "-" if value is None else f"{value:.{digits}g}"


def short(digest: str | None) -> str:
    """The first 12 digits of a digest or id; "-" for none."""
    return "-" if not digest else digest[:12]


def _text(value: Any) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return number(value)
    if isinstance(value, list | tuple):
        return ", ".join(_text(v) for v in value) or "-"
    return str(value)
