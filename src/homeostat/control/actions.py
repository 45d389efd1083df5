"""Carries decisions out. Each call moves a decision by one step, from what its row says: a crash repeats nothing done.

A retrain goes: approved -> acting (a pipeline run, found again by the decision's id) -> a deployment of what it made
(found again by a key made of the decision's id) -> done or failed, with the incident that asked for it.
"""

from __future__ import annotations

from homeostat.control.policies import Facts, Verdict
from homeostat.control.records import Policy
from homeostat.delivery import deployments, rollbacks
from homeostat.delivery.records import Deployment
from homeostat.delivery.releases import Releases
from homeostat.foundation.database import Database, Reader, Transaction
from homeostat.foundation.errors import HomeostatError, Kind
from homeostat.foundation.ids import digest_of
from homeostat.foundation.killpoints import passing
from homeostat.governance import approvals, decisions
from homeostat.governance.records import Decision, DecisionState
from homeostat.monitoring import incidents
from homeostat.monitoring.records import Incident
from homeostat.pipelines import runs
from homeostat.pipelines.records import PipelineRun
from homeostat.pipelines.runner import Runner

ACTOR = "service:loop"


def enter(
    tx: Transaction, endpoint: str, policy: Policy, verdict: Verdict, facts: Facts, incident: Incident | None
) -> Decision:
    """Write a decision into the ledger, in the state the policy's mode gives it, and ask people where it says so."""
    about = f"incident/{incident.id}" if incident else f"schedule/{verdict.inputs.get('learnt_at')}"
    asked = verdict.action == "ask" or policy.mode == "ask" or verdict.action in policy.ask
    state: DecisionState = "approved"
    if verdict.action == "abstain" or policy.mode == "observe":
        state = "noted"
    elif asked:
        state = "waiting"
    decision = decisions.record(
        tx,
        Decision(
            id=digest_of(f"{tx.project} {endpoint} {about} {verdict.action} {facts.attempts}".encode())[:32],
            at=0,
            event_at=facts.now,
            subject=f"endpoint/{endpoint}",
            decider=ACTOR,
            rule=verdict.rule,
            verdict=verdict.action,
            summary=verdict.summary,
            inputs=verdict.inputs,
            action=_action(verdict, policy, facts, incident),
            state=state,
            trigger=about,
            undo=f"homeostat rollback {endpoint}" if verdict.action == "retrain" else None,
        ),
    )
    if state == "waiting":
        approvals.ask(tx, decision, f"{verdict.summary} {_question(verdict)}")
    if incident is not None and state in ("approved", "waiting"):
        incidents.act(tx, incident.id)
    return decision


def _question(verdict: Verdict) -> str:
    return {"retrain": "Retrain now?", "roll_back": "Roll back?"}.get(verdict.action, "Has this been dealt with?")


def _action(verdict: Verdict, policy: Policy, facts: Facts, incident: Incident | None) -> dict[str, object]:
    if verdict.action != "retrain":
        return {}
    change_at = incident.change_at if incident is not None else None
    return {
        "pipeline": policy.pipeline,
        "context": {
            "event_at": facts.now,
            "change_at": change_at,
            "learn_from": policy.learn_from if incident is not None else "all",
            "endpoint": policy.endpoint,
            "deploy": False,  # the decision itself asks for the deployment
        },
        "rule": "shown_better" if incident is not None else "not_shown_worse",
        "data_since": change_at,
    }


def carry_out(database: Database, runner: Runner, releases: Releases, project: str, decision: Decision) -> bool:
    """Move an approved or acting decision on by one step; whether anything moved."""
    if decision.state == "approved" and _is_over(database, project, decision):
        with database.write(actor=ACTOR, project=project) as tx:
            decisions.move(tx, decision.id, "superseded", "what it was about was over when it was to be done")
        return True
    if decision.verdict == "roll_back":
        return _roll_back(database, releases, project, decision)
    if decision.verdict == "retrain":
        return _retrain(database, runner, releases, project, decision)
    _dealt_with(database, project, decision)
    return True


def say_not_deployed(tx: Transaction, run: PipelineRun, error: HomeostatError) -> Decision:
    """Note in the ledger that a version a pipeline made was not asked for on its endpoint, and why."""
    made = run.result
    endpoint = run.context.get("endpoint") or made["model"]
    return decisions.record(
        tx,
        Decision(
            id=digest_of(f"{tx.project} not deployed {run.id}".encode())[:32],
            at=0,
            event_at=None,
            subject=f"endpoint/{endpoint}",
            decider=ACTOR,
            rule="what a pipeline made goes to the gate of its endpoint",
            verdict="abstain",
            summary=f"Version {made['version']}, which pipeline {run.pipeline} made, was not deployed: {error}",
            inputs={"run": run.id, "code": error.code},
            trigger=f"pipeline_run/{run.id}",
            undo=f"homeostat deploy {made['model']}@{made['version']}",
        ),
    )


