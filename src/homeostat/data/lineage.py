"""From versions back to files: which files made a dataset what it is, and which were left out and why."""

from __future__ import annotations

import msgspec
import sqlalchemy as sa

from homeostat.data.records import Finding, SourceFile
from homeostat.data.tables import dataset_files, dataset_findings
from homeostat.foundation.database import Reader


def files(reader: Reader, dataset: str, version: int | None = None) -> list[SourceFile]:
    """The files taken in, by path; with `version`, those that its rows come from (its own and its ancestors').

    Without `version` this includes files of which every row went to quarantine.
    """
    query = sa.select(dataset_files.c.record).where(
        dataset_files.c.project == reader.project, dataset_files.c.dataset == dataset
    )
    if version is not None:
        query = query.where(dataset_files.c.version <= version)
    rows = reader.execute(query.order_by(dataset_files.c.path)).scalars()
    return [msgspec.json.decode(record, type=SourceFile) for record in rows]


def version_of(reader: Reader, dataset: str, digest: str) -> int | None:
    """The number of the version that a file's content (blake3 digest) came in with; None where it is not in any."""
    query = sa.select(dataset_files.c.version).where(
        dataset_files.c.project == reader.project, dataset_files.c.dataset == dataset, dataset_files.c.digest == digest
    )
    return reader.execute(query).scalar()


def findings(reader: Reader, dataset: str) -> list[Finding]:
    """What was found about files, the newest first: each finding once for each content of the file."""
    query = (
        sa.select(dataset_findings.c.record)
        .where(dataset_findings.c.project == reader.project, dataset_findings.c.dataset == dataset)
        .order_by(dataset_findings.c.at.desc(), dataset_findings.c.path)
    )
    return [msgspec.json.decode(record, type=Finding) for record in reader.execute(query).scalars()]
