"""Asking the gate: the verdict comes from a worker, and here it is made to count."""

from __future__ import annotations

from concurrent.futures import Future
from typing import NamedTuple

import msgspec

from homeostat.data import datasets, versions
from homeostat.data.records import Dataset, DatasetVersion
from homeostat.delivery import definitions, deployments, gates
from homeostat.delivery.records import Deployment, EvaluateJob, EvaluateResult, Evaluation, Gate, Verdict
from homeostat.delivery.stages import ACTOR, Stages, enter
from homeostat.foundation.clock import DAY
from homeostat.foundation.database import Database, Reader, Transaction
from homeostat.foundation.errors import HomeostatError, Kind, from_dict
from homeostat.foundation.ids import digest_of, new_id
from homeostat.foundation.killpoints import passing
from homeostat.pipelines import runs as pipeline_runs
from homeostat.pipelines.engine import Engine
from homeostat.pipelines.ingestion import ingest
from homeostat.pipelines.records import Call, Features, Outcome
from homeostat.registry import versions as model_versions
from homeostat.registry.records import ModelVersion
from homeostat.serving import endpoints
from homeostat.serving.records import Endpoint

_TRIES = 3


class _Asked(NamedTuple):
    """A gate under way: what it was asked, and where its verdict will be."""

    job: EvaluateJob
    verdict: Future[Outcome]


class Asking:
    """Deployments in the states "gating" and "waiting". Gates run in workers; a restart asks them again."""

    def __init__(self, database: Database, engine: Engine, stages: Stages) -> None:
        self.database = database
        self.engine = engine
        self.stages = stages
        self._asked: dict[str, _Asked] = {}

    def ask(self, project: str, deployment: Deployment) -> bool:
        """Ask the gate, or make its verdict count. While the endpoint is paused only a person's wish goes on."""
        with self.database.read(project) as reader:
            if held_up(endpoints.get(reader, deployment.endpoint), deployment):
                return False
        asked = self._asked.get(deployment.id)
        if asked is None:
            try:
                job = self._job(project, deployment)
            except HomeostatError as error:
                if error.kind is Kind.UNAVAILABLE:
                    raise  # a worker died: the next step asks again
                self._give_up(project, deployment, f"the gate could not be asked: {error}")
                return True
            made = Call(
                function="homeostat.delivery.evaluate:evaluate",
                payload=msgspec.msgpack.encode(job),
                label=f"gate {deployment.model}@{deployment.version}",
            )
            self._asked[deployment.id] = _Asked(job, self.engine.submit(made))
            return True
        if not asked.verdict.done():
            return False
        outcome = asked.verdict.result()
        if outcome.state == "succeeded":
            result = msgspec.msgpack.decode(outcome.result, type=EvaluateResult)
            self._judge(project, deployment, asked.job, result)
        elif outcome.state == "failed":
            why = from_dict(outcome.error or {})
            self._give_up(project, deployment, f"the gate could not be held against it: {why}")
        del self._asked[deployment.id]  # not before: a verdict that could not be written is written the next time
        return True

    def forget_all_but(self, project: str, ids: set[str]) -> None:
        """Let go of gates whose deployments went on without them."""
        gone = [id for id, asked in self._asked.items() if asked.job.project == project and id not in ids]
        for id in gone:
            del self._asked[id]

    def _give_up(self, project: str, deployment: Deployment, words: str) -> None:
        with self.database.write(actor=ACTOR, project=project) as tx:
            deployments.move(tx, deployment, state="failed", summary=words, finished_at=tx.at)

    def _job(self, project: str, deployment: Deployment) -> EvaluateJob:
        with self.database.read(project) as reader:
            gate = definitions.gate_of(reader, deployment.endpoint)
        remark = None if gate.dataset is None else self._take_in(project, gate.dataset)
        with self.database.read(project) as reader:
            endpoint = endpoints.get(reader, deployment.endpoint)
            dataset, newest = _data_of(reader, gate)
            version = model_versions.get(reader, deployment.model, deployment.version)
            champion, against = endpoint.arm("champion"), _against(reader, endpoint, deployment)
            return EvaluateJob(
                project=project,
                endpoint=deployment.endpoint,
                gate=gates.complete(definitions.gate_of(reader, deployment.endpoint), deployment.rule),
                package=version.package,
                version=deployment.version,
                champion=None if against is None else against.number,
                champion_package=None if against is None else against.package,
                dataset=dataset,
                delta_version=newest.delta_version if newest else None,
                data_digest=newest.digest if newest else digest_of(b""),
                known_at=endpoints.event_now(endpoint, self.database.clock.now()),
                since=deployment.data_since,
                redeployed=champion is not None and champion.version == deployment.version,
                registered_at=None if endpoint.replaying else version.created_at,
                features=_features(reader, version.run_id),
                remark=remark,
            )

    def _take_in(self, project: str, dataset: str) -> str | None:
        """Take new files in; why not, where they cannot be: the gate then judges on what was published before."""
        try:
            ingest(self.database, self.engine, dataset, project=project, actor=ACTOR)
        except HomeostatError as error:
            if error.kind is Kind.UNAVAILABLE:
                raise  # a worker died: the next step asks again
            return f"newer data could not be taken in: {error}"
        return None

    def _judge(self, project: str, deployment: Deployment, job: EvaluateJob, result: EvaluateResult) -> None:
        """Write the verdict down, and do what follows; a verdict about what is no more the case is dropped."""
        passing("gate.returned")
        with self.database.write(actor=ACTOR, project=project, decision_id=deployment.decision_id) as tx:
            endpoint = endpoints.get(tx, deployment.endpoint)
            if not _still_so(tx, endpoint, deployment, job):
                return
            evaluation = gates.bless(tx, _evaluation(tx, endpoint, deployment, job, result))
            deployments.save_evaluation(tx, evaluation)
            words = "; ".join(check.summary for check in result.checks if check.verdict == result.verdict)
            deployment = deployments.move(tx, deployment, evaluation_id=evaluation.id, summary=words)
            self._follow(tx, endpoint, deployment, result.verdict)
        passing("gate.saved")
        if result.verdict == "passed":
            self.stages.apply(project, deployment)

    def _follow(self, tx: Transaction, endpoint: Endpoint, deployment: Deployment, verdict: Verdict) -> None:
        at, words = endpoint.watermark, deployment.summary
        if verdict == "passed":
            self.stages.begin(tx, deployment)
            return
        if verdict == "refused":
            deployments.move(tx, deployment, state="refused", finished_at=tx.at, event_at=at)
            enter(tx, deployment, at, "refuse", f"Refused version {deployment.version}: {words}")
            return
        tries = int(deployment.evidence.get("inconclusive", 0)) + (verdict == "inconclusive")
        if verdict == "inconclusive" and tries >= _TRIES:
            words = f"the gate could not tell in {tries} tries: {words}"
            deployments.move(tx, deployment, state="failed", summary=words, finished_at=tx.at, event_at=at)
            return
        evidence = deployment.evidence | {"asked_at": endpoints.event_now(endpoint, tx.at), "inconclusive": tries}
        evidence["soon"] = verdict == "inconclusive"
        deployments.move(tx, deployment, state="waiting", evidence=evidence, event_at=at)

    def wait(self, project: str, deployment: Deployment) -> bool:
        """Ask the gate again once a day of event time has brought more labels; give up when time has run out."""
        with self.database.read(project) as reader:
            endpoint = endpoints.get(reader, deployment.endpoint)
            rollout = definitions.rollout_of(reader, deployment.endpoint)
        if held_up(endpoint, deployment):
            return False
        now = endpoints.event_now(endpoint, self.database.clock.now())
        asked = int(deployment.evidence.get("asked_at") or now)
        first = int(deployment.evidence.get("first_asked_at") or asked)
        soon = bool(deployment.evidence.get("soon"))
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


