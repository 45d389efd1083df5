"""Pipelines as their projects define them, and the checks a graph must pass before it may run."""

from __future__ import annotations

import re

import msgspec
import sqlalchemy as sa

from homeostat.foundation import events
from homeostat.foundation.database import Reader, Transaction
from homeostat.foundation.errors import Kind, entry
from homeostat.foundation.ids import check_name
from homeostat.pipelines import tables
from homeostat.pipelines.events import PipelineDefined
from homeostat.pipelines.records import Pipeline, Step

NO_PIPELINE = entry(
    "pipelines.no_pipeline",
    Kind.NOT_FOUND,
    "there is no pipeline {name!r}",
    "list them with: homeostat pipelines list",
)
NO_STEPS = entry("pipelines.no_steps", Kind.INVALID, "pipeline {pipeline!r} has no steps", "give it at least one")
DUPLICATE_STEP = entry(
    "pipelines.duplicate_step",
    Kind.INVALID,
    "pipeline {pipeline!r} has two steps called {step!r}",
    "rename one of them: the name of a function is the name of its step",
)
UNKNOWN_INPUT = entry(
    "pipelines.unknown_input",
    Kind.INVALID,
    "step {step!r} takes {parameter!r} from {source!r}, and there is no such step",
    "name the parameter after one of: {known}",
)
CYCLE = entry(
    "pipelines.cycle",
    Kind.INVALID,
    "the steps of pipeline {pipeline!r} wait for each other: {path}",
    "break the circle at one of these steps",
)
BAD_FUNCTION = entry(
    "pipelines.bad_function",
    Kind.INVALID,
    "the function of step {step!r} is {function!r}, which is not 'project:name', 'control:name' or 'module:qualname'",
    "name it in one of these three ways",
)
NO_CODE = entry(
    "pipelines.no_code",
    Kind.INVALID,
    "step {step!r} is a function of the project's file, and the pipeline carries no file",
    "define the pipeline with the digest of its file (code) and its path (code_path)",
)
BAD_SCHEDULE = entry(
    "pipelines.bad_schedule",
    Kind.INVALID,
    "the schedule of pipeline {pipeline!r} must be longer than nothing, not {schedule} microseconds",
    "leave it out, or write it as '7d'",
)

_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.-]*")


def define(tx: Transaction, pipeline: Pipeline) -> Pipeline:
    """Keep `pipeline` under its name after checking its graph; saying the same again changes nothing."""
    check(pipeline)
    definition = msgspec.json.encode(pipeline)
    table = tables.pipelines
    where = (table.c.project == tx.project, table.c.name == pipeline.name)
    kept = tx.execute(sa.select(table.c.definition).where(*where)).scalar()
    if kept == definition:
        return pipeline
    values = {"definition": definition, "defined_at": tx.at}
    if kept is None:
        tx.execute(sa.insert(table).values(project=tx.project, name=pipeline.name, **values))
    else:
        tx.execute(sa.update(table).where(*where).values(**values))
    steps = tuple(step.name for step in pipeline.steps)
    events.emit(tx, PipelineDefined(subject=f"pipeline/{pipeline.name}", pipeline=pipeline.name, steps=steps))
    return pipeline


def get(reader: Reader, name: str) -> Pipeline:
    """The pipeline called `name`; raises `pipelines.no_pipeline`."""
    table = tables.pipelines
    query = sa.select(table.c.definition).where(table.c.project == reader.project, table.c.name == name)
    definition = reader.execute(query).scalar()
    if definition is None:
        raise NO_PIPELINE(field="pipeline", name=str(name)[:140])
    return msgspec.json.decode(definition, type=Pipeline)


def listing(reader: Reader) -> list[Pipeline]:
    """Every pipeline, by name."""
    table = tables.pipelines
    query = sa.select(table.c.definition).where(table.c.project == reader.project).order_by(table.c.name)
    return [msgspec.json.decode(row.definition, type=Pipeline) for row in reader.execute(query)]


def projects(reader: Reader) -> list[str]:
    """Every project that has a pipeline, whatever project `reader` is of."""
    return list(reader.execute(sa.select(tables.pipelines.c.project).distinct()).scalars())


def check(pipeline: Pipeline) -> None:
    """Raise the first thing that is wrong with a graph: a name, an input that is no step, a circle."""
    check_name("pipeline", pipeline.name)
    if not pipeline.steps:
        raise NO_STEPS(field="steps", pipeline=pipeline.name)
    if pipeline.schedule is not None and pipeline.schedule <= 0:
        raise BAD_SCHEDULE(field="schedule", pipeline=pipeline.name, schedule=pipeline.schedule)
    by_name: dict[str, Step] = {}
    for step in pipeline.steps:
        check_name("step", step.name, field="steps")
        if step.name in by_name:
            raise DUPLICATE_STEP(field="steps", pipeline=pipeline.name, step=step.name)
        if not _FUNCTION.fullmatch(step.function):
            raise BAD_FUNCTION(field="function", step=step.name, function=step.function[:200])
        if step.function.startswith("project:") and not (pipeline.code and pipeline.code_path):
            raise NO_CODE(field="code", step=step.name)
        by_name[step.name] = step
    for step in pipeline.steps:
        for parameter, source in step.inputs.items():
            if source not in by_name:
                known = ", ".join(name for name in by_name if name != step.name) or "(there is no other step)"
                raise UNKNOWN_INPUT(field=parameter, step=step.name, parameter=parameter, source=source, known=known)
    _check_circles(pipeline, by_name)


def _check_circles(pipeline: Pipeline, by_name: dict[str, Step]) -> None:
    """Take away steps that wait for nothing until none is left; what cannot be taken away goes round."""
    waiting = {name: set(step.inputs.values()) for name, step in by_name.items()}
    while waiting:
        free = [name for name, sources in waiting.items() if not sources]
        if not free:
            break
        for name in free:
            del waiting[name]
        for sources in waiting.values():
            sources.difference_update(free)
    if waiting:
        path = [next(iter(waiting))]
        while path[-1] not in path[:-1]:
            path.append(next(source for source in by_name[path[-1]].inputs.values() if source in waiting))
        circle = path[path.index(path[-1]) :]
        raise CYCLE(field="steps", pipeline=pipeline.name, path=" -> ".join(reversed(circle)))
