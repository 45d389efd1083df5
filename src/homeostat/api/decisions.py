"""Decisions and the approvals that some of them wait for."""

from __future__ import annotations

from typing import Annotated

from litestar import get, post
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from msgspec import Struct

from homeostat.api.access import Calling, needs
from homeostat.api.paging import Limit
from homeostat.governance import approvals, decisions
from homeostat.governance.approvals import ApprovalState
from homeostat.governance.records import Approval, Decision, DecisionState

_TAGS = ["decisions"]


class Answer(Struct, frozen=True, kw_only=True):
    """A person's answer to an approval."""

    approve: bool
    reason: str | None = None


@get("/decisions", opt=needs("read"), sync_to_thread=True, tags=_TAGS)
def listing(
    caller: Calling,
    subject: FromQuery[str | None] = None,
    in_state: Annotated[DecisionState | None, QueryParameter(name="state")] = None,
    limit: Limit = 200,
) -> list[Decision]:
    """The ledger, the newest first."""
    with caller.read() as reader:
        return decisions.listing(reader, subject=subject, state=in_state, limit=limit)


@get("/decisions/{id:str}", opt=needs("read"), sync_to_thread=True, tags=_TAGS)
def show(caller: Calling, id: FromPath[str]) -> Decision:
    """One decision, with everything it rests on."""
    with caller.read() as reader:
        return decisions.get(reader, id)


@get("/approvals", opt=needs("read"), sync_to_thread=True, tags=_TAGS)
def questions(
    caller: Calling,
    in_state: Annotated[ApprovalState | None, QueryParameter(name="state")] = None,
    limit: Limit = 200,
) -> list[Approval]:
    """Questions put to people, the newest first."""
    with caller.read() as reader:
        return approvals.listing(reader, state=in_state, limit=limit)


@post("/approvals/{id:str}/answer", opt=needs("approve"), sync_to_thread=True, status_code=200, tags=_TAGS)
def answer(caller: Calling, id: FromPath[str], data: JSONBody[Answer]) -> Approval:
    """Approve or reject; only a person can, and only once."""
    with caller.write(reason=data.reason) as tx:
        answered = approvals.answer(tx, id, data.approve, data.reason)
    caller.home.loop.nudge()
    return answered


ROUTES = [listing, show, questions, answer]
