"""Rows: one database, one writer, short transactions that commit in groups.

Every table is a SQLAlchemy Core `Table` on the one `metadata` here, declared in its domain's `tables.py`. Domain
functions take a `Reader` or a `Transaction` as their first argument and never open one themselves, so a caller decides
what commits together::

    with database.write(actor="person:local", project="default") as tx:
        version = versions.create(tx, model="fraud", package=digest)

`write` returns only when the commit is durable. Writers on many threads share one connection: each works inside a
savepoint, and the last one in line commits for all (group commit), so a failed block never harms its neighbours.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, CursorResult, Engine
from sqlalchemy.pool import QueuePool

from homeostat.foundation.clock import Clock, SystemClock
from homeostat.foundation.errors import Kind, entry

UNSUPPORTED = entry(
    "database.unsupported",
    Kind.INVALID,
    "database address {url!r} is not supported yet; SQLite is",
    "leave the setting 'database' empty to keep a SQLite file in the home",
)
NESTED_WRITE = entry(
    "database.nested_write",
    Kind.FAILED,
    "a write transaction was opened inside another one on the same thread",
    "pass the transaction down instead",
)

metadata = sa.MetaData()

_LARGEST_GROUP = 256


class Reader:
    """A consistent view of one project's rows. Use it on the thread that opened it."""

    def __init__(self, connection: Connection, project: str, key: bytes) -> None:
        self.connection = connection
        self.project = project
        self.key = key  # seals the audit chain and blessings; see `foundation.events`

    def inside(self, project: str) -> Reader:
        """The same snapshot, seen from another project."""
        return Reader(self.connection, project, self.key)

    def execute(self, statement: sa.Executable, parameters: Any = None) -> CursorResult[Any]:
        """Run a Core statement; `parameters` is a mapping, or a list of them for many rows."""
        result = self.connection.execute(statement, parameters)
        assert isinstance(result, CursorResult)
        return result


class Transaction(Reader):
    """A write in progress, on behalf of `actor`, at recorded time `at`.

    `reason` and `decision_id` go with every event the block emits (see `events.emit`).
    """

    def __init__(
        self,
        connection: Connection,
        project: str,
        key: bytes,
        *,
        actor: str,
        at: int,
        reason: str | None = None,
        decision_id: str | None = None,
    ) -> None:
        super().__init__(connection, project, key)
        self.actor = actor
        self.at = at
        self.reason = reason
        self.decision_id = decision_id


class _Group:
    """The blocks that will become durable in one commit."""

    def __init__(self) -> None:
        self.size = 0
        self.done = threading.Event()
        self.failure: BaseException | None = None


class Database:
    """One SQLite file in WAL mode. Thread-safe; a process that writes holds the home's lock (see `app`)."""

    def __init__(self, url: str, clock: Clock | None = None, *, key: bytes = b"\0" * 32) -> None:
        if not url.startswith("sqlite:///"):
            raise UNSUPPORTED(field="database", url=url.split("@")[-1])
        self.url = url
        self.clock = clock or SystemClock()
        self.key = key  # 32 bytes; a home keeps its own in `audit.key`
        self.engine = _sqlite_engine(url)
        self._writer: Connection | None = None
        self._mutex = threading.Lock()
        self._count = threading.Lock()
        self._waiting = 0
        self._group: _Group | None = None
        self._local = threading.local()
        self.commits = 0  # a counter for tests and /metrics

    @contextmanager
    def read(self, project: str = "default") -> Iterator[Reader]:
        """A read-only snapshot; sees every write that had returned before it was opened."""
        with self.engine.connect() as connection, connection.begin():
            yield Reader(connection, project, self.key)

    @contextmanager
    def write(
        self, *, actor: str, project: str = "default", reason: str | None = None, decision_id: str | None = None
    ) -> Iterator[Transaction]:
        """Run the block as one transaction; returns when it is durable, raises (and changes nothing) otherwise."""
        if getattr(self._local, "writing", False):
            raise NESTED_WRITE()
        with self._count:
            self._waiting += 1
        self._mutex.acquire()
        self._local.writing = True
        group: _Group | None = None
        try:
            with self._count:
                self._waiting -= 1
            connection = self._open_group()
            group = self._group
            assert group is not None
            transaction = Transaction(
                connection, project, self.key, actor=actor, at=self.clock.now(), reason=reason, decision_id=decision_id
            )
            with connection.begin_nested():
                yield transaction
            group.size += 1
        finally:
            self._local.writing = False
            try:
                self._close_group_if_last()
            finally:
                self._mutex.release()
        group.done.wait()
        if group.failure is not None:
            raise group.failure

    def close(self) -> None:
        """Commit what is open and let go of the file."""
        with self._mutex:
            if self._writer is not None:
                self._commit()
                self._writer.close()
                self._writer = None
        self.engine.dispose()

    def _open_group(self) -> Connection:
        if self._writer is None:
            self._writer = self.engine.connect().execution_options(homeostat_writer=True)
        if self._group is None:
            self._writer.begin()
            self._group = _Group()
        return self._writer

    def _close_group_if_last(self) -> None:
        with self._count:
            alone = self._waiting == 0
        if self._group is not None and (alone or self._group.size >= _LARGEST_GROUP):
            self._commit()

    def _commit(self) -> None:
        group, self._group = self._group, None
        if group is None or self._writer is None:
            return
        try:
            self._writer.commit()
            self.commits += 1
        except BaseException as failure:
            group.failure = failure
            self._writer.rollback()
        finally:
            group.done.set()


def _sqlite_engine(url: str) -> Engine:
    engine = sa.create_engine(
        url, poolclass=QueuePool, pool_size=8, max_overflow=32, connect_args={"check_same_thread": False}
    )

    @sa.event.listens_for(engine, "connect")
    def _on_connect(connection: Any, _record: Any) -> None:
        # The driver must not begin transactions by itself: we say BEGIN, and whether it takes the write lock.
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=10000"):
            connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("homeostat_writer", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine
