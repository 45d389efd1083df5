"""A real database on disk, with a clock the test drives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from homeostat.foundation.clock import DrivenClock
from homeostat.foundation.database import Database, metadata
from homeostat.registry import tables as _tables  # noqa: F401  (puts its tables on the metadata)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'homeostat.db'}", DrivenClock(1_700_000_000_000_000))
    metadata.create_all(database.engine)
    yield database
    database.close()
