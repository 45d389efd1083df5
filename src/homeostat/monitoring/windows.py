"""Windows as rows: made by the worker, kept here, replaced when labels changed them."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import sqlalchemy as sa

from homeostat.foundation.database import Reader, Transaction
from homeostat.monitoring import tables
from homeostat.monitoring.records import Window

_decode = msgspec.json.Decoder(Window).decode


def save(tx: Transaction, windows: Iterable[Window]) -> None:
    """Keep these windows; one that is there already (endpoint, version, start) is replaced."""
    t = tables.windows
    for window in windows:
        key = {"project": tx.project, "endpoint": window.endpoint, "version": window.version, "start": window.start}
        body = msgspec.json.encode(window)
        where = [t.c[name] == value for name, value in key.items()]
        if not tx.execute(sa.update(t).where(*where).values(body=body)).rowcount:
            tx.execute(sa.insert(t).values(**key, body=body))


def listing(reader: Reader, endpoint: str, version: int | None = None, limit: int | None = None) -> list[Window]:
    """The newest `limit` windows of an endpoint (of one version, if told), oldest first."""
    t = tables.windows
    query = sa.select(t.c.body).where(t.c.project == reader.project, t.c.endpoint == endpoint)
    if version is not None:
        query = query.where(t.c.version == version)
    query = query.order_by(t.c.start.desc(), t.c.version.desc())
    if limit is not None:
        query = query.limit(limit)
    return [_decode(body) for body in reader.execute(query).scalars()][::-1]
