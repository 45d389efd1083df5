"""Refs: a branch or a tag names a version of a table. Moving one is what publishes data (write, audit, publish)."""

from __future__ import annotations

import sqlalchemy as sa
from msgspec import Struct

from homeostat.foundation.database import Reader, Transaction, metadata
from homeostat.foundation.errors import Kind, entry
from homeostat.foundation.ids import check_name

NO_REF = entry("refs.missing", Kind.NOT_FOUND, "{table!r} has no ref {ref!r}", "list them with: homeostat data log")
MOVED = entry(
    "refs.moved",
    Kind.CONFLICT,
    "ref {ref!r} of {table!r} is at {actual}, not at {expected}",
    "read it again and repeat the change on what is there now",
)

refs = sa.Table(
    "refs",
    metadata,
    sa.Column("project", sa.Text, primary_key=True),
    sa.Column("table_name", sa.Text, primary_key=True),
    sa.Column("ref", sa.Text, primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("moved_at", sa.BigInteger, nullable=False),
)


class Ref(Struct, frozen=True, kw_only=True):
    """A name for one version of a table."""

    table: str
    ref: str
    version: int
    moved_at: int


def get(reader: Reader, table: str, ref: str = "main") -> Ref | None:
    """The ref, or None."""
    query = sa.select(refs).where(refs.c.project == reader.project, refs.c.table_name == table, refs.c.ref == ref)
    row = reader.execute(query).mappings().first()
    return None if row is None else _ref(row)


def listing(reader: Reader, table: str) -> list[Ref]:
    """Every ref of a table, by name."""
    query = sa.select(refs).where(refs.c.project == reader.project, refs.c.table_name == table).order_by(refs.c.ref)
    return [_ref(row) for row in reader.execute(query).mappings()]


def move(tx: Transaction, table: str, ref: str, version: int, *, expected: int | None = None) -> Ref:
    """Point `ref` at `version`. With `expected`, raises `refs.moved` unless it is there now (compare and set)."""
    check_name("ref", ref, field="ref")
    found = get(tx, table, ref)
    if expected is not None and (found.version if found else None) != expected:
        raise MOVED(field="ref", ref=ref, table=table, actual=found.version if found else "nothing", expected=expected)
    key = {"project": tx.project, "table_name": table, "ref": ref}
    if found is None:
        tx.execute(sa.insert(refs).values(**key, version=version, moved_at=tx.at))
    else:
        where = [refs.c[name] == value for name, value in key.items()]
        tx.execute(sa.update(refs).where(*where).values(version=version, moved_at=tx.at))
    return Ref(table=table, ref=ref, version=version, moved_at=tx.at)


def _ref(row: sa.RowMapping) -> Ref:
    return Ref(table=row["table_name"], ref=row["ref"], version=row["version"], moved_at=row["moved_at"])
