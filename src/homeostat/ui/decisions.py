"""Decisions and approvals: what was decided, on what evidence, and what waits for a person."""

from __future__ import annotations

from typing import Annotated, Any, get_args

from litestar import Response
from litestar.params import FromPath, FromQuery, QueryParameter, URLEncodedBody
from litestar.response import Redirect

from homeostat.delivery import deployments
from homeostat.governance import approvals, decisions
from homeostat.governance.records import Decision, DecisionState
from homeostat.pipelines import runs
from homeostat.ui import evidence, formats
from homeostat.ui.views import Viewing, act, reason_in, screen

_SHOWN = 200


@screen("/decisions")
def listing(
    view: Viewing,
    subject: FromQuery[str | None] = None,
    in_state: Annotated[str | None, QueryParameter(name="state")] = None,
) -> Response[bytes]:
    """The ledger, the newest first."""
    states: tuple[DecisionState, ...] = get_args(DecisionState)
    asked: DecisionState | None = next((state for state in states if state == in_state), None)
    with view.read() as reader:
        found = decisions.listing(reader, subject or None, asked, _SHOWN)
    return view.page(
        "decisions.html", "Decisions", decisions=found, subject=subject or None, state=asked, states=states
    )


@screen("/decisions/{id:str}")
def show(view: Viewing, id: FromPath[str]) -> Response[bytes]:
    """One decision: the sentence, its rule and inputs, what came of it, and how to undo it."""
    with view.read() as reader:
        found = decisions.get(reader, id)
        asked = [a for a in approvals.listing(reader, limit=1000) if a.decision_id == id]
        run = runs.of_decision(reader, id)
        of = found.subject.removeprefix("endpoint/")
        led = [d for d in deployments.listing(reader, of) if d.decision_id == id]
    return view.page(
        "decision.html",
        f"{formats.words(found.verdict).capitalize()}: {found.subject}",
        decision=found,
        approvals=asked,
        run=run,
        deployments=led,
        inputs=_facts(evidence.rest(found.inputs)),
        evidence=evidence.rollout(found.inputs),
        trigger=_trigger(found),
    )


@screen("/approvals")
def waiting(view: Viewing) -> Response[bytes]:
    """Questions that wait for a person, and those answered."""
    with view.read() as reader:
        found = approvals.listing(reader, limit=_SHOWN)
        known = {a.decision_id: decisions.get(reader, a.decision_id) for a in found if a.state == "waiting"}
    asked = [a for a in found if a.state == "waiting"]
    count = len(asked)
    sentence = (
        f"{formats.spelled(count).capitalize()} {'question waits' if count == 1 else 'questions wait'} for you."
        if count
        else "Nothing waits for you."
    )
    answered = [a for a in found if a.state != "waiting"]
    return view.page(
        "approvals.html", "Approvals", sentence=sentence, asked=asked, answered=answered, decisions=known, facts=_facts
    )


@act("/approvals/{id:str}/answer", "approve")
def answer(view: Viewing, id: FromPath[str], data: URLEncodedBody[dict[str, str]]) -> Redirect:
    """Approve or reject, with the reason."""
    reason = reason_in(data)
    with view.caller.write(reason=reason) as tx:
        approvals.answer(tx, id, data.get("answer") == "approve", reason)
    view.home.loop.nudge()
    return view.back_to("/approvals")


def _facts(inputs: dict[str, Any]) -> list[tuple[str, str, Any]]:
    """(name in words, kind, value) of what a decision looked at; kind says how to show the value."""
    found = []
    for name, value in inputs.items():
        kind = "plain"
        if isinstance(value, int) and value > 10**14 and not isinstance(value, bool):
            kind = "time"
        elif name in ("incident", "deployment", "evaluation") and isinstance(value, str):
            kind = f"{name}s"
        found.append((formats.words(name), kind, value))
    return found


def _trigger(decision: Decision) -> tuple[str, str] | None:
    """What set a decision off: (words, address)."""
    what, _, which = (decision.trigger or "").partition("/")
    if not what:
        return None
    pages = {
        "incident": f"/incidents/{which}",
        "deployment": f"/deployments/{which}",
        "endpoint": f"/endpoints/{which}",
    }
    said = {"incident": "an incident", "deployment": "a deployment", "person": "a person", "schedule": "the schedule"}
    said["endpoint"] = f"what {which} was seen to do"
    return said.get(what, decision.trigger or ""), pages.get(what, "")


ROUTES = [listing, show, waiting, answer]
