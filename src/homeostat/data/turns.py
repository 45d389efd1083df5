"""One writer for each table at a time, on this machine. Worker-side: `Stores` loads polars.

Two people asking for the same ingest in the same moment start two workers with the same job. The second waits here,
then finds the first one's rows. The lock goes with its process, so a killed worker never leaves it behind. Between
machines the table's own commit check decides (the later commit fails, and its job, run again, finds the rows there),
except for the very first append of a table, which only this lock guards.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from homeostat.foundation.stores import Stores


@contextmanager
def turn(stores: Stores, table: str) -> Iterator[None]:
    """Wait until no other process or thread of this machine writes `table`; hold it for the block."""
    path = stores.home / "locks" / f"{table}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
