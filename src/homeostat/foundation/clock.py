"""Time: int64 microseconds UTC, from a clock that tests can drive.

Two times belong to every fact (design rule 10): `event_at`, when it happened in the world, and `recorded_at`, when
Homeostat wrote it down. A `Clock` tells the second only. Event time is never read from a clock: it comes with the
data, and an endpoint's event-time "now" is the watermark of what it has seen (see `serving.intake`).
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

from homeostat.foundation.errors import Kind, entry

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

BAD_DURATION = entry(
    "time.bad_duration",
    Kind.INVALID,
    "{value!r} is not a duration: a number and one of s, m, h, d, w",
    "write it as '90s', '15m', '6h', '3d' or '2w'",
)
BAD_TIME = entry(
    "time.bad_time",
    Kind.INVALID,
    "{value!r} is not a point in time: ISO 8601, or microseconds since 1970 UTC",
    "write it as '2026-03-01T12:00:00Z'",
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS = {"us": 1, "ms": 1000, "s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY, "w": 7 * DAY}


class Clock(Protocol):
    """Tells the wall time. Called from any thread; never goes back by more than the system's own corrections."""

    def now(self) -> int:
        """Microseconds since 1970 UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> int:
        """Microseconds since 1970 UTC."""
        return time.time_ns() // 1000


class DrivenClock:
    """A clock that stands still until it is told to move: for tests and replays."""

    def __init__(self, start: int) -> None:
        self._now = start

    def now(self) -> int:
        """The time it was last set to, in microseconds since 1970 UTC."""
        return self._now

    def advance(self, microseconds: int) -> int:
        """Move forward and return the new time."""
        self._now += microseconds
        return self._now

    def set(self, at: int) -> None:
        """Move to `at` (microseconds since 1970 UTC)."""
        self._now = at


def parse_duration(value: str | int, *, field: str = "duration") -> int:
    """Microseconds of '90s', '15m', '6h', '3d', '2w'; an int is taken as microseconds already."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = re.fullmatch(r"\s*(\d{1,12}(?:\.\d{1,12})?)\s*(us|ms|s|m|h|d|w)\s*", str(value))
    if match is None:
        raise BAD_DURATION(field=field, value=value)
    return round(float(match[1]) * _UNITS[match[2]])


def format_duration(microseconds: int) -> str:
    """A duration as a person says it: '3 d', '4.5 h', '12 s', '340 ms'."""
    for unit, size in (("d", DAY), ("h", HOUR), ("min", MINUTE), ("s", SECOND), ("ms", 1000)):
        if abs(microseconds) >= size:
            return f"{microseconds / size:.3g} {unit}"
    return f"{microseconds} us"


def parse_time(value: str | int, *, field: str = "at") -> int:
    """Microseconds since 1970 UTC of an ISO 8601 text (no offset means UTC) or of an int already in microseconds."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        raise BAD_TIME(field=field, value=value) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // timedelta(microseconds=1)


def iso(at: int) -> str:
    """`at` as ISO 8601 in UTC, to the microsecond, ending in Z; as a number where it lies in no year from 1 to 9999."""
    try:
        moment = _EPOCH + timedelta(microseconds=at)
    except OverflowError:  # data may say anything of its times, and words about it must still be found
        return f"{at} us"
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
