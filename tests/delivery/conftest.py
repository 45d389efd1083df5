"""Fixtures of the delivery tests."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest
from delivered import Place


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One place for the tests of a file: each uses an endpoint of its own."""
    made = Place.at(tmp_path_factory.mktemp("home"))
    made.plane.ensure()
    yield made
    made.close()


_names = itertools.count()


@pytest.fixture
def name() -> str:
    """A name for a model and its endpoint that no other test has."""
    return f"m{next(_names)}"


@pytest.fixture
def own_place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Place]]:
    """Places of a test's own, for those that kill things."""
    opened: list[Place] = []

    def make() -> Place:
        opened.append(Place.at(tmp_path_factory.mktemp("home")))
        return opened[-1]

    yield make
    for one in opened:
        one.close()
