"""Back to what answered before: one change of arms, one plan, under a second, no request lost.

The version before stays loaded beside its successor (arm "previous"), so nothing has to be loaded to go back.
"""

from __future__ import annotations

import time

import msgspec

from homeostat.delivery import deployments
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


def roll_back(
    plane: Plane,
    endpoint: str,
    *,
    project: str,
    actor: str,
    reason: str,
    decision: Decision | None = None,
    evidence: dict[str, object] | None = None,
) -> Decision:
    """Take the newest version off the endpoint and put the one before it back; returns once that answers.

    Under a rollout the champion simply gets all traffic again; after one, the previous version becomes champion. The
    decision entered (or `decision`, carried out) ends as done, with the time it took.
    """
    began = time.perf_counter()
    with plane.database.write(actor=actor, project=project, reason=reason) as tx:
        found = endpoints.get(tx, endpoint)
        running = _open_deployment(tx, found)
        arms, gone, back = _arms_after(found, running, tx.at)
        taken = decision or _enter(tx, found, gone, back, reason, actor, evidence or {})
        if taken.state in ("noted", "approved"):
            decisions.move(tx, taken.id, "acting")
        endpoints.set_arms(tx, endpoint, arms)
        aliases.set(tx, found.model, "champion", back)
        if running is not None:
            summary = f"version {gone} was rolled back: {reason}"
            deployments.move(
                tx,
                running,
                state="rolled_back",
                summary=summary,
                finished_at=tx.at,
                event_at=found.watermark,
                evidence=running.evidence | (evidence or {}),
            )
    passing("rollback.saved")
    plane.apply()
    passing("rollback.applied")
    took = round((time.perf_counter() - began) * 1e6)
    with plane.database.write(actor=actor, project=project) as tx:
        outcome = f"version {back} answers alone again, {format_duration(took)} after the decision"
        return decisions.move(tx, taken.id, "done", outcome)


def _open_deployment(tx: Transaction, endpoint: Endpoint) -> Deployment | None:
    """The deployment that brought the newest version: the one rolling out or baking, else the newest live one."""
    listed = deployments.listing(tx, endpoint.name, states=("rolling_out", "baking", "live"), limit=50)
    under_way = [d for d in listed if d.state in ("rolling_out", "baking")]
    champion = endpoint.arm("champion")
    live = [d for d in listed if champion is not None and d.version == champion.version]
    return next(iter(under_way or live), None)


def _arms_after(endpoint: Endpoint, running: Deployment | None, at: int) -> tuple[tuple[EndpointArm, ...], int, int]:
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
