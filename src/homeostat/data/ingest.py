"""Take in the new files of a dataset. Worker-side: it loads polars and deltalake.

What happens, in this order: read what is new, settle the kind of each column, hold every row against the contract, keep
the bad rows as an object, append the good ones to the table. The append is the one step that counts: its commit names
an object that holds the whole result. So a worker killed before it leaves nothing behind (but objects nobody names),
and one killed after it is answered, when the job is run again, by reading that result back, even when more files have
come since: those wait for the next ingest.

Besides its own columns every row carries `_version` (the dataset version it came with), `_row` (its place in that
version, from 0), `_file` (where it came from) and `_recorded_at` (microseconds UTC).
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import msgspec
import polars as pl

from homeostat.data import checks, content, contracts, kinds
from homeostat.data.checks import Checked, Group
from homeostat.data.intake import NewFile, new_files
from homeostat.data.records import (
    ColumnKind,
    DatasetVersion,
    Finding,
    IngestJob,
    IngestResult,
    QuarantineReason,
    Rule,
    SourceFile,
)
from homeostat.data.turns import turn
from homeostat.data.versions import table_of
from homeostat.foundation.clock import DAY, format_duration, iso
from homeostat.foundation.errors import Kind, entry
from homeostat.foundation.ids import digest_of
from homeostat.foundation.stores import Stores

KIND_CHANGED = entry(
    "data.kind_changed",
    Kind.CONFLICT,
    "column {column!r} was taken in as {was}; dataset {dataset!r} now calls it {kind}",
    "change the rule back, or give the dataset another name",
)
TABLE_AHEAD = entry(
    "data.table_ahead",
    Kind.CONFLICT,
    "the table of dataset {dataset!r} is at Delta version {actual}, its newest version at {expected}",
    "restore database and tables from the same backup",
)
_SEQUENCE, _RESULT = "homeostat.sequence", "homeostat.result"
_WRITER = "ingest"
_EARLIEST_PLAUSIBLE = 1100 * DAY


@dataclass
class _Good:
    """The rows that passed, by file, and the digest they lead to."""

    frame: pl.DataFrame
    digest: str


def ingest(job: IngestJob, stores: Stores) -> IngestResult:
    """Take in what is new; called again after a kill it repeats nothing and loses nothing.

    Raises `data.no_files`, `data.unreadable_file` or `data.missing_column` (one file matches, and it is at fault; among
    several it is a finding), `data.kind_changed`; then nothing was changed.
    """
    table = table_of(job.project, job.dataset.name)
    with turn(stores, table):
        return _ingest(job, stores, table)


def _ingest(job: IngestJob, stores: Stores, table: str) -> IngestResult:
    done = _already_done(job, stores, table)
    if done is not None:
        return done
    files, findings = new_files(job)
    result = IngestResult(dataset=job.dataset.name, number=job.number, findings=tuple(findings))
    if not files:
        return result
    attempt = _attempt(job, files)
    if attempt == job.last_attempt:
        return msgspec.structs.replace(result, attempt=attempt, refused=job.last_refused)
    groups = checks.group([new.raw for new in files])
    columns = _settle_kinds(job, groups)
    checked = _check(job, files, groups, columns, stores, table)
    sources = tuple(
        msgspec.structs.replace(new.source, quarantined=int(file.bad.sum()))
        for new, file in zip(files, checked, strict=True)
    )
    good = _good_rows(job, sources, checked, columns)
    findings += _odd_time(job, good.frame, sources)
    result = msgspec.structs.replace(result, attempt=attempt, files=sources, findings=tuple(findings))
    refused = _why_refused(job, sources, checked, good.frame)
    number = job.number if good.frame.height or refused else None
    result = msgspec.structs.replace(result, reasons=_reasons(job, sources, checked, number, stores), refused=refused)
    if number is None:
        return result
    version = _version(job, result, good, columns)
    if refused is not None:
        return msgspec.structs.replace(result, version=_held_back(job, version, good, refused, attempt, stores))
    result = msgspec.structs.replace(result, version=version)
    return _append(job, result, good.frame, columns, stores, table)


def _already_done(job: IngestJob, stores: Stores, table: str) -> IngestResult | None:
    """The result of this very job where its rows are in the table already."""
    last = stores.tables.last_sequence(table, _WRITER)
    if last is not None and last >= job.number:
        found = stores.tables.committed(table, _SEQUENCE, str(job.number))
        if found is not None:
            result = msgspec.msgpack.decode(stores.objects.get_bytes(found[1][_RESULT]), type=IngestResult)
            if result.version is not None and result.version.parent == job.parent:
                version = msgspec.structs.replace(result.version, delta_version=found[0])
                return msgspec.structs.replace(result, version=version)
    actual = stores.tables.version(table)
    if actual != job.parent_delta:
        raise TABLE_AHEAD(field="dataset", dataset=job.dataset.name, actual=actual, expected=job.parent_delta)
    return None


def _attempt(job: IngestJob, files: list[NewFile]) -> str:
    """What is about to be judged: these files, against this definition, on top of this version."""
    parts = [job.parent or "", *sorted(f"{new.source.path}\n{new.source.digest}" for new in files)]
    return digest_of(msgspec.json.encode([msgspec.to_builtins(job.dataset), parts]))


def _settle_kinds(job: IngestJob, groups: list[Group]) -> dict[str, ColumnKind]:
    stated = contracts.stated_kinds(job.dataset)
    for name, kind in stated.items():
        was = job.columns.get(name, kind)
        if was != kind and (was, kind) not in kinds.WIDER:
            raise KIND_CHANGED(field=f"checks.{name}", column=name, was=was, kind=kind, dataset=job.dataset.name)
    return kinds.settle(
        [group.raw for group in groups],
        known=job.columns,
        stated=stated,
        ranged=frozenset(rule.column for rule in job.dataset.rules if rule.kind == "between" and rule.column),
        key=job.dataset.key,
    )


def _check(
    job: IngestJob,
    files: list[NewFile],
    groups: list[Group],
    columns: dict[str, ColumnKind],
    stores: Stores,
    table: str,
) -> list[Checked]:
    rules = contracts.full_rules(job.dataset)
    checked = checks.check(groups, [new.raw.height for new in files], columns, rules)
    for rule in rules:
        if rule.kind == "unique":
            checks.add_repeats(checked, rule, _earlier(job, rule, checked, stores, table))
    return checked


def _earlier(job: IngestJob, rule: Rule, checked: list[Checked], stores: Stores, table: str) -> pl.Series:
    """Values of the rule's column that are in the table already, among those the new files bring; as text."""
    name = rule.column or ""
    nothing = pl.Series("value", [], pl.String)
    if job.parent_delta is None or name not in job.columns:
        return nothing
    text = pl.col(name).cast(pl.String).alias("value")
    brought = pl.concat([nothing.to_frame(), *(file.typed.select(text) for file in checked if name in file.typed)])
    scan = stores.tables.scan(table, job.parent_delta).select(text)
    return scan.join(brought.unique().lazy(), on="value", how="semi").collect()["value"]


