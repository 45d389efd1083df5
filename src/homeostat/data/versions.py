"""Dataset versions: what to take in next, and what an ingest made of it.

Ref "main" of table "{project}/datasets/{dataset}" points at the number of the newest version that passed its checks.
Numbers count every version, refused ones too.
"""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa

from homeostat.data import datasets, lineage
from homeostat.data.events import FileRefused, RowsQuarantined, VersionAdded, VersionRefused
from homeostat.data.records import DatasetVersion, IngestJob, IngestResult
from homeostat.data.tables import dataset_files, dataset_findings, dataset_versions, quarantine_reasons
from homeostat.foundation import events, refs
from homeostat.foundation.database import Reader, Transaction
from homeostat.foundation.errors import Kind, entry

NO_VERSION = entry(
    "data.no_version",
    Kind.NOT_FOUND,
    "dataset {dataset!r} has no {version}",
    "list its versions with: homeostat data log {dataset}",
)
NUMBER_TAKEN = entry(
    "data.version_taken",
    Kind.CONFLICT,
    "version {number} of dataset {dataset!r} is recorded already, with other content",
    "take in again: homeostat data add {dataset}",
)


def table_of(project: str, dataset: str) -> str:
    """The name of a dataset's table, for `foundation.tables` and `foundation.refs`."""
    return f"{project}/datasets/{dataset}"


def next_ingest(reader: Reader, dataset: str, now: int) -> IngestJob:
    """What a worker needs to take in the new files of `dataset`; freshness is judged at `now` (microseconds UTC).

    Raises `data.no_dataset`. Asked again before the result is recorded it gives the same number, so a job whose worker
    or caller was killed is simply made and run again.
    """
    definition = datasets.get(reader, dataset)
    last = _last(reader, dataset)
    ref = refs.get(reader, table_of(reader.project, dataset))
    parent = None if ref is None else get(reader, dataset, ref.version)
    job = IngestJob(
        project=reader.project,
        dataset=definition,
        number=1 if last is None else last.number + 1,
        now=now,
        known=tuple(lineage.files(reader, dataset)),
        last_attempt=None if last is None or last.published else last.attempt,
        last_refused=None if last is None else get(reader, dataset, last.number).refused,
    )
    if parent is None:
        return job
    return msgspec.structs.replace(
        job,
        columns=parent.columns,
        parent=parent.digest,
        parent_delta=parent.delta_version,
        rows=parent.rows,
        first_event_at=parent.first_event_at,
        last_event_at=parent.last_event_at,
    )


def record(tx: Transaction, result: IngestResult) -> DatasetVersion | None:
    """Write down what an ingest found, once; moves ref "main" when the checks passed.

    Returns the version, refused ones included, or None where no row was added. Recording the same result again changes
    nothing; another result for a number that is taken raises `data.version_taken`.
    """
    name = result.dataset
    if _recorded(tx, result):
        return None if result.version is None else get(tx, name, result.number)
    version = result.version
    if version is not None:
        version = msgspec.structs.replace(version, created_at=tx.at)
        _insert_version(tx, version, result.attempt)
    taken = version is None or version.published
    if taken:
        _insert_files(tx, result)
    for reason in result.reasons:
        at = msgspec.structs.replace(reason, at=tx.at)
        row = {"project": tx.project, "dataset": name, "version": reason.version, "record": msgspec.json.encode(at)}
        tx.execute(sa.insert(quarantine_reasons).values(row))
    _tell_findings(tx, result)
    if version is not None and version.published:
        refs.move(tx, table_of(tx.project, name), "main", version.number)
        _tell_added(tx, version)
    elif version is not None:
        why = version.refused or ""
        subject = f"dataset/{name}/{version.number}"
        told = VersionRefused(subject=subject, dataset=name, number=version.number, digest=version.digest, why=why)
        events.emit(tx, told, reason=why)
    if taken and result.reasons:
        _tell_quarantined(tx, result)
    return version


def get(reader: Reader, dataset: str, number: int | None = None) -> DatasetVersion:
    """A version by number, or the newest published one; raises `data.no_version`."""
    wanted = number
    if wanted is None:
        ref = refs.get(reader, table_of(reader.project, dataset))
        if ref is None:
            raise NO_VERSION(field="version", dataset=dataset, version="published version yet")
        wanted = ref.version
    where = (*_of(reader, dataset), dataset_versions.c.number == wanted)
    found = reader.execute(sa.select(dataset_versions.c.record).where(*where)).scalar()
    if found is None:
        raise NO_VERSION(field="version", dataset=dataset, version=f"version {wanted}")
    return msgspec.json.decode(found, type=DatasetVersion)


