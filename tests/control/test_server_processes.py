"""The real processes of `homeostat up`: who is killed comes back, who is told to stop takes all along."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from delivered import Caller, made

from homeostat.packages.package import manifest_bytes
from homeostat.project.connection import Connection
from homeostat.project.locate import read_token
from homeostat.serving.supervisor import Supervisor

SECONDS = 60.0


class Server:
    """`homeostat up` over a home, as a process of its own."""

    def __init__(self, home: Path, *more: str) -> None:
        self.home = home
        command = [sys.executable, "-m", "homeostat.cli", "up", "--json", "--home", str(home)]
        command += ["--port", "0", "--inference-port", "0", *more]
        env = {k: v for k, v in os.environ.items() if not k.startswith("HOMEOSTAT_")}
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, cwd=home.parent
        )
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], SECONDS)
        line = self.process.stdout.readline() if ready else b""
        self.told: dict[str, Any] = json.loads(line) if line else {}
        if self.told:
            self.control = Connection(self.told["address"], read_token(home))

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Send a signal and wait; its exit code and what it said on standard error."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        _, said = self.process.communicate(timeout=SECONDS)
        return self.process.returncode, said.decode()

    def ack(self) -> dict[str, Any]:
        """What the inference process says of itself."""
        return dict(json.loads((self.home / "inference" / "acks" / "0.json").read_bytes()))


def wait_for(what: str, found: Any) -> Any:
    """Ask until there is an answer: the end of other processes is not ours to be told of."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        try:
            if (value := found()) is not None:
                return value
        except (OSError, ValueError):
            pass
        time.sleep(0.02)
    raise AssertionError(f"no {what} within {SECONDS:g} s")


def deploy(server: Server, name: str = "m") -> None:
    """Register the good model over HTTP and have it answer."""
    manifest, files = made("good")
    for data in files.values():
        server.control.put_object(data)
    digest = server.control.put_object(manifest_bytes(manifest))
    number = server.control.post(f"/models/{name}/versions", {"package": digest})["number"]
    asked = server.control.post(f"/endpoints/{name}/deployments", {"version": number})
    wait_for("deployment", lambda: server.control.get(f"/deployments/{asked['id']}")["state"] == "live" or None)


def ask(server: Server, name: str = "m") -> int:
    caller = Caller(server.told["inference"])
    caller.token = read_token(server.home)
    try:
        return caller.ask(name)[0]
    finally:
        caller.close()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home in which version 1 of "m" answers; no server runs on it."""
    folder = tmp_path_factory.mktemp("served") / "home"
    server = Server(folder)
    deploy(server)
    assert server.end()[0] == 0
    yield folder
    Supervisor(folder / "inference", "127.0.0.1", 0).stop()  # where a test failed before its server could end


def test_a_killed_inference_process_is_replaced_on_its_port_by_the_loop(home: Path) -> None:
    server = Server(home)
    try:
        before = server.ack()
        assert ask(server) == 200
        os.kill(before["pid"], signal.SIGKILL)
        after = wait_for("new worker", lambda: ack if (ack := server.ack())["pid"] != before["pid"] else None)
        assert after["port"] == before["port"]
        wait_for("answer", lambda: ask(server) if ask(server) == 200 else None)
        started = server.control.get("/events?kind=serving.inference_started&newest_first=true&limit=1")
    finally:
        server.end()
    if started:  # events of the home are told to who may see the whole of it
        assert started[0]["payload"]["adopted"] is False


def test_a_killed_control_leaves_inference_answering_and_the_next_adopts_it(home: Path) -> None:
    first = Server(home)
    worker = first.ack()
    first.end(signal.SIGKILL)
    assert psutil.pid_exists(worker["pid"])
    for _ in range(20):
        assert ask(first) == 200, "it answers as before, with its tokens"
    second = Server(home)
    try:
        assert second.ack()["pid"] == worker["pid"] and second.told["inference"] == first.told["inference"]
        assert ask(second) == 200
        settled = second.control.get("/loop?wait=30")
        assert settled["settled"], settled
        predictions = second.control.get("/endpoints/m")["predictions"]
    finally:
        second.end()
    assert predictions >= 21, "what was answered meanwhile is in the log"


def test_sigterm_ends_every_process(home: Path) -> None:
    server = Server(home)
    ask(server)
    assert server.control.get("/loop?wait=30")["settled"]  # the intake has used a worker, and its server still waits
    worker = psutil.Process(server.ack()["pid"])
    below = psutil.Process(server.process.pid).children(recursive=True)
    code, said = server.end()
    assert code == 0, said
    _, alive = psutil.wait_procs({*below, worker}, timeout=10)
    assert not alive
    assert (home / "lock").read_text() == ""


def test_a_port_that_is_taken_ends_the_start_with_one_error(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = Server(home, "--inference-port", str(taken.getsockname()[1]))
        assert server.told == {}
        code, said = server.end()
    assert code == 1 and said.count("error:") == 1 and "cannot listen" in said and "Traceback" not in said


def test_an_embedded_server_keeps_the_worker_it_started(tmp_path: Path) -> None:
    """The thread that starts the server's parts ends; a worker bound to its parent must not end with it."""
    reading, writing = os.pipe()
    command = [sys.executable, "-m", "homeostat.cli", "up", "--embedded", "--home", str(tmp_path / "home")]
    command += ["--port", "0", "--inference-port", "0", "--parent-fd", str(reading)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, pass_fds=[reading])
    os.close(reading)
    try:
        assert process.stdout is not None
        json.loads(process.stdout.readline())
        ack = json.loads((tmp_path / "home" / "inference" / "acks" / "0.json").read_bytes())
        with pytest.raises(psutil.TimeoutExpired):
            psutil.Process(ack["pid"]).wait(1.0)
    finally:
        os.close(writing)  # the parent is gone
        process.communicate(timeout=SECONDS)
    assert not psutil.pid_exists(ack["pid"]) or psutil.wait_procs([psutil.Process(ack["pid"])], timeout=10)[0]
