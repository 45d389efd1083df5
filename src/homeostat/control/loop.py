"""The loop: every organ in turn, again and again. It holds no state of its own, so it can die at any point.

One pass: keep inference alive; take the prediction log and the labels in; watch each endpoint; move pipelines,
deployments and decisions on; decide on what is open. `settle` waits until a whole pass, begun after it was asked, found
nothing to do, and that nothing was under way before it or after it: what ends between a pass's look and its end (a run
finishes on a thread of its own) is work for the next. That is how a replay knows that the platform has caught up with
the event time it has been given.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import partial

from homeostat.control import actions, definitions, facts, policies
from homeostat.control.events import LoopFaltered
from homeostat.control.records import Policy
from homeostat.data import labels
from homeostat.data.records import FoldResult
from homeostat.delivery import definitions as delivery_definitions
from homeostat.delivery import holding, rollbacks
from homeostat.delivery.releases import Releases
from homeostat.foundation import events
from homeostat.foundation.database import Database, Transaction
from homeostat.foundation.errors import HomeostatError
from homeostat.foundation.ids import digest_of
from homeostat.foundation.killpoints import passing
from homeostat.governance import approvals, decisions
from homeostat.monitoring import incidents, watch
from homeostat.monitoring.records import Incident
from homeostat.pipelines import definitions as pipelines
from homeostat.pipelines import runs
from homeostat.pipelines.engine import Engine, call
from homeostat.pipelines.records import PipelineRun
from homeostat.pipelines.runner import Runner
from homeostat.serving import endpoints, intake
from homeostat.serving.plane import Plane
from homeostat.serving.records import Endpoint
from homeostat.serving.supervisor import NOT_UP

log = logging.getLogger("homeostat.loop")

ACTOR = actions.ACTOR
_LOOK_AGAIN = 5.0  # wall seconds until an organ that has come to rest looks at the clock
_TELL_AGAIN = 60.0
FOLD = "homeostat.data.label_table:fold"


class Loop:
    """Runs the organs on a thread of its own. `nudge` ends its pause; `settle` waits until there is nothing to do."""

    def __init__(
        self, database: Database, engine: Engine, plane: Plane, runner: Runner, releases: Releases, *, interval: float
    ) -> None:
        self.database = database
        self.engine = engine
        self.plane = plane
        self.runner = runner
        self.releases = releases
        self.interval = interval
        self.passes = 0
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._changed = threading.Condition()
        self._quiet_since = 0.0  # monotonic time at which the newest quiet pass began; 0 while there is none
        self._rested: dict[tuple[str, str], tuple[object, float]] = {}  # (organ, project) -> what it saw, and when
        self._told_at: dict[tuple[str, str], float] = {}  # when it was last told that an organ falters
        self._faltered: dict[tuple[str, str], str] = {}  # (organ, project) -> why
        self._thread: threading.Thread | None = None
        self._begun = threading.Event()
        self._not_up: HomeostatError | None = None

    def start(self) -> None:
        """Begin, on a thread. Returns once inference is up; raises `serving.inference_not_up` where it cannot be."""
        self._thread = threading.Thread(target=self._run, name="control-loop", daemon=True)
        self._thread.start()
        self._begun.wait()
        if self._not_up is not None:
            raise self._not_up

    def stop(self, patience: float | None = None) -> bool:
        """End after the pass under way; whether it has ended within `patience` seconds (None: wait for it)."""
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(patience)
        return self._thread is None or not self._thread.is_alive()

    def nudge(self) -> None:
        """Something changed: look now rather than after the pause."""
        self._wake.set()

    def settle(self, timeout: float) -> bool:
        """Wait until a pass begun after this call found nothing to do; False if that took longer than `timeout`."""
        asked, deadline = time.monotonic(), time.monotonic() + timeout
        self.nudge()
        with self._changed:
            while self._quiet_since < asked:
                left = deadline - time.monotonic()
                if left <= 0 or self._stop.is_set():
                    return False
                self._wake.set()
                self._changed.wait(min(left, 0.05))
        return True

    def busy(self) -> list[str]:
        """What is under way and will end by itself, in words."""
        found: list[str] = []
        for project in self._projects():
            with self.database.read(project) as reader:
                running = runs.listing(reader, state="running")
            found += [f"pipeline {run.pipeline}" for run in running]
            found += self.releases.busy(project)
        return found

    def _run(self) -> None:
        try:
            self.plane.ensure()
        except HomeostatError as error:
            log.error("inference is not up: %s", error)
            self._not_up = error if error.code == NOT_UP.code else None
        finally:
            self._begun.set()
        while self._not_up is None and not self._stop.is_set():
            began = time.monotonic()
            moved, quiet = False, False
            try:
                under_way = self.busy()
                moved = self.one_pass()
                quiet = not moved and not under_way and not self.busy() and not self._faltered
            except Exception:  # such as a full disk: without the loop nothing would ever be tried again
                log.exception("a pass broke off")
                self._wake.wait(self.interval)
            with self._changed:
                if quiet:
                    self._quiet_since = began
                self._changed.notify_all()
            if not moved:
                self._wake.wait(self.interval if quiet or self._faltered else min(self.interval, 0.02))
            self._wake.clear()

    def one_pass(self) -> bool:
        """Every organ once; whether anything moved."""
        moved = self._organ("inference", self.plane.ensure)
        moved |= self._organ("intake", self._take_in)
        moved |= self._organ("labels", self._fold_labels)
        for project in self._projects():
            moved |= self._organ("pipelines", partial(self.runner.advance, project), project)
            moved |= self._organ("monitoring", partial(self._if_new, self._watch, project), project)
            moved |= self._organ("delivery", partial(self.releases.step, project), project)
            moved |= self._organ("control", partial(self._if_new, self._decide, project), project)
        self.passes += 1
        return moved

    def _if_new(self, act: Callable[[str], bool], project: str) -> bool:
        """Let an organ look at every endpoint of a project, unless it found nothing to do and nothing changed since.

        Whatever it looks at is told by an event or moves a watermark, except the wall clock: for that it looks again
        every few seconds. So two hundred endpoints at rest cost a pass two queries, not thousands.
        """
        with self.database.read(project) as reader:
            newest = events.read_after(reader, limit=1, every_project=True, newest_first=True)
            state = (newest[0].seq if newest else 0, endpoints.watermarks(reader))
        now, organ = time.monotonic(), (act.__name__, project)
        seen = self._rested.pop(organ, None)
        if seen is not None and seen[0] == state and now - seen[1] < _LOOK_AGAIN:
            self._rested[organ] = seen
            return False
        moved = act(project)
        if not moved:
            self._rested[organ] = (state, now)
        return moved

    def _organ(self, name: str, act: Callable[[], bool], project: str = "") -> bool:
        """One organ's failure is told, and does not keep the others from their work."""
        try:
            moved = bool(act())
        except Exception as error:  # whatever an organ meets, the loop goes on: the next pass tries again
            if self._faltered.get((name, project)) != str(error):
                log.exception("%s faltered", name)
                self._faltered[name, project] = str(error)
                self._tell(name, project, error)
            return False
        self._faltered.pop((name, project), None)
        return moved

    def _tell(self, name: str, project: str, error: Exception) -> None:
        """One event for each trouble, and not more than one a minute where its words change each time."""
        now = time.monotonic()
        if now - self._told_at.get((name, project), -_TELL_AGAIN) >= _TELL_AGAIN:
            self._told_at[name, project] = now
            with self.database.write(actor=ACTOR, project=project) as tx:
                events.emit(tx, LoopFaltered(subject=f"loop/{name}", organ=name, error=str(error)[:500]))

    def _projects(self) -> list[str]:
        with self.database.read() as reader:
            return sorted({*endpoints.projects(reader), *pipelines.projects(reader), *labels.projects(reader)})

    def _take_in(self) -> bool:
        return bool(intake.step(self.database, self.engine, self.plane.directory))

    def _fold_labels(self) -> bool:
        moved = False
        for project in self._projects():
            with self.database.read(project) as reader:
                waiting = sorted({batch.dataset for batch in labels.pending(reader)})
                jobs = [labels.fold_job(reader, dataset) for dataset in waiting]
            for job in jobs:
                if job is not None:
                    result = call(self.engine, FOLD, job, FoldResult, label=f"labels of {job.dataset}")
                    passing("fold.returned")
                    with self.database.write(actor=ACTOR, project=project) as tx:
                        labels.folded(tx, result)
                    moved = True
        return moved

    def _watch(self, project: str) -> bool:
        moved = False
        with self.database.read(project) as reader:
            found = [(e, definitions.policy_of(reader, e.name)) for e in endpoints.listing(reader)]
            gates = {e.name: delivery_definitions.gate_of(reader, e.name) for e, _ in found}
            budgets = {e.name: delivery_definitions.rollout_of(reader, e.name).latency_budget_ms for e, _ in found}
        for endpoint, policy in found:
            moved |= watch.step(
                self.database,
                self.engine,
                project,
                endpoint,
                window=policy.window,
                dataset=policy.dataset,
                metric=gates[endpoint.name].metric or None,
                latency_budget=budgets[endpoint.name] * 1000,
            )
        return moved

    def _decide(self, project: str) -> bool:
        moved = self._deploy_what_was_run(project)
        with self.database.read(project) as reader:
            found = [(e, definitions.policy_of(reader, e.name)) for e in endpoints.listing(reader)]
            open_ones = decisions.listing(reader, state=("approved", "acting"))
        paused = {f"endpoint/{e.name}" for e, _ in found if e.paused}
        for decision in reversed(open_ones):
            if decision.verdict == "roll_back" and decision.state == "acting":  # whoever decided it: it is half done
                moved |= rollbacks.conclude(self.plane, decision, project=project, actor=ACTOR)
            elif decision.decider == ACTOR and decision.subject not in paused:
                moved |= actions.carry_out(self.database, self.runner, self.releases, project, decision)
        for endpoint, policy in found:
            entered = self._respond(project, endpoint, policy)
            if entered:
                passing("decision.entered")
            moved |= entered
        return moved

    def _respond(self, project: str, endpoint: Endpoint, policy: Policy) -> bool:
        """Decide on what is open about one endpoint; nothing while it is paused or another action is under way."""
        moved = False
        with self.database.write(actor=ACTOR, project=project) as tx:
            now = endpoints.get(tx, endpoint.name)
            for incident in incidents.listing(tx, endpoint.name, state=("open", "acting")):
                moved |= _resolve_if_over(tx, now, incident)
            moved |= _withdraw_what_is_over(tx, endpoint.name)
            if now.paused or self._acting(tx, endpoint.name) or not holding.is_free(tx, endpoint.name, tx.at):
                return moved
            for incident in incidents.listing(tx, endpoint.name, state=("open", "acting")):
                known = facts.gather(tx, now, incident, tx.at)
                if known is None:
                    continue
                verdict = policies.on_incident(incident, policy, known)
                if verdict.action != "wait" and not _said(tx, incident, verdict.action):
                    actions.enter(tx, endpoint.name, policy, verdict, known, incident)
                    return True
            known = facts.gather(tx, now, None, tx.at)
            due = policies.on_schedule(policy, known) if known is not None else None
            if due is not None and known is not None:
                actions.enter(tx, endpoint.name, policy, due, known, None)
                return True
        return moved

    def _acting(self, tx: Transaction, endpoint: str) -> bool:
        """One action at a time: a decision under way or waiting for a person, or a deployment on its way.

        A question ("a person should look") is no action: what can be done goes on while it waits for its answer.
        """
        open_ones = decisions.listing(tx, f"endpoint/{endpoint}", state=("waiting", "approved", "acting"))
        return any(d.verdict != "ask" for d in open_ones) or self.releases.under_way(tx, endpoint)

    def _deploy_what_was_run(self, project: str) -> bool:
        """A pipeline that a person or a schedule ran, and that made a version, goes to the gate of its endpoint."""
        name = f"loop/{project}"
        with self.database.read(project) as reader:
            fresh = events.read_after(reader, events.cursor(reader, name), kinds=("pipelines.run_finished",))
        for event in fresh:
            payload = event.payload or {}
            with self.database.read(project) as reader:
                run = runs.get(reader, str(payload.get("run") or event.subject.rsplit("/", 1)[-1]))
            try:
                self._request(project, run)
            except HomeostatError as error:  # such as another rollout under way; it must not hold up what comes after
                with self.database.write(actor=ACTOR, project=project) as tx:
                    actions.say_not_deployed(tx, run, error)
            passing("deployment.requested")
            with self.database.write(actor=ACTOR, project=project) as tx:
                events.advance(tx, name, event.seq)
        return bool(fresh)

    def _request(self, project: str, run: PipelineRun) -> None:
        made = run.result
        if run.state != "succeeded" or run.decision_id or "version" not in made or not run.context.get("deploy", True):
            return
        self.releases.request(
            str(run.context.get("endpoint") or made["model"]),
            str(made["model"]),
            int(made["version"]),
            project=project,
            actor=run.started_by,
            reason=f"pipeline {run.pipeline} made it",
            key=digest_of(f"deploy {run.id}".encode())[:32],
        )


