"""What the process says of itself: health, version, metrics, and the description of this API."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from litestar import Request, Response, get
from litestar.openapi.plugins import JsonRenderPlugin
from msgspec import Struct
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest

from homeostat.api.access import PUBLIC, SIGNED_IN, Calling, needs
from homeostat.api.events import newest

VERSION = version("homeostat")
SCHEMA = JsonRenderPlugin(path="/openapi.json")


class Health(Struct, frozen=True):
    """Whether control answers, and can read its database."""

    status: str = "ok"


class Version(Struct, frozen=True):
    """Which Homeostat this is."""

    version: str
    name: str = "homeostat"


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


@get("/openapi.json", opt=needs(SIGNED_IN), sync_to_thread=True, include_in_schema=False)
def schema(request: Request[Any, Any, Any]) -> dict[str, Any]:
    """This API as OpenAPI 3.1."""
    return request.app.openapi_schema.to_schema()


API_ROUTES = [schema]
ROUTES = [health, tell_version, metrics]
