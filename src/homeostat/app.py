"""The composition root: settings in, one wired Homeostat out.

`Homeostat.open` takes the home's lock (one process writes a home), brings the schema up to date, makes sure that the
local user and the services exist, and wires the organs. Nothing else constructs them.
"""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import msgspec

from homeostat.control import definitions as policies
from homeostat.control.loop import Loop
from homeostat.data import datasets
from homeostat.delivery import definitions as delivery
from homeostat.delivery.releases import Releases
from homeostat.engines.processes import Processes
from homeostat.foundation import backups, events, migrations
from homeostat.foundation.clock import Clock, SystemClock
from homeostat.foundation.database import Database
from homeostat.foundation.errors import HomeostatError, Kind, entry
from homeostat.foundation.objects import Objects
from homeostat.foundation.settings import Settings
from homeostat.governance import principals, tokens
from homeostat.pipelines import definitions as pipelines
from homeostat.pipelines.engine import Engine
from homeostat.pipelines.runner import Runner
from homeostat.project import actions
from homeostat.project.definitions import Definitions
from homeostat.serving.plane import Plane
from homeostat.serving.supervisor import Supervisor

HELD = entry(
    "home.held",
    Kind.CONFLICT,
    "another process (pid {pid}) writes the home {home} and answers at {address}",
    "use that server, or stop it, or choose another home with --home",
)
NO_AUTH_EXPOSED = entry(
    "home.no_auth_exposed",
    Kind.DENIED,
    "--no-auth is taken only on a loopback address, and {host!r} is not one",
    "leave out --no-auth, or listen on 127.0.0.1",
)

_PATIENCE = 5.0  # seconds that a pass of the loop may take to its end before its workers are ended

LOCAL_USER = "person:local"
LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass
class Homeostat:
    """Everything, wired. `start` begins the loop; `close` ends what `open` began."""

    settings: Settings
    clock: Clock
    database: Database
    objects: Objects
    engine: Engine
    plane: Plane
    runner: Runner
    releases: Releases
    loop: Loop
    token: str
    lock: IO[str]
    address: str = ""
    stopping: bool = False  # set when the server begins to end: live streams end by themselves

    @classmethod
    def open(cls, settings: Settings, *, clock: Clock | None = None, bound_to_parent: bool = False) -> Homeostat:
        """Take the home and wire everything; raises `home.held` where another process has it."""
        if not settings.auth and settings.host not in LOOPBACK:
            raise NO_AUTH_EXPOSED(field="no_auth", host=settings.host)
        home = settings.home
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = _take_lock(home)
        try:
            return cls._wire(settings, lock, clock or SystemClock(), bound_to_parent)
        except BaseException:
            lock.close()  # else this process would hold a home that it could not open
            raise

    @classmethod
    def _wire(cls, settings: Settings, lock: IO[str], clock: Clock, bound_to_parent: bool) -> Homeostat:
        home = settings.home
        database = Database(settings.database_url, clock, key=events.key_at(home / "audit.key"))
        migrations.prepare(database)
        objects = Objects(settings.objects_url)
        token = _bootstrap(database, home)
        engine = Processes(
            home, settings.objects_url, workers=settings.workers, idle_seconds=settings.worker_idle_seconds
        )
        supervisor = Supervisor(
            home / "inference", settings.host, settings.inference_port, bound_to_parent=bound_to_parent
        )
        objects_root = objects.root or home / "objects"
        plane = Plane(database, supervisor, objects_root, open_access=not settings.auth)
        runner = Runner(database, engine, objects, clock, actions.build(database, engine, objects, clock))
        releases = Releases(database, engine, plane)
        loop = Loop(database, engine, plane, runner, releases, interval=settings.loop_interval_ms / 1000)
        return cls(settings, clock, database, objects, engine, plane, runner, releases, loop, token, lock)

    def announce(self, address: str) -> None:
        """Write into the lock file where this process answers, for command lines and step processes to find."""
        self.address = address
        self.lock.seek(0)
        self.lock.truncate()
        told = {"address": address, "pid": os.getpid(), "inference": self.plane.supervisor.address}
        self.lock.write(json.dumps(told))
        self.lock.flush()

    def start(self) -> None:
        """Bring inference up and begin the loop; raises `serving.inference_not_up` where it cannot be."""
        self.loop.start()

    def close(self, *, stop_inference: bool = True) -> None:
        """End the loop, the workers and (unless it shall outlive us) inference; let go of the home."""
        self.stopping = True
        self.loop.stop(_PATIENCE)
        self.runner.close()  # before the engine: a step whose worker is ended now was not lost, it is begun again
        self.engine.close()  # ends what the loop may still be waiting for
        self.loop.stop()
        if stop_inference:
            self.plane.supervisor.stop()
        self.database.close()
        self.lock.seek(0)
        self.lock.truncate()
        self.lock.close()

    def back_up(self, target: Path) -> int:
        """Copy the home into `target` while it runs; returns the number of files."""
        return backups.back_up(self.settings.home, self.settings.database_url, target)

    def apply_definitions(self, project: str, found: Definitions, actor: str) -> None:
        """Make the project's definitions what is wanted: all of them or, where one is wrong, none."""
        schedules = {p.name: p.schedule for p in found.pipelines}
        with self.database.write(actor=actor, project=project, reason="the project was applied") as tx:
            for dataset in found.datasets:
                datasets.define(tx, dataset)
            for pipeline in found.pipelines:
                pipelines.define(tx, pipeline)
            for gate in found.gates:
                rollout = found.rollouts.get(gate.name) or delivery.rollout_of(tx, gate.name)
                delivery.define(tx, gate.name, gate, rollout)
            for policy in found.policies:
                schedule = policy.schedule or schedules.get(policy.pipeline or "")
                policies.define(tx, msgspec.structs.replace(policy, schedule=schedule))
        self.expect_work()
        self.loop.nudge()

    def expect_work(self) -> None:
        """Calls are on their way: let the worker server import its libraries (seconds) while they come."""
        if isinstance(self.engine, Processes):
            self.engine.warm()


