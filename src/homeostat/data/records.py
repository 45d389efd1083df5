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

    path: str
    digest: str
    rows: int
    quarantined: int = 0


class DatasetVersion(Struct, frozen=True, kw_only=True):
    """One version of a dataset. `digest` is over content and parent, so equal digests mean equal data."""

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


class QuarantineReason(Struct, frozen=True, kw_only=True):
    """How many rows of one ingest broke one rule, with a few of them."""

    dataset: str
    version: int | None
    rule: str  # in words: "amount between 0 and 50,000"
    rows: int
    file: str
    examples: tuple[dict[str, Any], ...] = ()
    at: int = 0


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
