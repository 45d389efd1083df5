"""The one question every write about a run asks first: is it there, and not deleted?"""

from __future__ import annotations

import sqlalchemy as sa

from homeostat.foundation.database import Reader
from homeostat.foundation.errors import Kind, entry
from homeostat.tracking import tables

NO_RUN = entry("tracking.no_run", Kind.NOT_FOUND, "there is no run {run_id!r}", "list runs with: homeostat runs list")
DELETED = entry(
    "tracking.deleted_run", Kind.CONFLICT, "run {run_id!r} is deleted", "restore it first, or start another run"
)


_lifecycle = sa.select(tables.runs.c.lifecycle).where(
    tables.runs.c.project == sa.bindparam("project"), tables.runs.c.id == sa.bindparam("run_id")
)


def require_active(reader: Reader, run_id: str) -> None:
    """Raise `tracking.no_run` or `tracking.deleted_run` unless the run can be written to."""
    lifecycle = reader.execute(_lifecycle, {"project": reader.project, "run_id": run_id}).scalar()
    if lifecycle is None:
        raise NO_RUN(field="run_id", run_id=str(run_id)[:80])
    if lifecycle != "active":
        raise DELETED(field="run_id", run_id=run_id)
