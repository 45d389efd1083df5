"""Monitor states as rows, and the cursor that says how far a version was observed."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import sqlalchemy as sa

from homeostat.foundation.database import Reader, Transaction
from homeostat.monitoring import tables
from homeostat.monitoring.records import Cursor, MonitorState

_decode = msgspec.json.Decoder(MonitorState).decode


def save(tx: Transaction, states: Iterable[MonitorState]) -> None:
    """Keep these states, in place of what was kept of the same monitors."""
    t = tables.monitors
    for state in states:
        key = {"project": tx.project, "endpoint": state.endpoint, "version": state.version, "monitor": state.monitor}
        body = msgspec.json.encode(state)
        where = [t.c[name] == value for name, value in key.items()]
        if not tx.execute(sa.update(t).where(*where).values(body=body)).rowcount:
            tx.execute(sa.insert(t).values(**key, body=body))


def listing(reader: Reader, endpoint: str, version: int | None = None) -> list[MonitorState]:
    """The monitors of an endpoint (of one version, if told), by version and name."""
    t = tables.monitors
    query = sa.select(t.c.body).where(t.c.project == reader.project, t.c.endpoint == endpoint)
    if version is not None:
        query = query.where(t.c.version == version)
    return [_decode(body) for body in reader.execute(query.order_by(t.c.version, t.c.monitor)).scalars()]


def reset(tx: Transaction, endpoint: str, version: int) -> None:
    """Forget the evidence against a version, as when it is put back to work; what was read is not read again."""
    t = tables.monitors
    where = (t.c.project == tx.project, t.c.endpoint == endpoint, t.c.version == version)
    tx.execute(sa.delete(t).where(*where))


def cursor(reader: Reader, endpoint: str, version: int) -> Cursor:
    """How far the version was observed."""
    t = tables.cursors
    where = (t.c.project == reader.project, t.c.endpoint == endpoint, t.c.version == version)
    row = reader.execute(sa.select(t.c.until, t.c.batch, t.c.data).where(*where)).first()
    return Cursor() if row is None else Cursor(until=row.until, batch=row.batch, data=row.data)


def advance(tx: Transaction, endpoint: str, version: int, to: Cursor, *, expected: Cursor) -> bool:
    """Move the cursor from `expected` to `to`; False, and nothing changed, if somebody else moved it meanwhile."""
    if cursor(tx, endpoint, version) != expected:
        return False
    t = tables.cursors
    key = {"project": tx.project, "endpoint": endpoint, "version": version}
    where = [t.c[name] == value for name, value in key.items()]
    values = msgspec.structs.asdict(to)
    if not tx.execute(sa.update(t).where(*where).values(values)).rowcount:
        tx.execute(sa.insert(t).values(**key, **values))
    return True
