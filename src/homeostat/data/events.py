"""What happens to datasets."""

from __future__ import annotations

from homeostat.foundation.events import Event


class DatasetDefined(Event, frozen=True, kw_only=True, tag="data.dataset_defined"):
    """A dataset was declared, or its declaration changed."""

    dataset: str
    digest: str  # of the definition


class VersionAdded(Event, frozen=True, kw_only=True, tag="data.version_added"):
    """A version passed its checks and is what ref "main" points at. `event_at` is its newest event time."""

    dataset: str
    number: int
    digest: str
    added: int
    rows: int
    quarantined: int


class VersionRefused(Event, frozen=True, kw_only=True, tag="data.version_refused"):
    """A "stop" rule was broken: the version is recorded, the ref stays where it was."""

    dataset: str
    number: int
    digest: str
    why: str


class RowsQuarantined(Event, frozen=True, kw_only=True, tag="data.rows_quarantined"):
    """Rows of an ingest broke rules and were set aside; `reasons` counts them by rule in words."""

    dataset: str
    rows: int
    files: tuple[str, ...]
    reasons: dict[str, int]
    version: int | None = None


class FileRefused(Event, frozen=True, kw_only=True, tag="data.file_refused"):
    """A file was not taken in, as a whole: see `records.Finding` for the kinds. Told once for each content of it."""

    dataset: str
    path: str
    kind: str
    words: str