def _resolve_if_over(tx: Transaction, endpoint: Endpoint, incident: Incident) -> bool:
    """An incident is about one version: when another answers alone, it is over."""
    champion = endpoint.arm("champion")
    if champion is None or champion.version == incident.version or endpoint.arm("canary") is not None:
        return False
    words = f"version {champion.version} answers instead of version {incident.version}"
    incidents.resolve(tx, incident.id, words, endpoint.watermark)
    return True


def _withdraw_what_is_over(tx: Transaction, endpoint: str) -> bool:
    """Take back questions about incidents that are closed: nobody needs to answer them, and no answer may act."""
    waiting = [d for d in decisions.listing(tx, f"endpoint/{endpoint}", state="waiting") if d.decider == ACTOR]
    withdrawn = False
    for decision in waiting:
        kind, _, id = (decision.trigger or "").partition("/")
        if kind == "incident" and incidents.get(tx, id).state not in incidents.OPEN_STATES:
            approvals.withdraw(tx, decision.id, "what it was about is over")
            withdrawn = True
    return withdrawn


def _said(tx: Transaction, incident: Incident, action: str) -> bool:
    """Whether this was already said of the incident and stands: a retrain that failed may be tried again."""
    listed = decisions.listing(tx, f"endpoint/{incident.endpoint}", limit=10_000)
    again = action == "retrain"
    return any(
        d.trigger == f"incident/{incident.id}" and d.verdict == action and not (again and d.state == "failed")
        for d in listed
    )
