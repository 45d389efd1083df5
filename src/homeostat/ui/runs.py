"""Tracked runs: a table to sort and filter, and one run with its params, metrics and charts."""

from __future__ import annotations

import math

from litestar import Response
from litestar.params import FromPath, FromQuery

from homeostat.registry import models, versions
from homeostat.tracking import artifacts, experiments, metrics, runs
from homeostat.tracking.records import Metric, Run
from homeostat.ui import charts, formats
from homeostat.ui.views import Viewing, screen

_SHOWN = 100
_COLUMNS = 6  # metrics that get a column
_POINTS = 400  # of a metric's history that a page carries


@screen("/runs")
def listing(
    view: Viewing, experiment: FromQuery[str | None] = None, order_by: FromQuery[str | None] = None
) -> Response[bytes]:
    """Runs, the newest first unless the address says otherwise."""
    with view.read() as reader:
        known = experiments.listing(reader)
        found = runs.listing(reader, experiment or None, _SHOWN, order_by or None)
    counted: dict[str, int] = {}
    for run in found:
        for key in run.metrics:
            counted[key] = counted.get(key, 0) + 1
    columns = sorted(counted, key=lambda key: (-counted[key], key))[:_COLUMNS]
    count = len(found)
    sentence = "No run was tracked yet."
    if found:
        running = sum(run.state == "RUNNING" for run in found)
        sentence = f"{formats.spelled(count).capitalize()} {'run' if count == 1 else 'runs'}"
        sentence += f", {formats.spelled(running)} of them running." if running else "."
    return view.page(
        "runs.html",
        "Runs",
        sentence=sentence,
        runs=found,
        columns=columns,
        experiments=known,
        names={e.id: e.name for e in known},
        experiment=experiment or None,
        order_by=order_by or None,
        full=count == _SHOWN,
    )


@screen("/runs/{id:str}")
def show(view: Viewing, id: FromPath[str]) -> Response[bytes]:
    """One run."""
    with view.read() as reader:
        run = runs.get(reader, id)
        experiment = experiments.get(reader, run.experiment_id)
        kept = artifacts.listing(reader, id)
        histories = {key: metrics.history(reader, id, key) for key in sorted(run.metrics)}
        made = [v for m in models.listing(reader) for v in versions.listing(reader, m.name) if v.run_id == id]
    drawn = {key: _thin(points) for key, points in histories.items() if len(points) > 1}
    sparks = {key: charts.spark(_points(points), width=560, height=140, name=key) for key, points in drawn.items()}
    return view.page(
        "run.html",
        run.name or "run",
        run=run,
        experiment=experiment,
        artifacts=kept,
        drawn=drawn,
        sparks=sparks,
        versions=made,
        sentence=_sentence(run, view.now),
    )


def _sentence(run: Run, now: int) -> str:
    took = formats.duration((run.ended_at or now) - run.started_at)
    name = run.name or f"Run {formats.short(run.id)}"
    said = {
        "RUNNING": f"is running for {took}",
        "SCHEDULED": "is scheduled",
        "FINISHED": f"finished after {took}",
        "FAILED": f"failed after {took}",
        "KILLED": f"was killed after {took}",
    }[run.state]
    return f"{name} {said}."


def _thin(points: list[Metric]) -> list[Metric]:
    """At most `_POINTS` of the points, evenly, the last among them."""
    if len(points) <= _POINTS:
        return points
    step = (len(points) - 1) / (_POINTS - 1)
    return [points[round(i * step)] for i in range(_POINTS)]


def _points(points: list[Metric]) -> list[charts.Point]:
    return [charts.Point(p.step, p.value) for p in points if math.isfinite(p.value)]


ROUTES = [listing, show]
