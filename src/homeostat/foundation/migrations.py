"""The schema: created on a fresh database, brought up to date on an older one.

A start applies what only adds (tables, indexes, columns that may be null or have a default) by itself, after a backup
of the file. Anything else is refused and nothing is changed: no version yet needs more, so it means that another
version made the database. Whether there is anything to do is told by a digest of the schema kept in the database, so
that Alembic is imported only when it lags.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.schema import CreateColumn, CreateIndex, CreateTable

from homeostat.foundation.clock import SystemClock
from homeostat.foundation.database import Database, metadata
from homeostat.foundation.errors import Kind, entry
from homeostat.foundation.ids import digest_of

NEEDS_MIGRATE = entry(
    "database.needs_migrate",
    Kind.CONFLICT,
    "the database was made by another version, and more than additions lies between them: {changes}",
    "start the version that made it, or restore a backup of this one: homeostat restore PATH",
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
        for statement in additions.values():
            connection.execute(statement)
        connection.commit()
    _remember(database, wanted)
    return list(additions)


def schema_digest() -> str:
    """A digest over the definition of every table and index."""
    words = [str(CreateTable(table)) for table in metadata.sorted_tables]
    words += [str(CreateIndex(index)) for table in metadata.sorted_tables for index in table.indexes]
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


def _differences(database: Database) -> tuple[dict[str, sa.Executable], list[str]]:
    """What can be added to tables that are there (name -> statement), and what is more than an addition, in words."""
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    additions: dict[str, sa.Executable] = {}
    others: list[str] = []
    with database.engine.connect() as connection:
        found = compare_metadata(MigrationContext.configure(connection), metadata)
    for change in found:
        one = change[0] if isinstance(change, list) else change
        if one[0] == "add_column" and (one[3].nullable or one[3].server_default is not None):
            column = str(CreateColumn(one[3]).compile(dialect=database.engine.dialect))
            additions[f"{one[2]}.{one[3].name}"] = sa.text(f'ALTER TABLE "{one[2]}" ADD COLUMN {column}')
        elif one[0] == "add_index" and not one[1].unique:
            additions[one[1].name] = CreateIndex(one[1], if_not_exists=True)  # that of a new table is made with it
        elif one[0] != "add_table":
            others.append(" ".join(str(part) for part in one[:4]))
    return additions, others


def _remember(database: Database, digest: str) -> None:
    with database.write(actor="service:migrations") as tx:
        tx.execute(sa.delete(schema_state))
        tx.execute(sa.insert(schema_state).values(project="", digest=digest, applied_at=tx.at))
