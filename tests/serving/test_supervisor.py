"""One inference process: started, found again, replaced, ended; and the plan it follows."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from homeostat.foundation.clock import DrivenClock
from homeostat.foundation.database import Database, metadata
from homeostat.foundation.errors import HomeostatError
from homeostat.inference import wire
from homeostat.registry import versions
from homeostat.serving import endpoints, plans
from homeostat.serving.plane import Plane
from homeostat.serving.records import EndpointArm
from homeostat.serving.supervisor import Supervisor

Make = Callable[..., Supervisor]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Supervisors of one directory, whose worker is ended with the test."""
    with ExitStack() as stack:

        def made(port: int = 0, *, bound: bool = False) -> Supervisor:
            supervisor = Supervisor(tmp_path / "inference", "127.0.0.1", port, bound_to_parent=bound)
            stack.callback(supervisor.stop)
            return supervisor

        yield made


def pid_of(supervisor: Supervisor) -> int:
    ack = supervisor.acknowledged()
    assert ack is not None
    return ack.pid


def kill(supervisor: Supervisor) -> int:
    """SIGKILL the worker and wait for its end; its pid."""
    pid = pid_of(supervisor)
    os.kill(pid, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(pid)], timeout=10)
    return pid


def test_a_dead_worker_is_replaced_on_its_port(make: Make) -> None:
    supervisor = make()
    assert supervisor.ensure() and not supervisor.ensure() and supervisor.alive() and not supervisor.adopted
    address, first = supervisor.address, kill(supervisor)
    assert not supervisor.alive()
    assert supervisor.ensure() and supervisor.address == address and pid_of(supervisor) != first
    supervisor.stop()
    assert not supervisor.alive() and not psutil.pid_exists(pid_of(supervisor))


def test_a_worker_that_outlived_its_control_is_adopted(make: Make) -> None:
    first = make()
    first.ensure()
    second = make()
    assert not second.ensure() and second.adopted and second.address == first.address
    second.stop()
    assert not second.alive()


def test_a_worker_bound_to_its_parent_outlives_the_thread_that_asked_for_it(make: Make) -> None:
    supervisor = make(bound=True)
    thread = threading.Thread(target=supervisor.ensure)
    thread.start()
    thread.join()
    assert supervisor.follow(0).pid == pid_of(supervisor)
    process = psutil.Process(pid_of(supervisor))
    with pytest.raises(psutil.TimeoutExpired):
        process.wait(0.5)


