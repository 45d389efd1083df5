"""Metrics: every point is kept, and the latest of each key is at hand.

The latest point is the one with the highest (step, time), as MLflow has it; among equals the last one logged.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from homeostat.foundation.database import Reader, Transaction
from homeostat.tracking import tables
from homeostat.tracking.limits import BAD_NUMBER, INT64, check_count, check_key
from homeostat.tracking.lookup import NO_RUN, require_active
from homeostat.tracking.records import Metric

_points = insert(tables.metric_points).on_conflict_do_nothing()
_latest = insert(tables.latest_metrics)
_newer = sa.or_(
    _latest.excluded.step > tables.latest_metrics.c.step,
    sa.and_(_latest.excluded.step == tables.latest_metrics.c.step, _latest.excluded.at >= tables.latest_metrics.c.at),
)
_latest = _latest.on_conflict_do_update(
    index_elements=["project", "run_id", "key"],
    set_={name: _latest.excluded[name] for name in ("step", "at", "value", "is_nan")},
    where=_newer,
)


def log(tx: Transaction, run_id: str, points: Sequence[Metric]) -> None:
    """Keep every point; a point that is there already is kept once. All or none."""
    check_count("metrics", len(points))
    require_active(tx, run_id)
    if not points:
        return
    rows = [_row(tx.project, run_id, point) for point in points]
    tx.execute(_points, rows)
    newest: dict[str, dict[str, Any]] = {}
    for row in rows:
        before = newest.get(row["key"])
        if before is None or (row["step"], row["at"]) >= (before["step"], before["at"]):
            newest[row["key"]] = row
    tx.execute(_latest, list(newest.values()))


def history(reader: Reader, run_id: str, key: str) -> list[Metric]:
    """Every point of one metric, by step and time; empty where the run has none of that key."""
    runs, points = tables.runs, tables.metric_points
    known = sa.select(runs.c.id).where(runs.c.project == reader.project, runs.c.id == run_id)
    if reader.execute(known).first() is None:
        raise NO_RUN(field="run_id", run_id=run_id)
    query = sa.select(points).where(points.c.project == reader.project, points.c.run_id == run_id, points.c.key == key)
    rows = reader.execute(query.order_by(points.c.step, points.c.at, points.c.value)).mappings()
    return [Metric(key=row["key"], value=as_float(row), at=row["at"], step=row["step"]) for row in rows]


def as_float(row: Mapping[str, Any] | sa.RowMapping) -> float:
    """The value of a row of points, NaN included."""
    return math.nan if row["is_nan"] else float(row["value"])


def _row(project: str, run_id: str, point: Metric) -> dict[str, Any]:
    key = check_key("metric", point.key)
    if isinstance(point.value, bool) or not isinstance(point.value, int | float):
        raise BAD_NUMBER(field=key, name="value", key=key, rule="number", value=str(point.value)[:80])
    for name, number in (("step", point.step), ("at", point.at)):
        if isinstance(number, bool) or not isinstance(number, int) or number not in INT64:
            raise BAD_NUMBER(field=name, name=name, key=key, rule="whole number of 64 bits", value=str(number)[:80])
    try:
        value = float(point.value)
    except OverflowError:
        raise BAD_NUMBER(field=key, name="value", key=key, rule="64-bit float", value="a larger one") from None
    is_nan = math.isnan(value)
    return {
        "project": project,
        "run_id": run_id,
        "key": key,
        "step": point.step,
        "at": point.at,
        "value": 0.0 if is_nan else value,
        "is_nan": is_nan,
    }
