"""One move of a pipeline run: what ended is taken in, what can begin is begun, and both are committed as one.

A move is planned on copies of the run's step rows, then written in one transaction with the tracking runs it opens or
finishes and the events that tell of it. Only then may its calls be made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from homeostat.foundation import events
from homeostat.foundation.database import Database, Reader, Transaction
from homeostat.foundation.errors import HomeostatError
from homeostat.foundation.killpoints import passing
from homeostat.foundation.objects import Objects
from homeostat.pipelines import cache, params, progress, runs, tracked
from homeostat.pipelines.events import RunFinished, StepFailed
from homeostat.pipelines.progress import Progress
from homeostat.pipelines.records import Outcome, Output, Pipeline, PipelineRun, Step, StepJob, StepResult, StepRun


class Arrival(Struct, frozen=True, kw_only=True):
    """A call that ended."""

    project: str
    run_id: str
    step: str
    step_run_id: str
    outcome: Outcome


class Begun(Struct, frozen=True, kw_only=True):
    """A step to hand to a worker once its row is durable."""

    step: Step
    job: StepJob


class Move:
    """A move of `now` at recorded time `at`. Plan with `take_in` and `begin`, then `commit`."""

    def __init__(self, database: Database, objects: Objects, now: Progress, at: int) -> None:
        self._database = database
        self._objects = objects
        self._now = now
        self._at = at
        self._steps = dict(now.steps)
        self._results: dict[str, StepResult] = {}
        self.begun: list[Begun] = []

    def take_in(self, arrived: Iterable[Arrival], in_the_air: Iterable[str]) -> None:
        """Turn outcomes into step states; a step that is running with nobody running it waits again."""
        heard = set(in_the_air)
        for arrival in arrived:
            step = self._steps[arrival.step]
            if step.id != arrival.step_run_id or step.state != "running":
                continue
            log = self._keep_log(arrival.outcome)
            self._steps[arrival.step], result = progress.ended(step, arrival.outcome, log, self._at)
            if result is not None:
                self._results[arrival.step] = result
        for name, step in self._steps.items():
            if step.state == "running" and step.id not in heard:
                self._steps[name] = progress.orphaned(step, self._at)
        for defined in self._now.pipeline.steps:
            if defined.name in self._results and tracked.is_tracked(defined):
                self._report(defined.name)

    def begin(self) -> None:
        """Mark cached what was made before, and running what can run; wave by wave, until neither is left."""
        wave = progress.ready(self._now.pipeline, self._steps)
        if not wave:
            return
        with self._database.read(self._now.project) as reader:
            while wave:
                hits = self._begin_wave(reader, wave)
                wave = progress.ready(self._now.pipeline, self._steps) if hits else []

    def _begin_wave(self, reader: Reader, wave: list[Step]) -> int:
        """Begin each of these steps, or take its output from the cache; returns how many were there."""
        taken = {step.name: progress.inputs_of(step, self._steps) for step in wave}
        keys = {step.name: self._key(step, taken[step.name]) for step in wave if step.cache}
        hits = self._hits(reader, keys)
        for step in wave:
            step_run = progress.begun(self._steps[step.name], taken[step.name], keys.get(step.name), self._at)
            hit = hits.get(step.name)
            if hit is None:
                self.begun.append(Begun(step=step, job=self._job(step, step_run, taken[step.name])))
            else:
                made = {"output": hit.output, "output_kind": hit.output_kind}
                step_run = replace(step_run, state="cached", attempt=0, finished_at=self._at, **made)
            self._steps[step.name] = step_run
        return len(hits)

    def commit(self) -> bool:
        """Make the move durable, and `now` what it made of it; whether anything has changed."""
        now = self._now
        run = now.run
        state = progress.verdict(now.pipeline, self._steps)
        if state != "running":
            result = self._result() if state == "succeeded" else {}
            run, self._steps = progress.closed(now, self._steps, state, self._at, result)
        changed = [step for name, step in self._steps.items() if step is not now.steps[name]]
        if not changed and run is now.run:
            return False
        defined = {step.name: step for step in now.pipeline.steps}
        for step in changed:
            passing(f"step.{step.step}.{step.state}.before")
        with self._database.write(actor=run.started_by, project=now.project, decision_id=run.decision_id) as tx:
            runs.save_steps(tx, changed)
            for step in changed:
                self._tell(tx, defined[step.step], step)
            for item in self.begun:
                if item.job.run_id is not None:
                    tracked.open_run(tx, run, item.step, self._steps[item.step.name], item.job.params)
            if run is not now.run:
                finish(tx, run, now.pipeline)
        now.run, now.steps = run, self._steps
        for step in changed:
            passing(f"step.{step.step}.{step.state}.after")
        return True

    def _report(self, name: str) -> None:
        """Log what a tracked step's output reports. It goes ahead of the move, so that a bad report fails the step."""
        step = self._steps[name]
        value = self._results[name].value
        if value is None:
            return
        try:
            with self._database.write(actor=self._now.run.started_by, project=self._now.project) as tx:
                tracked.log_report(tx, self._objects, step.id, value, self._at)
        except HomeostatError as error:
            self._steps[name] = progress.failed(step, f"{error}; {error.hint}", self._at)
            del self._results[name]

    def _key(self, step: Step, taken: Mapping[str, Output]) -> str:
        given = params.of_step(step, self._now.run.params)
        inputs = {parameter: output.digest for parameter, output in taken.items()}
        return cache.key_of(step, given, inputs, self._now.run.context)

    def _hits(self, reader: Reader, keys: Mapping[str, str]) -> dict[str, cache.Hit]:
        found = cache.find(reader, keys.values())
        hits = {name: found[key] for name, key in keys.items() if key in found}
        return {name: hit for name, hit in hits.items() if self._objects.has(hit.output)}

    def _job(self, step: Step, step_run: StepRun, taken: Mapping[str, Output]) -> StepJob:
        now = self._now
        return StepJob(
            project=now.project,
            pipeline=now.pipeline.name,
            pipeline_run_id=now.run.id,
            step_run_id=step_run.id,
            step=step.name,
            function=step.function,
            attempt=step_run.attempt,
            actor=now.run.started_by,
            now=self._at,
            inputs=dict(taken),
            params=params.of_step(step, now.run.params),
            settings=step.settings,
            context=now.run.context,
            run_id=step_run.id if tracked.is_tracked(step) else None,
            code=now.pipeline.code,
            code_path=now.pipeline.code_path,
            decision_id=now.run.decision_id,
        )

    def _tell(self, tx: Transaction, step: Step, step_run: StepRun) -> None:
        began = self._now.steps[step.name].state == "running"
        if tracked.is_tracked(step) and began and step_run.state in ("succeeded", "failed"):
            tracked.close_run(tx, step_run.id, "FINISHED" if step_run.state == "succeeded" else "FAILED")
        if step_run.state == "failed":
            run = self._now.run
            told = StepFailed(
                subject=subject_of(run),
                run=run.id,
                pipeline=run.pipeline,
                step=step.name,
                attempt=step_run.attempt,
                error=step_run.error or "",
            )
            events.emit(tx, told)

    def _result(self) -> dict[str, Any]:
        """What the last step answered, where it is a JSON object."""
        last = self._steps[self._now.pipeline.steps[-1].name]
        if last.step in self._results:
            return self._results[last.step].value or {}
        if last.output_kind != "json" or last.output is None:
            return {}
        value = msgspec.json.decode(self._objects.get_bytes(last.output))
        return value if isinstance(value, dict) else {}

    def _keep_log(self, outcome: Outcome) -> str | None:
        detail = (outcome.error or {}).get("detail")
        text = f"{outcome.log}\n{detail}" if detail else outcome.log
        return self._objects.put_bytes(text.encode()) if text else None


def finish(tx: Transaction, run: PipelineRun, pipeline: Pipeline) -> None:
    """Write the end of a run, and tell of it."""
    runs.save(tx, run)
    told = RunFinished(
        subject=subject_of(run),
        event_at=run.context.get("event_at"),
        run=run.id,
        pipeline=run.pipeline,
        state=run.state,
        trigger=run.trigger,
        model=pipeline.model,
        error=run.error,
        result=run.result,
        context=run.context,
    )
    events.emit(tx, told)


def subject_of(run: PipelineRun) -> str:
    """The subject of a run's events."""
    return f"pipeline/{run.pipeline}/{run.id}"
