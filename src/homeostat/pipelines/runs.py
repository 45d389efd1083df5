"""Pipeline runs and step runs as rows: what was started, how far it is, what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import sqlalchemy as sa

from homeostat.foundation import events
from homeostat.foundation.database import Reader, Transaction
from homeostat.foundation.errors import Kind, entry
from homeostat.foundation.ids import new_id
from homeostat.pipelines import definitions, params, tables
from homeostat.pipelines.events import RunStarted
from homeostat.pipelines.records import Features, Pipeline, PipelineRun, PipelineState, StepRun

NO_RUN = entry(
    "pipelines.no_run",
    Kind.NOT_FOUND,
    "there is no pipeline run {run_id!r}",
    "list pipelines and their runs with: homeostat pipelines list",
)


def start(
    tx: Transaction,
    pipeline_name: str,
    given: Mapping[str, Any],
    *,
    trigger: str,
    decision_id: str | None = None,
    context: Mapping[str, Any] | None = None,
) -> PipelineRun:
    """Enter a run of the pipeline as it is defined now; a runner's next `advance` begins its steps.

    A decision starts one run only: asked again with the same `decision_id`, the run it started is returned.
    """
    if decision_id is not None:
        known = of_decision(tx, decision_id)
        if known is not None:
            return known
    pipeline = definitions.get(tx, pipeline_name)
    run = PipelineRun(
        id=new_id(),
        pipeline=pipeline.name,
        state="running",
        params=params.check(pipeline, given),
        trigger=trigger,
        started_at=tx.at,
        started_by=tx.actor,
        decision_id=decision_id,
        context=dict(context or {}),
    )
    row = {name: getattr(run, name) for name in PipelineRun.__struct_fields__}
    row["definition"] = msgspec.json.encode(pipeline)
    tx.execute(sa.insert(tables.pipeline_runs).values(project=tx.project, **row))
    set_steps(tx, run.id, [step.name for step in pipeline.steps])
    subject = f"pipeline/{run.pipeline}/{run.id}"
    events.emit(tx, RunStarted(subject=subject, run=run.id, pipeline=run.pipeline, trigger=trigger))
    return run


def get(reader: Reader, run_id: str) -> PipelineRun:
    """One pipeline run; raises `pipelines.no_run`."""
    return _runs([_row(reader, run_id)])[0]


def definition(reader: Reader, run_id: str) -> Pipeline:
    """The pipeline that a run runs, as it was when the run was started or last resumed."""
    return msgspec.json.decode(_row(reader, run_id)["definition"], type=Pipeline)


def listing(
    reader: Reader, pipeline: str | None = None, state: PipelineState | None = None, limit: int = 200
) -> list[PipelineRun]:
    """Runs, the newest first."""
    table = tables.pipeline_runs
    conditions = [table.c.project == reader.project]
    if pipeline is not None:
        conditions.append(table.c.pipeline == pipeline)
    if state is not None:
        conditions.append(table.c.state == state)
    query = sa.select(table).where(*conditions).order_by(table.c.started_at.desc(), table.c.id.desc()).limit(limit)
    return _runs(reader.execute(query).mappings())


def steps(reader: Reader, run_id: str) -> list[StepRun]:
    """The step runs of one pipeline run, in the order of its graph."""
    table = tables.step_runs
    order = {step.name: place for place, step in enumerate(definition(reader, run_id).steps)}
    query = sa.select(table).where(table.c.project == reader.project, table.c.pipeline_run_id == run_id)
    rows = sorted(reader.execute(query).mappings(), key=lambda row: order[row["step"]])
    return [StepRun(**{name: row[name] for name in StepRun.__struct_fields__}) for row in rows]


def of_decision(reader: Reader, decision_id: str) -> PipelineRun | None:
    """The run that a decision started, or None."""
    table = tables.pipeline_runs
    query = sa.select(table).where(table.c.project == reader.project, table.c.decision_id == decision_id)
    found = _runs(reader.execute(query).mappings())
    return found[0] if found else None


def of_step(reader: Reader, step_run_id: str) -> PipelineRun | None:
    """The run that a step run belongs to (a tracked run has the id of its step run), or None."""
    table = tables.step_runs
    query = sa.select(table.c.pipeline_run_id).where(table.c.project == reader.project, table.c.id == step_run_id)
    found = reader.execute(query).scalar()
    return None if found is None else get(reader, found)


def features(reader: Reader, step_run_id: str) -> Features | None:
    """The project's steps before the training that this step run was; None where it read its dataset as it is."""
    run = of_step(reader, step_run_id)
    if run is None:
        return None
    pipeline = definition(reader, run.id)
    training = next((step for step in pipeline.steps if "frame" in step.inputs and step.settings.get("tracked")), None)
    if training is None:
        return None
    return Features(pipeline=pipeline, step=training.inputs["frame"], run=run.id, params=run.params)


def projects(reader: Reader) -> list[str]:
    """Every project that has a running pipeline run, whatever project `reader` is of."""
    table = tables.pipeline_runs
    return list(reader.execute(sa.select(table.c.project).where(table.c.state == "running").distinct()).scalars())


def set_steps(tx: Transaction, run_id: str, items: Iterable[str | StepRun]) -> None:
    """Make `items` the steps of a run: a name is a new step that waits, a step run is kept as it is."""
    table = tables.step_runs
    tx.execute(sa.delete(table).where(table.c.project == tx.project, table.c.pipeline_run_id == run_id))
    rows = []
    for item in items:
        if isinstance(item, str):
            item = StepRun(id=new_id(), pipeline_run_id=run_id, step=item, state="waiting", attempt=0)
        rows.append({"project": tx.project, **{name: getattr(item, name) for name in StepRun.__struct_fields__}})
    tx.execute(sa.insert(table), rows)


_CHANGING = [f for f in StepRun.__struct_fields__ if f not in ("id", "pipeline_run_id", "step")]
_save_step = (
    sa.update(tables.step_runs)
    .where(tables.step_runs.c.project == sa.bindparam("of_project"), tables.step_runs.c.id == sa.bindparam("of_id"))
    .values({name: sa.bindparam(f"new_{name}") for name in _CHANGING})
)


def save_steps(tx: Transaction, changed: Iterable[StepRun]) -> None:
    """Write what has changed about step runs."""
    rows = [
        {"of_project": tx.project, "of_id": step.id, **{f"new_{name}": getattr(step, name) for name in _CHANGING}}
        for step in changed
    ]
    if rows:
        tx.execute(_save_step, rows)


def save(tx: Transaction, run: PipelineRun, pipeline: Pipeline | None = None) -> None:
    """Write a run's state, end, error and result; with `pipeline`, also the definition it goes on with."""
    table = tables.pipeline_runs
    values: dict[str, Any] = {name: getattr(run, name) for name in ("state", "finished_at", "error", "result")}
    if pipeline is not None:
        values["definition"] = msgspec.json.encode(pipeline)
    tx.execute(sa.update(table).where(table.c.project == tx.project, table.c.id == run.id).values(**values))


def _row(reader: Reader, run_id: str) -> sa.RowMapping:
    table = tables.pipeline_runs
    query = sa.select(table).where(table.c.project == reader.project, table.c.id == run_id)
    row = reader.execute(query).mappings().first()
    if row is None:
        raise NO_RUN(field="run", run_id=str(run_id)[:80])
    return row


def _runs(rows: Iterable[sa.RowMapping]) -> list[PipelineRun]:
    return [PipelineRun(**{name: row[name] for name in PipelineRun.__struct_fields__}) for row in rows]
