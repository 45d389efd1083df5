"""The inference plane as control sees it: make what answers equal to what the database says."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from homeostat.foundation.database import Database
from homeostat.foundation.errors import Kind, entry
from homeostat.foundation.events import emit, read_after
from homeostat.foundation.killpoints import passing
from homeostat.inference import wire
from homeostat.inference.wire import Ack
from homeostat.serving import endpoints, plans
from homeostat.serving.events import InferenceStarted
from homeostat.serving.supervisor import Supervisor

CANNOT_LOAD = entry(
    "serving.cannot_load",
    Kind.FAILED,
    "the inference process cannot load {what}: {why}",
    "the versions that answered before go on answering; mend the package or deploy another version",
)


_LOOK_AGAIN = 5.0  # wall seconds


class Plane:
    """Publishes plans and keeps the process that follows them alive.

    Both may be called from any thread, and wait for nobody who waits for the worker.
    """

    def __init__(self, database: Database, supervisor: Supervisor, objects: Path, *, open_access: bool = False) -> None:
        self.database = database
        self.supervisor = supervisor
        self.objects = objects
        self.open_access = open_access
        self.in_hand: set[str] = set()  # decisions that a thread of this process is carrying out right now
        self._mutex = threading.Lock()  # held while the rows are read and the plan is written, never while waiting
        self._applied = -1
        self._published: tuple[int, int] | None = None  # epoch and newest event at the last look at the whole plan
        self._published_at = 0.0

    @property
    def directory(self) -> Path:
        """Where plan, acknowledgements and segments lie."""
        return self.supervisor.directory

    def ensure(self) -> bool:
        """See to it that a worker lives and follows the newest plan; returns whether anything had to be done."""
        epoch = self._publish_if_new()
        started = self.supervisor.ensure()
        if started or self._applied < 0:
            self._tell(adopted=not started)
        if started or self._applied < epoch:
            self.apply()
            return True
        return False

    def apply(self) -> Ack:
        """Publish the plan and wait until the worker has taken it."""
        epoch = self._publish()
        passing("plan.written")
        ack = self.supervisor.follow(epoch)
        passing("plan.followed")
        self._applied = max(self._applied, epoch)
        return ack

    def require_loaded(self, project: str, endpoint: str, version: int) -> None:
        """Raise `serving.cannot_load` where the worker says that it could not load the version under the endpoint."""
        ack = self.supervisor.acknowledged()
        what = wire.place(project, endpoint, version)
        if ack is not None and what in ack.failed:
            raise CANNOT_LOAD(field="version", what=what, why=ack.failed[what])

    def _publish_if_new(self) -> int:
        """Publish where anything happened since the last time; now and then all the same, since tokens run out."""
        with self.database.read() as reader:
            newest = read_after(reader, limit=1, every_project=True, newest_first=True)
            state = (endpoints.current_epoch(reader), newest[0].seq if newest else 0)
        now = time.monotonic()
        if state != self._published or now - self._published_at >= _LOOK_AGAIN:
            self._publish()
            self._published, self._published_at = state, now
        return state[0]

    def _publish(self) -> int:
        with self._mutex:
            with self.database.read() as reader:
                now = self.database.clock.now()
                plan = plans.build(reader, self.objects, now=now, open_access=self.open_access)
            plans.write(plan, self.directory)
        return plan.epoch

    def _tell(self, *, adopted: bool) -> None:
        ack = self.supervisor.acknowledged()
        if ack is not None:
            with self.database.write(actor="service:control", project="") as tx:
                emit(tx, InferenceStarted(subject="inference/0", pid=ack.pid, port=ack.port, adopted=adopted))
