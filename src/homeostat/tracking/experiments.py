"""Experiments: named groups of runs."""

from __future__ import annotations

import sqlalchemy as sa

from homeostat.foundation import events
from homeostat.foundation.database import Reader, Transaction
from homeostat.foundation.errors import Kind, entry
from homeostat.foundation.ids import new_id
from homeostat.tracking import tables
from homeostat.tracking.events import ExperimentCreated
from homeostat.tracking.limits import check_label
from homeostat.tracking.records import Experiment

NO_EXPERIMENT = entry(
    "tracking.no_experiment",
    Kind.NOT_FOUND,
    "there is no experiment {name!r}",
    "list runs and their experiments with: homeostat runs list",
)


def ensure(tx: Transaction, name: str) -> Experiment:
    """The experiment called `name`, made if it was not there."""
    check_label("an experiment", name)
    found = _find(tx, tables.experiments.c.name == name)
    if found is not None:
        return found
    made = Experiment(id=new_id(), name=name, created_at=tx.at)
    row = {"id": made.id, "name": name, "created_at": tx.at, "lifecycle": made.lifecycle, "tags": {}}
    tx.execute(sa.insert(tables.experiments).values(project=tx.project, **row))
    events.emit(tx, ExperimentCreated(subject=f"experiment/{made.id}", experiment=name))
    return made


def get(reader: Reader, name: str) -> Experiment:
    """The experiment with this name or id."""
    columns = tables.experiments.c
    found = _find(reader, columns.name == name) or _find(reader, columns.id == name)
    if found is None:
        raise NO_EXPERIMENT(field="experiment", name=name)
    return found


def listing(reader: Reader) -> list[Experiment]:
    """Every experiment, the newest first."""
    query = sa.select(tables.experiments).where(tables.experiments.c.project == reader.project)
    rows = reader.execute(query.order_by(tables.experiments.c.created_at.desc(), tables.experiments.c.id.desc()))
    return [_experiment(row) for row in rows.mappings()]


def _find(reader: Reader, condition: sa.ColumnElement[bool]) -> Experiment | None:
    query = sa.select(tables.experiments).where(tables.experiments.c.project == reader.project, condition)
    row = reader.execute(query).mappings().first()
    return None if row is None else _experiment(row)


def _experiment(row: sa.RowMapping) -> Experiment:
    return Experiment(**{name: row[name] for name in Experiment.__struct_fields__})
