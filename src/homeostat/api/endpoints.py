"""Endpoints: what answers under a name, what is on its way there, and how it is doing."""

from __future__ import annotations

from typing import Any

from litestar import Request, get, post
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec import Struct

from homeostat.api.access import Calling, needs
from homeostat.api.paging import Limit
from homeostat.delivery import deployments, rollbacks
from homeostat.delivery.records import Deployment, Evaluation
from homeostat.foundation.ids import digest_of
from homeostat.governance.records import Decision
from homeostat.monitoring import monitors, windows
from homeostat.monitoring.records import MonitorState, Window
from homeostat.serving import endpoints
from homeostat.serving.records import Endpoint

_TAGS = ["endpoints"]


class Wanted(Struct, frozen=True, kw_only=True):
    """A version to deploy. `version` None: the newest; `model` None: the endpoint's own, or the one of its name."""

    version: int | None = None
    model: str | None = None
    reason: str | None = None


class Why(Struct, frozen=True, kw_only=True):
    """Why somebody acts; it is kept with the event."""

    reason: str | None = None


class Back(Why, frozen=True, kw_only=True):
    """Why somebody rolls back, and (else: whatever is newest) which version: asked twice, it is taken off once."""

    version: int | None = None


@get("/endpoints", opt=needs("read"), sync_to_thread=True, tags=_TAGS)
def listing(caller: Calling) -> list[Endpoint]:
    """Every endpoint of the project."""
    with caller.read() as reader:
        return endpoints.listing(reader)


@get("/endpoints/{endpoint:str}", opt=needs("read"), sync_to_thread=True, tags=_TAGS)
def show(caller: Calling, endpoint: FromPath[str]) -> Endpoint:
    """One endpoint with its arms."""
    with caller.read() as reader:
        return endpoints.get(reader, endpoint)


@post("/endpoints/{endpoint:str}/deployments", opt=needs("deploy"), sync_to_thread=True, tags=_TAGS)
def deploy(
    caller: Calling, request: Request[Any, Any, Any], endpoint: FromPath[str], data: JSONBody[Wanted]
) -> Deployment:
    """Ask for a version; the gate comes first, always. The same Idempotency-Key again gives the first deployment."""
    with caller.read() as reader:
        found = endpoints.find(reader, endpoint)
    key = request.headers.get("idempotency-key")
    deployment: Deployment = caller.home.releases.request(
        endpoint,
        data.model or (found.model if found else endpoint),
        data.version,
        project=caller.project,
        actor=caller.name,
        reason=data.reason,
        key=None if key is None else digest_of(f"{caller.project} {endpoint} {key}".encode())[:32],
    )
    caller.home.loop.nudge()
    return deployment


@get("/endpoints/{endpoint:str}/deployments", opt=needs("read"), sync_to_thread=True, tags=_TAGS)
def log(caller: Calling, endpoint: FromPath[str], limit: Limit = 200) -> list[Deployment]:
    """Deployments of the endpoint, the newest first."""
    with caller.read() as reader:
        endpoints.get(reader, endpoint)
        return deployments.listing(reader, endpoint, limit=limit)


@get("/deployments/{id:str}", opt=needs("read"), sync_to_thread=True, tags=_TAGS)
def deployment(caller: Calling, id: FromPath[str]) -> Deployment:
    """One deployment, and how far it is."""
    with caller.read() as reader:
        return deployments.get(reader, id)


@get("/endpoints/{endpoint:str}/evaluations", opt=needs("read"), sync_to_thread=True, tags=_TAGS)
def evaluations(
    caller: Calling, endpoint: FromPath[str], version: FromQuery[int | None] = None, limit: Limit = 50
) -> list[Evaluation]:
    """What the endpoint's gate said, the newest first."""
    with caller.read() as reader:
        endpoints.get(reader, endpoint)
        return deployments.evaluations(reader, endpoint, version=version, limit=limit)


@get("/evaluations/{id:str}", opt=needs("read"), sync_to_thread=True, tags=_TAGS)
def evaluation(caller: Calling, id: FromPath[str]) -> Evaluation:
    """One evaluation: each check's verdict and its evidence."""
    with caller.read() as reader:
        return deployments.evaluation(reader, id)


@post("/endpoints/{endpoint:str}/rollback", opt=needs("rollback"), sync_to_thread=True, status_code=200, tags=_TAGS)
def rollback(caller: Calling, endpoint: FromPath[str], data: JSONBody[Back | None] = None) -> Decision:
    """Put the version before back; answers once it answers."""
    asked = data or Back()
    return rollbacks.roll_back(
        caller.home.plane,
        endpoint,
        project=caller.project,
        actor=caller.name,
        reason=asked.reason or f"{caller.name} asked for it",
        version=asked.version,
    )


@post("/endpoints/{endpoint:str}/pause", opt=needs("rollback"), sync_to_thread=True, status_code=200, tags=_TAGS)
def pause(caller: Calling, endpoint: FromPath[str], data: JSONBody[Why | None] = None) -> Endpoint:
    """Stop all automatic action at once; the endpoint goes on answering."""
    with caller.write() as tx:
        return endpoints.pause(tx, endpoint, True, data.reason if data else None)


@post("/endpoints/{endpoint:str}/resume", opt=needs("deploy"), sync_to_thread=True, status_code=200, tags=_TAGS)
def resume(caller: Calling, endpoint: FromPath[str], data: JSONBody[Why | None] = None) -> Endpoint:
    """Let the loop act again."""
    with caller.write() as tx:
        found = endpoints.pause(tx, endpoint, False, data.reason if data else None)
    caller.home.loop.nudge()
    return found


@get("/endpoints/{endpoint:str}/windows", opt=needs("read"), sync_to_thread=True, tags=_TAGS)
def seen(
    caller: Calling, endpoint: FromPath[str], version: FromQuery[int | None] = None, limit: Limit = 200
) -> list[Window]:
    """What was seen in the newest windows, oldest first."""
    with caller.read() as reader:
        endpoints.get(reader, endpoint)
        return windows.listing(reader, endpoint, version, limit)


@get("/endpoints/{endpoint:str}/monitors", opt=needs("read"), sync_to_thread=True, tags=_TAGS)
def watching(caller: Calling, endpoint: FromPath[str], version: FromQuery[int | None] = None) -> list[MonitorState]:
    """The monitors of the endpoint, with their evidence and the threshold at which they page."""
    with caller.read() as reader:
        endpoints.get(reader, endpoint)
        return monitors.listing(reader, endpoint, version)


ROUTES = [
    listing,
    show,
    deploy,
    log,
    deployment,
    evaluations,
    evaluation,
    rollback,
    pause,
    resume,
    seen,
    watching,
]
