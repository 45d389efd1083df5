"""Endpoints: what answers under a name, and whose time it has."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from homeostat.foundation import events
from homeostat.foundation.clock import DAY, HOUR, DrivenClock
from homeostat.foundation.database import Database, metadata
from homeostat.foundation.errors import HomeostatError
from homeostat.serving import endpoints
from homeostat.serving.records import EndpointArm, Taken

NOW = 1_770_000_000_000_000
CHAMPION = EndpointArm(name="champion", version=1, share=1.0, since=0)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """A database with the endpoint "fraud"."""
    made = Database(f"sqlite:///{tmp_path / 'homeostat.db'}", DrivenClock(NOW))
    metadata.create_all(made.engine)
    with made.write(actor="person:test") as tx:
        endpoints.create(tx, "fraud", "fraud")
    yield made
    made.close()


def see(database: Database, at: int | None, *, told: bool = True, replayed: bool = False, rows: int = 1) -> None:
    """The intake saw rows up to event time `at`."""
    taken = Taken(
        endpoint="fraud", project="default", requests=1, rows=rows, failed=0,
        first_event_at=at, last_event_at=at, replayed=replayed, told=told,
    )  # fmt: skip
    with database.write(actor="service:test") as tx:
        endpoints.see(tx, taken)


def now_of(database: Database) -> int:
    with database.read() as reader:
        return endpoints.event_now(endpoints.get(reader, "fraud"), database.clock.now())


def test_an_endpoint_is_made_once_and_serves_one_model(database: Database) -> None:
    with database.write(actor="person:test") as tx:
        again = endpoints.create(tx, "fraud", "fraud")
        assert [e.id for e in endpoints.listing(tx)] == [again.id]
    with pytest.raises(HomeostatError) as other, database.write(actor="person:test") as tx:
        endpoints.create(tx, "fraud", "churn")
    assert other.value.code == "serving.other_model"
    with pytest.raises(HomeostatError) as name, database.write(actor="person:test") as tx:
        endpoints.create(tx, "../fraud", "fraud")
    assert name.value.code == "name.invalid"
    with database.read() as reader:
        kinds = [e.kind for e in events.read_after(reader)]
        assert kinds == ["serving.endpoint_created"]
        assert endpoints.find(reader, "nobody") is None
    with database.read("elsewhere") as reader, pytest.raises(HomeostatError) as missing:
        endpoints.get(reader, "fraud")
    assert missing.value.code == "serving.no_endpoint"


def test_arms_sum_to_the_whole_and_raise_the_epoch_of_the_plan(database: Database) -> None:
    canary = EndpointArm(name="canary", version=2, share=0.2, since=0)
    with database.write(actor="person:test") as tx:
        first = endpoints.set_arms(tx, "fraud", (CHAMPION,))
        assert endpoints.current_epoch(tx) == first.epoch == 1
    with pytest.raises(HomeostatError) as caught, database.write(actor="person:test") as tx:
        endpoints.set_arms(tx, "fraud", (CHAMPION, canary))
    assert caught.value.code == "serving.bad_shares"
    with database.write(actor="person:test") as tx:
        assert endpoints.get(tx, "fraud").arms == (CHAMPION,), "what was refused changed nothing"
        assert endpoints.set_arms(tx, "fraud", ()).epoch == 2
        told = events.read_after(tx, kinds=["serving.arms_changed"])
    assert [e.payload["arms"] for e in told if e.payload] == [{"champion": "version 1 at 100%"}, {}]


def test_a_pause_is_told_once(database: Database) -> None:
    with database.write(actor="person:test") as tx:
        for paused in (True, True, False, False):
            assert endpoints.pause(tx, "fraud", paused, "a look").paused is paused
        told = [(e.kind, e.reason) for e in events.read_after(tx)[1:]]
    assert told == [("serving.endpoint_paused", "a look"), ("serving.endpoint_resumed", "a look")]


def test_time_is_the_wall_clock_until_a_replay_says_otherwise(database: Database) -> None:
    assert now_of(database) == NOW
    see(database, NOW - 5, told=False)
    assert now_of(database) == NOW
    see(database, NOW - 90 * DAY, replayed=True)
    with database.read() as reader:
        endpoint = endpoints.get(reader, "fraud")
    assert endpoint.replaying and endpoint.watermark == NOW - 5, "a watermark never goes back"


def test_somebody_who_tries_the_endpoint_amid_a_replay_does_not_carry_it_to_today(database: Database) -> None:
    past = NOW - 400 * DAY
    see(database, past, replayed=True)
    see(database, NOW, told=False, rows=3)
    assert now_of(database) == past
    see(database, past + DAY, replayed=True)
    assert now_of(database) == past + DAY
    with database.read() as reader:
        assert endpoints.get(reader, "fraud").predictions == 5, "its rows count all the same"


def test_an_hour_after_the_replay_the_endpoint_is_live(database: Database) -> None:
    see(database, NOW - 400 * DAY, replayed=True)
    assert isinstance(database.clock, DrivenClock)
    database.clock.advance(HOUR)
    see(database, NOW + HOUR, told=False)
    with database.read() as reader:
        endpoint = endpoints.get(reader, "fraud")
    assert not endpoint.replaying and endpoint.watermark == NOW + HOUR == now_of(database)


def test_what_was_only_refused_says_nothing_of_the_time(database: Database) -> None:
    see(database, None, rows=0)
    with database.read() as reader:
        assert endpoints.get(reader, "fraud").watermark is None
