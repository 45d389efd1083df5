"""Incidents: what is not as it should be."""

from __future__ import annotations

from typing import Annotated, Literal

from litestar import get, post
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from msgspec import Struct

from homeostat.api.access import Calling, needs
from homeostat.api.paging import Limit
from homeostat.monitoring import incidents
from homeostat.monitoring.records import Incident

_TAGS = ["incidents"]

State = Literal["open", "acting", "resolved", "dismissed"]


class Dismissal(Struct, frozen=True, kw_only=True):
    """Why nothing is wrong."""

    reason: str


@get("/incidents", opt=needs("read"), sync_to_thread=True, tags=_TAGS)
def listing(
    caller: Calling,
    endpoint: FromQuery[str | None] = None,
    in_state: Annotated[State | None, QueryParameter(name="state")] = None,
    limit: Limit = 200,
) -> list[Incident]:
    """Incidents of the project, the newest first."""
    with caller.read() as reader:
        return incidents.listing(reader, endpoint, in_state, limit)


@get("/incidents/{id:str}", opt=needs("read"), sync_to_thread=True, tags=_TAGS)
def show(caller: Calling, id: FromPath[str]) -> Incident:
    """One incident with its evidence."""
    with caller.read() as reader:
        return incidents.get(reader, id)


@post("/incidents/{id:str}/dismiss", opt=needs("rollback"), sync_to_thread=True, status_code=200, tags=_TAGS)
def dismiss(caller: Calling, id: FromPath[str], data: JSONBody[Dismissal]) -> Incident:
    """Close it: a person says that nothing is wrong."""
    with caller.write(reason=data.reason) as tx:
        return incidents.dismiss(tx, id, data.reason)


ROUTES = [listing, show, dismiss]
