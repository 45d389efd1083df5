"""Training sets: rows with the labels that were known at a time, and splits by time. Worker-side: it loads polars."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import polars as pl

from homeostat.data import label_table
from homeostat.data.contracts import RESERVED
from homeostat.data.records import Dataset
from homeostat.data.versions import table_of
from homeostat.foundation.errors import Kind, entry
from homeostat.foundation.stores import Stores

NO_LABEL = entry(
    "data.no_label", Kind.INVALID, "dataset {dataset!r} names no label column", "declare it with label='...'"
)
CANNOT_SPLIT = entry(
    "data.cannot_split", Kind.INVALID, "rows cannot be split by time: {why}", "take in more rows, of more than one time"
)


def table(stores: Stores, project: str, dataset: Dataset, delta_version: int) -> pl.DataFrame:
    """Every row of a version, in event-time order, labels as the files have them; `event_at` is int64 us UTC.

    A dataset without a time column has the time its rows were recorded for `event_at`. The platform's own columns are
    left out. Rows of one event time keep the order they came in. Raises `tables.missing`.
    """
    return _ordered(stores.tables.scan(table_of(project, dataset.name), delta_version), dataset).collect()


def rows(
    stores: Stores,
    project: str,
    dataset: Dataset,
    delta_version: int,
    *,
    known_at: int,
    since: int | None = None,
    until: int | None = None,
    endpoints: Sequence[str] = (),
) -> pl.DataFrame:
    """The rows of a version that were labelled at `known_at`, in event-time order, with column `event_at` (us UTC).

    Only rows with since <= event_at < until. The label column holds the label that was known latest by `known_at` in
    the label table, else the file's own where event_at + label_delay <= known_at; other rows are left out, so no label
    is used before it was known. Labels that name only a prediction id count through the prediction logs of `endpoints`.
    Raises `data.no_label`, `tables.missing`.
    """
    if dataset.label is None:
        raise NO_LABEL(field="label", dataset=dataset.name)
    scan = _ordered(stores.tables.scan(table_of(project, dataset.name), delta_version), dataset)
    if since is not None:
        scan = scan.filter(pl.col("event_at") >= since)
    if until is not None:
        scan = scan.filter(pl.col("event_at") < until)
    frame = scan.collect()
    if dataset.label not in frame.columns:  # no file has brought one yet
        frame = frame.with_columns(pl.lit(None).alias(dataset.label))
    own_known = pl.col("event_at") + dataset.label_delay <= known_at
    frame = frame.with_columns(pl.when(own_known).then(pl.col(dataset.label)).alias(dataset.label))
    if dataset.key is not None:
        labels = _by_key(stores, project, dataset.name, known_at, endpoints)
        frame = _with_labels(frame, labels, dataset.key, dataset.label)
    return frame.filter(pl.col(dataset.label).is_not_null())


def split(
    frame: pl.DataFrame, held_out: float = 0.25, *, window: int | None = None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The earlier rows and the later ones, about `held_out` of them, by `event_at`; one time is never on both sides.

    With `window` (microseconds; a season, such as a day) the cut falls on the beginning of one, where there is one
    between the rows: half a day held out would not look like a day. Raises `data.cannot_split` where all rows are of
    one time, or `held_out` is not between 0 and 1.
    """
    if not 0 < held_out < 1:
        raise CANNOT_SPLIT(field="held_out", why=f"the share held out is {held_out}, not between 0 and 1")
    frame = frame.sort("event_at", maintain_order=True)
    times = frame["event_at"]
    if times.n_unique() < 2:
        raise CANNOT_SPLIT(field="event_at", why=f"{frame.height} rows have {times.n_unique()} different times")
    at = times[min(frame.height - 1, max(1, round(frame.height * (1 - held_out))))]
    if at == times[0]:  # the first time reaches past the cut: hold out everything after it
        at = times.filter(times > at)[0]
    if window is not None and at // window * window > times[0]:
        at = at // window * window
    return frame.filter(pl.col("event_at") < at), frame.filter(pl.col("event_at") >= at)


def _ordered(scan: pl.LazyFrame, dataset: Dataset) -> pl.LazyFrame:
    time = dataset.time if dataset.time is not None else "_recorded_at"
    return (
        scan.with_columns(pl.col(time).cast(pl.Int64).alias("event_at"))
        .sort("event_at", "_version", "_row")
        .drop(RESERVED)
    )


def _by_key(stores: Stores, project: str, dataset: str, known_at: int, endpoints: Sequence[str]) -> pl.DataFrame:
    """One label a key: columns `_key`, `value` (JSON text), `number`."""
    labels = label_table.known(stores, project, dataset, known_at).with_row_index("_order")
    logs = [
        stores.tables.scan(name).select("prediction_id", pl.col("key").alias("_logged")).drop_nulls()
        for name in (f"{project}/predictions/{endpoint}" for endpoint in endpoints)
        if stores.tables.exists(name)
    ]
    key = pl.col("key")
    if logs:
        wanted = labels.filter(key.is_null()).select("prediction_id").lazy()
        logged = pl.concat(logs).join(wanted, on="prediction_id", how="semi").unique("prediction_id").collect()
        labels = labels.join(logged, on="prediction_id", how="left")
        key = pl.coalesce("key", "_logged")
    return (
        labels.with_columns(key.alias("_key"))
        .drop_nulls("_key")
        .sort("known_at", "_order")
        .unique("_key", keep="last", maintain_order=True)
        .select("_key", "value", "number")
    )


def _with_labels(frame: pl.DataFrame, labels: pl.DataFrame, key: str, label: str) -> pl.DataFrame:
    """The frame with the labels of the table in place of its own, in the label column's type."""
    if not labels.height:
        return frame
    kind = frame.schema[label]
    if kind == pl.Null:
        kind = _type_of(labels)
        frame = frame.with_columns(pl.col(label).cast(kind))
    if kind == pl.String:
        texts = [msgspec.json.decode(value) for value in labels["value"].to_list()]
        told = pl.Series("_label", [text if isinstance(text, str) else str(text) for text in texts], pl.String)
    else:
        told = labels["number"].cast(kind, strict=False).alias("_label")
    joined = frame.with_columns(pl.col(key).cast(pl.String).alias("_key")).join(
        labels.select("_key").with_columns(told), on="_key", how="left", maintain_order="left"
    )
    return joined.with_columns(pl.coalesce("_label", label).alias(label)).drop("_key", "_label")


def _type_of(labels: pl.DataFrame) -> pl.DataType:
    """The type of a label column that no file has filled: text if any is, whole numbers if all are, else numbers."""
    number = labels["number"]
    if number.null_count():
        return pl.String()
    if labels["value"].is_in(["true", "false"]).all():
        return pl.Boolean()
    return pl.Int64() if (number == number.floor()).all() else pl.Float64()
