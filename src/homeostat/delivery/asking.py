"""Asking the gate: the verdict comes from a worker, and here it is made to count."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import msgspec

from homeostat.data import datasets, versions
from homeostat.data.records import Dataset, DatasetVersion
from homeostat.delivery import definitions, deployments, gates
from homeostat.delivery.records import Deployment, EvaluateJob, EvaluateResult, Evaluation, Gate
from homeostat.delivery.stages import ACTOR, Stages, enter
from homeostat.foundation.clock import DAY
from homeostat.foundation.database import Database, Reader, Transaction
from homeostat.foundation.errors import from_dict
from homeostat.foundation.ids import digest_of, new_id
from homeostat.foundation.killpoints import passing
from homeostat.pipelines import runs as pipeline_runs
from homeostat.pipelines.engine import Engine
from homeostat.pipelines.ingestion import ingest
from homeostat.pipelines.records import Call, Features, Outcome
from homeostat.registry import versions as model_versions
from homeostat.serving import endpoints

_TRIES = 3


class Asking:
    """Deployments in the states "gating" and "waiting". Gates run in workers; a restart asks them again."""

    def __init__(self, database: Database, engine: Engine, stages: Stages) -> None:
        self.database = database
        self.engine = engine
        self.stages = stages
        self._asked: dict[str, Future[Outcome]] = {}

    def ask(self, project: str, deployment: Deployment) -> bool:
        future = self._asked.get(deployment.id)
        if future is None:
            job = self._job(project, deployment)
            made = Call(
                function="homeostat.delivery.evaluate:evaluate",
                payload=msgspec.msgpack.encode(job),
                label=f"gate {deployment.model}@{deployment.version}",
            )
            self._asked[deployment.id] = self.engine.submit(made)
            return True
        if not future.done():
            return False
        del self._asked[deployment.id]
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
            version = model_versions.get(reader, deployment.model, deployment.version)
            return EvaluateJob(
                project=project,
                endpoint=deployment.endpoint,
                gate=gates.complete(gate, deployment.rule),
                package=version.package,
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
                host=self.stages.plane.supervisor.host,
                features=_features(reader, version.run_id),
            )

    def _judge(self, project: str, deployment: Deployment, result: EvaluateResult) -> None:
        passing("gate.returned")
        with self.database.write(actor=ACTOR, project=project, decision_id=deployment.decision_id) as tx:
            evaluation = gates.bless(tx, self._evaluation(tx, deployment, result))
            deployments.save_evaluation(tx, evaluation)
            words = "; ".join(check.summary for check in result.checks if check.verdict == result.verdict)
            tries = int(deployment.evidence.get("inconclusive", 0)) + (result.verdict == "inconclusive")
            keep: dict[str, Any] = {"evaluation_id": evaluation.id, "summary": words}
            if result.verdict == "refused":
                deployments.move(
                    tx, deployment, state="refused", finished_at=tx.at, event_at=evaluation.event_at, **keep
                )
                enter(tx, deployment, evaluation.event_at, "refuse", f"Refused version {deployment.version}: {words}")
            elif result.verdict == "passed" or tries >= _TRIES:
                if result.verdict == "inconclusive":
                    evaluation = msgspec.structs.replace(evaluation, verdict="inconclusive")
                    deployments.move(tx, deployment, state="failed", finished_at=tx.at, **keep)
                    return
                self.stages.begin(tx, msgspec.structs.replace(deployment, **keep), evaluation)
            else:
                now = endpoints.event_now(endpoints.get(tx, deployment.endpoint), tx.at)
                evidence = deployment.evidence | {"asked_at": now, "inconclusive": tries}
                deployments.move(
                    tx, deployment, state="waiting", evidence=evidence, event_at=evaluation.event_at, **keep
                )
        passing("gate.saved")
        self.stages.apply(project, deployment)

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
            event_at=endpoint.watermark,
            gate_digest=definitions.gate_digest(gate),
            data_digest=newest.digest if newest else digest_of(b""),
            package=model_versions.get(tx, deployment.model, deployment.version).package,
        )

    def wait(self, project: str, deployment: Deployment) -> bool:
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
                enter(tx, deployment, now, "refuse", f"Refused version {deployment.version}: {words}")
            return True
        if now - asked < DAY and not soon:
            return False
        with self.database.write(actor=ACTOR, project=project) as tx:
            evidence = deployment.evidence | {"first_asked_at": first}
            deployments.move(tx, deployment, state="gating", evidence=evidence, event_at=now)
        return True


def _features(reader: Reader, run_id: str | None) -> Features | None:
    """The project's steps that the version was trained behind, over the newest version of every dataset they take."""
    found = None if run_id is None else pipeline_runs.features(reader, run_id)
    if found is None:
        return None
    taken = [
        step.settings["dataset"] for step in found.pipeline.steps if isinstance(step.settings.get("dataset"), dict)
    ]
    names = sorted({str(dataset["name"]) for dataset in taken})
    newest = {name: versions.get(reader, name).delta_version for name in names}
    return msgspec.structs.replace(found, versions=newest)


def _data_of(reader: Reader, gate: Gate) -> tuple[Dataset | None, DatasetVersion | None]:
    if gate.dataset is None:
        return None, None
    published = [v for v in versions.log(reader, gate.dataset) if v.published]
    newest = max(published, key=lambda v: v.number, default=None)
    return datasets.get(reader, gate.dataset), newest
