"""Back to what answered before: one change of arms, one plan, under a second, no request lost.

The version before stays loaded beside its successor (arm "previous"), so nothing has to be loaded to go back.
"""

from __future__ import annotations

import time

import msgspec

from homeostat.delivery import deployments, holding
from homeostat.delivery.records import Deployment
from homeostat.foundation.clock import format_duration
from homeostat.foundation.database import Transaction
from homeostat.foundation.errors import Kind, entry
from homeostat.foundation.killpoints import passing
from homeostat.governance import decisions
from homeostat.governance.records import Decision
from homeostat.registry import aliases
from homeostat.serving import endpoints
from homeostat.serving.plane import Plane
from homeostat.serving.records import Endpoint, EndpointArm

NOTHING_BEFORE = entry(
    "delivery.nothing_before",
    Kind.CONFLICT,
    "endpoint {endpoint!r} has no earlier version to go back to",
    "deploy another version: homeostat deploy MODEL@VERSION",
)


GONE_ALREADY = entry(
    "delivery.gone_already",
    Kind.CONFLICT,
    "version {version} is not the newest on endpoint {endpoint!r} any more",
    "look at what answers now: homeostat endpoints show {endpoint}",
)


def roll_back(
    plane: Plane,
    endpoint: str,
    *,
    project: str,
    actor: str,
    reason: str,
    decision: Decision | None = None,
    evidence: dict[str, object] | None = None,
    version: int | None = None,
) -> Decision:
    """Take the newest version off the endpoint and put the one before it back; returns once that answers.

    Under a rollout the champion simply gets all traffic again; after one, the previous version becomes champion. The
    decision entered (or `decision`, carried out) ends as done, with the time it took. With `version`, raises
    `delivery.gone_already` unless that is the one to be taken off: who acts on evidence says of what it was. When this
    process dies on the way, or the plan is not followed in time, the loop brings it to its end (`conclude`).
    """
    began = time.perf_counter()
    taken: Decision | None = None
    try:
        with plane.database.write(actor=actor, project=project, reason=reason) as tx:
            found = endpoints.get(tx, endpoint)
            arms, gone, back = _arms_after(found, tx.at)
            if version is not None and version != gone:
                raise GONE_ALREADY(field="version", version=version, endpoint=endpoint)
            taken = decision or _enter(tx, found, gone, back, reason, actor, evidence or {})
            plane.in_hand.add(taken.id)
            tx.decision_id = taken.id
            decisions.move(tx, taken.id, "acting")
            holding.seize(tx, endpoint, _holder(taken))
            _take_off(tx, found, arms, gone, back, reason, evidence or {})
        passing("rollback.saved")
        plane.apply()
        passing("rollback.applied")
        took = round((time.perf_counter() - began) * 1e6)
        words = f"version {back} answers alone again, {format_duration(took)} after the decision"
        return _finish(plane, project, taken, actor, words)
    finally:
        if taken is not None:
            plane.in_hand.discard(taken.id)


def conclude(plane: Plane, decision: Decision, *, project: str, actor: str) -> bool:
    """Bring a rollback to its end whose arms were changed already; False while a thread of this process is at it."""
    if decision.id in plane.in_hand:
        return False
    plane.apply()
    endpoint = decision.subject.removeprefix("endpoint/")
    with plane.database.read(project) as reader:
        champion = endpoints.get(reader, endpoint).arm("champion")
    _finish(plane, project, decision, actor, f"version {champion.version if champion else 0} answers alone again")
    return True


def _finish(plane: Plane, project: str, decision: Decision, actor: str, outcome: str) -> Decision:
    with plane.database.write(actor=actor, project=project) as tx:
        holding.give_back(tx, decision.subject.removeprefix("endpoint/"), _holder(decision))
        return decisions.move(tx, decision.id, "done", outcome)


def _holder(decision: Decision) -> str:
    return f"rollback/{decision.id}"


def _take_off(
    tx: Transaction,
    endpoint: Endpoint,
    arms: tuple[EndpointArm, ...],
    gone: int,
    back: int,
    reason: str,
    evidence: dict[str, object],
) -> None:
    """The change itself: arms, alias, and the deployment that had brought the version."""
    endpoints.set_arms(tx, endpoint.name, arms)
    aliases.set(tx, endpoint.model, "champion", back)
    brought = _deployment_of(tx, endpoint.name, gone)
    if brought is not None:
        deployments.move(
            tx,
            brought,
            state="rolled_back",
            summary=f"version {gone} was rolled back: {reason}",
            finished_at=tx.at,
            event_at=endpoint.watermark,
            evidence=brought.evidence | evidence,
        )


def _deployment_of(tx: Transaction, endpoint: str, version: int) -> Deployment | None:
    """The newest deployment that brought `version` to the endpoint and was not taken back."""
    listed = deployments.listing(tx, endpoint, states=("rolling_out", "baking", "live"), limit=1000)
    return next((d for d in listed if d.version == version), None)


def _arms_after(endpoint: Endpoint, at: int) -> tuple[tuple[EndpointArm, ...], int, int]:
    """The arms that remain, the version that goes, and the one that answers after."""
    champion, previous = endpoint.arm("champion"), endpoint.arm("previous")
    tried = endpoint.arm("canary") or endpoint.arm("shadow")
    if champion is not None and tried is not None:
        rest = tuple(a for a in (previous,) if a is not None)
        return (msgspec.structs.replace(champion, share=1.0), *rest), tried.version, champion.version
    if champion is None or previous is None:
        raise NOTHING_BEFORE(field="endpoint", endpoint=endpoint.name)
    back = EndpointArm(name="champion", version=previous.version, share=1.0, since=at, since_event=endpoint.watermark)
    return (back,), champion.version, previous.version


def _enter(
    tx: Transaction,
    endpoint: Endpoint,
    gone: int,
    back: int,
    reason: str,
    actor: str,
    evidence: dict[str, object],
) -> Decision:
    return decisions.record(
        tx,
        Decision(
            id="",
            at=0,
            event_at=endpoint.watermark,
            subject=f"endpoint/{endpoint.name}",
            decider=actor,
            rule="roll back what is shown harmful, at once",
            verdict="roll_back",
            summary=f"Rolled version {gone} back to version {back}: {reason}",
            inputs=evidence,
            action={"from": gone, "to": back},
            state="acting",
            trigger="person" if actor.startswith("person:") else f"endpoint/{endpoint.name}",
            undo=f"deploy it again: homeostat deploy {endpoint.model}@{gone}",
        ),
    )
