"""Numbers, times and names as a person reads them. Every function gives text; templates use them as filters.

Times are int microseconds UTC and are shown in UTC. A number never stands without its unit: these put it behind.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

from homeostat.foundation.clock import DAY, HOUR, MINUTE, SECOND

NONE = "–"
_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


def number(value: float | int | None, digits: int = 4) -> str:
    """A count with thousands separated, or a measure with `digits` significant digits."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return NONE if value is None else str(value)
    if isinstance(value, int) or (value == int(value) and abs(value) >= 1000):
        return f"{int(value):,}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    text = f"{value:.{digits}g}"
    return f"{value:.1e}" if "e" in text else text


def reading(value: float | None) -> str:
    """A measured quality or distance: three decimals, so that columns of it line up."""
    if value is None or not math.isfinite(value):
        return NONE
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.1f}" if abs(value) >= 100 else f"{value:.3f}"


def tenth(value: float | None) -> str:
    """A measure to one decimal."""
    return NONE if value is None else f"{value:.1f}"


def share(value: float | None) -> str:
    """A share as a percentage."""
    if value is None:
        return NONE
    percent = value * 100
    return f"{percent:.0f} %" if percent in (0, 100) or percent >= 10 else f"{percent:.2g} %"


def latency(value: float | None) -> str:
    """A latency in microseconds, in the unit that reads best."""
    if value is None:
        return NONE
    for unit, size in (("s", SECOND), ("ms", 1000)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.0f} µs"


def duration(value: int | None) -> str:
    """A duration in microseconds, to the two units that matter."""
    if value is None:
        return NONE
    if value < 1000:
        return f"{value} µs"
    if value < SECOND:
        return f"{value / 1000:.0f} ms"
    if value < 10 * SECOND:
        return f"{value / SECOND:.1f} s"
    for unit, size, lower, small in (("d", DAY, "h", HOUR), ("h", HOUR, "min", MINUTE), ("min", MINUTE, "s", SECOND)):
        if value >= size:
            whole, rest = divmod(value, size)
            return f"{whole} {unit} {rest // small} {lower}" if rest >= small and whole < 10 else f"{whole} {unit}"
    return f"{value / SECOND:.0f} s"


def ago(at: int | None, now: int) -> str:
    """How long before `now` something was."""
    if at is None:
        return NONE
    passed = max(0, now - at)
    if passed < 5 * SECOND:
        return "just now"
    for unit, size in (("d", DAY), ("h", HOUR), ("min", MINUTE), ("s", SECOND)):
        if passed >= size:
            return f"{passed // size} {unit} ago"
    return "just now"


def moment(at: int | None, now: int | None = None) -> str:
    """A point in time to the minute; the year is left out where it is that of `now`."""
    if at is None:
        return NONE
    when = datetime.fromtimestamp(at / SECOND, UTC)
    same = now is not None and datetime.fromtimestamp(now / SECOND, UTC).year == when.year
    return f"{when.day} {when:%b}{'' if same else f' {when.year}'}, {when:%H:%M}"


def clock(at: int | None, now: int) -> str:
    """The time of the day of what happened in the last day, else the date."""
    if at is None:
        return NONE
    when = datetime.fromtimestamp(at / SECOND, UTC)
    return f"{when:%H:%M:%S}" if now - at < DAY else f"{when.day} {when:%b}"


def rate(count: int, span: int) -> str:
    """`count` in `span` microseconds as a rate: for each second, minute, hour or day, whichever reads best."""
    if span <= 0:
        return NONE
    for unit, size in (("s", SECOND), ("min", MINUTE), ("h", HOUR)):
        if count * size / span >= 1:
            return f"{_two(count * size / span)}/{unit}"
    return f"{_two(count * DAY / span)}/day"


def _two(value: float) -> str:
    return f"{value:.1f}" if value < 10 and value != int(value) else f"{value:,.0f}"


def size(value: int | None) -> str:
    """Bytes."""
    if value is None:
        return NONE
    for unit, step in (("GB", 10**9), ("MB", 10**6), ("kB", 1000)):
        if value >= step:
            return f"{value / step:.3g} {unit}"
    return f"{value} bytes"


def short(digest: str | None) -> str:
    """The beginning of a digest or an id, enough to tell it from others."""
    return digest[:12] if digest else NONE


def words(name: str | None) -> str:
    """A name of the code as words: "average_precision" -> "average precision"."""
    return name.replace("_", " ") if name else NONE


def plural(count: int, one: str, many: str | None = None) -> str:
    """ "1 row", "2,000 rows"."""
    return f"{number(count)} {one if count == 1 else many or one + 's'}"


def spelled(count: int) -> str:
    """A small count as a word, as a sentence begins with it."""
    return _WORDS[count] if 0 <= count < len(_WORDS) else f"{count:,}"


def plain(value: Any) -> str:
    """Any value of an evidence as text."""
    if value is None:
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return number(value)
    if isinstance(value, dict):
        return ", ".join(f"{words(str(name))} {plain(inner)}" for name, inner in value.items()) or NONE
    if isinstance(value, list | tuple):
        return ", ".join(plain(v) for v in value) or NONE
    return str(value)


FILTERS = {f.__name__: f for f in (number, reading, share, latency, duration, size, short, tenth, words, plain, rate)}
