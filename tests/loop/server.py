"""A real `homeostat up` that a test may kill and start again on the same home."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from homeostat.project.connection import Connection
from homeostat.project.locate import read_token

PATIENCE = 120.0  # seconds for a start on a busy machine


class Server:
    """The control process of one home, and the inference process beside it. `deaths` counts the starts after a kill."""

    def __init__(self, folder: Path, *, extra: tuple[str, ...] = ()) -> None:
        self.folder = folder
        self.home = folder / ".homeostat"
        self.kill_folder = folder / "kill"
        self.kill_folder.mkdir(parents=True, exist_ok=True)
        self.deaths = 0
        self.connection = Connection("http://127.0.0.1:1")
        self.inference = ""
        self._extra = extra
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The control process."""
        assert self._process is not None
        return self._process.pid

    @property
    def inference_pid(self) -> int:
        """The inference process, as its acknowledgement names it."""
        return int(json.loads((self.home / "inference" / "acks" / "0.json").read_bytes())["pid"])

    def pid_of(self, who: str) -> int:
        """The process id of "inference", or of the server that forks the "workers"."""
        if who == "inference":
            return self.inference_pid
        children = psutil.Process(self.pid).children()
        return next(child.pid for child in children if "homeostat.engines.forkserver" in child.cmdline())

    def alive(self) -> bool:
        """Whether control still runs."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start control and wait until it is ready; one that is killed while it starts is started again."""
        for _ in range(5):
            line = self._first_line()
            if line:
                told = json.loads(line)
                self.connection.close()
                self.connection = Connection(told["address"], read_token(self.home))
                self.inference = told["inference"]
                return
            assert self._process is not None
            code = self._process.wait(PATIENCE)
            assert code == -signal.SIGKILL, f"control ended with {code}: {self.log()}"
            self.deaths += 1
        raise AssertionError("control was killed five times while it started")

    def revive(self, patience: float = 5.0) -> None:
        """Start control again if it is dead; one that a kill is only just reaching is given a moment to be so."""
        deadline = time.monotonic() + patience
        while self.alive():
            if time.monotonic() > deadline:
                return
            time.sleep(0.01)
        assert self._process is not None
        assert self._process.returncode == -signal.SIGKILL, f"control ended with {self._process.returncode}"
        self._close_pipe()
        self.deaths += 1
        self.start()

    def kill(self) -> None:
        """SIGKILL to control."""
        os.kill(self.pid, signal.SIGKILL)
        assert self._process is not None
        self._process.wait(PATIENCE)

    def stop(self) -> None:
        """End control and inference, and see that nobody is left."""
        if self.alive():
            assert self._process is not None
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self.connection.close()
        self._close_pipe()
        with contextlib.suppress(OSError, ValueError, KeyError):
            if self._inference_lives():
                os.kill(self.inference_pid, signal.SIGKILL)

    def log(self) -> str:
        """What control said on standard error."""
        return (self.folder / "up.log").read_text(errors="replace")[-4000:]

    def _inference_lives(self) -> bool:
        with (self.home / "inference" / "acks" / "0.lock").open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def _first_line(self) -> bytes:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("HOMEOSTAT_")}
        env = kept | {"HOMEOSTAT_HOME": str(self.home), "HOMEOSTAT_TEST_KILL_DIR": str(self.kill_folder)}
        command = [sys.executable, "-m", "homeostat.cli", "up", "--json", "--port", "0", "--inference-port", "0"]
        with (self.folder / "up.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, *self._extra], cwd=self.folder, stdout=subprocess.PIPE, stderr=log, env=env
            )
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], PATIENCE)
        assert ready, f"control did not say that it is ready: {self.log()}"
        return self._process.stdout.readline()

    def _close_pipe(self) -> None:
        if self._process is not None and self._process.stdout is not None:
            self._process.stdout.close()


def last_lines(path: Path, count: int = 20) -> str:
    """The end of a log."""
    return "\n".join(path.read_text(errors="replace").splitlines()[-count:]) if path.exists() else ""
