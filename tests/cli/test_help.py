"""The command line before it does anything: help, mistakes, and what that costs."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import click
import pytest
from ran import Homeostat

from homeostat.cli.root import COMMANDS, root

GROUPS = {
    name: getattr(import_module(f"homeostat.cli.{where.partition(':')[0]}"), where.partition(":")[2])
    for name, (where, _) in COMMANDS.items()
}
EVERY = [(name,) for name in COMMANDS] + [
    (name, below) for name, group in GROUPS.items() if isinstance(group, click.Group) for below in group.commands
]


@pytest.mark.parametrize("command", EVERY, ids=" ".join)
def test_every_command_tells_what_it_does(homeostat: Homeostat, command: tuple[str, ...]) -> None:
    ran = homeostat(*command, "--help")
    assert ran.code == 0 and f"Usage: homeostat {' '.join(command)}" in ran.out


def test_the_line_in_the_listing_is_the_commands_own() -> None:
    for name, (_, about) in COMMANDS.items():
        own = (GROUPS[name].help or "").split(".")[0]
        assert own and about.endswith("."), name


def test_help_imports_no_command_and_nothing_heavy() -> None:
    program = "from homeostat.cli.root import run\ntry: run(['--help'])\nexcept SystemExit: pass\n"
    program += "import sys; print('\\n'.join(sys.modules), file=sys.stderr)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stderr.split()
    ours = {m for m in loaded if m.startswith("homeostat")}
    assert ours == {"homeostat", "homeostat.cli", "homeostat.cli.root", "homeostat.cli.output", *_FOUNDATION}
    assert not {"msgspec", "sqlalchemy", "numpy", "polars", "rich", "litestar", "asyncio", "ssl"} & set(loaded)


_FOUNDATION = ("homeostat.foundation", "homeostat.foundation.errors", "homeostat.foundation.clock")


def test_every_reading_command_answers_in_json() -> None:
    reading = [c for c in EVERY if c[-1] in ("list", "show", "log", "check", "status", "incidents", "verify")]
    for command in reading:
        found: click.Command = root
        for name in command:
            assert isinstance(found, click.Group)
            got = found.get_command(click.Context(root), name)
            assert got is not None
            found = got
        if not isinstance(found, click.Group):
            assert "--json" in {o for p in found.params for o in p.opts}, command


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("deplyo",), 2, "did you mean: homeostat deploy"),
        (("deploy",), 2, "Missing argument"),
        (("deploy", "late", "--fast"), 2, "--fast"),
        (("run", "-p", "trees"), 2, "key=value"),
        (("data", "add", "trips", "x.csv", "--label-delay", "soon"), 1, "duration"),
        (("predict", "late", "--data", "nowhere.csv"), 1, "no such file"),
    ],
)
def test_a_mistake_is_one_error_line_and_a_hint(
    homeostat: Homeostat, monkeypatch: pytest.MonkeyPatch, args: tuple[str, ...], code: int, said: str
) -> None:
    monkeypatch.setenv("HOMEOSTAT_SERVER", "http://127.0.0.1:9")
    ran = homeostat(*args)
    lines = ran.err.strip().splitlines()
    assert ran.code == code and ran.out == "", ran
    assert len(lines) == 2 and lines[0].startswith("error: ") and lines[1].startswith("hint: ") and said in ran.err


def test_a_server_that_is_not_there_is_told_so(homeostat: Homeostat) -> None:
    ran = homeostat("status", "--server", "http://127.0.0.1:9")
    assert ran.code == 1 and "no control plane answers at http://127.0.0.1:9" in ran.err
    assert homeostat("status", "--server", "localhost").err.startswith("error: server: 'localhost' is not")
