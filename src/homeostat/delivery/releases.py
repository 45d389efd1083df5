"""Drives deployments from request to rest. All state is in rows; what is here in memory can be lost at any time.

`step` is called by the control loop again and again and moves each open deployment by at most one state. Gates run in
workers while the loop goes on; a restart asks them again.
"""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any, Literal

import msgspec

from homeostat.data import datasets, versions
from homeostat.data.records import Dataset, DatasetVersion
from homeostat.delivery import definitions, deployments, gates, rollbacks, rollouts
from homeostat.delivery.records import (
    Deployment,
    EvaluateJob,
    EvaluateResult,
    Evaluation,
    EvidenceJob,
    EvidenceResult,
    Gate,
    RolloutDefinition,
)
from homeostat.foundation.clock import DAY
from homeostat.foundation.database import Database, Reader, Transaction
from homeostat.foundation.errors import HomeostatError, Kind, entry, from_dict
from homeostat.foundation.ids import digest_of, new_id
from homeostat.governance import decisions
from homeostat.governance.records import Decision
from homeostat.pipelines.engine import Engine, call
from homeostat.pipelines.ingestion import ingest
from homeostat.pipelines.records import Call, Outcome
from homeostat.registry import aliases
from homeostat.registry import versions as model_versions
from homeostat.serving import endpoints
from homeostat.serving.plane import Plane
from homeostat.serving.records import Endpoint, EndpointArm

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

ACTOR = "service:delivery"
_TRIES = 3

Rule = Literal["not_shown_worse", "shown_better"]