def _is_over(database: Database, project: str, decision: Decision) -> bool:
    """Whether the incident that a decision was about was closed before anything was done."""
    kind, _, id = (decision.trigger or "").partition("/")
    if kind != "incident":
        return False
    with database.read(project) as reader:
        return incidents.get(reader, id).state not in incidents.OPEN_STATES


def _dealt_with(database: Database, project: str, decision: Decision) -> None:
    """A person said that what was asked about has been dealt with: should it come again, it is asked about again."""
    with database.write(actor=ACTOR, project=project, decision_id=decision.id) as tx:
        kind, _, id = (decision.trigger or "").partition("/")
        if kind == "incident":
            incidents.resolve(tx, id, "a person has dealt with it", decision.event_at)
        decisions.move(tx, decision.id, "done", "a person has dealt with it")


def _roll_back(database: Database, releases: Releases, project: str, decision: Decision) -> bool:
    """Once: from the moment its arms are changed it is `rollbacks.conclude` that brings it to its end."""
    try:
        rollbacks.roll_back(
            releases.plane,
            decision.subject.removeprefix("endpoint/"),
            project=project,
            actor=ACTOR,
            reason=decision.summary,
            decision=decision,
            version=decision.inputs.get("version"),
        )
    except HomeostatError as error:
        if error.kind is Kind.UNAVAILABLE:
            raise  # the plan was not followed in time: the next pass concludes it
        _finish(database, project, decision, "failed", str(error))
    return True


def _retrain(database: Database, runner: Runner, releases: Releases, project: str, decision: Decision) -> bool:
    action = decision.action
    if decision.state == "approved":
        with database.write(actor=ACTOR, project=project) as tx:
            decisions.move(tx, decision.id, "acting")
        passing("retrain.acting")
    with database.read(project) as reader:
        started = runs.of_decision(reader, decision.id)
    if started is None:
        try:
            runner.start(
                str(action["pipeline"]),
                {},
                trigger=f"decision/{decision.id}",
                actor=ACTOR,
                project=project,
                decision_id=decision.id,
                context=dict(action["context"]),
            )
        except HomeostatError as error:
            _finish(database, project, decision, "failed", f"the pipeline could not be started: {error}")
        passing("retrain.started")
        return True
    if started.state == "running":
        return False
    if started.state != "succeeded":
        words = f"the training run {started.state}: {started.error}"
        _finish(database, project, decision, "failed", words)
        return True
    if not {"model", "version"} <= started.result.keys():
        _finish(database, project, decision, "failed", f"pipeline {started.pipeline} made no version")
        return True
    key = digest_of(f"deploy {decision.id}".encode())[:32]
    with database.read(project) as reader:
        deployment = deployments.find(reader, key) or _of_version(reader, decision, int(str(started.result["version"])))
    if deployment is None:
        return _deploy(database, releases, project, decision, started.result, key)
    return _follow(database, project, decision, deployment)


def _of_version(reader: Reader, decision: Decision, version: int) -> Deployment | None:
    """The deployment of the version that a decision's run made, where somebody else was quicker to ask for it."""
    listed = deployments.listing(reader, decision.subject.removeprefix("endpoint/"))
    return next((d for d in listed if d.version == version), None)


def _deploy(
    database: Database,
    releases: Releases,
    project: str,
    decision: Decision,
    result: dict[str, object],
    key: str,
) -> bool:
    """Ask for the version. Where it is on its way already, that is followed; where another is, this waits its turn."""
    try:
        asked = releases.request(
            decision.subject.removeprefix("endpoint/"),
            str(result["model"]),
            int(str(result["version"])),
            project=project,
            actor=ACTOR,
            reason=decision.summary,
            rule=decision.action.get("rule", "not_shown_worse"),
            decision_id=decision.id,
            data_since=decision.action.get("data_since"),
            key=key,
        )
    except HomeostatError as error:
        if error.code == "delivery.in_progress":
            return False  # one action at a time: it waits its turn
        _finish(database, project, decision, "failed", str(error))
        return True
    passing("retrain.requested")
    return asked.id == key or _follow(database, project, decision, asked)


def _follow(database: Database, project: str, decision: Decision, deployment: Deployment) -> bool:
    if deployment.state in ("gating", "waiting", "rolling_out"):
        return False
    good = deployment.state in ("baking", "live")
    passing("retrain.over")
    _finish(database, project, decision, "done" if good else "failed", deployment.summary)
    return True


def _finish(database: Database, project: str, decision: Decision, state: DecisionState, outcome: str) -> None:
    with database.write(actor=ACTOR, project=project) as tx:
        if decision.state == "approved":
            decisions.move(tx, decision.id, "acting")
        decisions.move(tx, decision.id, state, outcome)
