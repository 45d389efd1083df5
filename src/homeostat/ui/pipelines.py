"""Pipelines and their runs, step by step."""

from __future__ import annotations

from typing import Annotated, get_args

from litestar import Response
from litestar.params import FromPath, FromQuery, QueryParameter

from homeostat.pipelines import definitions, runs
from homeostat.pipelines.records import PipelineState
from homeostat.ui import formats
from homeostat.ui.views import Viewing, screen

_SHOWN = 100
_LOG_TAIL = 20_000  # bytes of a step's console output that a page shows


@screen("/pipelines")
def listing(
    view: Viewing,
    pipeline: FromQuery[str | None] = None,
    in_state: Annotated[str | None, QueryParameter(name="state")] = None,
) -> Response[bytes]:
    """Every pipeline and its runs, the newest first."""
    states: tuple[PipelineState, ...] = get_args(PipelineState)
    asked: PipelineState | None = next((state for state in states if state == in_state), None)
    with view.read() as reader:
        defined = definitions.listing(reader)
        found = runs.listing(reader, pipeline or None, asked, _SHOWN)
        running = len(runs.listing(reader, state="running"))
    sentence = "No pipeline is defined yet."
    if defined:
        sentence = f"{formats.spelled(len(defined)).capitalize()} {'pipeline' if len(defined) == 1 else 'pipelines'}, "
        sentence += f"{formats.spelled(running)} running." if running else "none running."
    return view.page(
        "pipelines.html",
        "Pipelines",
        sentence=sentence,
        pipelines=defined,
        runs=found,
        pipeline=pipeline or None,
        state=asked,
        states=states,
    )


@screen("/pipeline-runs/{id:str}")
def show(view: Viewing, id: FromPath[str]) -> Response[bytes]:
    """One pipeline run with its steps."""
    with view.read() as reader:
        run = runs.get(reader, id)
        defined = runs.definition(reader, id)
        steps = runs.steps(reader, id)
    by_name = {step.name: step for step in defined.steps}
    outputs = {}
    if view.caller.may("data.read"):
        for step in steps:
            if step.log is not None:
                outputs[step.id] = view.home.objects.get_bytes(step.log)[-_LOG_TAIL:].decode(errors="replace")
    began = [s.started_at for s in steps if s.started_at is not None]
    return view.page(
        "pipeline_run.html",
        f"{run.pipeline} run",
        run=run,
        steps=steps,
        defined=by_name,
        outputs=outputs,
        first=min(began, default=run.started_at),
        end=run.finished_at or view.now,
    )


ROUTES = [listing, show]
