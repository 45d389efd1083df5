"""Taking files in: what is new, versions, digests, lineage."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest
from house import House, build

from homeostat.data import contracts, lineage, versions
from homeostat.data.ingest import ingest
from homeostat.foundation import events
from homeostat.foundation.errors import HomeostatError

DAY_1 = "id,at,amount,kind\na1,2026-01-05T10:00:00Z,10.5,grocery\na2,2026-01-05T11:00:00Z,20.25,fuel\n"
DAY_2 = "id,at,amount,kind\nb1,2026-01-06T10:00:00Z,7,grocery\n"


def kinds_told(house: House) -> list[str]:
    with house.database.read() as reader:
        return [event.kind for event in events.read_after(reader)]


def test_takes_in_only_what_is_new(house: House) -> None:
    house.define(key="id", time="at")
    house.file("1.csv", DAY_1)
    _, first = house.ingest()
    assert first is not None and (first.number, first.rows, first.added, first.parent) == (1, 2, 2, None)
    assert first.columns == {"id": "string", "at": "time", "amount": "float", "kind": "string"}
    assert first.first_event_at == 1767607200000000 and first.last_event_at == 1767610800000000
    result, nothing = house.ingest()
    assert nothing is None and result.files == () and result.findings == ()
    house.file("2.csv", DAY_2)
    _, second = house.ingest()
    assert second is not None and (second.number, second.rows, second.added, second.parent) == (2, 3, 1, first.digest)
    assert [file.path for file in second.files] == ["2.csv"]
    assert [row["id"] for row in house.rows()] == ["a1", "a2", "b1"]
    assert house.rows()[0]["at"] == 1767607200000000
    assert house.main() == 2
    with house.database.read() as reader:
        assert [version.number for version in versions.log(reader, "tx")] == [2, 1]
        assert versions.get(reader, "tx", 1) == first and versions.get(reader, "tx") == second
        assert [file.path for file in lineage.files(reader, "tx", 1)] == ["1.csv"]
        assert lineage.version_of(reader, "tx", second.files[0].digest) == 2
        with pytest.raises(HomeostatError, match="no version 9"):
            versions.get(reader, "tx", 9)
    assert kinds_told(house) == ["data.dataset_defined", "data.version_added", "data.version_added"]
    earlier = house.stores.tables.scan("default/datasets/tx", first.delta_version).collect()
    assert earlier.height == 2


def test_recording_twice_changes_nothing(house: House) -> None:
    house.define(key="id")
    house.file("1.csv", DAY_1 + "a1,2026-01-05T12:00:00Z,1,fuel\n")
    result, version = house.ingest()
    with house.database.write(actor="service:control") as tx:
        assert versions.record(tx, result) == version
    assert kinds_told(house).count("data.version_added") == 1
    assert kinds_told(house).count("data.rows_quarantined") == 1


def test_the_digest_is_of_content_alone(tmp_path: Path) -> None:
    """Same files, another folder, another time, other file format or number of ingests: same digest."""
    found = []
    for place in ("here", "there", "parquet", "stepwise"):
        (tmp_path / place).mkdir()
        house = build(tmp_path / place)
        house.define("day*.*", key="id", time="at", rules=(contracts.column("amount").kind("float"),))
        for name, text in (("day1", DAY_1), ("day2", DAY_2)):
            path = house.file(f"{name}.csv", text)
            if place == "parquet":
                pl.read_csv(path, try_parse_dates=True).write_parquet(path.with_suffix(".parquet"))
                path.unlink()
            if place == "stepwise":
                house.ingest(now=5)
        house.ingest(now=len(place))
        with house.database.read() as reader:
            found.append(versions.get(reader, "tx").digest)
        house.database.close()
    assert len(set(found)) == 1


def test_another_value_is_another_digest(tmp_path: Path) -> None:
    found = set()
    for i, text in enumerate((DAY_1, DAY_1.replace("20.25", "20.26"), DAY_1.replace("fuel", ""))):
        (tmp_path / str(i)).mkdir()
        house = build(tmp_path / str(i))
        house.define()
        house.file("1.csv", text)
        _, version = house.ingest()
        assert version is not None
        found.add(version.digest)
        house.database.close()
    assert len(found) == 3


def test_a_changed_file_is_a_finding_told_once(house: House) -> None:
    house.define("*.csv", key="id")
    house.file("1.csv", DAY_1)
    house.ingest()
    house.file("1.csv", DAY_1 + "a3,2026-01-05T12:00:00Z,1,fuel\n")
    house.file("2.csv", DAY_2)
    for version in (2, None):
        result, made = house.ingest()
        assert [(f.path, f.kind) for f in result.findings] == [("1.csv", "changed")]
        assert "was taken in before and has changed since" in result.findings[0].words
        assert (made.number if made else None) == version
    assert [row["id"] for row in house.rows()] == ["a1", "a2", "b1"]
    assert kinds_told(house).count("data.file_refused") == 1
    with house.database.read() as reader:
        assert len(lineage.findings(reader, "tx")) == 1


def test_a_touched_or_copied_file_brings_no_rows(house: House) -> None:
    house.define()
    path = house.file("1.csv", DAY_1)
    house.ingest()
    path.touch()
    shutil.copy(path, path.with_name("copy.csv"))
    result, version = house.ingest()
    assert version is None
    assert [(f.path, f.kind) for f in result.findings] == [("copy.csv", "copy")]
    assert "as 1.csv" in result.findings[0].words


def test_files_in_folders_keep_their_relative_path(house: House) -> None:
    house.define("**/*.csv")
    house.file("2026/01/ü.csv", DAY_1)
    _, version = house.ingest()
    assert version is not None and version.files[0].path == "2026/01/ü.csv"
    assert {row["id"] for row in house.rows()} == {"a1", "a2"}


def test_a_taken_in_file_may_go_away(house: House) -> None:
    house.define()
    house.file("1.csv", DAY_1)
    house.ingest()
    (house.folder / "data" / "1.csv").unlink()
    result, version = house.ingest()
    assert version is None and result.findings == ()
    assert len(house.rows()) == 2


def test_no_file_at_all_is_an_error(house: House) -> None:
    house.define("absent/*.csv")
    with pytest.raises(HomeostatError, match=r"no file matches 'absent/\*.csv'") as caught:
        house.ingest()
    assert caught.value.code == "data.no_files"
    house.define(".")
    with pytest.raises(HomeostatError) as caught:
        house.ingest()
    assert caught.value.code == "data.pattern_is_a_folder"


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.parquet", b"not parquet at all", "it is not Parquet"),
        ("a.parquet", b"PAR1" + bytes(40) + b"PAR1", "it is not Parquet"),
        ("a.csv", b"a,b\n1,2,3\n", "it is not CSV"),
        ("a.csv", b'a,b\n"x,2\n3,4\n', "it is not CSV"),
        ("a.csv", "a,b\né,2\n".encode("latin-1"), "it is not CSV in UTF-8"),
        ("a.csv", b"a,a\n1,2\n", "column 'a' comes twice"),
        ("a.csv", b"a,_row\n1,2\n", "'_row' is kept for the platform"),
        ("a.csv", b"a,_file\n1,2\n", "'_file' is kept for the platform"),
        ("a.csv", b"a,event_at\n1,2\n", "'event_at' is kept for the platform"),
        ("a.csv", b"a,A\n1,2\n", "differs from 'a' only in case"),
        ("a.xlsx", b"PK", "its name ends in neither"),
    ],
)
def test_an_unreadable_file_is_named_and_changes_nothing(house: House, name: str, content: bytes, why: str) -> None:
    house.define("a.*")
    house.file(name, content)
    with pytest.raises(HomeostatError) as caught:
        house.ingest()
    assert name in str(caught.value) and why in str(caught.value)
    assert not house.stores.tables.exists("default/datasets/tx")
    # Among others it is reported, and they are taken in.
    house.file("a.good.csv", DAY_1)
    result, version = house.ingest()
    assert version is not None and version.rows == 2
    assert [finding.path for finding in result.findings] == [name] and why in result.findings[0].words
    assert house.ingest()[1] is None


def test_empty_files_wait_for_their_rows(house: House) -> None:
    house.define()
    house.file("0.csv", "")
    house.file("1.csv", "id,amount\n")
    house.file("2.csv", "\ufeffid,amount\r\nx,1\r\n\r\n")  # byte order mark, blank line
    result, version = house.ingest()
    assert version is not None and version.rows == 1 and [f.path for f in version.files] == ["2.csv"]
    assert [(f.path, f.kind) for f in result.findings] == [("0.csv", "empty")]
    house.file("1.csv", "id,amount\ny,2\n")
    house.ingest()
    assert house.rows() == [{"id": "x", "amount": 1}, {"id": "y", "amount": 2}]


def test_extra_columns_are_kept_and_missing_ones_are_null(house: House) -> None:
    house.define(key="id", rules=(contracts.column("amount").between(0, 10),))
    house.file("1.csv", "id,amount,old\na,1,x\n")
    house.ingest()
    house.file("2.csv", "id,amount,new\nb,2,2.5\n")
    _, second = house.ingest()
    assert second is not None and second.columns == {"id": "string", "amount": "int", "old": "string", "new": "float"}
    assert house.rows() == [{"id": "a", "amount": 1, "old": "x"}, {"id": "b", "amount": 2, "new": 2.5}]
    house.file("3.csv", "id,old\nc,y\n")
    house.file("4.csv", "amount\n5\n")
    result, version = house.ingest()
    assert version is None
    assert [(f.path, f.kind) for f in result.findings] == [("3.csv", "missing_column"), ("4.csv", "missing_column")]
    assert "'amount', which the rule 'amount between 0 and 10' names" in result.findings[0].words
    assert "'id', which the key names" in result.findings[1].words


def test_a_database_behind_its_tables_is_refused(house: House) -> None:
    house.define()
    house.file("1.csv", DAY_1)
    house.ingest()
    house.file("2.csv", DAY_2)
    with house.database.read() as reader:
        job = versions.next_ingest(reader, "tx", 0)
    house.stores.tables.append("default/datasets/tx", pl.DataFrame({"id": ["q"]}), writer="other", sequence=1)
    with pytest.raises(HomeostatError, match="is at Delta version 1, its newest version at 0"):
        ingest(job, house.stores)
