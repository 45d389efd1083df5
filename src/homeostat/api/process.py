"""What the process says of itself: health, version, metrics, and the description of this API."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated, Any

from litestar import Request, Response, get
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.params import QueryParameter
from msgspec import Struct
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest

from homeostat.api.access import PUBLIC, SIGNED_IN, Calling, needs
from homeostat.api.events import newest
from homeostat.serving import endpoints

VERSION = version("homeostat")
SCHEMA = JsonRenderPlugin(path="/openapi.json")


class Health(Struct, frozen=True):
    """Whether control answers, and can read its database."""

    status: str = "ok"


class Version(Struct, frozen=True):
    """Which Homeostat this is."""

    version: str
    name: str = "homeostat"


class Status(Struct, frozen=True, kw_only=True):
    """Where control and inference are, and what is under way."""

    version: str
    project: str
    home: str
    address: str
    inference: str
    inference_alive: bool
    auth: bool
    busy: list[str]
    passes: int  # of the loop, since it started


class LoopState(Struct, frozen=True, kw_only=True):
    """Whether the loop has caught up; `watermarks` is each endpoint's newest event time seen (microseconds UTC)."""

    settled: bool
    busy: list[str]
    watermarks: dict[str, int | None]


@get("/health", opt=needs(PUBLIC), sync_to_thread=True, tags=["process"])
def health(request: Request[Any, Any, Any]) -> Health:
    """Answers when the database can be read."""
    with request.app.state.home.database.read():
        return Health()


@get("/version", opt=needs(PUBLIC), sync_to_thread=False, tags=["process"])
def tell_version() -> Version:
    """The version of this server."""
    return Version(VERSION)


@get("/metrics", opt=needs("read"), sync_to_thread=True, tags=["process"], media_type="text/plain")
def metrics(caller: Calling) -> Response[bytes]:
    """Figures of the control process for Prometheus."""
    registry = CollectorRegistry()
    commits = Gauge("homeostat_database_commits", "Commits since this process started", registry=registry)
    commits.set(caller.home.database.commits)
    seq = Gauge("homeostat_events", "Sequence number of the newest event of the audit stream", registry=registry)
    with caller.read() as reader:
        seq.set(newest(reader))
    return Response(generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


@get("/status", opt=needs("read"), sync_to_thread=True, tags=["process"])
def status(caller: Calling) -> Status:
    """Where things are, and what is under way."""
    home = caller.home
    return Status(
        version=VERSION,
        project=caller.project,
        home=str(home.settings.home),
        address=home.address,
        inference=home.plane.supervisor.address,
        inference_alive=home.plane.supervisor.alive(),
        auth=home.settings.auth,
        busy=home.loop.busy(),
        passes=home.loop.passes,
    )


@get("/loop", opt=needs("read"), sync_to_thread=True, tags=["process"])
def loop(caller: Calling, wait: Annotated[float, QueryParameter(ge=0, le=60)] = 1.0) -> LoopState:
    """Whether the loop has caught up with everything it was given; waits for that, `wait` seconds at most."""
    settled = caller.home.loop.settle(wait)
    with caller.read() as reader:
        watermarks = {endpoint.name: endpoint.watermark for endpoint in endpoints.listing(reader)}
    return LoopState(settled=settled, busy=caller.home.loop.busy(), watermarks=watermarks)


@get("/openapi.json", opt=needs(SIGNED_IN), sync_to_thread=True, include_in_schema=False)
def schema(request: Request[Any, Any, Any]) -> dict[str, Any]:
    """This API as OpenAPI 3.1."""
    return request.app.openapi_schema.to_schema()


API_ROUTES = [status, loop, schema]
ROUTES = [health, tell_version, metrics]
