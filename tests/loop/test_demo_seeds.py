"""Ten seeds of the full demo, one after the other: how many closed, and for those that did not, why."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from server import last_lines

SEEDS = range(10)
LONGEST = 900  # seconds


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_seed_closes(seed: int, tmp_path: Path, found: list[str]) -> None:
    said = tmp_path / "said.txt"
    began = time.monotonic()
    command = [sys.executable, "-m", "homeostat.cli", "demo", "--seed", str(seed), "--home", str(tmp_path / "demo")]
    with said.open("w") as out:
        ended = subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, timeout=LONGEST, check=False)
    took = time.monotonic() - began
    lines = said.read_text().splitlines()
    failed = [line.strip().removeprefix("NO").strip() for line in lines if line.startswith("  NO ")]
    claims = sum(line.startswith(("  yes", "  NO ")) for line in lines)
    closed = ended.returncode == 0 and claims > 0 and not failed
    why = "" if closed else "; ".join(failed) or f"exit {ended.returncode}: {last_lines(said, 3)}"
    found.append(f"demo seed {seed}: {'closed' if closed else 'NOT closed'} in {took:.0f} s{': ' if why else ''}{why}")
    assert closed, f"{why}\n{last_lines(said, 60)}"
