"""Keeps the inference process alive: starts it, adopts one that outlived an earlier control plane, restarts a dead one.

The worker holds a lock on `acks/<worker>.lock` while it lives and tells its pid and port in `acks/<worker>.json`, so
who is there is read from the system, never guessed. It is not a child that dies with control: requests are answered
while control is gone.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from homeostat.foundation.errors import HomeostatError, Kind, entry
from homeostat.inference.wire import Ack

NOT_UP = entry(
    "serving.inference_not_up",
    Kind.UNAVAILABLE,
    "the inference process did not come up within {seconds} s: {why}",
    "look at {log}; a port that is taken is the usual cause: choose another with --inference-port",
)
NOT_FOLLOWED = entry(
    "serving.plan_not_followed",
    Kind.UNAVAILABLE,
    "the inference process did not take plan {epoch} within {seconds} s",
    "look at {log}; it is restarted by itself when it is gone",
)

_WORKER = "0"
_TRIES = 2  # workers started while one plan is waited for
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0  # seconds between two starts that fail


class Supervisor:
    """One inference worker below `directory` (`<home>/inference`). May be called from several threads."""

    def __init__(self, directory: Path, host: str, port: int, *, bound_to_parent: bool = False) -> None:
        self.directory = directory
        self.host = host
        self.port = port
        self._any_port = port == 0
        # The kernel ends a bound worker with the thread that started it, so one thread that stays starts them all.
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="inference-starter") if bound_to_parent else None
        self._trouble: HomeostatError | None = None  # why the last start failed; not tried again before `_retry_at`
        self._retry_at = 0.0
        self._pause = 0.0
        self._process: subprocess.Popen[bytes] | None = None
        self._starting = threading.RLock()  # held while a worker is started, so that two threads do not start two
        self._replaced = False  # a worker was started by `follow`, which the next `ensure` has to tell
        self.adopted = False
        for name in ("acks", "segments"):
            (directory / name).mkdir(parents=True, exist_ok=True)

    @property
    def log(self) -> Path:
        """Where the inference process writes what it has to say."""
        return self.directory / "inference.log"

    @property
    def address(self) -> str:
        """The inference plane's address, such as http://127.0.0.1:8701."""
        ack = self.acknowledged()
        return f"http://{self.host}:{ack.port if ack else self.port}"

    def alive(self) -> bool:
        """Whether a worker holds its lock."""
        path = self.directory / "acks" / f"{_WORKER}.lock"
        if not path.exists():
            return False
        with path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def acknowledged(self) -> Ack | None:
        """The worker's last acknowledgement, or None."""
        try:
            return msgspec.json.decode((self.directory / "acks" / f"{_WORKER}.json").read_bytes(), type=Ack)
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    def ensure(self, *, timeout: float = 15.0) -> bool:
        """See to it that a worker lives; returns whether one had to be started.

        After a start that failed the same error is raised for a while, longer each time, before another is tried.
        """
        with self._starting:
            replaced, self._replaced = self._replaced, False
            return self._ensure(timeout) or replaced

    def _ensure(self, timeout: float) -> bool:
        self._reap()
        if self.alive():
            if self._process is None:
                self.adopted = True
            return False
        if self._trouble is not None and time.monotonic() < self._retry_at:
            raise self._trouble.with_traceback(None)
        last = self.acknowledged()
        if last is not None and self.port == 0:
            self.port = last.port  # a restart answers where callers already look
        (self.directory / "acks" / f"{_WORKER}.json").unlink(missing_ok=True)
        try:
            self._start()
            self._await_start(timeout)
        except HomeostatError as trouble:
            self._pause = min(max(2 * self._pause, _SHORTEST_PAUSE), _LONGEST_PAUSE)
            self._trouble, self._retry_at = trouble, time.monotonic() + self._pause
            if self._any_port:
                self.port = 0  # somebody else may have taken the one we had
            raise
        self._trouble, self._pause = None, 0.0
        return True

    def follow(self, epoch: int, *, timeout: float = 20.0) -> Ack:
        """Wait until the worker has taken the plan of `epoch` (or a later one); its acknowledgement.

        A signal spares it the wait for its next look at the plan. It is sent only while the worker holds its lock: the
        process id of one that is gone may be somebody else's by now. A worker that dies meanwhile is replaced, `_TRIES`
        times at most, since nobody answers until then.
        """
        deadline = time.monotonic() + timeout
        ack = self.acknowledged()
        if ack is not None and ack.epoch < epoch and self.alive():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(ack.pid, signal.SIGUSR1)
        tries = 0
        while time.monotonic() < deadline:
            ack, alive = self.acknowledged(), self.alive()
            if ack is not None and ack.epoch >= epoch and alive:
                return ack
            if not alive and tries < _TRIES:
                tries += 1
                with self._starting:
                    self._replaced |= self._ensure(timeout)
            time.sleep(0.005)
        raise NOT_FOLLOWED(epoch=epoch, seconds=timeout, log=self.log)

    def stop(self, *, timeout: float = 10.0) -> None:
        """Drain and end the worker (SIGTERM, then SIGKILL)."""
        ack = self.acknowledged()
        if ack is None or not self.alive():
            self._see_off(2.0)
            return
        for number, patience in ((signal.SIGTERM, timeout), (signal.SIGKILL, 2.0)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(ack.pid, number)
            deadline = time.monotonic() + patience
            while time.monotonic() < deadline:
                self._reap()
                if not self.alive():
                    self._see_off(patience)
                    return
                time.sleep(0.01)

    def _start(self) -> None:
        command = [sys.executable, "-m", "homeostat.inference", "--directory", str(self.directory)]
        command += ["--host", self.host, "--port", str(self.port), "--worker", _WORKER]
        if self._starter is None:
            self._process = self._spawn(command)
        else:
            self._process = self._starter.submit(self._spawn, [*command, "--parent-death"]).result()
        self.adopted = False

    def _spawn(self, command: list[str]) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

    def _await_start(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if self.acknowledged() is not None and self.alive():
                return
            if self._process is not None and self._process.poll() is not None:
                break
            time.sleep(0.005)
        said = self.log.read_text(errors="replace").strip().splitlines()[-5:] if self.log.exists() else []
        why = next((line for line in reversed(said) if not line.startswith("hint:")), "no word from it")
        raise NOT_UP(field="inference_port", seconds=timeout, why=why.removeprefix("error: "), log=self.log)

    def _see_off(self, patience: float) -> None:
        """Wait for the very end of a worker of our own: it lets go of its lock a moment before."""
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(patience)
            self._reap()

    def _reap(self) -> None:
        if self._process is not None and self._process.poll() is not None:
            self._process = None
