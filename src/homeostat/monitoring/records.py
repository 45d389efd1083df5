"""Windows, monitors and incidents."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

Cause = Literal["performance", "drift", "quality", "latency", "errors"]


class Statistic(Struct, frozen=True, kw_only=True):
    """One reading with its setpoint: a number beside the band that is healthy (None: no bound on that side)."""

    name: str
    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0


class Window(Struct, frozen=True, kw_only=True):
    """What was seen of one endpoint version in [start, end) of event time. Recomputed as labels become known."""

    endpoint: str
    version: int
    start: int
    end: int
    requests: int = 0
    rows: int = 0
    errors: int = 0
    labelled: int = 0
    positives: int = 0
    p50: float | None = None  # latency, microseconds
    p95: float | None = None
    p99: float | None = None
    metric: Statistic | None = None  # quality against its band
    drift: tuple[Statistic, ...] = ()  # worst columns first; "score" among them
    quality: tuple[Statistic, ...] = ()


class MonitorState(Struct, frozen=True, kw_only=True):
    """A monitor of one endpoint version: its evidence against "all is as at training", and its page threshold."""

    endpoint: str
    version: int
    monitor: str  # "misses", "false_alarms", "loss", "drift:amount", "score"
    cause: Cause
    evidence: float  # natural log of the e-detector
    threshold: float  # natural log of the page threshold
    observed: int  # observations taken in
    change_at: int | None = None  # event time at which the evidence says it began
    state: bytes = b""  # the detector's own, encoded
    updated_at: int = 0


class Incident(Struct, frozen=True, kw_only=True):
    """Something is not as it should be with one model, for one cause. One open incident for each (endpoint, cause)."""

    id: str
    endpoint: str
    model: str
    version: int
    cause: Cause
    state: Literal["open", "acting", "resolved", "dismissed"]
    opened_at: int
    event_at: int  # event time at which it was noticed
    change_at: int | None  # event time at which it is estimated to have begun
    summary: str  # in words
    evidence: dict[str, Any] = {}
    resolved_at: int | None = None
    resolved_event_at: int | None = None
    resolution: str | None = None


class Finding(Struct, frozen=True, kw_only=True):
    """A monitor's alarm, in words: noticed at event time `event_at`, begun (it is estimated) at `change_at`."""

    monitor: str
    cause: Cause
    event_at: int
    change_at: int
    summary: str
    evidence: dict[str, Any] = {}


class Cursor(Struct, frozen=True, kw_only=True):
    """How far one endpoint version was observed: windows that end by `until`, and labels known by then, in batches up
    to `batch` and dataset versions up to `data`. A label recorded later than it was known counts once, in the next
    block."""

    until: int = 0
    batch: int = -1
    data: int = -1


class FileLabels(Struct, frozen=True, kw_only=True):
    """Labels that the dataset's own files carry: known `delay` microseconds after the event. `data` is the newest
    published dataset version and `delta_version` the table version that holds it."""

    key: str
    label: str
    time: str | None
    delay: int
    data: int
    delta_version: int


class ObserveJob(Struct, frozen=True, kw_only=True):
    """What the worker is asked: observe one endpoint version up to the watermark `until`, in windows of `window`.

    `since` is the event time from which the version's rows count (None: from its first). `latency_budget` is in
    microseconds; `metric` is the quality to show for each window.
    """

    project: str
    endpoint: str
    version: int
    package: str  # manifest digest
    window: int
    until: int
    since: int | None = None
    dataset: str | None = None
    files: FileLabels | None = None
    metric: str | None = None
    latency_budget: float | None = None
    cursor: Cursor = Cursor()
    states: tuple[MonitorState, ...] = ()


class ObserveResult(Struct, frozen=True, kw_only=True):
    """What the worker saw: windows made or made again, the monitors' new states, alarms, and the new cursor."""

    cursor: Cursor
    windows: tuple[Window, ...] = ()
    states: tuple[MonitorState, ...] = ()
    findings: tuple[Finding, ...] = ()
