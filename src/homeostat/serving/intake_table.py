"""The worker half of the intake: records of segments become rows of predictions tables.

Columns: prediction_id, request, row, event_at, recorded_at, version, arm, status, latency (microseconds), key, subject,
caller_id, principal, then `in.<column>` for each input and `out.label`, `out.score` (or `out.score_<k>`), `out.value`.
A refused request is one row with row = -1 and no inputs.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import polars as pl

from homeostat.data.turns import turn
from homeostat.foundation.stores import Stores
from homeostat.inference.wire import Prediction, read_segment
from homeostat.serving.records import IntakeJob, IntakeResult, SegmentPart, Taken

_LARGEST_READ = 64 << 20
_REPLAY_GAP = 60_000_000  # an event time further than this from the recorded time was set by a replay

_FIXED: dict[str, pl.DataType] = {
    "prediction_id": pl.String(),
    "request": pl.String(),
    "row": pl.Int32(),
    "event_at": pl.Int64(),
    "recorded_at": pl.Int64(),
    "version": pl.Int32(),
    "arm": pl.String(),
    "status": pl.Int32(),
    "latency": pl.Int64(),
    "key": pl.String(),
    "subject": pl.String(),
    "caller_id": pl.String(),
    "principal": pl.String(),
}


def table_name(project: str, endpoint: str) -> str:
    """The predictions table of an endpoint."""
    return f"{project}/predictions/{endpoint}"


def take(job: IntakeJob, stores: Stores) -> IntakeResult:
    """Append what the parts hold; each (segment, table) pair takes only records beyond its last app transaction."""
    ends: dict[str, int] = {}
    seen: dict[tuple[str, str], list[Prediction]] = defaultdict(list)
    for part in job.parts:
        fresh: dict[tuple[str, str], list[tuple[int, Prediction]]] = defaultdict(list)
        for end, record in _records(part):
            ends[part.stem] = end
            name = job.names.get(record.endpoint)
            if name is not None:
                fresh[record.project, name].append((end, record))
                seen[record.project, name].append(record)
        for (project, endpoint), items in fresh.items():
            _append(stores, table_name(project, endpoint), part.stem, items)
    return IntakeResult(ends=ends, taken=tuple(_taken(key, records) for key, records in seen.items()))


def _records(part: SegmentPart) -> Any:
    path = Path(part.path)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        data = path.with_suffix(".sealed").read_bytes()
    for end, record in read_segment(data, part.start):
        yield end, record
        if end - part.start > _LARGEST_READ:
            return


def _append(stores: Stores, table: str, stem: str, items: list[tuple[int, Prediction]]) -> None:
    with turn(stores, table):  # a worker of a control plane that was killed may not be gone yet
        done = stores.tables.last_sequence(table, stem) or 0
        fresh = [record for end, record in items if end > done]
        if fresh:
            frame = _fitted(frame_of(fresh), stores.tables.schema(table))
            stores.tables.append(table, frame, writer=stem, sequence=items[-1][0])


def _fitted(frame: pl.DataFrame, schema: dict[str, pl.DataType]) -> pl.DataFrame:
    """The frame in the types that the table has.

    A column of nulls alone does not say what it holds, so it is left out until a value of it comes. An input that
    changed its kind (the endpoint was emptied and got another model) keeps the table's: what does not fit is null.
    """
    unknown = [c for c in frame.columns if c not in _FIXED and c not in schema and frame[c].null_count() == len(frame)]
    wanted = [pl.col(c).cast(schema[c], strict=False) for c in frame.columns if c in schema]
    return frame.with_columns(wanted).drop(unknown)


def frame_of(records: list[Prediction]) -> pl.DataFrame:
    """One row for each predicted row, in order; a refused request gives one row with row = -1."""
    columns: dict[str, list[Any]] = {name: [] for name in _FIXED}
    values: dict[str, list[Any]] = {}
    total = 0
    for record in records:
        count = max(record.rows, 1)
        request = record.request.hex()
        rows = range(record.rows) if record.rows else (-1,)
        columns["prediction_id"] += [f"{request}-{i}" for i in rows]
        columns["row"] += rows
        columns["key"] += _texts(record.keys, count)
        columns["subject"] += _texts(record.subjects, count)
        fixed: dict[str, Any] = {
            "request": request,
            "event_at": record.event_at,
            "recorded_at": record.recorded_at,
            "version": record.version,
            "arm": record.arm,
            "status": record.status,
            "latency": record.latency,
            "caller_id": record.caller_id,
            "principal": record.principal,
        }
        for name, value in fixed.items():
            columns[name] += [value] * count
        if record.rows:
            for prefix, block in (("in.", record.inputs), ("out.", record.outputs)):
                for name, column in block.items():
                    _extend(values, prefix + name, column, total)
        total += count
    for column in values.values():
        column += [None] * (total - len(column))
    frame = pl.DataFrame(columns, schema=_FIXED)
    return frame.with_columns([_series(name, column) for name, column in values.items()])


def _texts(values: list[str | int | None] | None, count: int) -> list[str | None]:
    if not values:
        return [None] * count
    return [None if value is None else str(value) for value in values]


def _extend(values: dict[str, list[Any]], name: str, column: list[Any], before: int) -> None:
    if column and isinstance(column[0], list | tuple):  # a score for each class
        for k in range(len(column[0])):
            _extend(values, f"{name}_{k}", [row[k] for row in column], before)
        return
    have = values.setdefault(name, [])
    have += [None] * (before - len(have))
    have += column


def _series(name: str, column: list[Any]) -> pl.Series:
    """A column with one type for good: numbers as floats, so that a later batch of the same column always fits."""
    first = next((v for v in column if v is not None), None)
    if name == "out.label" or isinstance(first, str):
        return pl.Series(name, [None if v is None else str(v) for v in column], dtype=pl.String)
    return pl.Series(name, column, dtype=pl.Float64, strict=False)


def _taken(key: tuple[str, str], records: list[Prediction]) -> Taken:
    """What was taken in for one endpoint. Event time comes from what was answered or failed, not from bad requests:
    those say nothing about the world, and anybody who may call can send one."""
    answered = [r for r in records if r.arm != "shadow"]
    timed = [r for r in records if r.status == 200 or r.status >= 500]
    told = [r for r in timed if r.event_at != r.recorded_at]  # by the caller, who may replay
    times = [r.event_at for r in told or timed]
    return Taken(
        project=key[0],
        endpoint=key[1],
        requests=len(answered),
        rows=sum(r.rows for r in answered),
        failed=sum(r.status >= 500 for r in answered),
        first_event_at=min(times, default=None),
        last_event_at=max(times, default=None),
        replayed=any(abs(r.event_at - r.recorded_at) > _REPLAY_GAP for r in told),
        told=bool(told),
    )
