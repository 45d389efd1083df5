"""Rows: transactions are whole, commits are grouped, nothing acknowledged is lost."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from homeostat.foundation import events, migrations
from homeostat.foundation.clock import DrivenClock
from homeostat.foundation.database import NESTED_WRITE, UNSUPPORTED, Database, metadata
from homeostat.foundation.errors import HomeostatError


class Noted(events.Event, frozen=True, kw_only=True, tag="test.noted"):
    """Something to write."""

    n: int


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(f"sqlite:///{tmp_path / 'homeostat.db'}", DrivenClock(1_000))
    metadata.create_all(made.engine)
    yield made
    made.close()


def note(database: Database, n: int) -> None:
    with database.write(actor="person:test") as tx:
        events.emit(tx, Noted(subject="thing/1", n=n))


def noted(database: Database) -> list[int]:
    with database.read() as reader:
        return [e.payload["n"] for e in events.read_after(reader, limit=10_000) if e.payload]


def test_a_failed_block_changes_nothing_and_harms_no_neighbour(database: Database) -> None:
    note(database, 1)
    with pytest.raises(KeyError), database.write(actor="person:test") as tx:
        events.emit(tx, Noted(subject="thing/1", n=2))
        raise KeyError
    note(database, 3)
    assert noted(database) == [1, 3]


def test_writers_on_many_threads_commit_in_groups(database: Database) -> None:
    start = threading.Barrier(8)

    def write(first: int) -> None:
        start.wait()
        for n in range(first, first + 25):
            note(database, n)

    threads = [threading.Thread(target=write, args=(100 * k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(noted(database)) == sorted(100 * k + i for k in range(8) for i in range(25))
    assert database.commits < 200
    with database.read() as reader:
        assert events.verify(reader).intact


def test_a_write_inside_a_write_is_refused(database: Database) -> None:
    with (
        pytest.raises(HomeostatError) as caught,
        database.write(actor="person:test"),
        database.write(actor="person:test"),
    ):
        pass
    assert caught.value.entry is NESTED_WRITE


def test_a_reader_sees_what_was_acknowledged(database: Database) -> None:
    note(database, 1)
    with database.read() as reader:
        assert reader.execute(sa.select(sa.func.count()).select_from(events.events)).scalar() == 1


def test_an_address_it_cannot_use_is_named_without_its_password() -> None:
    with pytest.raises(HomeostatError) as caught:
        Database("postgresql://me:secret@localhost/x")
    assert caught.value.entry is UNSUPPORTED
    assert "secret" not in str(caught.value)


WRITER = """
import sys
from pathlib import Path
from homeostat.foundation import events
from homeostat.foundation.database import Database, metadata
class Noted(events.Event, frozen=True, kw_only=True, tag="test.noted"):
    n: int
database = Database(f"sqlite:///{sys.argv[1]}")
metadata.create_all(database.engine)
n = 0
while True:
    with database.write(actor="person:test") as tx:
        events.emit(tx, Noted(subject="thing/1", n=n))
    print(n, flush=True)
    n += 1
"""


def test_kill_loses_nothing_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "homeostat.db"
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    acknowledged = [int(process.stdout.readline()) for _ in range(40)]
    os.kill(process.pid, signal.SIGKILL)
    acknowledged += [int(line) for line in process.stdout.read().split()]
    process.stdout.close()
    process.wait()
    database = Database(f"sqlite:///{path}")
    try:
        found = noted(database)
        assert found[: len(acknowledged)] == acknowledged
        assert len(found) - len(acknowledged) <= 1
        with database.read() as reader:
            assert events.verify(reader).intact
    finally:
        database.close()


def test_an_older_database_gains_what_is_missing_after_a_backup(tmp_path: Path) -> None:
    path = tmp_path / "homeostat.db"
    database = Database(f"sqlite:///{path}")
    migrations.prepare(database)
    note(database, 1)
    database.close()
    with sqlite3.connect(path) as raw:
        raw.execute("ALTER TABLE events DROP COLUMN decision_id")
        raw.execute("UPDATE schema_state SET digest = 'of an older version'")
    raw.close()
    database = Database(f"sqlite:///{path}")
    try:
        assert migrations.prepare(database) == ["events.decision_id"]
        assert migrations.prepare(database) == []
        assert noted(database) == [1]
        assert len(list(tmp_path.glob("*.backup.db"))) == 1
    finally:
        database.close()


def test_an_older_database_gains_indexes_and_columns_with_a_default(tmp_path: Path) -> None:
    from homeostat.serving import tables

    path = tmp_path / "homeostat.db"
    database = Database(f"sqlite:///{path}")
    migrations.prepare(database)
    database.close()
    with sqlite3.connect(path) as raw:
        raw.execute("DROP INDEX ix_events_kind")
        raw.execute("ALTER TABLE endpoints DROP COLUMN predictions")
        names = "id, project, name, model, created_at, arms, epoch, paused, watermark, replaying"
        raw.execute(
            f"INSERT INTO endpoints ({names}) VALUES ('e', 'default', 'fraud', 'fraud', 1, x'5b5d', 0, 0, NULL, 0)"
        )
        raw.execute("UPDATE schema_state SET digest = 'of an older version'")
    raw.close()
    database = Database(f"sqlite:///{path}")
    try:
        assert sorted(migrations.prepare(database)) == ["endpoints.predictions", "ix_events_kind"]
        assert "ix_events_kind" in {i["name"] for i in sa.inspect(database.engine).get_indexes("events")}
        with database.read() as reader:
            assert reader.execute(sa.select(tables.endpoints.c.predictions)).scalar() == 0
        assert migrations.prepare(database) == []
    finally:
        database.close()


def test_a_schema_that_needs_more_than_additions_waits_for_a_person(tmp_path: Path) -> None:
    path = tmp_path / "homeostat.db"
    database = Database(f"sqlite:///{path}")
    migrations.prepare(database)
    database.close()
    with sqlite3.connect(path) as raw:
        raw.execute("CREATE TABLE of_a_later_version (id INTEGER)")
        raw.execute("UPDATE schema_state SET digest = 'of a later version'")
    raw.close()
    database = Database(f"sqlite:///{path}")
    try:
        with pytest.raises(HomeostatError) as caught:
            migrations.prepare(database)
        assert caught.value.code == "database.needs_migrate"
    finally:
        database.close()
