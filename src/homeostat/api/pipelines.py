"""Pipelines and their runs."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import get, post
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from msgspec import Struct

from homeostat.api.access import Calling, needs
from homeostat.api.paging import Limit
from homeostat.pipelines import definitions, runs
from homeostat.pipelines.records import Pipeline, PipelineRun, PipelineState, StepRun

_TAGS = ["pipelines"]
_RUN = needs("pipelines.run")


class NewRun(Struct, frozen=True, kw_only=True):
    """Params for a run; what is left out has the default of the function."""

    params: dict[str, Any] = {}
    context: dict[str, Any] = {}


class RunWithSteps(Struct, frozen=True, kw_only=True):
    """A pipeline run and its steps, in the order of the graph."""

    run: PipelineRun
    steps: list[StepRun]


@get("/pipelines", opt=needs("read"), sync_to_thread=True, tags=_TAGS)
def listing(caller: Calling) -> list[Pipeline]:
    """Every pipeline of the project."""
    with caller.read() as reader:
        return definitions.listing(reader)


@get("/pipelines/{pipeline:str}", opt=needs("read"), sync_to_thread=True, tags=_TAGS)
def show(caller: Calling, pipeline: FromPath[str]) -> Pipeline:
    """One pipeline and its graph."""
    with caller.read() as reader:
        return definitions.get(reader, pipeline)


@post("/pipelines/{pipeline:str}/runs", opt=_RUN, sync_to_thread=True, tags=_TAGS)
def start(caller: Calling, pipeline: FromPath[str], data: JSONBody[NewRun | None] = None) -> PipelineRun:
    """Start a run; it goes on by itself."""
    given = data or NewRun()
    run: PipelineRun = caller.home.runner.start(
        pipeline, given.params, trigger="person", actor=caller.name, project=caller.project, context=given.context
    )
    caller.home.loop.nudge()
    return run


@get("/pipeline-runs", opt=needs("read"), sync_to_thread=True, tags=_TAGS)
def log(
    caller: Calling,
    pipeline: FromQuery[str | None] = None,
    in_state: Annotated[PipelineState | None, QueryParameter(name="state")] = None,
    limit: Limit = 200,
) -> list[PipelineRun]:
    """Pipeline runs, the newest first."""
    with caller.read() as reader:
        return runs.listing(reader, pipeline, in_state, limit)


@get("/pipeline-runs/{id:str}", opt=needs("read"), sync_to_thread=True, tags=_TAGS)
def run(caller: Calling, id: FromPath[str]) -> RunWithSteps:
    """One run and its steps."""
    with caller.read() as reader:
        return RunWithSteps(run=runs.get(reader, id), steps=runs.steps(reader, id))


@post("/pipeline-runs/{id:str}/resume", opt=_RUN, sync_to_thread=True, status_code=200, tags=_TAGS)
def resume(caller: Calling, id: FromPath[str]) -> PipelineRun:
    """Go on with a run that failed, at the step where it stopped."""
    resumed: PipelineRun = caller.home.runner.resume(id, actor=caller.name, project=caller.project)
    caller.home.loop.nudge()
    return resumed


@post("/pipeline-runs/{id:str}/cancel", opt=_RUN, sync_to_thread=True, status_code=200, tags=_TAGS)
def cancel(caller: Calling, id: FromPath[str]) -> PipelineRun:
    """End a run; steps under way are not waited for."""
    cancelled: PipelineRun = caller.home.runner.cancel(id, actor=caller.name, project=caller.project)
    return cancelled


ROUTES = [listing, show, start, log, run, resume, cancel]
