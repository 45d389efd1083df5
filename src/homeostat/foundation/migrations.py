"""The schema: created on a fresh database, brought up to date on an older one.

A start applies what only adds (tables, columns that may be null) by itself, after a backup of the file; anything else
waits for `homeostat migrate`. Whether there is anything to do is told by a digest of the schema kept in the database,
so that Alembic is imported only when it lags.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.schema import CreateTable

from homeostat.foundation.clock import SystemClock
from homeostat.foundation.database import Database, metadata
from homeostat.foundation.errors import Kind, entry
from homeostat.foundation.ids import digest_of

NEEDS_MIGRATE = entry(
    "database.needs_migrate",
    Kind.CONFLICT,
    "the database was made by another version and needs more than additions: {changes}",
    "run: homeostat migrate (a backup is made first)",
)

schema_state = sa.Table(
    "schema_state",
    metadata,
    sa.Column("project", sa.Text, primary_key=True),  # always "": one schema for all
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("applied_at", sa.BigInteger, nullable=False),
)


def prepare(database: Database) -> list[str]:
    """Make the database fit the code; returns what was added, in words. Call after every `tables.py` is imported."""
    wanted = schema_digest()
    inspector = sa.inspect(database.engine)
    if not inspector.has_table("schema_state"):
        metadata.create_all(database.engine)
        _remember(database, wanted)
        return []
    with database.engine.connect() as connection:
        have = connection.execute(sa.select(schema_state.c.digest)).scalar()
    if have == wanted:
        return []
    additions, others = _differences(database)
    if others:
        raise NEEDS_MIGRATE(field="database", changes="; ".join(others))
    back_up(database.url)
    metadata.create_all(database.engine)
    with database.engine.connect().execution_options(homeostat_writer=True) as connection:
        for table, column in additions:
            kind = column.type.compile(dialect=database.engine.dialect)
            connection.exec_driver_sql(f'ALTER TABLE "{table}" ADD COLUMN "{column.name}" {kind}')
        connection.commit()
    _remember(database, wanted)
    return [f"{table}.{column.name}" for table, column in additions]


def schema_digest() -> str:
    """A digest over the definition of every table."""
    words = [str(CreateTable(table)) for table in metadata.sorted_tables]
    return digest_of("\n".join(sorted(words)).encode())


def back_up(url: str, target: Path | None = None) -> Path:
    """Copy a SQLite database while it is in use, whole and consistent; returns the copy's path."""
    source = Path(url.removeprefix("sqlite:///"))
    target = target or source.with_name(f"{source.stem}-{SystemClock().now()}.backup.db")
    with sqlite3.connect(source) as have, sqlite3.connect(target) as copy:
        have.backup(copy)
    have.close()
    copy.close()
    return target


def _differences(database: Database) -> tuple[list[tuple[str, sa.Column[Any]]], list[str]]:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    additions: list[tuple[str, sa.Column[Any]]] = []
    others: list[str] = []
    with database.engine.connect() as connection:
        found = compare_metadata(MigrationContext.configure(connection), metadata)
    for change in found:
        one = change[0] if isinstance(change, list) else change
        if one[0] == "add_column" and one[3].nullable:
            additions.append((one[2], one[3]))
        elif one[0] not in ("add_table", "add_index"):
            others.append(" ".join(str(part) for part in one[:4]))
    return additions, others


def _remember(database: Database, digest: str) -> None:
    with database.write(actor="service:migrations") as tx:
        tx.execute(sa.delete(schema_state))
        tx.execute(sa.insert(schema_state).values(project="", digest=digest, applied_at=tx.at))
