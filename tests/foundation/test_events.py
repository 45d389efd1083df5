"""The audit stream: order, seals, cursors, erasure; any change of a row is found."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from homeostat.foundation import events
from homeostat.foundation.database import Database, metadata


class Happened(events.Event, frozen=True, kw_only=True, tag="test.happened"):
    """Something."""

    what: str


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "homeostat.db"


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    made = Database(f"sqlite:///{path}")
    metadata.create_all(made.engine)
    with made.write(actor="person:ada", reason="to try") as tx:
        for n in range(5):
            events.emit(tx, Happened(subject=f"thing/{n % 2}", what=str(n)))
    yield made
    made.close()


def verify(database: Database) -> events.Verification:
    with database.read() as reader:
        return events.verify(reader)


def tamper(path: Path, statement: str) -> None:
    with sqlite3.connect(path) as raw:
        raw.execute(statement)
    raw.close()


def test_what_was_emitted_is_read_in_order_with_who_and_why(database: Database) -> None:
    with database.read() as reader:
        found = events.read_after(reader, 2)
        assert [e.payload["what"] for e in found if e.payload] == ["2", "3", "4"]
        assert {(e.actor, e.reason, e.kind) for e in found} == {("person:ada", "to try", "test.happened")}
        assert [e.seq for e in events.read_after(reader, subject="thing/1")] == [2, 4]
        assert [e.seq for e in events.read_after(reader, newest_first=True, limit=2)] == [5, 4]
    assert verify(database).intact and verify(database).checked == 5


@pytest.mark.parametrize(
    "column",
    ["at", "project", "kind", "subject", "actor", "reason", "decision_id", "payload_digest", "prev_hash", "hash"],
)
def test_a_change_of_any_column_is_found(database: Database, path: Path, column: str) -> None:
    tamper(path, f"UPDATE events SET {column} = '7' WHERE seq = 3")
    assert verify(database).first_bad == 3


def test_a_changed_payload_is_found(database: Database, path: Path) -> None:
    tamper(path, "UPDATE event_payloads SET payload = '{}' WHERE seq = 2")
    assert verify(database).first_bad == 2


def test_a_removed_entry_is_found_even_at_the_end(database: Database, path: Path) -> None:
    tamper(path, "DELETE FROM events WHERE seq = 5")
    assert verify(database).first_bad == 5


def test_a_removed_entry_in_the_middle_is_found(database: Database, path: Path) -> None:
    tamper(path, "DELETE FROM events WHERE seq = 2")
    found = verify(database)
    assert not found.intact and "2" in (found.why or "")


def test_an_erased_payload_leaves_the_chain_whole(database: Database) -> None:
    with database.write(actor="person:ada") as tx:
        events.erase(tx, 2)
    with database.read() as reader:
        assert events.read_after(reader, 1)[0].payload is None
    assert verify(database).intact


def test_a_follower_goes_on_where_it_was(database: Database) -> None:
    with database.write(actor="person:ada") as tx:
        events.advance(tx, "follower", 3)
        events.advance(tx, "follower", 4)
    with database.read() as reader:
        assert events.cursor(reader, "follower") == 4
        assert events.cursor(reader, "another") == 0


def test_without_the_key_a_chain_cannot_be_sealed_again(database: Database, path: Path, tmp_path: Path) -> None:
    key = events.key_at(tmp_path / "audit.key")
    assert (tmp_path / "audit.key").stat().st_mode & 0o777 == 0o600
    assert key == events.key_at(tmp_path / "audit.key") and len(key) == 32
    other = Database(f"sqlite:///{path}", key=key)
    try:
        assert verify(other).first_bad == 1
    finally:
        other.close()
