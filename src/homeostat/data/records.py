"""Datasets, their contracts, versions, quarantine and labels."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

ColumnKind = Literal["float", "int", "bool", "string", "time"]


class Rule(Struct, frozen=True, kw_only=True):
    """One rule of a contract about one column (or the whole dataset where `column` is None).

    kinds: type (kind), not_null, between (low, high), one_of (allowed), unique, matches (pattern), fresher_than
    (microseconds; checked against the newest event time). `severity` "quarantine" sets aside the rows that break it;
    "stop" keeps the ref from moving when any row breaks it.
    """

    kind: Literal["type", "not_null", "between", "one_of", "unique", "matches", "fresher_than"]
    column: str | None = None
    column_kind: ColumnKind | None = None
    low: float | None = None
    high: float | None = None
    allowed: tuple[str | int | float | bool, ...] = ()
    pattern: str | None = None
    within: int | None = None
    severity: Literal["quarantine", "stop"] = "quarantine"


class Source(Struct, frozen=True, kw_only=True):
    """Where rows come from: files by path or glob (CSV or Parquet), relative to the project's folder."""

    kind: Literal["files"] = "files"
    pattern: str = ""
    base: str = ""  # folder a relative pattern starts from


class Dataset(Struct, frozen=True, kw_only=True):
    """A dataset as its project defines it."""

    name: str
    source: Source
    key: str | None = None
    time: str | None = None  # the event-time column
    label: str | None = None
    label_delay: int = 0  # microseconds between an event and its label being known
    rules: tuple[Rule, ...] = ()


class SourceFile(Struct, frozen=True, kw_only=True):
    """A file that was taken in: its lineage entry."""

    path: str  # as the pattern gives it: relative to the source's base, unless the pattern is absolute
    digest: str
    rows: int  # read from it, quarantined ones included
    quarantined: int = 0
    size: int = 0
    modified: int = 0  # the file system's nanoseconds; with `size` it saves hashing a file that was not touched


class DatasetVersion(Struct, frozen=True, kw_only=True):
    """One version of a dataset. `digest` is over content and parent, so equal digests mean equal data.

    A version that a "stop" rule refused is recorded with `published` false and `refused` saying why. Its rows are not
    in the table: `delta_version` is its parent's (-1 without one), and the object `held` (Parquet) keeps them for
    whoever looks into it. Its files do not count as taken in, so the next ingest reads them again.
    """

    dataset: str
    number: int
    digest: str
    parent: str | None
    delta_version: int
    rows: int  # of the whole version
    added: int
    quarantined: int
    files: tuple[SourceFile, ...]
    columns: dict[str, ColumnKind]
    created_at: int
    first_event_at: int | None = None
    last_event_at: int | None = None
    published: bool = True  # whether ref "main" moved to it
    refused: str | None = None  # why not
    held: str | None = None  # object digest of a refused version's rows


class QuarantineReason(Struct, frozen=True, kw_only=True):
    """How many rows of one ingest broke one rule, with a few of them."""

    dataset: str
    version: int | None
    rule: str  # in words: "amount between 0 and 50,000"
    rows: int
    file: str
    examples: tuple[dict[str, Any], ...] = ()  # up to 3: "row" (1 is the first below the header) and every cell
    at: int = 0
    column: str | None = None
    held: str | None = None  # object digest of the ingest's bad rows (Parquet: cells as text, _file, _row, _reasons)


class Label(Struct, frozen=True, kw_only=True):
    """What turned out to be true of one event. Found by the dataset's `key`, or by `prediction_id` ("hex-row").

    The label with the latest `known_at` wins; earlier ones are kept (corrections).
    """

    value: float | int | str | bool
    key: str | int | None = None
    prediction_id: str | None = None
    event_at: int | None = None
    known_at: int | None = None  # None: when it was recorded
    source: str = "api"


class Finding(Struct, frozen=True, kw_only=True):
    """Something about a file that a person should know; the file was not taken in, unless `kind` is "odd_time".

    changed: taken in before with other content. copy: its content was taken in under another path. unreadable: not
    CSV or Parquet. missing_column: a rule, the key or the time names a column it lacks. reserved_column: a column has a
    name the platform keeps for itself, or one that differs from another only in case. unsettled: it changed while it
    was read. empty: not even a header. odd_time: the newest event time lies before 1973, so the
    numbers are hardly microseconds.
    """

    path: str
    kind: Literal[
        "changed", "copy", "unreadable", "missing_column", "reserved_column", "unsettled", "empty", "odd_time"
    ]
    words: str
    digest: str = ""


class IngestJob(Struct, frozen=True, kw_only=True):
    """What a worker needs to take in the new files of a dataset; made by `versions.next_ingest`."""

    project: str
    dataset: Dataset
    number: int  # of the version to be made; also the sequence of its Delta append
    now: int
    known: tuple[SourceFile, ...] = ()  # every file taken in so far
    columns: dict[str, ColumnKind] = {}  # of the newest published version
    parent: str | None = None  # its digest
    parent_delta: int | None = None
    rows: int = 0
    first_event_at: int | None = None
    last_event_at: int | None = None
    last_attempt: str | None = None  # what was refused last, so that the same is not refused twice, and why
    last_refused: str | None = None


class IngestResult(Struct, frozen=True, kw_only=True):
    """What an ingest found. `version` is None when no row was added: nothing new, or nothing good among it."""

    dataset: str
    number: int
    version: DatasetVersion | None = None
    files: tuple[SourceFile, ...] = ()  # taken in, also those whose rows all went to quarantine
    reasons: tuple[QuarantineReason, ...] = ()
    findings: tuple[Finding, ...] = ()
    refused: str | None = None  # why the version was refused, also when the same was refused before
    attempt: str | None = None  # digest of the new files and the definition they were held against


class LabelBatch(Struct, frozen=True, kw_only=True):
    """Labels that were recorded together: an object (msgpack of list[Label]) waiting to be folded into the table."""

    id: int
    dataset: str
    digest: str
    labels: int
    recorded_at: int


class FoldJob(Struct, frozen=True, kw_only=True):
    """Batches to fold into a dataset's label table, by id."""

    project: str
    dataset: str
    batches: tuple[LabelBatch, ...]


class FoldResult(Struct, frozen=True, kw_only=True):
    """Every batch up to id `through` is in the label table now."""

    dataset: str
    through: int
    labels: int  # how many this call added
    delta_version: int
