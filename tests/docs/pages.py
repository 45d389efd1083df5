"""Run the code blocks of a page as a reader would, and hold what they print against what the page shows.

- ```python title="FILE"``` is saved as FILE; a python block without a title is run;
- ```console``` holds commands after `$ ` (a line that begins with `> ` goes on with the one before), each followed by
  lines it prints. Every line shown must be printed, in any order (a terminal mixes stdout and stderr as it likes),
  numbers and ids may differ, and `...` stands for anything;
- ```console background``` holds one command that goes on running in a terminal of its own;
- ```console again``` holds commands that are typed again until they print what is shown ("after a moment").

The ports 8700 and 8701 of the pages are whichever ports the reader's server has taken.

Other blocks (text, json, mermaid) are not run.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

_BLOCK = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_PATIENCE = 60.0


class Reader:
    """A reader at a terminal in `folder`: one shell that lives through the page, and servers in others."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        kept = {k: v for k, v in os.environ.items() if not k.startswith("HOMEOSTAT_")}
        path = f"{Path(sys.executable).parent}:{kept['PATH']}"
        self.env = kept | {
            "PATH": path,
            "HOMEOSTAT_PORT": "0",
            "HOMEOSTAT_INFERENCE_PORT": "0",
            "PYTHONUNBUFFERED": "1",
        }
        self.shell = subprocess.Popen(
            ["bash"], cwd=folder, env=self.env, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self.servers: list[subprocess.Popen[bytes]] = []
        self.ports: dict[str, str] = {}

    def read(self, page: Path) -> None:
        """Do what the page says, block by block; an AssertionError names the block that is not so."""
        for language, info, body in blocks(page):
            title = re.search(r'title="([^"]+)"', info)
            if language == "python" and title:
                (self.folder / title[1]).write_text(body)
            elif language == "python":
                (self.folder / "block.py").write_text(body)
                self._check(page, "python block.py", self._type("python block.py"), [], must_work=True)
            elif language == "console" and "background" in info:
                self._start(page, body)
            elif language == "console":
                for command, shown in commands(body):
                    said = self._type(command)
                    deadline = time.monotonic() + _PATIENCE
                    while "again" in info and time.monotonic() < deadline and not shows(shown, said):
                        said = self._type(command)
                    self._check(page, command, said, shown)

    def close(self) -> None:
        """Leave: end the shell and every server, by its pid."""
        for server in self.servers:
            server.send_signal(signal.SIGTERM)
        for server in self.servers:
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(20)
            if server.poll() is None:
                server.kill()
                server.wait()
        assert self.shell.stdin is not None and self.shell.stdout is not None
        self.shell.stdin.close()
        self.shell.wait(20)
        self.shell.stdout.close()

    def _type(self, command: str) -> str:
        """Type one command; what it printed."""
        assert self.shell.stdin is not None and self.shell.stdout is not None
        for usual, taken in self.ports.items():
            command = command.replace(f"127.0.0.1:{usual}", f"127.0.0.1:{taken}")
        end = f"--end-{time.monotonic_ns()}--"
        # `$?` is kept for the reader's next command.
        self.shell.stdin.write(f"{command}\n__code=$?; echo; echo '{end}' $__code; (exit $__code)\n")
        self.shell.stdin.flush()
        said: list[str] = []
        for line in self.shell.stdout:
            if line.startswith(end):
                said.append(f"exit code {line.split()[-1]}")
                break
            said.append(line.rstrip("\r\n"))
        return "\n".join(said)

    def _check(self, page: Path, command: str, said: str, shown: list[str], *, must_work: bool = False) -> None:
        missing = [line for line in shown if not shows([line], said)]
        assert not missing, f"{page.name}: `{command}` did not print {missing}; it printed:\n{said}"
        refused = any(line.startswith("error:") for line in shown)
        assert refused or said.endswith("exit code 0"), f"{page.name}: `{command}` failed:\n{said}"
        assert not must_work or said.endswith("exit code 0")

    def _start(self, page: Path, body: str) -> None:
        ((command, shown),) = list(commands(body))
        log = self.folder / f"terminal-{len(self.servers)}.log"
        with log.open("wb") as out:
            words = ["bash", "-c", f"exec {command}"]
            server = subprocess.Popen(words, cwd=self.folder, env=self.env, stdout=out, stderr=subprocess.STDOUT)
        self.servers.append(server)
        deadline = time.monotonic() + _PATIENCE
        while not shows(shown, log.read_text()):
            assert server.poll() is None and time.monotonic() < deadline, f"{page.name}: {command}: {log.read_text()}"
            time.sleep(0.05)
        ports = re.findall(r"http://127\.0\.0\.1:(\d+)", log.read_text())
        self.ports = dict(zip(("8700", "8701"), ports, strict=False))


def blocks(page: Path) -> list[tuple[str, str, str]]:
    """(language, what follows it, body) of every fenced block of a page."""
    return [(language, info, body) for language, info, body in _BLOCK.findall(page.read_text())]


def commands(body: str) -> Iterator[tuple[str, list[str]]]:
    """(command, lines it is shown to print) of a console block."""
    command, shown = "", list[str]()
    for line in body.splitlines():
        if line.startswith("$ "):
            if command:
                yield command, shown
            command, shown = line[2:], []
        elif line.startswith("> "):
            command += f"\n{line[2:]}"
        elif line.strip() not in ("", "..."):
            shown.append(line)
    if command:
        yield command, shown


def shows(lines: list[str], said: str) -> bool:
    """Whether every line is among what was printed; "..." matches anything, numbers and ids match others."""
    printed = [_plain(line) for line in said.splitlines()]
    wanted = [re.compile(".*".join(re.escape(_plain(part)) for part in line.split("..."))) for line in lines]
    return all(any(pattern.search(line) for line in printed) for pattern in wanted)


def _plain(text: str) -> str:
    text = re.sub(r"\b[0-9a-f]{12,}\b", "#", text)
    text = re.sub(r"[-+]?\d[\d,.:]*(e[-+]?\d+)?%?", "#", text)
    return re.sub(r"\s+", " ", text)
