"""Fixtures of the control tests; they stand on the place that the delivery tests deliver to."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "delivery"))

from wired import Wired

from homeostat.delivery import loads


@pytest.fixture(scope="module")
def wired(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wired]:
    """One wired home for the tests of a file: each uses an endpoint of its own."""
    made = Wired.at(tmp_path_factory.mktemp("home"))
    made.plane.ensure()
    yield made
    made.close()


_names = itertools.count()


@pytest.fixture
def name() -> str:
    """A name for a model, its endpoint and its pipeline that no other test has."""
    return f"c{next(_names)}"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short bursts at the gate: how long they take is tested in tests/delivery."""
    monkeypatch.setattr(loads, "_REQUESTS", 10)
