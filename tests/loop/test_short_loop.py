"""The whole loop on some 5,600 rows with event time driven, and deaths in it: it ends where it would have ended.

Data, run, gate, serve, traffic, labels, a worse version refused, a change, an incident, a retrain, its gate, canary and
promotion, a leaking version rolled back. `make test` kills at a few moments that rotate with the commit; `make soak` at
every one.
"""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from driver import DAYS, HISTORY, ROWS, Driver
from kills import KILLS, Kill

SOURCE = Path(__file__).parents[2] / "src" / "homeostat"
FEW = 4  # kills in `make test`
TOGETHER = 5  # kills in one loop of `make soak`
BATCHES = [KILLS[start :: -(-len(KILLS) // TOGETHER)] for start in range(-(-len(KILLS) // TOGETHER))]


def of_this_commit() -> list[Kill]:
    """A few kills, other ones for another commit: one from each part of the story."""
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=SOURCE, capture_output=True, text=True, check=False)
    commit = head.stdout.strip()
    turn = int(commit[:8], 16) if re.fullmatch(r"[0-9a-f]{40}", commit) else 0
    parts = [KILLS[start * len(KILLS) // FEW : (start + 1) * len(KILLS) // FEW] for start in range(FEW)]
    return [part[turn % len(part)] for part in parts]


def survives(folder: Path, kills: list[Kill] | tuple[Kill, ...], undisturbed: dict[str, Any]) -> None:
    """Tell the loop with these deaths in it and compare how it ends."""
    told = Driver(folder, kills)
    state = told.tell()
    assert told.server.deaths > 0 or all(kill.victim != "control" for kill in kills)
    assert state == undisturbed, f"after {', '.join(map(str, kills))}"


def test_the_loop_closes(undisturbed: dict[str, Any]) -> None:
    assert undisturbed["arms"]["champion"] == 3
    assert [state for _, state in undisturbed["deployments"]] == ["live", "refused", "live", "rolled_back"]
    assert ("performance", 1, "resolved") in undisturbed["incidents"]
    assert ("service:loop", "retrain", "done") in undisturbed["decisions"]
    assert ("service:delivery", "roll_back", "done") in undisturbed["decisions"]
    assert sum(rows for _, rows in undisturbed["quarantine"]) == 30
    assert undisturbed["predictions"] == (DAYS - HISTORY) * ROWS
    assert undisturbed["labels"] == (DAYS - HISTORY) * ROWS
    assert undisturbed["audit"] is True


def test_it_ends_the_same_whoever_is_killed(tmp_path: Path, undisturbed: dict[str, Any]) -> None:
    survives(tmp_path, of_this_commit(), undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("kills", BATCHES, ids=[f"batch{n}" for n in range(len(BATCHES))])
def test_every_kill(tmp_path: Path, kills: tuple[Kill, ...], undisturbed: dict[str, Any]) -> None:
    survives(tmp_path, kills, undisturbed)


def test_every_point_of_the_product_is_killed_at() -> None:
    """A point that nobody arms proves nothing; one that the product lost would never be reached."""
    armed = {kill.point for kill in KILLS} - {"request.sent"}
    points = points_of_the_product()
    never = [point for point in points if not any(re.fullmatch(point, one) for one in armed)]
    strange = [one for one in armed if not any(re.fullmatch(point, one) for point in points)]
    assert points and not never and not strange, f"never killed at: {never}; not in the product: {strange}"


def points_of_the_product() -> set[str]:
    """The name of every `passing(...)` in the product, as a pattern: what is filled in is any word."""
    found: set[str] = set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and getattr(node.func, "id", "") == "passing"):
                continue
            for name in (node.args[0].body, node.args[0].orelse) if isinstance(node.args[0], ast.IfExp) else node.args:
                parts = name.values if isinstance(name, ast.JoinedStr) else [name]
                found.add("".join(re.escape(p.value) if isinstance(p, ast.Constant) else "[a-z]+" for p in parts))
    return found
