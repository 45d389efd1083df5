"""Ids in order, names that cannot lead anywhere, times without a lost microsecond."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.foundation.clock import (
    DAY,
    HOUR,
    SECOND,
    DrivenClock,
    SystemClock,
    format_duration,
    iso,
    parse_duration,
    parse_time,
)
from homeostat.foundation.errors import HomeostatError
from homeostat.foundation.ids import check_name, digest_of, new_id, new_id_bytes


def test_ids_sort_in_the_order_they_were_made_and_tell_when() -> None:
    before = time.time_ns() // 1_000_000
    made = [new_id() for _ in range(20_000)]
    assert made == sorted(made) and len(set(made)) == len(made)
    told = int(made[0][:12], 16)
    assert before <= told <= time.time_ns() // 1_000_000
    raw = new_id_bytes()
    assert len(raw) == 16 and raw[6] >> 4 == 7 and raw[8] >> 6 == 2, "the layout of RFC 9562, version 7"


def test_ids_of_many_threads_are_distinct() -> None:
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.extend([new_id() for _ in range(2000)])) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 8000


@pytest.mark.parametrize("name", ["a", "fraud", "card-transactions", "v1.2_x", "0", "A" * 128])
def test_plain_names_are_taken(name: str) -> None:
    assert check_name("model", name) == name


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "a..b", "../a", "a/b", "a\\b", "-a", "_a", ".a", "a b", "a\n", "a\0", "é", "A" * 129, None, 3],
)
def test_names_that_lead_somewhere_are_refused(name: object) -> None:
    with pytest.raises(HomeostatError) as caught:
        check_name("model", name, field="model")  # type: ignore[arg-type]
    assert caught.value.code == "name.invalid" and caught.value.field == "model"


def test_a_digest_names_content() -> None:
    assert digest_of(b"a") == digest_of(b"a") != digest_of(b"b") and len(digest_of(b"")) == 64


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_time_comes_back_to_the_microsecond(moment: datetime) -> None:
    at = parse_time(moment.isoformat())
    assert datetime.fromisoformat(iso(at)) == moment and parse_time(iso(at)) == at


def test_times_are_read_with_and_without_offset() -> None:
    assert parse_time("1970-01-02") == DAY == parse_time(DAY) == parse_time("1970-01-02T02:00:00+02:00")
    assert parse_time("1970-01-01T00:00:00.000001Z") == 1 and iso(0) == "1970-01-01T00:00:00.000000Z"
    for wrong in ("yesterday", "", "2026-13-01", True, None, 1.5):
        with pytest.raises(HomeostatError) as caught:
            parse_time(wrong, field="event_at")  # type: ignore[arg-type]
        assert caught.value.code == "time.bad_time" and caught.value.field == "event_at"


def test_a_time_of_no_year_still_has_words() -> None:
    assert iso(2**63 - 1) == f"{2**63 - 1} us" and iso(-(2**63)).endswith(" us")


def test_durations_are_read_and_said() -> None:
    assert [parse_duration(d) for d in ("90s", "1.5 h", "3d", "2w", "5ms", "7us", 12)] == [
        90 * SECOND, HOUR * 3 // 2, 3 * DAY, 14 * DAY, 5000, 7, 12,
    ]  # fmt: skip
    for wrong in ("", "3", "d", "-3d", "3 days", "1e9d", "9" * 400 + "d", True, None, 1.5):
        with pytest.raises(HomeostatError) as caught:
            parse_duration(wrong)  # type: ignore[arg-type]
        assert caught.value.code == "time.bad_duration"
    assert [format_duration(d) for d in (3 * DAY, 90 * SECOND, 340_000, 7, -2 * HOUR)] == [
        "3 d", "1.5 min", "340 ms", "7 us", "-2 h",
    ]  # fmt: skip


def test_a_driven_clock_stands_still_until_told() -> None:
    clock = DrivenClock(10)
    assert clock.now() == clock.now() == 10 and clock.advance(5) == clock.now() == 15
    clock.set(3)
    assert clock.now() == 3
    assert abs(SystemClock().now() - time.time() * 1e6) < 60 * SECOND
