"""Rows that were set aside, and why. The rows themselves are an object: Parquet, cells as text (`reason.held`)."""

from __future__ import annotations

import msgspec
import sqlalchemy as sa

from homeostat.data.records import QuarantineReason
from homeostat.data.tables import quarantine_reasons
from homeostat.foundation.database import Reader


def listing(
    reader: Reader, dataset: str, *, version: int | None = None, limit: int | None = None
) -> list[QuarantineReason]:
    """Reasons, those of the newest ingest first; within one ingest in order of file and rule.

    A row that broke several rules counts under each. Reasons of a refused version are among them: its rows were not
    taken in, and come again when its files do.
    """
    query = sa.select(quarantine_reasons.c.record).where(
        quarantine_reasons.c.project == reader.project, quarantine_reasons.c.dataset == dataset
    )
    if version is not None:
        query = query.where(quarantine_reasons.c.version == version)
    query = query.order_by(quarantine_reasons.c.id.desc())
    rows = reader.execute(query if limit is None else query.limit(limit)).scalars()
    found = [msgspec.json.decode(record, type=QuarantineReason) for record in rows]
    return sorted(found, key=lambda reason: -reason.at)  # stable: newest ingest first
