"""Drives deployments from request to rest. All state is in rows; what is here in memory can be lost at any time.

`step` is called by the control loop again and again and moves each open deployment by at most one state. Gates run in
workers while the loop goes on; a restart asks them again.
"""

from __future__ import annotations

from typing import Literal

from homeostat.delivery import deployments
from homeostat.delivery.asking import Asking, held_up
from homeostat.delivery.records import Deployment
from homeostat.delivery.stages import ACTOR as ACTOR
from homeostat.delivery.stages import Stages
from homeostat.foundation.database import Database, Reader, Transaction
from homeostat.foundation.errors import HomeostatError, Kind, entry
from homeostat.foundation.ids import new_id
from homeostat.pipelines.engine import Engine
from homeostat.registry import versions as model_versions
from homeostat.serving import endpoints
from homeostat.serving.plane import Plane

IN_PROGRESS = entry(
    "delivery.in_progress",
    Kind.CONFLICT,
    "version {version} is being rolled out on endpoint {endpoint!r}: one action at a time",
    "wait for it, or take it back first: homeostat rollback {endpoint}",
)
INCOMPLETE = entry(
    "delivery.incomplete",
    Kind.CONFLICT,
    "version {version} of {model!r} is incomplete, it lacks: {missing}",
    "complete it, then deploy it",
)

_OVERTAKEN = ("delivery.moved", "delivery.gone_already")

Rule = Literal["not_shown_worse", "shown_better"]


class Releases:
    """Every deployment of every project. `step` is called from one thread; `request` from any."""

    def __init__(self, database: Database, engine: Engine, plane: Plane) -> None:
        self.database = database
        self.plane = plane
        self.stages = Stages(database, engine, plane)
        self.asking = Asking(database, engine, self.stages)

    def request(
        self,
        endpoint: str,
        model: str,
        version: int | None,
        *,
        project: str,
        actor: str,
        reason: str | None = None,
        rule: Rule = "not_shown_worse",
        decision_id: str | None = None,
        data_since: int | None = None,
        key: str | None = None,
    ) -> Deployment:
        """Ask for a version (None: the newest) on an endpoint, made if it is new. The gate comes first, always.

        The same `key` again gives the deployment it made the first time; a version that is on its way already is not
        asked for twice.
        """
        with self.database.write(actor=actor, project=project, reason=reason, decision_id=decision_id) as tx:
            before = deployments.find(tx, key) if key else None
            if before is not None:
                return before
            wanted = model_versions.get(tx, model, version)
            if wanted.state != "complete":
                missing = ", ".join(wanted.missing)
                raise INCOMPLETE(field="version", version=wanted.number, model=model, missing=missing)
            endpoints.create(tx, endpoint, model)
            for earlier in deployments.listing(tx, endpoint, states=deployments.OPEN):
                if earlier.version == wanted.number:
                    return earlier
                _make_way(tx, earlier)
            deployment = Deployment(
                id=key or new_id(),
                endpoint=endpoint,
                model=model,
                version=wanted.number,
                state="gating",
                requested_by=actor,
                requested_at=tx.at,
                rule=rule,
                reason=reason,
                decision_id=decision_id,
                data_since=data_since,
                summary="the gate is being asked",
            )
            return deployments.insert(tx, deployment)

    def step(self, project: str) -> bool:
        """Move every open deployment of the project as far as it can go now; whether anything moved.

        One that was dealt with by somebody else meanwhile is looked at again; the trouble of one does not hold up the
        others, and is raised after them.
        """
        with self.database.read(project) as reader:
            found = deployments.listing(reader, states=deployments.OPEN)
        asking, stages = self.asking, self.stages
        acts = {"gating": asking.ask, "waiting": asking.wait, "rolling_out": stages.roll, "baking": stages.bake}
        asking.forget_all_but(project, {d.id for d in found if d.state == "gating"})
        moved = False
        troubles: list[Exception] = []
        for deployment in reversed(found):
            try:
                moved |= acts[deployment.state](project, deployment)
            except HomeostatError as error:
                if error.code in _OVERTAKEN and self._was_overtaken(project, deployment):
                    moved = True
                elif error.code != "delivery.held":  # somebody acts on the endpoint: it waits its turn
                    troubles.append(error)
        if troubles:
            raise troubles[0]
        return moved

    def _was_overtaken(self, project: str, deployment: Deployment) -> bool:
        with self.database.read(project) as reader:
            now = deployments.get(reader, deployment.id)
        return (now.state, now.stage) != (deployment.state, deployment.stage)

    def busy(self, project: str) -> list[str]:
        """What is still being worked on without anyone having to wait for the world: gates, and evidence to be read."""
        with self.database.read(project) as reader:
            gating = deployments.listing(reader, states=("gating",))
            going_on = [d for d in gating if not held_up(endpoints.get(reader, d.endpoint), d)]
            resting = [d for d in deployments.listing(reader, states=deployments.OPEN) if d.id in self.stages.resting]
        gates = [f"gate of {d.model}@{d.version}" for d in going_on]
        return gates + [f"evidence of {d.model}@{d.version}" for d in resting]

    def under_way(self, reader: Reader, endpoint: str) -> bool:
        """Whether a deployment of the endpoint is on its way; one that bakes or waits for labels does not count."""
        return bool(deployments.listing(reader, endpoint, states=("gating", "rolling_out")))


def _make_way(tx: Transaction, earlier: Deployment) -> None:
    """A new request replaces one that waits, lets one that bakes rest, and is refused beside one that rolls out."""
    if earlier.state == "rolling_out":
        raise IN_PROGRESS(field="endpoint", version=earlier.version, endpoint=earlier.endpoint)
    if earlier.state == "baking":
        deployments.move(tx, earlier, state="live", finished_at=tx.at)
    else:
        words = "another version was asked for before it got through"
        deployments.move(tx, earlier, state="superseded", summary=words, finished_at=tx.at)
