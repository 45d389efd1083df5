"""A home of its own in a folder, served by the real processes: what a demonstration or an example runs against."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from homeostat.project.connection import Connection
from homeostat.project.locate import read_token

_STOP_SECONDS = 20.0


class Trial:
    """`homeostat up` in `folder`, on ports of its own; settings of the caller's environment do not reach it.

    `address` and `inference` are where the two planes answer, `control` is a connection as the local user, who may
    replay. Use it in a `with`, or call `close`. Raises SystemExit with the server's own words if it does not start.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._log = folder / "up.log"
        command = [*_PROGRAM, "up", "--json", "--port", "0", "--inference-port", "0"]
        with self._log.open("w") as log:
            self.server = subprocess.Popen(
                command, cwd=folder, stdout=subprocess.PIPE, stderr=log, text=True, env=self._environment()
            )
        assert self.server.stdout is not None
        line = self.server.stdout.readline()
        if not line:
            self.close()
            raise SystemExit(f"error: the server did not start: {self._log.read_text().strip()}")
        told = json.loads(line)
        self.address = str(told["address"])
        self.inference = str(told["inference"])
        self.control = Connection(self.address, read_token(Path(told["home"])))

    def __enter__(self) -> Trial:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, *arguments: str) -> tuple[int, list[str]]:
        """The command line, as a person types it in the folder: its exit code, and the lines it said."""
        command = [*_PROGRAM, *arguments]
        ended = subprocess.run(command, cwd=self.folder, env=self._environment(), capture_output=True, text=True)
        return ended.returncode, (ended.stdout + ended.stderr).splitlines()

    def screens(self) -> str:
        """An address that signs a browser in, once."""
        link: dict[str, Any] = self.control.post("/sign-in-links", {})
        return f"{self.address}{link.get('path', '/')}"

    def events(self, after: int = 0, kinds: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """Every event after the cursor `after`, oldest first; only those of `kinds` where they are named."""
        found: list[dict[str, Any]] = []
        while page := self.control.get("/events", after=after, limit=500):
            found += [e for e in page if kinds is None or e["kind"] in kinds]
            after = page[-1]["seq"]
        return found

    def close(self) -> None:
        """Stop what was started."""
        if hasattr(self, "control"):
            self.control.close()
        if self.server.poll() is None:
            self.server.send_signal(signal.SIGTERM)
            try:
                self.server.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.server.kill()
                self.server.wait()
        if self.server.stdout is not None:
            self.server.stdout.close()

    def _environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("HOMEOSTAT_")}
        return kept | {"HOMEOSTAT_HOME": str(self.folder / ".homeostat")}


_PROGRAM = (sys.executable, "-m", "homeostat.cli")
