"""Refs: one name, one version, moved only by who knows where it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from homeostat.foundation import refs
from homeostat.foundation.clock import DrivenClock
from homeostat.foundation.database import Database, metadata
from homeostat.foundation.errors import HomeostatError

TABLE = "default/datasets/tx"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """A fresh database."""
    made = Database(f"sqlite:///{tmp_path / 'homeostat.db'}", DrivenClock(5))
    metadata.create_all(made.engine)
    yield made
    made.close()


def test_a_ref_names_one_version_of_one_table_in_one_project(database: Database) -> None:
    with database.write(actor="person:test") as tx:
        assert refs.get(tx, TABLE) is None
        refs.move(tx, TABLE, "main", 1)
        refs.move(tx, TABLE, "audited", 1)
        moved = refs.move(tx, TABLE, "main", 2)
    assert (moved.version, moved.moved_at) == (2, 5)
    with database.read() as reader:
        assert [(r.ref, r.version) for r in refs.listing(reader, TABLE)] == [("audited", 1), ("main", 2)]
        assert refs.listing(reader, "default/datasets/other") == []
    with database.read("elsewhere") as reader:
        assert refs.get(reader, TABLE) is None


def test_who_expects_another_version_moves_nothing(database: Database) -> None:
    with database.write(actor="person:test") as tx:
        refs.move(tx, TABLE, "main", 3)
    for expected, ref in ((2, "main"), (1, "fresh")):
        with pytest.raises(HomeostatError) as caught, database.write(actor="person:test") as tx:
            refs.move(tx, TABLE, ref, 4, expected=expected)
        assert caught.value.code == "refs.moved"
    with database.write(actor="person:test") as tx:
        assert refs.move(tx, TABLE, "main", 4, expected=3).version == 4


@pytest.mark.parametrize("wrong", ["", "../main", "a b", "a/b", "."])
def test_a_ref_has_a_legal_name(database: Database, wrong: str) -> None:
    with pytest.raises(HomeostatError) as caught, database.write(actor="person:test") as tx:
        refs.move(tx, TABLE, wrong, 1)
    assert caught.value.code == "name.invalid"
