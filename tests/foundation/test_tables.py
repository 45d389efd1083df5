"""Tables: versions, appends that happen once, and readers that see one version."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError

from homeostat.foundation.errors import HomeostatError, Kind
from homeostat.foundation.tables import Tables


@pytest.fixture
def tables(tmp_path: Path) -> Tables:
    """Tables in a folder."""
    return Tables(tmp_path / "tables")


def rows(*values: float | None) -> pl.DataFrame:
    return pl.DataFrame({"x": pl.Series(list(values), dtype=pl.Float64)})


def test_each_append_is_a_version_and_old_ones_stay(tables: Tables) -> None:
    assert tables.version("p/t") is None and not tables.exists("p/t") and tables.files("p/t") == []
    first = tables.append("p/t", rows(1.0), writer="a", sequence=1)
    second = tables.append("p/t", rows(2.0, 3.0), writer="a", sequence=2)
    assert (first, second, tables.version("p/t")) == (0, 1, 1)
    assert sorted(tables.scan("p/t").collect()["x"]) == [1.0, 2.0, 3.0]
    assert tables.scan("p/t", first).collect()["x"].to_list() == [1.0]
    assert len(tables.files("p/t")) == 2 and len(tables.files("p/t", first)) == 1


def test_the_same_append_again_changes_nothing(tables: Tables) -> None:
    for _ in range(3):
        tables.append("p/t", rows(1.0), writer="a", sequence=7)
    assert tables.append("p/t", rows(9.0), writer="a", sequence=6) == 0
    assert tables.append("p/t", rows(2.0), writer="b", sequence=1) == 1, "writers count apart"
    assert tables.scan("p/t").collect().height == 2
    assert (tables.last_sequence("p/t", "a"), tables.last_sequence("p/t", "nobody")) == (7, None)
    assert tables.last_sequence("p/none", "a") is None


def test_of_two_writers_with_the_same_append_at_once_one_wins(tables: Tables) -> None:
    """What guards a table when a worker that was thought dead still writes: the table's own commit check."""
    tables.append("p/t", rows(1.0), writer="a", sequence=1)
    first, second = (DeltaTable(f"{tables.root}/p/t") for _ in range(2))
    properties = CommitProperties(app_transactions=[Transaction(app_id="a", version=2)])
    write_deltalake(first, rows(2.0), mode="append", commit_properties=properties)
    with pytest.raises(CommitFailedError):
        write_deltalake(second, rows(2.0), mode="append", commit_properties=properties)
    assert tables.scan("p/t").collect().height == 2


def test_new_columns_join_and_missing_ones_are_null(tables: Tables) -> None:
    tables.append("p/t", rows(1.0), writer="a", sequence=1)
    tables.append("p/t", pl.DataFrame({"y": ["later"]}), writer="a", sequence=2)
    assert tables.schema("p/t") == {"x": pl.Float64(), "y": pl.String()} and tables.schema("p/none") == {}
    assert sorted(tables.scan("p/t").collect().rows(), key=str) == [(1.0, None), (None, "later")]


def test_a_replacement_holds_its_rows_alone(tables: Tables) -> None:
    tables.append("p/t", rows(1.0), writer="a", sequence=1)
    tables.append("p/t", pl.DataFrame({"x": ["text now"]}), writer="a", sequence=2, replace=True)
    assert tables.scan("p/t").collect().to_dicts() == [{"x": "text now"}]
    assert tables.scan("p/t", 0).collect().to_dicts() == [{"x": 1.0}]


def test_a_commit_is_found_by_what_it_carries(tables: Tables) -> None:
    tables.append("p/t", rows(1.0), writer="a", sequence=1, metadata={"number": "1", "result": "r1"})
    tables.append("p/t", rows(2.0), writer="a", sequence=2, metadata={"number": "2"})
    found = tables.committed("p/t", "number", "1")
    assert found is not None and found[0] == 0 and found[1]["result"] == "r1"
    assert tables.committed("p/t", "number", "3") is None and tables.committed("p/none", "number", "1") is None


def test_a_table_that_is_not_there_is_told(tables: Tables) -> None:
    with pytest.raises(HomeostatError) as caught:
        tables.scan("p/none")
    assert caught.value.code == "tables.missing" and caught.value.kind is Kind.NOT_FOUND
