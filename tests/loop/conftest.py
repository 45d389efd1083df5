"""The undisturbed loop, told once, and what the long proofs found, said at the end."""

from __future__ import annotations

from typing import Any

import pytest
from driver import Driver

FOUND: list[str] = []


@pytest.fixture(scope="session")
def found() -> list[str]:
    """Lines to print at the end of the session: figures of the long proofs, whether they held or not."""
    return FOUND


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The final state of a loop in which nobody dies."""
    told = Driver(tmp_path_factory.mktemp("undisturbed"))
    state = told.tell()
    assert told.unanswered == told.refused == 0, "a request failed although nobody died"
    return state


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say what the long proofs found."""
    if FOUND:
        terminalreporter.section("the loop")
        for line in FOUND:
            terminalreporter.write_line(line)
