"""Artifacts: rows (run, path) -> digest. The bytes lie in the object store, put there before the row is written."""

from __future__ import annotations

import re

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from homeostat.foundation.database import Reader, Transaction
from homeostat.foundation.objects import BAD_DIGEST
from homeostat.tracking import tables
from homeostat.tracking.limits import check_path
from homeostat.tracking.lookup import require_active
from homeostat.tracking.records import Artifact


def record(tx: Transaction, run_id: str, path: str, digest: str, size: int) -> Artifact:
    """Say that the object `digest` is the run's artifact at `path`; a later one at the same path replaces it."""
    check_path(path)
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise BAD_DIGEST(field="digest", digest=digest[:80])
    require_active(tx, run_id)
    statement = insert(tables.run_artifacts).values(
        project=tx.project, run_id=run_id, path=path, digest=digest, size=size
    )
    tx.execute(
        statement.on_conflict_do_update(
            index_elements=["project", "run_id", "path"],
            set_={"digest": statement.excluded.digest, "size": statement.excluded.size},
        )
    )
    return Artifact(path=path, digest=digest, size=size)


def listing(reader: Reader, run_id: str) -> list[Artifact]:
    """Every artifact of a run, by path."""
    table = tables.run_artifacts
    query = sa.select(table).where(table.c.project == reader.project, table.c.run_id == run_id).order_by(table.c.path)
    rows = reader.execute(query).mappings()
    return [Artifact(path=row["path"], digest=row["digest"], size=row["size"]) for row in rows]
