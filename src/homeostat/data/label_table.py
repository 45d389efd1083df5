"""Labels as a table: folding batches in, and what was known at a time. Worker-side: it loads polars.

Table "{project}/labels/{dataset}" holds every label ever recorded, corrections included, one row each: key and
prediction_id (text), event_at, known_at, recorded_at (microseconds UTC), value (JSON), number (float64, for numbers and
true or false), source, and where it came from: batch and position in it.
"""

from __future__ import annotations

import msgspec
import polars as pl

from homeostat.data.records import FoldJob, FoldResult, Label
from homeostat.data.turns import turn
from homeostat.foundation.stores import Stores

_WRITER = "labels"
_SCHEMA: dict[str, type[pl.DataType]] = {
    "key": pl.String,
    "prediction_id": pl.String,
    "event_at": pl.Int64,
    "known_at": pl.Int64,
    "recorded_at": pl.Int64,
    "value": pl.String,
    "number": pl.Float64,
    "source": pl.String,
    "batch": pl.Int64,
    "position": pl.Int64,
}
KNOWN = ("key", "prediction_id", "event_at", "known_at", "value", "number")


def table_of(project: str, dataset: str) -> str:
    """The name of a dataset's label table."""
    return f"{project}/labels/{dataset}"


def fold(job: FoldJob, stores: Stores) -> FoldResult:
    """Append the job's batches to the label table; those that are in it already are passed over."""
    table = table_of(job.project, job.dataset)
    with turn(stores, table):
        return _fold(job, stores, table)


def _fold(job: FoldJob, stores: Stores, table: str) -> FoldResult:
    last = stores.tables.last_sequence(table, _WRITER) or 0
    rows = []
    for batch in sorted(job.batches, key=lambda batch: batch.id):
        if batch.id <= last:
            continue
        labels = msgspec.msgpack.decode(stores.objects.get_bytes(batch.digest), type=list[Label])
        rows += [_row(label, batch.id, batch.recorded_at, position) for position, label in enumerate(labels)]
    through = max((batch.id for batch in job.batches), default=last)
    if rows:
        frame = pl.DataFrame(rows, schema=_SCHEMA, orient="row")
        version = stores.tables.append(table, frame, writer=_WRITER, sequence=through)
    else:
        found = stores.tables.version(table)
        version = -1 if found is None else found
    return FoldResult(dataset=job.dataset, through=through, labels=len(rows), delta_version=version)


def known(stores: Stores, project: str, dataset: str, at: int | None = None) -> pl.DataFrame:
    """What was known at `at` (microseconds UTC; None: everything): columns `KNOWN`, one row for each event labelled.

    Among the labels of one event with known_at <= at the one known latest wins; among equals, the one recorded last.
    Events are told apart by key, or by prediction id where no label ties that id to a key; an event keeps its
    prediction id and event time when a correction comes without them.
    """
    table = table_of(project, dataset)
    if not stores.tables.exists(table):
        return pl.DataFrame(schema={name: _SCHEMA[name] for name in KNOWN})
    scan = stores.tables.scan(table)
    if at is not None:
        scan = scan.filter(pl.col("known_at") <= at)
    tied = scan.select("prediction_id", pl.col("key").alias("_tied")).drop_nulls().unique("prediction_id")
    return (
        scan.join(tied, on="prediction_id", how="left")
        .with_columns(pl.coalesce("key", "_tied").alias("key"))
        .sort("known_at", "recorded_at", "batch", "position")
        .with_columns(
            pl.when(pl.col("key").is_not_null())
            .then(pl.lit("k:") + pl.col("key"))
            .otherwise(pl.lit("p:") + pl.col("prediction_id"))
            .alias("_event")
        )
        .group_by("_event")
        .agg(
            *(pl.col(name).drop_nulls().last() for name in ("key", "prediction_id", "event_at")),
            *(pl.col(name).last() for name in ("known_at", "value", "number")),
        )
        .sort("_event")
        .select(KNOWN)
        .collect()
    )


def _row(label: Label, batch: int, recorded_at: int, position: int) -> tuple[object, ...]:
    value = label.value
    return (
        None if label.key is None else str(label.key),
        label.prediction_id,
        label.event_at,
        label.known_at if label.known_at is not None else recorded_at,
        recorded_at,
        msgspec.json.encode(value).decode(),
        None if isinstance(value, str) else float(value),
        label.source,
        batch,
        position,
    )