class Releases:
    """Every deployment of every project. `step` is called from one thread; `request` and `roll_back` from any."""

    def __init__(self, database: Database, engine: Engine, plane: Plane) -> None:
        self.database = database
        self.engine = engine
        self.plane = plane
        self._gates: dict[str, Future[Outcome]] = {}
        self._looked: dict[str, int | None] = {}  # deployment -> watermark of the last look at its evidence

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

        The same `key` again gives the deployment it made the first time.
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
        """Move every open deployment of the project as far as it can go now; whether anything moved."""
        with self.database.read(project) as reader:
            found = deployments.listing(reader, states=deployments.OPEN)
        moved = False
        for deployment in reversed(found):
            act = {"gating": self._gate, "waiting": self._wait, "rolling_out": self._roll, "baking": self._bake}
            moved |= act[deployment.state](project, deployment)
        return moved

    def busy(self, project: str) -> list[str]:
        """What is still being worked on without anyone having to wait for the world: gates under way."""
        with self.database.read(project) as reader:
            gating = deployments.listing(reader, states=("gating",))
        return [f"gate of {d.model}@{d.version}" for d in gating]

    def under_way(self, reader: Reader, endpoint: str) -> bool:
        """Whether a deployment of the endpoint is on its way; one that bakes or waits for labels does not count."""
        return bool(deployments.listing(reader, endpoint, states=("gating", "rolling_out")))

    # -- gate ---------------------------------------------------------------------------------------------------------

    def _gate(self, project: str, deployment: Deployment) -> bool:
        future = self._gates.get(deployment.id)
        if future is None:
            job = self._job(project, deployment)
            made = Call(
                function="homeostat.delivery.evaluate:evaluate",
                payload=msgspec.msgpack.encode(job),
                label=f"gate {deployment.model}@{deployment.version}",
            )
            self._gates[deployment.id] = self.engine.submit(made)
            return True
        if not future.done():
            return False
        del self._gates[deployment.id]
        outcome = future.result()
        if outcome.state == "lost":
            return True  # the next step asks again
        if outcome.state == "failed":
            error = from_dict(outcome.error or {})
            with self.database.write(actor=ACTOR, project=project) as tx:
                words = f"the gate could not be held against it: {error}"
                deployments.move(tx, deployment, state="failed", summary=words, finished_at=tx.at)
            return True
        self._judge(project, deployment, msgspec.msgpack.decode(outcome.result, type=EvaluateResult))
        return True

    def _job(self, project: str, deployment: Deployment) -> EvaluateJob:
        with self.database.read(project) as reader:
            gate = definitions.gate_of(reader, deployment.endpoint)
        if gate.dataset is not None:
            ingest(self.database, self.engine, gate.dataset, project=project, actor=ACTOR)
        with self.database.read(project) as reader:
            endpoint = endpoints.get(reader, deployment.endpoint)
            champion = endpoint.arm("champion")
            against = None if champion is None or champion.version == deployment.version else champion.version
            dataset, newest = _data_of(reader, gate)
            return EvaluateJob(
                project=project,
                endpoint=deployment.endpoint,
                gate=gates.complete(gate, deployment.rule),
                package=model_versions.get(reader, deployment.model, deployment.version).package,
                version=deployment.version,
                champion=against,
                champion_package=None
                if against is None
                else model_versions.get(reader, deployment.model, against).package,
                dataset=dataset,
                delta_version=newest.delta_version if newest else None,
                data_digest=newest.digest if newest else digest_of(b""),
                known_at=endpoints.event_now(endpoint, self.database.clock.now()),
                since=deployment.data_since,
                host=self.plane.supervisor.host,
            )

    def _judge(self, project: str, deployment: Deployment, result: EvaluateResult) -> None:
        with self.database.write(actor=ACTOR, project=project, decision_id=deployment.decision_id) as tx:
            evaluation = gates.bless(self._evaluation(tx, deployment, result))
            deployments.save_evaluation(tx, evaluation)
            words = "; ".join(check.summary for check in result.checks if check.verdict == result.verdict)
            tries = int(deployment.evidence.get("inconclusive", 0)) + (result.verdict == "inconclusive")
            keep: dict[str, Any] = {"evaluation_id": evaluation.id, "summary": words}
            if result.verdict == "refused":
                deployments.move(
                    tx, deployment, state="refused", finished_at=tx.at, event_at=evaluation.event_at, **keep
                )
                self._enter(
                    tx, deployment, evaluation.event_at, "refuse", f"Refused version {deployment.version}: {words}"
                )
            elif result.verdict == "passed" or tries >= _TRIES:
                if result.verdict == "inconclusive":
                    evaluation = msgspec.structs.replace(evaluation, verdict="inconclusive")
                    deployments.move(tx, deployment, state="failed", finished_at=tx.at, **keep)
                    return
                self._begin(tx, msgspec.structs.replace(deployment, **keep), evaluation)
            else:
                evidence = deployment.evidence | {"asked_at": evaluation.event_at, "inconclusive": tries}
                deployments.move(
                    tx, deployment, state="waiting", evidence=evidence, event_at=evaluation.event_at, **keep
                )
        self._apply(project, deployment)

    def _evaluation(self, tx: Transaction, deployment: Deployment, result: EvaluateResult) -> Evaluation:
        endpoint = endpoints.get(tx, deployment.endpoint)
        champion = endpoint.arm("champion")
        gate = definitions.gate_of(tx, deployment.endpoint)
        _, newest = _data_of(tx, gate)
        return Evaluation(
            id=new_id(),
            endpoint=deployment.endpoint,
            model=deployment.model,
            version=deployment.version,
            champion=champion.version if champion else None,
            verdict=result.verdict,
            checks=result.checks,
            at=tx.at,
            event_at=endpoints.event_now(endpoint, tx.at),
            gate_digest=definitions.gate_digest(gate),
            data_digest=newest.digest if newest else digest_of(b""),
            package=model_versions.get(tx, deployment.model, deployment.version).package,
        )

    def _wait(self, project: str, deployment: Deployment) -> bool:
        """Ask the gate again once a day of event time has brought more labels; give up when time has run out."""
        with self.database.read(project) as reader:
            endpoint = endpoints.get(reader, deployment.endpoint)
            rollout = definitions.rollout_of(reader, deployment.endpoint)
        now = endpoints.event_now(endpoint, self.database.clock.now())
        asked = int(deployment.evidence.get("asked_at") or now)
        first = int(deployment.evidence.get("first_asked_at") or asked)
        soon = bool(deployment.evidence.get("inconclusive"))
        if now - first > rollout.timeout:
            with self.database.write(actor=ACTOR, project=project) as tx:
                words = f"there was not enough evidence in time: {deployment.summary}"
                deployments.move(tx, deployment, state="refused", summary=words, finished_at=tx.at, event_at=now)
                self._enter(tx, deployment, now, "refuse", f"Refused version {deployment.version}: {words}")
            return True
        if now - asked < DAY and not soon:
            return False
        with self.database.write(actor=ACTOR, project=project) as tx:
            evidence = deployment.evidence | {"first_asked_at": first}
            deployments.move(tx, deployment, state="gating", evidence=evidence, event_at=now)
        return True

    # -- rollout ------------------------------------------------------------------------------------------------------

    def _begin(self, tx: Transaction, deployment: Deployment, evaluation: Evaluation) -> None:
        """Put a blessed version on the endpoint: at once where nothing answers yet, else through its first stage."""
        endpoint = endpoints.get(tx, deployment.endpoint)
        package = model_versions.get(tx, deployment.model, deployment.version).package
        gate = definitions.gate_of(tx, deployment.endpoint)
        gates.require_blessing(evaluation, package=package, gate=gate)
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
        now = endpoints.event_now(endpoint, tx.at)
        share = rollout.share if stage == "canary" else 0.0
        tried = EndpointArm(
            name="canary" if stage == "canary" else "shadow",
            version=deployment.version,
            share=share,
            since=tx.at,
            since_event=now,
        )
        endpoints.set_arms(tx, endpoint.name, (msgspec.structs.replace(champion, share=1 - share), tried))
        words = f"in {stage}" + (f" at {share:.0%}" if share else ", beside the champion on the same inputs")
        deployments.move(
            tx,
            deployment,
            state="rolling_out",
            stage=stage,
            since_event=now,
            since_recorded=tx.at,
            summary=words,
            event_at=now,
        )

    def _roll(self, project: str, deployment: Deployment) -> bool:
        with self.database.read(project) as reader:
            endpoint = endpoints.get(reader, deployment.endpoint)
            rollout = definitions.rollout_of(reader, deployment.endpoint)
        if self._looked.get(deployment.id, -1) == endpoint.watermark:
            return False
        self._looked[deployment.id] = endpoint.watermark
        now = endpoints.event_now(endpoint, self.database.clock.now())
        elapsed = now - (deployment.since_event or now)
        evidence = self._evidence(project, deployment, endpoint, rollout)
        if deployment.stage == "shadow":
            judged = rollouts.judge_shadow(evidence, rollout, run_out=elapsed >= rollout.shadow_for)
        else:
            judged = rollouts.judge_canary(evidence, rollout, deployment.evidence)
        return self._turn(project, deployment, endpoint, rollout, judged, elapsed=elapsed)

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
        self._apply(project, deployment)
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
        now = endpoints.event_now(endpoint, tx.at)
        champion = endpoint.arm("champion")
        arms = [EndpointArm(name="champion", version=deployment.version, share=1.0, since=tx.at, since_event=now)]
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
            since_event=now,
            since_recorded=tx.at,
            summary=f"version {deployment.version} took over: {why}",
            event_at=now,
            finished_at=tx.at if state == "live" else None,
        )
        self._enter(tx, deployment, now, "promote", f"Promoted version {deployment.version}: {why}")

    def _bake(self, project: str, deployment: Deployment) -> bool:
        """The new champion answers everything; what fails hard goes back at once, what holds out rests."""
        with self.database.read(project) as reader:
            endpoint = endpoints.get(reader, deployment.endpoint)
            rollout = definitions.rollout_of(reader, deployment.endpoint)
        if self._looked.get(deployment.id, -1) == endpoint.watermark:
            return False
        self._looked[deployment.id] = endpoint.watermark
        now = endpoints.event_now(endpoint, self.database.clock.now())
        evidence = self._evidence(project, deployment, endpoint, rollout)
        reading = next((a for a in evidence.arms if a.arm == "candidate"), None)
        if reading is not None and reading.requests >= 20 and reading.errors * 2 > reading.requests:
            words = f"{reading.errors} of {reading.requests} requests failed after it took over"
            rollbacks.roll_back(self.plane, endpoint.name, project=project, actor=ACTOR, reason=words)
            return True
        if now - (deployment.since_event or now) < rollout.bake:
            return False
        with self.database.write(actor=ACTOR, project=project) as tx:
            deployments.move(tx, deployment, state="live", finished_at=tx.at, event_at=now)
        return True

    # -- shared -------------------------------------------------------------------------------------------------------

    def _apply(self, project: str, deployment: Deployment) -> None:
        """Make the plan follow the rows; a version that the inference process cannot load goes back at once."""
        ack = self.plane.apply()
        try:
            self.plane.require_loaded(ack, deployment.endpoint, deployment.version)
        except HomeostatError as error:
            try:
                rollbacks.roll_back(self.plane, deployment.endpoint, project=project, actor=ACTOR, reason=error.message)
            except HomeostatError:  # nothing answered before either: say so on the deployment
                with self.database.write(actor=ACTOR, project=project) as tx:
                    endpoints.set_arms(tx, deployment.endpoint, ())
                    deployments.move(tx, deployment, state="failed", summary=error.message, finished_at=tx.at)

    def _enter(self, tx: Transaction, deployment: Deployment, event_at: int | None, verdict: str, words: str) -> None:
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


def _make_way(tx: Transaction, earlier: Deployment) -> None:
    """A new request replaces one that waits, lets one that bakes rest, and is refused beside one that rolls out."""
    if earlier.state == "rolling_out":
        raise IN_PROGRESS(field="endpoint", version=earlier.version, endpoint=earlier.endpoint)
    if earlier.state == "baking":
        deployments.move(tx, earlier, state="live", finished_at=tx.at)
    else:
        words = "another version was asked for before it got through"
        deployments.move(tx, earlier, state="superseded", summary=words, finished_at=tx.at)


def _data_of(reader: Reader, gate: Gate) -> tuple[Dataset | None, DatasetVersion | None]:
    if gate.dataset is None:
        return None, None
    published = [v for v in versions.log(reader, gate.dataset) if v.published]
    newest = max(published, key=lambda v: v.number, default=None)
    return datasets.get(reader, gate.dataset), newest
