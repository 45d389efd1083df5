"""A place with its runner and its loop: what `app.Homeostat` wires, but with calls on threads of this process.

Each model's pipeline has one step, an action of control that registers a package made beforehand; a test may hold it.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from delivered import Place

from homeostat.control import definitions as policies
from homeostat.control.loop import Loop
from homeostat.control.records import Policy
from homeostat.delivery import deployments
from homeostat.delivery.records import Deployment, RolloutDefinition
from homeostat.foundation.clock import DAY, SystemClock
from homeostat.governance import decisions
from homeostat.governance.records import Decision
from homeostat.monitoring import incidents, windows
from homeostat.monitoring.records import Cause, Incident, Window
from homeostat.pipelines import definitions as pipelines
from homeostat.pipelines import runs
from homeostat.pipelines.records import Pipeline, PipelineRun, Step, StepContext
from homeostat.pipelines.runner import Runner
from homeostat.registry import versions
from homeostat.serving import endpoints
from homeostat.serving.records import Taken

START = 20_000 * DAY
DIRECT = RolloutDefinition(kind="direct")


@dataclass
class Wired(Place):
    """A place, its runner, and its loop; `turn` makes passes by hand, `loop.start` lets it turn by itself."""

    runner: Runner = field(init=False)
    loop: Loop = field(init=False)
    may_make: threading.Event = field(default_factory=threading.Event)
    making: threading.Event = field(default_factory=threading.Event)

    @classmethod
    def at(cls, folder: Path) -> Wired:
        place = super().at(folder)
        assert isinstance(place, Wired)
        place.may_make.set()
        stores = place.engine.stores
        place.runner = Runner(place.database, place.engine, stores.objects, SystemClock(), {"make": place.make})
        place.loop = place.new_loop()
        return place

    def new_loop(self, kind: type[Loop] = Loop) -> Loop:
        return kind(self.database, self.engine, self.plane, self.runner, self.releases, interval=0.05)

    def close(self) -> None:
        self.may_make.set()
        self.loop.stop()
        self.runner.close()
        super().close()

    def make(self, context: StepContext) -> dict[str, Any]:
        """The step of every pipeline: register the package that its settings name."""
        self.making.set()
        assert self.may_make.wait(60)
        settings = context.settings
        if not settings["package"]:
            return {"rows": 1}
        with self.database.write(actor=context.actor, project=context.project) as tx:
            made = versions.register(tx, settings["model"], settings["package"], request=context.step_run_id)
        return {"model": settings["model"], "version": made.number}

    def pipeline(self, name: str, kind: str | None = "good") -> None:
        """Define pipeline `name`, whose run makes a version of model `name` (with None, nothing)."""
        package = "" if kind is None else self.pack(kind, estimator=f"{kind} of pipeline {name}")
        step = Step(name="register", function="control:make", cache=False, settings={"model": name, "package": package})
        with self.database.write(actor="person:ann") as tx:
            pipelines.define(tx, Pipeline(name=name, steps=(step,), model=name))

    def serve(
        self, name: str, *, rollout: RolloutDefinition = DIRECT, kind: str | None = "good", **policy: Any
    ) -> None:
        """An endpoint that version 1 answers, its pipeline and its policy; a replay has come to START."""
        self.define(name, rollout)
        self.pipeline(name, kind)
        with self.database.write(actor="person:ann") as tx:
            rules = {"min_rows": 1, "min_positives": 1, "dataset": "tx", "pipeline": name, **policy}
            policies.define(tx, Policy(endpoint=name, **rules))
            endpoints.create(tx, name, name)
        self.reach(name, START)
        self.deploy(name, self.register(name))

    def reach(self, name: str, at: int) -> None:
        """A replay has come to event time `at`."""
        times = {"first_event_at": at, "last_event_at": at, "replayed": True}
        taken = Taken(endpoint=name, project="default", requests=1, rows=1, failed=0, **times)
        with self.database.write(actor="service:test") as tx:
            endpoints.see(tx, taken)

    def ail(self, name: str, *, cause: Cause = "performance", version: int = 1, day: int = 5) -> Incident:
        """An incident that was noticed on `day`, with labelled rows after the change."""
        at = START + day * DAY
        self.reach(name, at)
        with self.database.write(actor="service:loop") as tx:
            windows.save(
                tx, [Window(endpoint=name, version=version, start=at - DAY, end=at, labelled=500, positives=100)]
            )
            return incidents.raise_(
                tx, name, name, version, cause, event_at=at, change_at=at - DAY, summary="it is worse than it was"
            )

    def turn(self, passes: int = 1) -> None:
        """Passes of the loop; what runs on other threads is waited for between them."""
        for _ in range(passes):
            self.loop.one_pass()
            for asked in list(self.releases.asking._asked.values()):
                asked.verdict.result(60)
            if self.may_make.is_set():
                for run in self.runs():
                    self.runner.wait(run.id, 60)

    def runs(self, name: str | None = None, state: Any = "running") -> list[PipelineRun]:
        with self.database.read() as reader:
            return runs.listing(reader, name, state)

    def decisions(self, name: str, verdict: str | None = None) -> list[Decision]:
        """What the loop decided about an endpoint, oldest first."""
        with self.database.read() as reader:
            listed = decisions.listing(reader, f"endpoint/{name}")[::-1]
        return [d for d in listed if d.decider == "service:loop" and verdict in (None, d.verdict)]

    def deployments(self, name: str) -> list[Deployment]:
        """Deployments, oldest first."""
        with self.database.read() as reader:
            return deployments.listing(reader, name)[::-1]

    def incident(self, found: Incident) -> Incident:
        with self.database.read() as reader:
            return incidents.get(reader, found.id)

    def pause(self, name: str, paused: bool) -> None:
        with self.database.write(actor="person:ann") as tx:
            endpoints.pause(tx, name, paused)
