"""The stages of a rollout: shadow, canary, taking over, baking; and what the evidence makes of each."""

from __future__ import annotations

import msgspec

from homeostat.delivery import definitions, deployments, gates, rollbacks, rollouts
from homeostat.delivery.records import Deployment, Evaluation, EvidenceJob, EvidenceResult, RolloutDefinition
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


class Stages:
    """Deployments in the states "rolling_out" and "baking"."""

    def __init__(self, database: Database, engine: Engine, plane: Plane) -> None:
        self.database = database
        self.engine = engine
        self.plane = plane
        self._looked: dict[str, int | None] = {}  # deployment -> watermark of the last look at its evidence

    def begin(self, tx: Transaction, deployment: Deployment, evaluation: Evaluation) -> None:
        """Put a blessed version on the endpoint: at once where nothing answers yet, else through its first stage."""
        endpoint = endpoints.get(tx, deployment.endpoint)
        package = model_versions.get(tx, deployment.model, deployment.version).package
        gate = definitions.gate_of(tx, deployment.endpoint)
        gates.require_blessing(tx, evaluation, package=package, gate=gate)
        champion = endpoint.arm("champion")
        rollout = definitions.rollout_of(tx, deployment.endpoint)
        at_gate = next((c.evidence for c in evaluation.checks if c.check == "champion"), {})
        evidence = {k: at_gate[k] for k in at_gate if k.endswith(("_mean", "_called"))}
        deployment = msgspec.structs.replace(
            deployment, previous=champion.version if champion else None, evidence=evidence
        )
        if champion is None or rollout.kind == "direct" or champion.version == deployment.version:
            self._take_over(tx, deployment, endpoint, "nothing answered before" if champion is None else "directly")
            return
        stage = "canary" if rollout.kind == "canary" else "shadow"
        self._enter_stage(tx, deployment, endpoint, rollout, stage)

    def _enter_stage(
        self, tx: Transaction, deployment: Deployment, endpoint: Endpoint, rollout: RolloutDefinition, stage: str
    ) -> None:
        champion = endpoint.arm("champion")
        assert champion is not None
        share = rollout.share if stage == "canary" else 0.0
        tried = EndpointArm(
            name="canary" if stage == "canary" else "shadow",
            version=deployment.version,
            share=share,
            since=tx.at,
            since_event=endpoint.watermark,
        )
        endpoints.set_arms(tx, endpoint.name, (msgspec.structs.replace(champion, share=1 - share), tried))
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
        with self.database.read(project) as reader:
            endpoint = endpoints.get(reader, deployment.endpoint)
            rollout = definitions.rollout_of(reader, deployment.endpoint)
        if self._looked.get(deployment.id, -1) == endpoint.watermark:
            return False
        deployment, elapsed = self._elapsed(project, deployment, endpoint)
        evidence = self._evidence(project, deployment, endpoint, rollout)
        self._looked[deployment.id] = endpoint.watermark  # only now: evidence that could not be read is asked for again
        if deployment.stage == "shadow":
            judged = rollouts.judge_shadow(evidence, rollout, run_out=elapsed >= rollout.shadow_for)
        else:
            judged = rollouts.judge_canary(evidence, rollout, deployment.evidence)
        return self._turn(project, deployment, endpoint, rollout, judged, elapsed=elapsed)

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
        endpoint: Endpoint,
        rollout: RolloutDefinition,
        judged: rollouts.Judgement,
        *,
        elapsed: int,
    ) -> bool:
        passing("evidence.judged")
        shown = deployment.evidence | judged.evidence
        turn, words = judged.turn, judged.summary
        if turn == "wait" and elapsed >= rollout.timeout:
            turn, words = "roll_back", f"it was not shown harmless in time: {words}"
        if turn == "roll_back":
            rollbacks.roll_back(
                self.plane, endpoint.name, project=project, actor=ACTOR, reason=words, evidence=judged.evidence
            )
            return True
        with self.database.write(actor=ACTOR, project=project, decision_id=deployment.decision_id) as tx:
            if turn == "wait":
                deployments.move(tx, deployment, evidence=shown, summary=words)
                return True
            judged_one = msgspec.structs.replace(deployment, evidence=shown)
            if deployment.stage == "shadow" and rollout.kind == "shadow_then_canary":
                self._enter_stage(tx, judged_one, endpoint, rollout, "canary")
            else:
                self._take_over(tx, judged_one, endpoint, words)
        passing("promotion.saved")
        self.apply(project, deployment)
        return True

    def _evidence(
        self, project: str, deployment: Deployment, endpoint: Endpoint, rollout: RolloutDefinition
    ) -> EvidenceResult:
        champion = endpoint.arm("champion")
        against = (
            deployment.previous if champion is None or champion.version == deployment.version else champion.version
        )
        with self.database.read(project) as reader:
            gate = definitions.gate_of(reader, endpoint.name)
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
        return call(self.engine, "homeostat.delivery.evidence:read", job, EvidenceResult, label="rollout evidence")

    def _take_over(self, tx: Transaction, deployment: Deployment, endpoint: Endpoint, why: str) -> None:
        """Make the version champion; the one before stays loaded, to go back to."""
        champion = endpoint.arm("champion")
        arms = [
            EndpointArm(
                name="champion", version=deployment.version, share=1.0, since=tx.at, since_event=endpoint.watermark
            )
        ]
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
            since_event=endpoint.watermark,
            since_recorded=tx.at,
            summary=f"version {deployment.version} took over: {why}",
            event_at=endpoint.watermark,
            finished_at=tx.at if state == "live" else None,
        )
        enter(tx, deployment, endpoint.watermark, "promote", f"Promoted version {deployment.version}: {why}")

    def bake(self, project: str, deployment: Deployment) -> bool:
        """The new champion answers everything; what fails hard goes back at once, what holds out rests."""
        with self.database.read(project) as reader:
            endpoint = endpoints.get(reader, deployment.endpoint)
            rollout = definitions.rollout_of(reader, deployment.endpoint)
        if self._looked.get(deployment.id, -1) == endpoint.watermark:
            return False
        deployment, elapsed = self._elapsed(project, deployment, endpoint)
        evidence = self._evidence(project, deployment, endpoint, rollout)
        self._looked[deployment.id] = endpoint.watermark  # only now: evidence that could not be read is asked for again
        reading = next((a for a in evidence.arms if a.arm == "candidate"), None)
        if reading is not None and reading.requests >= 20 and reading.errors * 2 > reading.requests:
            words = f"{reading.errors} of {reading.requests} requests failed after it took over"
            rollbacks.roll_back(self.plane, endpoint.name, project=project, actor=ACTOR, reason=words)
            return True
        if elapsed < rollout.bake:
            return False
        with self.database.write(actor=ACTOR, project=project) as tx:
            deployments.move(tx, deployment, state="live", finished_at=tx.at, event_at=endpoint.watermark)
        return True

    def apply(self, project: str, deployment: Deployment) -> None:
        """Make the plan follow the rows; a version that the inference process cannot load goes back at once."""
        ack = self.plane.apply()
        try:
            self.plane.require_loaded(ack, project, deployment.endpoint, deployment.version)
        except HomeostatError as error:
            try:
                rollbacks.roll_back(self.plane, deployment.endpoint, project=project, actor=ACTOR, reason=error.message)
            except HomeostatError:  # nothing answered before either: say so on the deployment
                with self.database.write(actor=ACTOR, project=project) as tx:
                    endpoints.set_arms(tx, deployment.endpoint, ())
                    deployments.move(tx, deployment, state="failed", summary=error.message, finished_at=tx.at)


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