def _good_rows(
    job: IngestJob, sources: tuple[SourceFile, ...], checked: list[Checked], columns: dict[str, ColumnKind]
) -> _Good:
    frames = [
        file.typed.filter(~file.bad).select(*columns, pl.lit(source.path).alias("_file"))
        for source, file in zip(sources, checked, strict=True)
    ]
    together = pl.concat(frames, rechunk=True)
    digest = content.fold(job.parent, content.digests(together, [frame.height for frame in frames], columns))
    together = together.with_columns(
        pl.lit(job.number, pl.Int64).alias("_version"),
        pl.int_range(pl.len(), dtype=pl.Int64).alias("_row"),
        pl.lit(job.now, pl.Int64).alias("_recorded_at"),
    )
    return _Good(together, digest)


def _why_refused(
    job: IngestJob, sources: tuple[SourceFile, ...], checked: list[Checked], good: pl.DataFrame
) -> str | None:
    """What keeps the new version from being published: rows that break a "stop" rule, or stale data."""
    found = []
    for source, file in zip(sources, checked, strict=True):
        for breach in file.breaches:
            if breach.rule.severity == "stop":
                rows = int(breach.rows.sum())
                told = f"{rows:,} row{'s' if rows > 1 else ''} of {source.path}"
                found.append(f"{contracts.words(breach.rule)}: broken by {told}")
    newest = _newest(job, good)
    for rule in job.dataset.rules:
        if rule.kind != "fresher_than" or rule.within is None or newest is None or rule.severity != "stop":
            continue
        if job.now - newest > rule.within:
            found.append(f"{contracts.words(rule)}: it is {format_duration(job.now - newest)} old")
    return "; ".join(found) or None


def _newest(job: IngestJob, good: pl.DataFrame) -> int | None:
    newest = None if job.dataset.time is None or not good.height else good[job.dataset.time].max()
    known = [at for at in (newest, job.last_event_at) if isinstance(at, int)]
    return max(known) if known else None


