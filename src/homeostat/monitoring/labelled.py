"""Which predictions have labels, by what was known when. Worker-side.

Labels come from the labels table, which keeps every one ever recorded, late, out of order and corrected, and from the
dataset's own files, where the label table has none. For one event the label with the latest `known_at` counts (of
equals, the one recorded last); none known later than the asked time does. A detector takes each labelled prediction
once, at its first label; a later correction changes the window's record, not the detector.
"""

from __future__ import annotations

from typing import Any

import msgspec
import polars as pl

from homeostat.data import label_table, versions
from homeostat.foundation.stores import Stores
from homeostat.monitoring.records import Cursor, FileLabels

ID = "prediction_id"
_COLUMNS = ("key", ID, "known_at", "value", "rank", "recorded_at", "batch", "position", "old")


def labels(
    stores: Stores, project: str, dataset: str, *, files: FileLabels | None, known_at: int, newest: int, cursor: Cursor
) -> pl.DataFrame:
    """One row for each event that had a label by `known_at`, in batches up to `newest`.

    Columns: key, prediction_id (one of them may be null), value (JSON text), `known` (when its first label was),
    `before` (it had a label already at `cursor`), `changed` (its label is new or another since).
    """
    sources: list[pl.LazyFrame] = []
    name = label_table.table_of(project, dataset)
    if files is not None and stores.tables.exists(versions.table_of(project, dataset)):
        sources.append(_of_files(stores, versions.table_of(project, dataset), files, known_at, cursor))
    if stores.tables.exists(name):
        wanted = (pl.col("known_at") <= known_at) & (pl.col("batch") <= newest)
        old = (pl.col("known_at") <= cursor.until) & (pl.col("batch") <= cursor.batch)
        rows = stores.tables.scan(name).filter(wanted)
        sources.append(rows.with_columns(pl.lit(1).alias("rank"), old.alias("old")).select(_COLUMNS))
    if not sources:
        return nothing()
    event = pl.when(pl.col("key").is_not_null()).then(pl.lit("k:") + pl.col("key")).otherwise(pl.lit("p:") + pl.col(ID))
    return (
        pl.concat(sources)
        .sort("rank", "known_at", "recorded_at", "batch", "position")
        .with_columns(event.alias("event"))
        .group_by("event", maintain_order=True)
        .agg(
            pl.col("key").first(),
            pl.col(ID).drop_nulls().last(),
            pl.col("value").last(),
            pl.col("known_at").min().alias("known"),
            pl.col("old").any().alias("before"),
            (~pl.col("old")).any().alias("changed"),
        )
        .drop("event")
        .collect()
    )


def join(predictions: pl.LazyFrame, known: pl.DataFrame) -> pl.LazyFrame:
    """The predictions that have a label in `known`, by prediction id first, else by key."""
    by_id = known.filter(pl.col(ID).is_not_null()).drop("key").unique(ID, keep="last").lazy()
    by_key = known.filter(pl.col("key").is_not_null()).drop(ID).lazy()
    direct = predictions.join(by_id, on=ID, how="inner")
    keyed = predictions.join(by_id, on=ID, how="anti").join(by_key, on="key", how="inner")
    return pl.concat([direct, keyed.select(direct.collect_schema().names())])


def decoded(values: pl.Series) -> list[Any]:
    """The labels' values from their JSON text."""
    known = {text: msgspec.json.decode(text) for text in values.unique().to_list()}
    return [known[text] for text in values.to_list()]


def newest_batch(stores: Stores, project: str, dataset: str) -> int:
    """The newest batch in the labels table; -1 where there is none."""
    name = label_table.table_of(project, dataset)
    if not stores.tables.exists(name):
        return -1
    found = stores.tables.scan(name).select(pl.col("batch").max()).collect().item()
    return -1 if found is None else int(found)


def nothing() -> pl.DataFrame:
    """No labels at all, in the columns of `labels`."""
    text, yes = pl.String(), pl.Boolean()
    return pl.DataFrame(
        schema={"key": text, ID: text, "value": text, "known": pl.Int64(), "before": yes, "changed": yes}
    )


def _of_files(stores: Stores, table: str, files: FileLabels, known_at: int, cursor: Cursor) -> pl.LazyFrame:
    """The labels in the dataset's own rows, in the columns of the labels table."""
    rows = stores.tables.scan(table, files.delta_version)
    schema = rows.collect_schema()
    if files.label not in schema or files.key not in schema:
        return pl.LazyFrame(schema=_empty_schema())
    known = pl.col(files.time or "_recorded_at").cast(pl.Int64) + files.delay
    label = pl.col(files.label)
    text = label.cast(pl.String)
    if schema[files.label] == pl.String:  # as JSON: quoted, and what is special in it escaped
        text = label.map_elements(lambda value: msgspec.json.encode(value).decode(), return_dtype=pl.String)
    return (
        rows.filter(label.is_not_null() & (known <= known_at) & (pl.col("_version") <= files.data))
        .select(
            pl.col(files.key).cast(pl.String).alias("key"),
            pl.lit(None, pl.String).alias(ID),
            known.alias("known_at"),
            text.alias("value"),
            pl.lit(0).alias("rank"),
            known.alias("recorded_at"),
            pl.col("_version").cast(pl.Int64).alias("batch"),
            pl.col("_row").cast(pl.Int64).alias("position"),
            ((known <= cursor.until) & (pl.col("_version") <= cursor.data)).alias("old"),
        )
        .select(_COLUMNS)
    )


def _empty_schema() -> dict[str, pl.DataType]:
    text, number = pl.String(), pl.Int64()
    return {
        "key": text,
        ID: text,
        "known_at": number,
        "value": text,
        "rank": pl.Int32(),
        "recorded_at": number,
        "batch": number,
        "position": number,
        "old": pl.Boolean(),
    }
