"""Find the control plane to speak to, or start one.

In this order: the setting `server` (with `token`); the server that holds the home, told by its `lock` file; else an
embedded one, a child process that ends when this process ends. The child knows its parent by a pipe: when the writing
end closes, however the parent died, it reads the end of the file and stops.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Any

from homeostat.foundation.errors import HomeostatError, Kind, entry
from homeostat.foundation.settings import Settings
from homeostat.foundation.settings import load as load_settings
from homeostat.project.connection import Connection

NO_TOKEN = entry(
    "connection.no_token",
    Kind.UNAUTHENTICATED,
    "the server at {address} holds the home {home}, but its token cannot be read",
    "run as the user that started it, or set HOMEOSTAT_TOKEN",
)
NOT_STARTED = entry(
    "connection.not_started",
    Kind.UNAVAILABLE,
    "the embedded control plane did not start: {why}",
    "run 'homeostat up --home {home}' to see what it says",
)

_READY_SECONDS = 60.0
_RIVAL_SECONDS = 5.0
_embedded: dict[Path, Embedded] = {}


class Embedded:
    """A control plane of this process's own, for its duration."""

    def __init__(self, process: subprocess.Popen[bytes], pipe: int, ready: dict[str, Any]) -> None:
        self.process = process
        self.ready = ready
        self._pipe = pipe

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self.process.poll() is None

    def stop(self, seconds: float = 15.0) -> None:
        """End it: close the pipe it watches, wait, and kill it if it does not go."""
        if self._pipe >= 0:
            os.close(self._pipe)
            self._pipe = -1
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


def connect(
    *, server: str | None = None, token: str | None = None, project: str | None = None, home: str | Path | None = None
) -> Connection:
    """A connection to the control plane by the settings and what is given here; starts an embedded one if none runs."""
    flags = {"server": server, "token": token, "project": project, "home": None if home is None else str(home)}
    return open_connection(load_settings(flags))


def open_connection(settings: Settings, *, start: bool = True) -> Connection:
    """As `connect`, for settings that are resolved already. With `start=False` it raises where no server runs."""
    if settings.server:
        return Connection(settings.server, settings.token or read_token(settings.home), settings.project)
    held = read_lock(settings.home)
    if held is not None:
        return Connection(str(held["address"]), _token(settings, str(held["address"])), settings.project)
    if not start:
        raise NOT_STARTED(field="server", why="none runs, and this command starts none", home=settings.home)
    address = _embedded_address(settings)
    return Connection(address, _token(settings, address), settings.project)


def ends_with_us(connection: Connection) -> bool:
    """Whether it leads to the embedded server of this process, which ends when this process ends."""
    return any(running.ready.get("address") == connection.address for running in _embedded.values())


def _embedded_address(settings: Settings) -> str:
    """The address of this process's own server, or of one that took the home while ours was being started."""
    running = _embedded.get(settings.home)
    if running is None or not running.alive:
        try:
            running = start_embedded(settings)
        except HomeostatError:
            held = _wait_for_lock(settings.home)
            if held is None:
                raise
            return str(held["address"])
        _embedded[settings.home] = running
        atexit.register(running.stop)
    return str(running.ready["address"])


def _wait_for_lock(home: Path) -> dict[str, Any] | None:
    """The server that holds the home and is still on its way up, once it says where it is; None if there is none."""
    deadline = time.monotonic() + _RIVAL_SECONDS
    while (held := read_lock(home)) is None and time.monotonic() < deadline:
        time.sleep(0.1)
    return held


def read_lock(home: Path) -> dict[str, Any] | None:
    """What the server that holds this home says of itself (address, pid, inference), or None where none does."""
    try:
        held = json.loads((home / "lock").read_bytes())
        pid = int(held["pid"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not held.get("address") or not _lives(pid):
        return None
    return dict(held)


def read_token(home: Path) -> str:
    """The local user's token, or "" where there is none to read."""
    try:
        return (home / "token").read_text().strip()
    except OSError:
        return ""


def start_embedded(settings: Settings) -> Embedded:
    """Start a control plane for this home as a child; returns when it is ready."""
    reading, writing = os.pipe()
    command = [
        *(sys.executable, "-m", "homeostat.cli", "up", "--embedded", "--home", str(settings.home)),
        *("--port", "0", "--inference-port", "0", "--parent-fd", str(reading)),
    ]
    settings.home.mkdir(parents=True, exist_ok=True)
    log = (settings.home / "embedded.log").open("wb")
    # A session of its own: Ctrl-C at the terminal is for the command, which then lets go of the pipe in its own time.
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=log,
        pass_fds=[reading],
        start_new_session=True,
    )
    os.close(reading)
    log.close()
    embedded = Embedded(process, writing, {})
    try:
        ready = _first_line(process)
    except BaseException:
        embedded.stop(0)
        raise
    if ready is None:
        embedded.stop(0)
        raise NOT_STARTED(field="home", why=_last_words(settings.home / "embedded.log"), home=settings.home)
    embedded.ready = ready
    return embedded


def _first_line(process: subprocess.Popen[bytes]) -> dict[str, Any] | None:
    """The one JSON line that `up --embedded` prints when it is ready, or None if it ends or says nothing."""
    assert process.stdout is not None
    stream: IO[bytes] = process.stdout
    until = time.monotonic() + _READY_SECONDS
    said = b""
    while b"\n" not in said:
        left = until - time.monotonic()
        if left <= 0 or not select.select([stream], [], [], left)[0]:
            return None
        chunk = os.read(stream.fileno(), 4096)
        if not chunk:
            return None
        said += chunk
    try:
        ready = json.loads(said.split(b"\n", 1)[0])
    except ValueError:
        return None
    return ready if isinstance(ready, dict) and "address" in ready else None


def _last_words(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    told = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return (told or lines or ["it said nothing"])[-1]


def _token(settings: Settings, address: str) -> str:
    found = settings.token or read_token(settings.home)
    if not found and (settings.home / "token").exists():
        raise NO_TOKEN(field="token", address=address, home=settings.home)
    return found


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
