"""Runs: one training or trial, from start to finish."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, get_args

import sqlalchemy as sa

from homeostat.foundation import events
from homeostat.foundation.database import Reader, Transaction
from homeostat.foundation.errors import Kind, entry
from homeostat.foundation.ids import new_id
from homeostat.tracking import experiments, params, tables, tags
from homeostat.tracking.events import RunFinished, RunStarted
from homeostat.tracking.limits import check_label
from homeostat.tracking.lookup import NO_RUN
from homeostat.tracking.metrics import as_float
from homeostat.tracking.records import Run, RunState

BAD_ID = entry(
    "tracking.bad_run_id",
    Kind.INVALID,
    "{run_id!r} is not a run id: 32 hex digits",
    "leave it out, and one is made",
)
BAD_STATE = entry(
    "tracking.bad_state",
    Kind.INVALID,
    "{state!r} is not a state of a run",
    "use one of: {states}",
)
BAD_ORDER = entry(
    "tracking.bad_order",
    Kind.INVALID,
    "runs cannot be ordered by {order_by!r}",
    "write it as 'started_at desc', 'metrics.loss asc', 'params.depth' or 'tags.owner'",
)

_ORDER = re.compile(r"(?:(metrics|params|tags)\.)?(.+?)(?:\s+(asc|desc))?", re.IGNORECASE)
_ATTRIBUTES = ("name", "state", "started_at", "ended_at", "started_by")
LARGEST_PAGE = 10_000


def start(
    tx: Transaction,
    experiment_name: str,
    *,
    name: str = "",
    params: Mapping[str, Any] | None = None,
    tags: Mapping[str, Any] | None = None,
    step_run_id: str | None = None,
    run_id: str | None = None,
    started_at: int | None = None,
) -> Run:
    """Begin a run. With a `run_id` that exists already, changes nothing and returns that run (a repeated request)."""
    if run_id is not None:
        if not re.fullmatch(r"[0-9a-f]{32}", run_id):
            raise BAD_ID(field="run_id", run_id=run_id[:80])
        found = _page(tx, [tables.runs.c.id == run_id], [], 1)
        if found:
            return found[0]
    experiment = experiments.ensure(tx, experiment_name)
    made = Run(
        id=run_id or new_id(),
        experiment_id=experiment.id,
        name=check_label("a run", name) if name else "",
        state="RUNNING",
        started_at=tx.at if started_at is None else started_at,
        started_by=tx.actor,
        step_run_id=step_run_id,
    )
    columns = ("id", "experiment_id", "name", "state", "started_at", "started_by", "step_run_id", "lifecycle")
    row = {column: getattr(made, column) for column in columns}
    tx.execute(sa.insert(tables.runs).values(project=tx.project, ended_at=None, **row))
    events.emit(tx, RunStarted(subject=f"run/{made.id}", run_id=made.id, experiment=experiment_name))
    _log_params(tx, made.id, params)
    _set_tags(tx, made.id, tags)
    return get(tx, made.id) if params or tags else made


def finish(tx: Transaction, run_id: str, state: RunState, *, ended_at: int | None = None) -> Run:
    """End a run as FINISHED, FAILED or KILLED (or move it back to RUNNING). Saying it twice changes nothing."""
    if state not in get_args(RunState):
        raise BAD_STATE(field="state", state=state, states=", ".join(get_args(RunState)))
    found = get(tx, run_id)
    if found.state == state:
        return found
    ended = None if state in ("RUNNING", "SCHEDULED") else (tx.at if ended_at is None else ended_at)
    where = (tables.runs.c.project == tx.project, tables.runs.c.id == run_id)
    tx.execute(sa.update(tables.runs).where(*where).values(state=state, ended_at=ended))
    if ended is not None:
        events.emit(tx, RunFinished(subject=f"run/{run_id}", run_id=run_id, state=state))
    return get(tx, run_id)


def get(reader: Reader, run_id: str) -> Run:
    """One run with its params, tags and latest metrics; raises `tracking.no_run`."""
    found = _page(reader, [tables.runs.c.id == run_id], [], 1)
    if not found:
        raise NO_RUN(field="run_id", run_id=run_id)
    return found[0]


def listing(reader: Reader, experiment: str | None = None, limit: int = 200, order_by: str | None = None) -> list[Run]:
    """Runs of one experiment (by name or id) or of all, the newest first unless `order_by` says otherwise.

    `order_by` is an attribute, or "metrics.KEY", "params.KEY", "tags.KEY", with "asc" (default) or "desc" behind it;
    runs without that key come last.
    """
    conditions = [tables.runs.c.lifecycle == "active"]
    if experiment is not None:
        conditions.append(tables.runs.c.experiment_id == experiments.get(reader, experiment).id)
    newest_first = [tables.runs.c.started_at.desc(), tables.runs.c.id.desc()]
    order = newest_first if order_by is None else [*_order(reader, order_by), *newest_first]
    return _page(reader, conditions, order, max(0, min(limit, LARGEST_PAGE)))


def _order(reader: Reader, order_by: str) -> list[sa.ColumnElement[Any]]:
    match = _ORDER.fullmatch(order_by.strip())
    if match is None:
        raise BAD_ORDER(field="order_by", order_by=order_by[:300])
    kind, key, direction = match.groups()
    value: sa.ColumnElement[Any]
    if kind is None:
        if key not in _ATTRIBUTES:
            raise BAD_ORDER(field="order_by", order_by=order_by[:300])
        value = tables.runs.c[key]
    else:
        kept = {"metrics": tables.latest_metrics, "params": tables.run_params, "tags": tables.run_tags}[kind.lower()]
        shown = sa.case((kept.c.is_nan, None), else_=kept.c.value) if "is_nan" in kept.c else kept.c.value
        own = (kept.c.project == reader.project, kept.c.run_id == tables.runs.c.id, kept.c.key == key)
        value = sa.select(shown).where(*own).correlate(tables.runs).scalar_subquery()
    directed = value.desc() if (direction or "").lower() == "desc" else value.asc()
    return [directed.nulls_last()]


def _page(reader: Reader, conditions: Iterable[sa.ColumnElement[bool]], order: Iterable[Any], limit: int) -> list[Run]:
    query = sa.select(tables.runs).where(tables.runs.c.project == reader.project, *conditions)
    rows = list(reader.execute(query.order_by(*order).limit(limit)).mappings())
    ids = [row["id"] for row in rows]
    found_params = _by_run(reader, tables.run_params, ids)
    found_tags = _by_run(reader, tables.run_tags, ids)
    found_metrics = _by_run(reader, tables.latest_metrics, ids)
    own = [name for name in Run.__struct_fields__ if name not in ("params", "metrics", "tags")]
    return [
        Run(
            **{name: row[name] for name in own},
            params={r["key"]: r["value"] for r in found_params.get(row["id"], ())},
            tags={r["key"]: r["value"] for r in found_tags.get(row["id"], ())},
            metrics={r["key"]: as_float(r) for r in found_metrics.get(row["id"], ())},
        )
        for row in rows
    ]


def _by_run(reader: Reader, table: sa.Table, ids: list[str]) -> dict[str, list[sa.RowMapping]]:
    grouped: dict[str, list[sa.RowMapping]] = {}
    if ids:
        query = sa.select(table).where(table.c.project == reader.project, table.c.run_id.in_(ids))
        for row in reader.execute(query).mappings():
            grouped.setdefault(row["run_id"], []).append(row)
    return grouped


# `start` takes arguments called params and tags, which hide the modules of those names inside it.
def _log_params(tx: Transaction, run_id: str, values: Mapping[str, Any] | None) -> None:
    if values:
        params.log(tx, run_id, values)


def _set_tags(tx: Transaction, run_id: str, values: Mapping[str, Any] | None) -> None:
    if values:
        tags.set(tx, run_id, values)
