"""The runner: moves every running pipeline run as far as it can go, and picks up where a killed one stopped.

All state is rows; what is in memory is only which steps are in the air. Each move of a run is one transaction: what
ended, what begins next and the events that tell of it commit together, and calls are made after the commit. So a kill
at any point leaves steps that are either done, or "running" with nobody running them: those are begun again.

One thread of the runner handles what arrives from workers; `advance` may be called from anywhere besides. Never call
the runner inside a `database.write` block: it opens its own.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Empty, SimpleQueue
from typing import Any

import msgspec
from msgspec.structs import replace

from homeostat.foundation import events
from homeostat.foundation.clock import Clock
from homeostat.foundation.database import Database
from homeostat.foundation.errors import HomeostatError, Kind, entry
from homeostat.foundation.objects import Objects
from homeostat.pipelines import definitions, progress, runs, tracked
from homeostat.pipelines import params as parameters
from homeostat.pipelines.actions import Action, perform
from homeostat.pipelines.engine import Engine
from homeostat.pipelines.events import RunStarted
from homeostat.pipelines.moves import Arrival, Move, finish, subject_of
from homeostat.pipelines.progress import Progress
from homeostat.pipelines.records import Call, Outcome, PipelineRun, StepJob

NOT_RUNNING = entry(
    "pipelines.not_running",
    Kind.CONFLICT,
    "pipeline run {run_id!r} has {state} already",
    "start another one with: homeostat run {pipeline}",
)
NOTHING_TO_RESUME = entry(
    "pipelines.nothing_to_resume",
    Kind.CONFLICT,
    "pipeline run {run_id!r} is {state}; only a failed or cancelled run can be resumed",
    "start another one with: homeostat run {pipeline}",
)
TIMED_OUT = entry(
    "pipelines.wait_timed_out",
    Kind.UNAVAILABLE,
    "pipeline run {run_id!r} is still running after {seconds:g} s",
    "look again later with: homeostat pipelines show {run_id}",
)

ACTION_THREADS = 4


class Runner:
    """Runs pipelines of one database on one engine; `actions` are the functions behind "control:name" steps."""

    def __init__(
        self, database: Database, engine: Engine, objects: Objects, clock: Clock, actions: Mapping[str, Action]
    ) -> None:
        self._database = database
        self._engine = engine
        self._objects = objects
        self._clock = clock
        self._actions = dict(actions)
        self._lock = threading.RLock()  # held while a run moves, so no step is begun twice
        self._active: dict[str, Progress] = {}
        self._in_the_air: set[str] = set()  # step run ids
        self._incoming: SimpleQueue[Arrival] = SimpleQueue()  # filled by the engine's threads
        self._arrived: list[Arrival] = []  # taken out of it, under the lock
        self._moved: set[str] = set()  # projects in which something moved since the last `advance`
        self._signal = threading.Event()
        self._over = threading.Condition()
        self._threads = ThreadPoolExecutor(ACTION_THREADS, thread_name_prefix="homeostat-action")
        self._thread: threading.Thread | None = None
        self._closed = False

    def start(
        self,
        pipeline_name: str,
        params: Mapping[str, Any] | None = None,
        *,
        trigger: str,
        actor: str,
        project: str = "default",
        decision_id: str | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> PipelineRun:
        """Start a run and begin its first steps. A decision starts one run, however often it is asked to."""
        with self._database.write(actor=actor, project=project, decision_id=decision_id) as tx:
            run = runs.start(tx, pipeline_name, params or {}, trigger=trigger, decision_id=decision_id, context=context)
        self.advance(project)
        with self._database.read(project) as reader:
            return runs.get(reader, run.id)

    def advance(self, project: str = "default") -> bool:
        """Move every running run of `project` as far as it can go without waiting; whether anything has moved.

        Call it as often as you like, from any thread; after a restart it is what picks the runs up again.
        """
        with self._lock:
            if self._closed:
                return False
            self._take_arrivals()
            with self._database.read(project) as reader:
                for run in reversed(runs.listing(reader, state="running", limit=10_000)):
                    if run.id not in self._active:
                        steps = {step.step: step for step in runs.steps(reader, run.id)}
                        self._active[run.id] = Progress(project, run, runs.definition(reader, run.id), steps)
            troubles: list[Exception] = []
            for now in [known for known in self._active.values() if known.project == project]:
                try:
                    self._move(now)
                except Exception as trouble:  # one run's trouble must not hold up the others
                    troubles.append(trouble)
            if troubles:
                raise troubles[0]
            moved = project in self._moved
            self._moved.discard(project)
            return moved

    def cancel(self, run_id: str, *, actor: str, project: str = "default") -> PipelineRun:
        """End a run now. Steps that are in the air end unheard; their tracking runs are KILLED."""
        with self._lock:
            with self._database.write(actor=actor, project=project) as tx:
                run = runs.get(tx, run_id)
                if run.state != "running":
                    raise NOT_RUNNING(field="run", run_id=run_id, state=run.state, pipeline=run.pipeline)
                pipeline = runs.definition(tx, run_id)
                steps = {step.step: step for step in runs.steps(tx, run_id)}
                for step in pipeline.steps:
                    if steps[step.name].state == "running" and tracked.is_tracked(step):
                        tracked.close_run(tx, steps[step.name].id, "KILLED")
                open_ = [s for s in steps.values() if s.state in ("waiting", "running")]
                runs.save_steps(tx, [replace(s, state="skipped", finished_at=tx.at) for s in open_])
                run = replace(run, state="cancelled", finished_at=tx.at, error=f"cancelled by {actor}")
                finish(tx, run, pipeline)
            self._active.pop(run_id, None)
            self._forget({step.id for step in steps.values()})
        self._tell_waiters()
        return run

    def resume(self, run_id: str, *, actor: str, project: str = "default") -> PipelineRun:
        """Go on with a failed or cancelled run at the step it was in, with the pipeline as it is defined now.

        Steps that succeeded and rest on nothing that has changed keep their outputs; all others wait again.
        """
        with self._lock, self._database.write(actor=actor, project=project) as tx:
            run = runs.get(tx, run_id)
            if run.state not in ("failed", "cancelled"):
                raise NOTHING_TO_RESUME(field="run", run_id=run_id, state=run.state, pipeline=run.pipeline)
            pipeline = definitions.get(tx, run.pipeline)
            parameters.check(pipeline, run.params)
            kept = progress.kept_steps(runs.definition(tx, run_id), pipeline, runs.steps(tx, run_id))
            run = replace(run, state="running", finished_at=None, error=None, result={})
            runs.save(tx, run, pipeline)
            runs.set_steps(tx, run_id, [kept.get(step.name, step.name) for step in pipeline.steps])
            subject = subject_of(run)
            told = RunStarted(subject=subject, run=run.id, pipeline=run.pipeline, trigger=run.trigger, resumed=True)
            events.emit(tx, told)
        self.advance(project)
        return run

    def wait(self, run_id: str, timeout: float | None = None, *, project: str = "default") -> PipelineRun:
        """The run once it is over; raises `pipelines.wait_timed_out` after `timeout` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._over:
            while True:
                with self._database.read(project) as reader:
                    run = runs.get(reader, run_id)
                if run.state != "running":
                    return run
                left = 1.0 if deadline is None else deadline - time.monotonic()
                if left <= 0:
                    raise TIMED_OUT(field="run", run_id=run_id, seconds=timeout)
                self._over.wait(min(left, 1.0))

    def close(self) -> None:
        """Stop moving. Runs stay as they are; the next runner on this database goes on with them."""
        with self._lock:
            self._closed = True
        self._signal.set()
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def _move(self, now: Progress) -> None:
        """Take in what arrived for one run, begin what can begin, commit, then make the calls."""
        arrived = [arrival for arrival in self._arrived if arrival.run_id == now.run.id]
        move = Move(self._database, self._objects, now, self._clock.now())
        try:
            move.take_in(arrived, self._in_the_air)
            move.begin()
            changed = move.commit()
        except BaseException:
            self._active.pop(now.run.id, None)  # read the rows again before the next move
            raise
        for arrival in arrived:
            self._arrived.remove(arrival)
            self._in_the_air.discard(arrival.step_run_id)
        if changed:
            self._moved.add(now.project)
        for begun in move.begun:
            self._submit(now.project, begun.job)
        if now.run.state != "running":
            self._active.pop(now.run.id, None)
            self._tell_waiters()

    def _submit(self, project: str, job: StepJob) -> None:
        future: Future[Outcome]
        try:
            if job.function.startswith("control:"):
                future = self._threads.submit(perform, self._actions, job, self._objects)
            else:
                future = self._engine.submit(_call(job))
        except (HomeostatError, RuntimeError):
            self._closed = True  # the engine or the threads are closing: the next start finds the step and begins it
            return
        self._in_the_air.add(job.step_run_id)
        self._listen()

        def on_end(ended: Future[Outcome]) -> None:
            arrival = Arrival(
                project=project,
                run_id=job.pipeline_run_id,
                step=job.step,
                step_run_id=job.step_run_id,
                outcome=Outcome(state="lost") if ended.cancelled() else ended.result(),
            )
            self._incoming.put(arrival)
            self._signal.set()

        future.add_done_callback(on_end)

    def _listen(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._hear, name="homeostat-runner", daemon=True)
            self._thread.start()

    def _hear(self) -> None:
        """The runner's own thread: moves a run as soon as one of its calls has ended."""
        open_ = True
        while open_:
            self._signal.wait()
            self._signal.clear()
            with self._lock:
                open_ = not self._closed
                self._take_arrivals()
                for run_id in {arrival.run_id for arrival in self._arrived} if open_ else ():
                    self._hear_of(run_id)

    def _take_arrivals(self) -> None:
        while True:
            try:
                arrival = self._incoming.get_nowait()
            except Empty:
                return
            if arrival.step_run_id in self._in_the_air:  # else its run was cancelled
                self._arrived.append(arrival)

    def _hear_of(self, run_id: str) -> None:
        now = self._active.get(run_id)
        if now is None:
            return  # cancelled, or to be read again by the next `advance`
        try:
            self._move(now)
        except Exception:  # such as a full disk: the rows are as before, and the next `advance` tries again
            traceback.print_exc(file=sys.stderr)

    def _forget(self, step_run_ids: set[str]) -> None:
        """What is in the air for these steps ends unheard."""
        self._in_the_air -= step_run_ids
        self._arrived = [arrival for arrival in self._arrived if arrival.step_run_id not in step_run_ids]

    def _tell_waiters(self) -> None:
        with self._over:
            self._over.notify_all()


def _call(job: StepJob) -> Call:
    env = {"HOMEOSTAT_RUN_ID": job.run_id, "HOMEOSTAT_PROJECT": job.project} if job.run_id else {}
    payload = msgspec.msgpack.encode(job)
    label = f"{job.pipeline}/{job.step}"
    return Call(function="homeostat.pipelines.steps:run_step", payload=payload, label=label, env=env)
