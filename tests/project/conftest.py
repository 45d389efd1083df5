"""Fixtures of the project tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from project_world import World

from homeostat.project.load import load


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A fresh world."""
    return World(tmp_path)


@pytest.fixture
def declared(tmp_path: Path) -> Callable[[str], Any]:
    """Load a project file of these lines (after the import) and give its definitions."""

    def loaded(text: str) -> Any:
        path = tmp_path / "project.py"
        path.write_text("import homeostat as hs\n" + text)
        return load(path)

    return loaded