def _odd_time(job: IngestJob, good: pl.DataFrame, sources: tuple[SourceFile, ...]) -> list[Finding]:
    """A word about event times that were hardly meant as microseconds."""
    newest = _newest(job, good)
    if newest is None or newest >= _EARLIEST_PLAUSIBLE or not good.height:
        return []
    words = f"the newest {job.dataset.time} is {iso(newest)}: numbers are read as microseconds since 1970 UTC"
    return [Finding(path=sources[-1].path, kind="odd_time", digest=sources[-1].digest, words=words)]


def _reasons(
    job: IngestJob, sources: tuple[SourceFile, ...], checked: list[Checked], number: int | None, stores: Stores
) -> tuple[QuarantineReason, ...]:
    """Keep the bad rows as one object, and say why each rule set some aside."""
    pairs = list(zip(sources, checked, strict=True))
    bad = [checks.bad_rows(file, source.path) for source, file in pairs if file.breaches]
    stale = _stale(job, checked, number)
    if not bad:
        return stale
    held = stores.objects.put_bytes(_parquet(pl.concat(bad, how="diagonal")))
    found = [
        reason for source, file in pairs for reason in checks.reasons(file, source.path, job.dataset.name, number, held)
    ]
    return (*found, *stale)


def _stale(job: IngestJob, checked: list[Checked], number: int | None) -> tuple[QuarantineReason, ...]:
    """Stale data told of, no row set aside: for `fresher_than` rules that do not stop."""
    good = pl.concat([file.typed.filter(~file.bad) for file in checked])
    newest = _newest(job, good)
    return tuple(
        QuarantineReason(dataset=job.dataset.name, version=number, rule=contracts.words(rule), rows=0, file="")
        for rule in job.dataset.rules
        if rule.kind == "fresher_than" and rule.severity != "stop" and rule.within is not None
        if newest is not None and job.now - newest > rule.within
    )


def _version(job: IngestJob, result: IngestResult, good: _Good, columns: dict[str, ColumnKind]) -> DatasetVersion:
    time = good.frame[job.dataset.time] if job.dataset.time is not None and good.frame.height else None
    first = [at for at in (None if time is None else time.min(), job.first_event_at) if isinstance(at, int)]
    return DatasetVersion(
        dataset=job.dataset.name,
        number=job.number,
        digest=good.digest,
        parent=job.parent,
        delta_version=-1,  # known once appended
        rows=job.rows + good.frame.height,
        added=good.frame.height,
        quarantined=sum(file.quarantined for file in result.files),
        files=result.files,
        columns=columns,
        created_at=job.now,
        first_event_at=min(first) if first else None,
        last_event_at=_newest(job, good.frame),
    )


def _held_back(
    job: IngestJob, version: DatasetVersion, good: _Good, refused: str, attempt: str, stores: Stores
) -> DatasetVersion:
    """The version as it is recorded when it was refused: on its parent's rows, its own kept as an object."""
    return msgspec.structs.replace(
        version,
        digest=digest_of(f"refused\n{version.digest}\n{attempt}".encode()),
        columns=job.columns,
        rows=job.rows,
        added=0,
        delta_version=-1 if job.parent_delta is None else job.parent_delta,
        first_event_at=job.first_event_at,
        last_event_at=job.last_event_at,
        published=False,
        refused=refused,
        held=stores.objects.put_bytes(_parquet(good.frame)) if good.frame.height else None,
    )


def _append(
    job: IngestJob,
    result: IngestResult,
    good: pl.DataFrame,
    columns: dict[str, ColumnKind],
    stores: Stores,
    table: str,
) -> IngestResult:
    """The step that counts: rows and result become visible in one commit."""
    named = stores.objects.put_bytes(msgspec.msgpack.encode(result))
    widened = {name: columns[name] for name, kind in job.columns.items() if columns[name] != kind}
    if widened:
        earlier = stores.tables.scan(table, job.parent_delta).with_columns(
            pl.col(name).cast(kinds.DTYPES[kind]) for name, kind in widened.items()
        )
        good = pl.concat([earlier.collect(), good], how="diagonal")
    version = stores.tables.append(
        table,
        good,
        writer=_WRITER,
        sequence=job.number,
        metadata={_SEQUENCE: str(job.number), _RESULT: named},
        replace=bool(widened),
    )
    assert result.version is not None
    return msgspec.structs.replace(result, version=msgspec.structs.replace(result.version, delta_version=version))


def _parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()