def held_up(endpoint: Endpoint, deployment: Deployment) -> bool:
    """Whether a pause stops the deployment: one that a person asked for may begin, and then stands where it is."""
    return endpoint.paused and not deployment.requested_by.startswith("person:")


def _against(reader: Reader, endpoint: Endpoint, deployment: Deployment) -> ModelVersion | None:
    """The version that answers now, unless it is this very one."""
    champion = endpoint.arm("champion")
    if champion is None or champion.version == deployment.version:
        return None
    return model_versions.get(reader, deployment.model, champion.version)


def _still_so(reader: Reader, endpoint: Endpoint, deployment: Deployment, job: EvaluateJob) -> bool:
    """Whether the gate would be asked the same now: the same checks, against the same champion."""
    against = _against(reader, endpoint, deployment)
    gate = gates.complete(definitions.gate_of(reader, deployment.endpoint), deployment.rule)
    return gate == job.gate and (None if against is None else against.number) == job.champion


def _evaluation(
    tx: Transaction, endpoint: Endpoint, deployment: Deployment, job: EvaluateJob, result: EvaluateResult
) -> Evaluation:
    return Evaluation(
        id=new_id(),
        endpoint=deployment.endpoint,
        model=deployment.model,
        version=deployment.version,
        champion=job.champion,
        verdict=result.verdict,
        checks=result.checks,
        at=tx.at,
        event_at=endpoint.watermark,
        gate_digest=definitions.gate_digest(job.gate),
        data_digest=job.data_digest,
        package=job.package,
    )


def _data_of(reader: Reader, gate: Gate) -> tuple[Dataset | None, DatasetVersion | None]:
    if gate.dataset is None:
        return None, None
    published = [v for v in versions.log(reader, gate.dataset) if v.published]
    newest = max(published, key=lambda v: v.number, default=None)
    return datasets.get(reader, gate.dataset), newest
