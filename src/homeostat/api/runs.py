"""Experiments and runs."""

from __future__ import annotations

from litestar import get, post
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec import Struct

from homeostat.api.access import Calling, needs
from homeostat.api.paging import Limit
from homeostat.foundation.killpoints import passing
from homeostat.tracking import artifacts, experiments, metrics, params, runs, tags
from homeostat.tracking.records import Artifact, Experiment, Metric, Run, RunState

_TAGS = ["runs"]
_WRITE = needs("runs.write")

Value = str | int | float | bool


class NewRun(Struct, frozen=True, kw_only=True):
    """A run to begin; with the id of one that exists, nothing changes and that run is the answer."""

    experiment: str
    name: str = ""
    params: dict[str, Value] = {}
    tags: dict[str, str] = {}
    id: str | None = None


class Points(Struct, frozen=True, kw_only=True):
    """Points of metrics."""

    metrics: list[Metric]


class Params(Struct, frozen=True, kw_only=True):
    """Params to log; a key keeps its first value."""

    params: dict[str, Value]


class Tags(Struct, frozen=True, kw_only=True):
    """Tags to set."""

    tags: dict[str, str]


class NewArtifact(Struct, frozen=True, kw_only=True):
    """An uploaded object that is to be the run's artifact at `path`."""

    path: str
    digest: str


class Ending(Struct, frozen=True, kw_only=True):
    """How the run ended."""

    state: RunState = "FINISHED"


@get("/experiments", opt=needs("read"), sync_to_thread=True, tags=_TAGS)
def listing_experiments(caller: Calling) -> list[Experiment]:
    """Every experiment of the project."""
    with caller.read() as reader:
        return experiments.listing(reader)


@get("/runs", opt=needs("read"), sync_to_thread=True, tags=_TAGS)
def listing(
    caller: Calling,
    experiment: FromQuery[str | None] = None,
    limit: Limit = 200,
    order_by: FromQuery[str | None] = None,
) -> list[Run]:
    """Runs, the newest first unless `order_by` says otherwise."""
    with caller.read() as reader:
        return runs.listing(reader, experiment, limit, order_by)


@post("/runs", opt=_WRITE, sync_to_thread=True, tags=_TAGS)
def start(caller: Calling, data: JSONBody[NewRun]) -> Run:
    """Begin a run."""
    with caller.write() as tx:
        return runs.start(tx, data.experiment, name=data.name, params=data.params, tags=data.tags, run_id=data.id)


@get("/runs/{id:str}", opt=needs("read"), sync_to_thread=True, tags=_TAGS)
def show(caller: Calling, id: FromPath[str]) -> Run:
    """One run with its params, tags and latest metrics."""
    with caller.read() as reader:
        return runs.get(reader, id)


@post("/runs/{id:str}/metrics", opt=_WRITE, sync_to_thread=True, status_code=200, tags=_TAGS)
def log_metrics(caller: Calling, id: FromPath[str], data: JSONBody[Points]) -> None:
    """Log points of metrics: all of them are durable when this answers, or none."""
    with caller.write() as tx:
        metrics.log(tx, id, data.metrics)
    passing("metrics.recorded")


@get("/runs/{id:str}/metrics/{key:path}", opt=needs("read"), sync_to_thread=True, tags=_TAGS)
def history(caller: Calling, id: FromPath[str], key: FromPath[str]) -> list[Metric]:
    """Every point of one metric."""
    with caller.read() as reader:
        return metrics.history(reader, id, key.removeprefix("/"))


@post("/runs/{id:str}/params", opt=_WRITE, sync_to_thread=True, status_code=200, tags=_TAGS)
def log_params(caller: Calling, id: FromPath[str], data: JSONBody[Params]) -> None:
    """Log params."""
    with caller.write() as tx:
        params.log(tx, id, data.params)


@post("/runs/{id:str}/tags", opt=_WRITE, sync_to_thread=True, status_code=200, tags=_TAGS)
def set_tags(caller: Calling, id: FromPath[str], data: JSONBody[Tags]) -> None:
    """Set tags."""
    with caller.write() as tx:
        tags.set(tx, id, data.tags)


@get("/runs/{id:str}/artifacts", opt=needs("read"), sync_to_thread=True, tags=_TAGS)
def listing_artifacts(caller: Calling, id: FromPath[str]) -> list[Artifact]:
    """The run's artifacts, by path."""
    with caller.read() as reader:
        return artifacts.listing(reader, id)


@post("/runs/{id:str}/artifacts", opt=_WRITE, sync_to_thread=True, tags=_TAGS)
def add_artifact(caller: Calling, id: FromPath[str], data: JSONBody[NewArtifact]) -> Artifact:
    """Make an uploaded object an artifact of the run."""
    size = caller.home.objects.size(data.digest)
    with caller.write() as tx:
        return artifacts.record(tx, id, data.path, data.digest, size)


@post("/runs/{id:str}/finish", opt=_WRITE, sync_to_thread=True, status_code=200, tags=_TAGS)
def finish(caller: Calling, id: FromPath[str], data: JSONBody[Ending | None] = None) -> Run:
    """End a run."""
    with caller.write() as tx:
        return runs.finish(tx, id, data.state if data else "FINISHED")


ROUTES = [
    listing_experiments,
    listing,
    start,
    show,
    log_metrics,
    history,
    log_params,
    set_tags,
    listing_artifacts,
    add_artifact,
    finish,
]
