"""Taking new source files in: the worker reads and checks them, control records the version. Used by pipelines' first
step, and by a gate that waits for newer labelled rows."""

from __future__ import annotations

import threading

from homeostat.data import versions
from homeostat.data.records import DatasetVersion, IngestResult
from homeostat.foundation.database import Database
from homeostat.foundation.killpoints import passing
from homeostat.pipelines.engine import Engine, call

_one_at_a_time = threading.Lock()  # a dataset has one writer; ingests are short, so one lock serves all


def ingest(database: Database, engine: Engine, dataset: str, *, project: str, actor: str) -> DatasetVersion | None:
    """Take in what is new of a dataset; the version it made, or None where nothing was new."""
    with _one_at_a_time:
        with database.read(project) as reader:
            job = versions.next_ingest(reader, dataset, database.clock.now())
        result = call(engine, "homeostat.data.ingest:ingest", job, IngestResult, label=f"ingest {dataset}")
        passing("ingest.returned")
        with database.write(actor=actor, project=project) as tx:
            return versions.record(tx, result)