def restore(backup: Path, settings: Settings) -> None:
    """Make the home of `settings` from a backup."""
    backups.restore(backup, settings.home)


def migrate(settings: Settings) -> str:
    """Bring the home's database up to this version, after a backup; says what was done."""
    lock = _take_lock(settings.home)
    try:
        database = Database(settings.database_url, key=events.key_at(settings.home / "audit.key"))
        try:
            added = migrations.prepare(database)
        finally:
            database.close()
    finally:
        lock.close()
    return "added " + ", ".join(added) if added else "nothing to do: the database fits this version"


def _take_lock(home: Path) -> IO[str]:
    file = (home / "lock").open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        try:
            held = json.loads(file.read())
        except ValueError:
            held = {}
        file.close()
        raise HELD(
            field="home", home=home, pid=held.get("pid", "?"), address=held.get("address", "no address yet")
        ) from None
    return file


def _bootstrap(database: Database, home: Path) -> str:
    """See to the local user, the services and the local user's token (file `token`, mode 0600); returns the token."""
    with database.write(actor="service:control") as tx:
        principals.ensure(tx, LOCAL_USER, "person", ("admin", "approver", "operator", "replayer"))
        for name in ("service:control", "service:loop", "service:delivery"):
            principals.ensure(tx, name, "service", ("operator",))
    path = home / "token"
    if path.exists():
        secret = path.read_text().strip()
        try:
            with database.read() as reader:
                tokens.resolve(reader, secret, database.clock.now())
            return secret
        except HomeostatError:
            path.unlink()
    with database.write(actor="service:control") as tx:
        secret, _ = tokens.issue(tx, LOCAL_USER, "local user of this home")
    fresh = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fresh, "w") as file:
        file.write(secret)
    return secret