def test_a_port_that_is_taken_is_told_and_not_tried_at_every_turn(make: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        supervisor = make(taken.getsockname()[1])
        with pytest.raises(HomeostatError) as first:
            supervisor.ensure()
        assert first.value.code == "serving.inference_not_up" and "cannot listen" in str(first.value)
        said = supervisor.log.read_bytes()
        with pytest.raises(HomeostatError) as second:
            supervisor.ensure()
        assert second.value is first.value and supervisor.log.read_bytes() == said, "nothing was started"
    supervisor._retry_at = 0.0
    assert supervisor.ensure()


def test_any_port_means_another_one_when_the_old_one_is_taken_meanwhile(make: Make) -> None:
    supervisor = make()
    supervisor.ensure()
    port = supervisor.port or int(supervisor.address.rsplit(":", 1)[1])
    kill(supervisor)
    with socket.create_server(("127.0.0.1", port)):
        with pytest.raises(HomeostatError):
            supervisor.ensure()
        supervisor._retry_at = 0.0
        assert supervisor.ensure() and supervisor.address != f"http://127.0.0.1:{port}"


def test_a_signal_never_reaches_a_stranger(make: Make) -> None:
    """The acknowledgement of a worker that is gone names a process id that somebody else may have by now."""
    supervisor = make()
    stranger = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    ack = wire.Ack(worker="0", pid=stranger.pid, port=1, epoch=0, started=0)
    (supervisor.directory / "acks" / "0.json").write_bytes(wire.msgspec.json.encode(ack))
    supervisor.stop()
    supervisor.follow(0)  # starts a worker of its own, since none holds the lock
    assert stranger.poll() is None
    assert stranger.stdin is not None
    stranger.stdin.close()
    stranger.wait()


@pytest.fixture
def plane(make: Make, tmp_path: Path) -> Iterator[Plane]:
    """A plane over a database with endpoint "fraud" and two versions whose packages are not there."""
    database = Database(f"sqlite:///{tmp_path / 'homeostat.db'}", DrivenClock(1))
    metadata.create_all(database.engine)
    with database.write(actor="person:test") as tx:
        endpoints.create(tx, "fraud", "fraud")
        for number in (1, 2):
            versions.register(tx, "fraud", str(number) * 64)
    yield Plane(database, make(), tmp_path / "objects")
    database.close()


def put(plane: Plane, *versions: int, project: str = "default", name: str = "fraud") -> None:
    names = ("champion", "previous")
    arms = tuple(
        EndpointArm(name=names[i], version=v, share=1.0 - i, since=0)  # type: ignore[arg-type]
        for i, v in enumerate(versions)
    )
    with plane.database.write(actor="person:test", project=project) as tx:
        endpoints.set_arms(tx, name, arms)


def test_the_plan_is_written_only_when_it_changed(plane: Plane) -> None:
    assert plane.ensure() and not plane.ensure()
    path = plane.directory / "plan.json"
    before = path.stat()
    assert not plane.ensure() and path.stat().st_ino == before.st_ino and path.stat().st_mtime_ns == before.st_mtime_ns
    put(plane, 1)
    assert plane.ensure() and path.stat().st_ino != before.st_ino
    (plane.directory / "plan.json").write_bytes(b"{")
    plane.apply()
    assert wire.msgspec.json.decode(path.read_bytes(), type=wire.Plan).endpoints[0].name == "fraud"


def test_who_waits_for_a_plan_does_not_keep_a_dead_worker_from_being_replaced(plane: Plane) -> None:
    plane.ensure()
    kill(plane.supervisor)
    put(plane, 1)
    waiting = [threading.Thread(target=plane.apply) for _ in range(2)]
    for thread in waiting:
        thread.start()
    plane.ensure()
    for thread in waiting:
        thread.join()
    assert plane.supervisor.follow(1).epoch >= 1


def test_what_cannot_be_loaded_is_told_of_the_right_endpoint(plane: Plane) -> None:
    with plane.database.write(actor="person:test") as tx:
        endpoints.create(tx, "not-fraud", "fraud")
    with plane.database.write(actor="person:test", project="other") as tx:
        endpoints.create(tx, "fraud", "fraud")
        versions.register(tx, "fraud", "3" * 64)
    put(plane, 2, name="not-fraud")
    plane.ensure()
    with pytest.raises(HomeostatError) as caught:
        plane.require_loaded("default", "not-fraud", 2)
    assert caught.value.code == "serving.cannot_load" and "2" * 64 in str(caught.value)
    for project, name, version in (("default", "fraud", 2), ("other", "fraud", 1), ("other", "not-fraud", 2)):
        plane.require_loaded(project, name, version)
    put(plane, 1, project="other")
    plane.apply()
    plane.require_loaded("default", "fraud", 1)
    with pytest.raises(HomeostatError):
        plane.require_loaded("other", "fraud", 1)


def test_a_plan_says_what_the_rows_say(plane: Plane, tmp_path: Path) -> None:
    put(plane, 2, 1)
    with plane.database.read() as reader:
        plan = plans.build(reader, tmp_path / "objects", now=0, open_access=True)
    (endpoint,) = plan.endpoints
    assert [(a.name, a.role, a.version, a.package[0], a.share) for a in endpoint.arms] == [
        ("champion", "champion", 2, "2", 1.0), ("previous", "previous", 1, "1", 0.0),
    ]  # fmt: skip
    assert plan.epoch == 1 and plan.anonymous is not None and plan.anonymous.replay
