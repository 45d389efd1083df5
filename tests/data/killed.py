"""A process that ingests (or folds) and kills itself with SIGKILL at a named point. Run by test_killed.py.

Arguments: the job's file, the home, the point: "before" or "after" the append, or a count of bytes put as objects.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from homeostat.data.ingest import ingest
from homeostat.data.label_table import fold
from homeostat.data.records import FoldJob, IngestJob
from homeostat.foundation.objects import Objects
from homeostat.foundation.stores import Stores
from homeostat.foundation.tables import Tables


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class DyingTables(Tables):
    """Tables that die beside an append."""

    point = ""

    def append(self, *args: Any, **kwargs: Any) -> int:
        if self.point == "before":
            die()
        version = super().append(*args, **kwargs)
        if self.point == "after":
            die()
        return version


class DyingObjects(Objects):
    """Objects that die while the n-th one is written."""

    left = -1

    def put(self, stream: Iterable[bytes]) -> str:
        self.left -= 1
        if self.left == 0:
            die()
        return super().put(stream)


if __name__ == "__main__":
    job_file, home, point = sys.argv[1:]
    tables, objects = DyingTables(Path(home) / "tables"), DyingObjects(Path(home) / "objects")
    tables.point = point
    if point.isdigit():
        objects.left = int(point)
    stores = Stores(Path(home), objects, tables)
    data = Path(job_file).read_bytes()
    if Path(job_file).name == "fold":
        fold(msgspec.msgpack.decode(data, type=FoldJob), stores)
    else:
        ingest(msgspec.msgpack.decode(data, type=IngestJob), stores)
    print("done")
