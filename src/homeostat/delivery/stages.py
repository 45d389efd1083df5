"""The stages of a rollout: shadow, canary, taking over, baking; and what the evidence makes of each."""

from __future__ import annotations

import time
from typing import Literal

import msgspec

from homeostat.data import labels
from homeostat.delivery import definitions, deployments, gates, rollbacks, rollouts
from homeostat.delivery.records import Deployment, EvidenceJob, EvidenceResult, Gate, RolloutDefinition
from homeostat.foundation.database import Database, Transaction
from homeostat.foundation.errors import HomeostatError
from homeostat.foundation.ids import digest_of
from homeostat.foundation.killpoints import passing
from homeostat.governance import decisions
from homeostat.governance.records import Decision
from homeostat.pipelines.engine import Engine, call
from homeostat.registry import aliases
from homeostat.registry import versions as model_versions
from homeostat.serving import endpoints
from homeostat.serving.plane import Plane
from homeostat.serving.records import Endpoint, EndpointArm

ACTOR = "service:delivery"
_QUICK, _REST = 0.5, 5.0  # a look longer than these seconds is followed by a rest of so many times its own length


class Stages:
    """Deployments in the states "rolling_out" and "baking". While their endpoint is paused they stand still."""

    def __init__(self, database: Database, engine: Engine, plane: Plane) -> None:
        self.database = database
        self.engine = engine
        self.plane = plane
        self._looked: dict[str, object] = {}  # deployment -> what was there to see at the last look at its evidence
        self._rest_until: dict[str, float] = {}  # a look that took long is not taken again at once
        self.resting: set[str] = set()  # deployments with more to see, whose look has to rest

    def begin(self, tx: Transaction, deployment: Deployment) -> None:
        """Put a blessed version on the endpoint: at once where nothing answers yet, else through its first stage."""
        evaluation = gates.require_blessing(tx, deployment)
        endpoint = endpoints.get(tx, deployment.endpoint)
        champion = endpoint.arm("champion")
        rollout = definitions.rollout_of(tx, deployment.endpoint)
        if champion is not None and champion.version == deployment.version:
            at, words = endpoint.watermark, f"version {deployment.version} answers already"
            deployments.move(tx, deployment, state="live", summary=words, finished_at=tx.at, event_at=at)
            return
        at_gate = next((c.evidence for c in evaluation.checks if c.check == "champion"), {})
        evidence = {k: at_gate[k] for k in at_gate if k.endswith(("_mean", "_called", "_error"))}
        previous = champion.version if champion else None
        deployment = deployments.move(tx, deployment, previous=previous, evidence=evidence)
        if champion is None or rollout.kind == "direct":
            self._take_over(tx, deployment, "nothing answered before" if champion is None else "directly")
            return
        self._enter_stage(tx, deployment, rollout, "canary" if rollout.kind == "canary" else "shadow")

    def _enter_stage(
        self, tx: Transaction, deployment: Deployment, rollout: RolloutDefinition, stage: Literal["canary", "shadow"]
    ) -> None:
        """Put the version beside the champion. What answered before the champion stays loaded, to go back to."""
        gates.require_blessing(tx, deployment)
        endpoint = endpoints.get(tx, deployment.endpoint)
        champion, previous = endpoint.arm("champion"), endpoint.arm("previous")
        assert champion is not None
        share = rollout.share if stage == "canary" else 0.0
        tried = EndpointArm(
            name=stage, version=deployment.version, share=share, since=tx.at, since_event=endpoint.watermark
        )
        arms = [msgspec.structs.replace(champion, share=1 - share), tried]
        endpoints.set_arms(tx, endpoint.name, (*arms, *((previous,) if previous is not None else ())))
        words = f"in {stage}" + (f" at {share:.0%}" if share else ", beside the champion on the same inputs")
        deployments.move(
            tx,
            deployment,
            state="rolling_out",
            stage=stage,
            since_event=endpoint.watermark,
            since_recorded=tx.at,
            summary=words,
            event_at=endpoint.watermark,
        )

    def roll(self, project: str, deployment: Deployment) -> bool:
        """Judge a stage by its evidence, whenever there is more of it or its time is over."""
        endpoint, rollout, gate = self._around(project, deployment)
        if endpoint.paused:
            return False
        if self._cannot_load(project, deployment):
            return True
        deployment, elapsed = self._elapsed(project, deployment, endpoint)
        over = (elapsed >= rollout.shadow_for, elapsed >= rollout.timeout)
        seen = (deployment.stage, endpoint.watermark, self._labels(project, gate), over)
        if not self._due(deployment, seen):
            return False
        evidence = self._evidence(project, deployment, endpoint, rollout, gate)
        if deployment.stage == "shadow":
            before = deployment.evidence.get("paired", {}).get("judged", 0)
            judged = rollouts.judge_shadow(evidence, rollout, run_out=over[0], judged_before=before)
        else:
            judged = rollouts.judge_canary(evidence, rollout, deployment.evidence)
        self._turn(project, deployment, rollout, judged, over=over[1])
        self._looked[deployment.id] = seen  # only now: what could not be read, or written down, is looked at again
        return True

    def _due(self, deployment: Deployment, seen: object) -> bool:
        """Whether there is more to see; on a log that takes long to read the loop looks a sixth of its time at most."""
        more = self._looked.get(deployment.id) != seen
        rests = more and time.monotonic() < self._rest_until.get(deployment.id, 0.0)
        (self.resting.add if rests else self.resting.discard)(deployment.id)
        return more and not rests

    def _around(self, project: str, deployment: Deployment) -> tuple[Endpoint, RolloutDefinition, Gate]:
        with self.database.read(project) as reader:
            return (
                endpoints.get(reader, deployment.endpoint),
                definitions.rollout_of(reader, deployment.endpoint),
                definitions.gate_of(reader, deployment.endpoint),
            )

    def _labels(self, project: str, gate: Gate) -> int:
        """The newest batch of labels: labels, too, are evidence."""
        if gate.dataset is None:
            return 0
        with self.database.read(project) as reader:
            return labels.newest(reader, gate.dataset)

    def _elapsed(self, project: str, deployment: Deployment, endpoint: Endpoint) -> tuple[Deployment, int]:
        """Event time since the stage began. One that began before any traffic begins with the first it sees."""
        now = endpoints.event_now(endpoint, self.database.clock.now())
        if deployment.since_event is None and endpoint.watermark is not None:
            with self.database.write(actor=ACTOR, project=project) as tx:
                deployment = deployments.move(tx, deployment, since_event=endpoint.watermark)
        return deployment, now - (deployment.since_event if deployment.since_event is not None else now)

    def _turn(
        self,
        project: str,
        deployment: Deployment,
        rollout: RolloutDefinition,
        judged: rollouts.Judgement,
        *,
        over: bool,
    ) -> None:
        passing("evidence.judged")
        turn, words = judged.turn, judged.summary
        if turn == "wait" and over:
            turn, words = "roll_back", f"it was not shown harmless in time: {words}"
        if turn == "roll_back":
            self._take_back(project, deployment, words, judged.evidence)
            return
        try:
            with self.database.write(actor=ACTOR, project=project, decision_id=deployment.decision_id) as tx:
                shown = deployment.evidence | judged.evidence
                deployment = deployments.move(tx, deployment, evidence=shown, summary=words)
                if turn == "wait" or endpoints.get(tx, deployment.endpoint).paused:
                    return
                if deployment.stage == "shadow" and rollout.kind == "shadow_then_canary":
                    self._enter_stage(tx, deployment, rollout, "canary")
                else:
                    self._take_over(tx, deployment, words)
        except HomeostatError as error:
            if error.code != gates.NOT_BLESSED.code:
                raise
            self._take_back(project, deployment, f"its blessing does not hold any more: {error.message}", {})
            return
        passing("promotion.saved")
        self.apply(project, deployment)

    def _take_back(self, project: str, deployment: Deployment, why: str, evidence: dict[str, object]) -> None:
        """By reflex, and only what this deployment brought: somebody may have been quicker."""
        rollbacks.roll_back(
            self.plane,
            deployment.endpoint,
            project=project,
            actor=ACTOR,
            reason=why,
            evidence=evidence,
            version=deployment.version,
        )

    def _evidence(
        self, project: str, deployment: Deployment, endpoint: Endpoint, rollout: RolloutDefinition, gate: Gate
    ) -> EvidenceResult:
        champion = endpoint.arm("champion")
        against = (
            deployment.previous if champion is None or champion.version == deployment.version else champion.version
        )
        with self.database.read(project) as reader:
            package = model_versions.get(reader, deployment.model, deployment.version).package
            other = package if against is None else model_versions.get(reader, deployment.model, against).package
        job = EvidenceJob(
            project=project,
            endpoint=endpoint.name,
            since=deployment.since_event or 0,
            since_recorded=deployment.since_recorded or 0,
            champion=against or 0,
            candidate=deployment.version,
            champion_package=other,
            candidate_package=package,
            latency_budget=round(rollout.latency_budget_ms * 1000),
            dataset=gate.dataset,
            paired=deployment.stage == "shadow",
        )
        began = time.monotonic()
        read = call(self.engine, "homeostat.delivery.evidence:read", job, EvidenceResult, label="rollout evidence")
        took = time.monotonic() - began
        self._rest_until[deployment.id] = began + took + (_REST * took if took > _QUICK else 0.0)
        return read

    def _take_over(self, tx: Transaction, deployment: Deployment, why: str) -> None:
        """Make the version champion; the one before stays loaded, to go back to."""
        gates.require_blessing(tx, deployment)
        endpoint = endpoints.get(tx, deployment.endpoint)
        champion, at = endpoint.arm("champion"), endpoint.watermark
        arms = [EndpointArm(name="champion", version=deployment.version, share=1.0, since=tx.at, since_event=at)]
        if champion is not None and champion.version != deployment.version:
            arms.append(msgspec.structs.replace(champion, name="previous", share=0.0))
        endpoints.set_arms(tx, endpoint.name, tuple(arms))
        aliases.set(tx, deployment.model, "champion", deployment.version)
        state = "baking" if len(arms) > 1 else "live"
        deployments.move(
            tx,
            deployment,
            state=state,
            stage=None,
            since_event=at,
            since_recorded=tx.at,
            summary=f"version {deployment.version} took over: {why}",
            event_at=at,
            finished_at=tx.at if state == "live" else None,
        )
        enter(tx, deployment, at, "promote", f"Promoted version {deployment.version}: {why}")

    def bake(self, project: str, deployment: Deployment) -> bool:
        """The new champion answers everything; what fails hard goes back at once, what holds out rests."""
        endpoint, rollout, gate = self._around(project, deployment)
        if endpoint.paused:
            return False
        if self._cannot_load(project, deployment):
            return True
        deployment, elapsed = self._elapsed(project, deployment, endpoint)
        seen = (deployment.state, endpoint.watermark, elapsed >= rollout.bake)
        if not self._due(deployment, seen):
            return False
        evidence = self._evidence(project, deployment, endpoint, rollout, gate)
        reading = next((a for a in evidence.arms if a.arm == "candidate"), None)
        if reading is not None and rollouts.fails_hard(reading):
            words = f"{reading.errors} of {reading.requests} requests failed after it took over"
            self._take_back(project, deployment, words, {})
            return True
        self._looked[deployment.id] = seen
        if elapsed < rollout.bake:
            return False
        with self.database.write(actor=ACTOR, project=project) as tx:
            deployments.move(tx, deployment, state="live", finished_at=tx.at, event_at=endpoint.watermark)
        return True

    def apply(self, project: str, deployment: Deployment) -> None:
        """Make the plan follow the rows; a version that the inference process cannot load goes back at once."""
        self.plane.apply()
        self._cannot_load(project, deployment)

    def _cannot_load(self, project: str, deployment: Deployment) -> bool:
        """Whether the inference process could not load the version; it is then taken off the endpoint."""
        try:
            self.plane.require_loaded(project, deployment.endpoint, deployment.version)
        except HomeostatError as error:
            try:
                self._take_back(project, deployment, error.message, {})
            except HomeostatError as nothing:
                if nothing.code != rollbacks.NOTHING_BEFORE.code:
                    raise
                with self.database.write(actor=ACTOR, project=project) as tx:
                    endpoints.set_arms(tx, deployment.endpoint, ())
                    now = deployments.get(tx, deployment.id)
                    deployments.move(tx, now, state="failed", summary=error.message, finished_at=tx.at)
            return True
        return False


def enter(tx: Transaction, deployment: Deployment, event_at: int | None, verdict: str, words: str) -> None:
    """Write what delivery decided by reflex into the ledger; the same verdict on a deployment is entered once."""
    undo = f"homeostat rollback {deployment.endpoint}" if verdict == "promote" and deployment.previous else None
    decisions.record(
        tx,
        Decision(
            id=digest_of(f"{deployment.id} {verdict}".encode())[:32],
            at=0,
            event_at=event_at,
            subject=f"endpoint/{deployment.endpoint}",
            decider=ACTOR,
            rule=f"gate and rollout of endpoint {deployment.endpoint}",
            verdict=verdict,
            summary=words,
            inputs={"deployment": deployment.id, "evaluation": deployment.evaluation_id},
            state="done",
            trigger=f"deployment/{deployment.id}",
            undo=undo,
        ),
    )
