"""The right to act alone on something for a while, with a number that grows with each holder.

A holder that was stopped for longer than its lease may wake and still believe it holds it. The fencing number tells:
`check` in the transaction that acts refuses a number that is no longer the newest (Kleppmann, "How to do distributed
locking", 2016). Leases run on wall time and are heartbeats, so they are rows without events.
"""

from __future__ import annotations

import sqlalchemy as sa

from homeostat.foundation.database import Reader, Transaction
from homeostat.foundation.errors import Kind, entry
from homeostat.governance import tables
from homeostat.governance.records import Lease

LOST = entry(
    "leases.lost",
    Kind.CONFLICT,
    "the lease on {name!r} that {holder!r} held as number {fence} is no longer its own",
    "take the lease again, and look at what was done meanwhile",
)
BAD_LEASE = entry(
    "leases.invalid",
    Kind.INVALID,
    "a lease needs a name, a holder and a positive lifetime in microseconds",
    "name what it is on, such as 'endpoint/fraud', and who holds it",
)


def acquire(tx: Transaction, name: str, holder: str, ttl: int) -> Lease | None:
    """Take the lease for `ttl` microseconds, or None while another holds it.

    Whoever holds it already gets it longer, under the same fence; every other taking raises the fence by one.
    """
    if not name or not holder or ttl <= 0:
        raise BAD_LEASE(field="lease")
    row = _row(tx, name)
    if row is None:
        lease = Lease(name=name, holder=holder, until=tx.at + ttl, fence=1)
        values = {"holder": holder, "until": lease.until, "fence": 1}
        tx.execute(sa.insert(tables.leases).values(project=tx.project, name=name, **values))
        return lease
    held = row["until"] > tx.at
    if held and row["holder"] != holder:
        return None
    lease = Lease(name=name, holder=holder, until=tx.at + ttl, fence=row["fence"] if held else row["fence"] + 1)
    _update(tx, lease)
    return lease


def release(tx: Transaction, lease: Lease) -> None:
    """Give the lease back. Its number is kept, so the next holder's is greater; a lost lease is left as it is."""
    row = _row(tx, lease.name)
    if row is not None and row["fence"] == lease.fence and row["holder"] == lease.holder:
        _update(tx, Lease(name=lease.name, holder=lease.holder, until=0, fence=lease.fence))


def check(tx: Transaction, lease: Lease) -> None:
    """Raise `leases.lost` unless `lease` is still the newest holding and has not run out; call it where you act."""
    row = _row(tx, lease.name)
    mine = row is not None and row["fence"] == lease.fence and row["holder"] == lease.holder
    if row is None or not mine or row["until"] <= tx.at:
        raise LOST(field="lease", name=lease.name, holder=lease.holder, fence=lease.fence)


def current(reader: Reader, name: str) -> Lease | None:
    """The newest holding of the lease, perhaps run out (compare `until` with the wall time); None if never taken."""
    row = _row(reader, name)
    if row is None:
        return None
    return Lease(name=name, holder=row["holder"], until=row["until"], fence=row["fence"])


def _row(reader: Reader, name: str) -> sa.RowMapping | None:
    table = tables.leases
    query = sa.select(table).where(table.c.project == reader.project, table.c.name == name)
    return reader.execute(query).mappings().first()


def _update(tx: Transaction, lease: Lease) -> None:
    table = tables.leases
    where = (table.c.project == tx.project, table.c.name == lease.name)
    tx.execute(sa.update(table).where(*where).values(holder=lease.holder, until=lease.until, fence=lease.fence))
