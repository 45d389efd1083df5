"""Which predictions have labels, by what was known when. Worker-side.

The labels table keeps every label ever recorded, late, out of order and corrected. For one prediction the label with
the latest `known_at` counts (of equals, the later batch); none known later than the asked time does. A detector takes
each labelled prediction once, at its first label; a later correction changes the window's record, not the detector.
"""

from __future__ import annotations

import msgspec
import polars as pl

from homeostat.foundation.stores import Stores
from homeostat.monitoring.records import Cursor

ID = "prediction_id"


def table_name(project: str, dataset: str) -> str:
    """The labels table of a dataset."""
    return f"{project}/labels/{dataset}"


def labels(stores: Stores, project: str, dataset: str, *, known_at: int, newest: int, cursor: Cursor) -> pl.DataFrame:
    """One row for each key or prediction id that had a label by `known_at`, in batches up to `newest`.

    Columns: key, prediction_id (one of them null), value (JSON text), `known` (when its first label was), `before` (it
    had a label already at `cursor`), `changed` (its label is new or another since).
    """
    name = table_name(project, dataset)
    if not stores.tables.exists(name):
        return nothing()
    old = (pl.col("known_at") <= cursor.until) & (pl.col("batch") <= cursor.batch)
    wanted = (pl.col("known_at") <= known_at) & (pl.col("batch") <= newest)
    rows = stores.tables.scan(name).select("key", ID, "known_at", "value", "batch").filter(wanted)
    return (
        rows.sort("known_at", "batch")
        .group_by("key", ID, maintain_order=True)
        .agg(
            pl.col("value").last(),
            pl.col("known_at").min().alias("known"),
            old.any().alias("before"),
            (~old).any().alias("changed"),
        )
        .collect()
    )


def join(predictions: pl.LazyFrame, known: pl.DataFrame) -> pl.LazyFrame:
    """The predictions that have a label in `known`, by prediction id first, else by key."""
    by_id = known.filter(pl.col(ID).is_not_null()).drop("key").lazy()
    by_key = known.filter(pl.col(ID).is_null() & pl.col("key").is_not_null()).drop(ID).lazy()
    direct = predictions.join(by_id, on=ID, how="inner")
    keyed = predictions.join(by_id, on=ID, how="anti").join(by_key, on="key", how="inner")
    return pl.concat([direct, keyed.select(direct.collect_schema().names())])


def decoded(values: pl.Series) -> list[object]:
    """The labels' values from their JSON text."""
    known = {text: msgspec.json.decode(text) for text in values.unique().to_list()}
    return [known[text] for text in values.to_list()]


def newest_batch(stores: Stores, project: str, dataset: str) -> int:
    """The newest batch in the labels table; -1 where there is none."""
    name = table_name(project, dataset)
    if not stores.tables.exists(name):
        return -1
    found = stores.tables.scan(name).select(pl.col("batch").max()).collect().item()
    return -1 if found is None else int(found)


def nothing() -> pl.DataFrame:
    """No labels at all, in the columns of `labels`."""
    return pl.DataFrame(
        schema={
            "key": pl.String,
            ID: pl.String,
            "value": pl.String,
            "known": pl.Int64,
            "before": pl.Boolean,
            "changed": pl.Boolean,
        }
    )