def log(reader: Reader, dataset: str) -> list[DatasetVersion]:
    """Every version of a dataset, the newest first, refused ones included."""
    query = sa.select(dataset_versions.c.record).where(*_of(reader, dataset))
    rows = reader.execute(query.order_by(dataset_versions.c.number.desc())).scalars()
    return [msgspec.json.decode(found, type=DatasetVersion) for found in rows]


def _of(reader: Reader, dataset: str) -> tuple[sa.ColumnElement[bool], ...]:
    return dataset_versions.c.project == reader.project, dataset_versions.c.dataset == dataset


def _last(reader: Reader, dataset: str) -> sa.Row[Any] | None:
    columns = (dataset_versions.c.number, dataset_versions.c.published, dataset_versions.c.attempt)
    query = sa.select(*columns).where(*_of(reader, dataset)).order_by(dataset_versions.c.number.desc()).limit(1)
    return reader.execute(query).first()


def _recorded(tx: Transaction, result: IngestResult) -> bool:
    """Whether this very result is in the rows already."""
    if result.version is not None:
        where = (*_of(tx, result.dataset), dataset_versions.c.number == result.number)
        found = tx.execute(sa.select(dataset_versions.c.digest).where(*where)).scalar()
        if found is not None and found != result.version.digest:
            raise NUMBER_TAKEN(field="version", dataset=result.dataset, number=result.number)
        return found is not None
    taken = {file.path for file in lineage.files(tx, result.dataset)} if result.files else set()
    return bool(result.files) and all(file.path in taken for file in result.files)


def _insert_version(tx: Transaction, version: DatasetVersion, attempt: str | None) -> None:
    row = {
        "project": tx.project,
        "dataset": version.dataset,
        "number": version.number,
        "digest": version.digest,
        "published": version.published,
        "attempt": attempt,
        "record": msgspec.json.encode(version),
    }
    tx.execute(sa.insert(dataset_versions).values(row))


def _insert_files(tx: Transaction, result: IngestResult) -> None:
    rows = [
        {
            "project": tx.project,
            "dataset": result.dataset,
            "path": file.path,
            "digest": file.digest,
            "version": None if result.version is None else result.number,
            "record": msgspec.json.encode(file),
        }
        for file in result.files
    ]
    if rows:
        tx.execute(sa.insert(dataset_files), rows)


def _tell_findings(tx: Transaction, result: IngestResult) -> None:
    """Keep each finding once for each content of the file, and tell of it then."""
    for finding in result.findings:
        key = {
            "project": tx.project,
            "dataset": result.dataset,
            "path": finding.path,
            "digest": finding.digest,
            "kind": finding.kind,
        }
        here = [dataset_findings.c[name] == value for name, value in key.items()]
        if tx.execute(sa.select(sa.func.count()).select_from(dataset_findings).where(*here)).scalar():
            continue
        tx.execute(sa.insert(dataset_findings).values(**key, record=msgspec.json.encode(finding), at=tx.at))
        subject = f"dataset/{result.dataset}"
        told = FileRefused(
            subject=subject, dataset=result.dataset, path=finding.path, kind=finding.kind, words=finding.words
        )
        if finding.kind != "odd_time":
            events.emit(tx, told, reason=finding.words)


def _tell_added(tx: Transaction, version: DatasetVersion) -> None:
    told = VersionAdded(
        subject=f"dataset/{version.dataset}/{version.number}",
        event_at=version.last_event_at,
        dataset=version.dataset,
        number=version.number,
        digest=version.digest,
        added=version.added,
        rows=version.rows,
        quarantined=version.quarantined,
    )
    events.emit(tx, told)


def _tell_quarantined(tx: Transaction, result: IngestResult) -> None:
    counts: dict[str, int] = {}
    for reason in result.reasons:
        counts[reason.rule] = counts.get(reason.rule, 0) + reason.rows
    told = RowsQuarantined(
        subject=f"dataset/{result.dataset}",
        dataset=result.dataset,
        rows=sum(file.quarantined for file in result.files),
        files=tuple(dict.fromkeys(reason.file for reason in result.reasons if reason.file)),
        reasons=counts,
        version=None if result.version is None else result.number,
    )
    events.emit(tx, told, reason=", ".join(f"{rule}: {rows}" for rule, rows in counts.items()))
