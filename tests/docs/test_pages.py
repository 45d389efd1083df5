"""Every code block of the docs runs, in the order it stands, in an empty folder, against the real product."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pages import Reader

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    made = Reader(tmp_path)
    yield made
    made.close()


def test_the_tutorial(reader: Reader) -> None:
    reader.read(DOCS / "tutorial" / "first-model.md")
