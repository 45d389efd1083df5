"""A hand on any column of the audit stream is found."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from homeostat.foundation import events
from homeostat.foundation.database import Database
from homeostat.governance import decisions, principals, tokens
from homeostat.governance.records import Decision

FORGED = {
    "seq": 99,
    "at": 1,
    "project": "other",
    "kind": "governance.forged",
    "subject": "endpoint/other",
    "actor": "person:eve",
    "reason": "because",
    "decision_id": "another",
    "payload_digest": "0" * 64,
    "prev_hash": "1" * 64,
    "hash": "2" * 64,
}


@pytest.fixture(autouse=True)
def story(database: Database) -> None:
    with database.write(actor="service:test") as tx:
        principals.ensure(tx, "person:ada", "person", ("admin",))
        decision = Decision(
            id="d", at=0, event_at=None, subject="endpoint/x", decider="a", rule="r", verdict="ask", summary="s"
        )
        decisions.record(tx, decision)
        tokens.issue(tx, "person:ada", "test")


def verify(database: Database) -> events.Verification:
    with database.read() as reader:
        return events.verify(reader)


def tamper(database: Database, statement: sa.Executable) -> None:
    with database.engine.connect() as connection, connection.begin():
        connection.execute(statement)


def test_the_untouched_stream_verifies(database: Database) -> None:
    assert verify(database).intact and verify(database).checked == 3


def test_every_column_is_covered() -> None:
    assert set(FORGED) == set(events.events.c.keys())


@pytest.mark.parametrize("column", sorted(FORGED))
@pytest.mark.parametrize("seq", [1, 2, 3])
def test_a_changed_column_is_found(database: Database, column: str, seq: int) -> None:
    tamper(database, sa.update(events.events).where(events.events.c.seq == seq).values({column: FORGED[column]}))
    found = verify(database)
    assert not found.intact
    assert found.first_bad is not None and found.first_bad <= (99 if column == "seq" else seq + 1) and found.why


@pytest.mark.parametrize("seq", [1, 2, 3])
def test_a_removed_entry_is_found(database: Database, seq: int) -> None:
    tamper(database, sa.delete(events.events).where(events.events.c.seq == seq))
    assert not verify(database).intact


@pytest.mark.parametrize("values", [{"payload": b"{}"}, {"salt": b"0" * 16}])
def test_a_changed_payload_is_found_and_an_erased_one_is_not_a_fault(
    database: Database, values: dict[str, bytes]
) -> None:
    with database.write(actor="person:ada") as tx:
        events.erase(tx, 1)
    assert verify(database).intact
    tamper(database, sa.update(events.event_payloads).where(events.event_payloads.c.seq == 2).values(values))
    assert verify(database).first_bad == 2
