"""The reference is whole: whatever can be set, typed, called, answered, checked or refused stands in it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import get_args

import click

from homeostat.cli.root import COMMANDS, root
from homeostat.data.records import Rule
from homeostat.delivery.records import CheckDefinition, RolloutDefinition, Verdict
from homeostat.foundation.errors import CATALOGUE, Kind
from homeostat.inference.tensors import Parameters
from homeostat.monitoring.findings import CAUSES

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"])


def page(name: str) -> str:
    return (DOCS / "reference" / name).read_text()


def test_every_generated_block_is_up_to_date() -> None:
    """In a process of its own: tests declare errors and events of theirs, which are not the product's."""
    command = [sys.executable, str(DOCS / "generate.py"), "--check"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 0, f"run `python docs/generate.py`: {found.stdout}{found.stderr}"


def test_every_generated_block_stands_somewhere(generate: ModuleType) -> None:
    text = "".join(p.read_text() for p in generate.pages())
    missing = [name for name in generate.BLOCKS if f"<!-- generated: {name} -->" not in text]
    assert not missing


def test_every_kind_of_error_is_explained() -> None:
    for kind in Kind:
        name = kind.name.lower()
        assert f"| {name} | {kind.status} | {kind.exit_code} |" in page("errors.md"), name


def test_every_literal_of_the_records_is_explained() -> None:
    """Checks, rules, rollouts, verdicts: read from the records themselves."""
    from typing import get_type_hints

    text = page("checks.md")
    for record in (CheckDefinition, Rule, RolloutDefinition):
        for kind in get_args(get_type_hints(record)["kind"]):
            assert f"| `{kind}` |" in text, f"{record.__name__} {kind}"
    for verdict in get_args(Verdict):
        assert f"| `{verdict}` |" in text


def test_every_monitor_is_explained_with_its_cause() -> None:
    for monitor, cause in CAUSES.items():
        assert f"| `{monitor}` | {cause} |" in page("checks.md"), monitor


def test_every_parameter_of_a_request_is_explained() -> None:
    for name in Parameters.__struct_fields__:
        assert f"`{name}`" in page("protocol.md"), name


def test_every_command_a_page_or_an_error_names_is_there(generate: ModuleType) -> None:
    """`homeostat WORD [WORD]`, wherever it is written as code or as a hint, is a command that exists."""
    said = {f"error {e.code}": e.fix for e in CATALOGUE.values()}
    for path in PAGES:
        code = re.findall(r"`(homeostat [^`]+)`", path.read_text()) + re.findall(r"^\$ (.*)$", path.read_text(), re.M)
        said[path.name] = "\n".join(code)
    missing = []
    for where, text in said.items():
        for first, second in re.findall(r"(?:^|[\s`'\":(])homeostat ([a-z][a-z-]+)(?: ([a-z][a-z-]+))?", text):
            if first not in COMMANDS:
                missing.append(f"{where}: homeostat {first}")
                continue
            command = root.get_command(click.Context(root), first)
            inside = command.commands if isinstance(command, click.Group) else None
            if inside is not None and second and second not in inside:
                missing.append(f"{where}: homeostat {first} {second}")
    assert not missing


def test_every_link_leads_somewhere() -> None:
    broken = []
    for path in PAGES:
        text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
            if "://" not in target and not (path.parent / target).exists():
                broken.append(f"{path.relative_to(ROOT)}: {target}")
    assert not broken


def test_every_page_is_reached_from_the_readme() -> None:
    reached: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        path = waiting.pop()
        if path in reached:
            continue
        reached.add(path)
        for target in re.findall(r"\]\(([^)#\s]+\.md)(?:#[^)]*)?\)", path.read_text()):
            if "://" not in target:
                waiting.append((path.parent / target).resolve())
    assert not set(PAGES) - reached


def test_every_test_that_a_page_names_is_there() -> None:
    """`tests/x/test_y.py`, `...::test_z`, and bare `test_z` of the architecture's own tests."""
    walls = (ROOT / "tests" / "architecture" / "test_walls.py").read_text()
    missing = []
    for path in PAGES:
        for named in re.findall(r"`((?:tests/[^`\s]+|test_[a-z_]+))`", path.read_text()):
            file, _, function = named.partition("::")
            if file.startswith("tests/"):
                there = (ROOT / file).exists() and (not function or f"def {function}(" in (ROOT / file).read_text())
            else:
                there = f"def {file}(" in walls
            if not there:
                missing.append(f"{path.name}: {named}")
    assert not missing
