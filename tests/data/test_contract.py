"""Rules, kinds, quarantine and refusal."""

from __future__ import annotations

import io
from typing import Any

import msgspec
import polars as pl
import pytest
from house import NOW, House

from homeostat.data import contracts, quarantine, versions
from homeostat.data.contracts import column, fresher_than
from homeostat.data.records import Dataset, Rule, Source
from homeostat.foundation import events
from homeostat.foundation.clock import DAY
from homeostat.foundation.errors import HomeostatError


def told(house: House) -> dict[str, tuple[int, str]]:
    with house.database.read() as reader:
        return {reason.rule: (reason.rows, reason.file) for reason in quarantine.listing(reader, "tx")}


def held_rows(house: House) -> pl.DataFrame:
    with house.database.read() as reader:
        held = quarantine.listing(reader, "tx")[0].held
    assert held is not None
    return pl.read_parquet(io.BytesIO(house.stores.objects.get_bytes(held)))


def test_one_bad_cell_spoils_its_row_alone(house: House) -> None:
    house.define(key="id", time="at", rules=(column("amount").between(0, 50_000), column("amount").not_null()))
    good = "".join(f"g{i},2026-01-05T10:00:00Z,{i}.5,ok\n" for i in range(20))
    bad = (
        "b1,2026-01-05T10:00:00Z,abc,text\n"
        "b2,2026-01-05T10:00:00Z,99999,above\n"
        "b3,2026-01-05T10:00:00Z,,null\n"
        "b4,yesterday,5,time\n"
        ",2026-01-05T10:00:00Z,5,no key\n"
        "g3,2026-01-05T10:00:00Z,5,again\n"
        "b5,,-1,two rules\n"
    )
    house.file("1.csv", "id,at,amount,why\n" + good + bad)
    result, version = house.ingest()
    assert version is not None and (version.rows, version.quarantined) == (20, 7)
    assert told(house) == {
        "amount is a finite number": (1, "1.csv"),
        "amount between 0 and 50,000": (2, "1.csv"),
        "amount is not null": (1, "1.csv"),
        "at is a time: ISO 8601, or microseconds since 1970 UTC": (1, "1.csv"),
        "at is not null": (1, "1.csv"),
        "id is not null": (1, "1.csv"),
        "id is unique": (1, "1.csv"),
    }
    held = held_rows(house)
    assert held.filter(pl.col("why") == "above")["_reasons"].to_list() == [["amount between 0 and 50,000: 99999"]]
    assert held.filter(pl.col("why") == "text")["amount"].item() == "abc"
    assert held.filter(pl.col("why") == "two rules")["_reasons"].list.len().item() == 2
    reason = next(reason for reason in result.reasons if reason.rule == "amount is a finite number")
    assert reason.column == "amount" and reason.examples[0]["amount"] == "abc" and reason.examples[0]["row"] == 21
    assert version.files[0].quarantined == 7
    with house.database.read() as reader:
        event = events.read_after(reader, kinds=["data.rows_quarantined"])[0]
    assert event.payload is not None and event.payload["rows"] == 7


def test_a_bad_cell_in_a_later_file(house: House) -> None:
    house.define(key="id")
    house.file("1.csv", "id,amount\na,1.5\n")
    house.ingest()
    house.file("2.csv", "id,amount\nb,abc\nc,2.5\n")
    pl.DataFrame({"id": ["d", "e"], "amount": ["3.5", "oops"]}).write_parquet(house.folder / "data" / "3.parquet")
    house.define("*.*", key="id")
    _, version = house.ingest()
    assert version is not None and version.added == 2
    assert [row["amount"] for row in house.rows()] == [1.5, 2.5, 3.5]
    assert set(told(house)) == {"amount is a finite number"}


def test_keys_are_unique_within_and_across_files_and_versions(house: House) -> None:
    house.define(key="id", rules=(column("code").unique(),))
    house.file("1.csv", "id,code\n1,x\n2,y\n1,z\n")
    house.file("2.csv", "id,code\n2,q\n3,x\n4,\n5,\n")
    house.ingest()
    assert [(row["id"], row.get("code")) for row in house.rows()] == [(1, "x"), (2, "y"), (4, None), (5, None)]
    house.file("3.csv", "id,code\n4,r\n9,y\n6,n\n")
    house.ingest()
    assert [row["id"] for row in house.rows()] == [1, 2, 4, 5, 6]


def test_a_good_row_keeps_its_key_from_a_bad_one(house: House) -> None:
    house.define(key="id", rules=(column("amount").between(0, 10),))
    house.file("1.csv", "id,amount\na,99\na,5\n")
    house.ingest()
    assert house.rows() == [{"id": "a", "amount": 5}]
    assert set(told(house)) == {"amount between 0 and 10"}


def test_a_file_of_bad_rows_alone_makes_no_version(house: House) -> None:
    house.define(rules=(column("amount").between(0, 10),))
    house.file("1.csv", "amount\n50\n60\n")
    result, version = house.ingest()
    assert version is None and result.files[0].quarantined == 2 and house.main() is None
    assert told(house) == {"amount between 0 and 10": (2, "1.csv")}
    assert house.ingest()[0].files == ()
    house.file("2.csv", "amount\n5\n")
    _, version = house.ingest()
    assert version is not None and version.number == 1


def test_a_stop_rule_keeps_the_ref_where_it_was(house: House) -> None:
    rules = (column("amount").between(0, 10, stop=True),)
    house.define(key="id", rules=rules)
    house.file("1.csv", "id,amount\na,1\n")
    house.ingest()
    house.file("2.csv", "id,amount\nb,2\nc,99\n")
    _, refused = house.ingest()
    assert refused is not None and not refused.published and refused.number == 2 and refused.added == 0
    assert refused.refused == "amount between 0 and 10: broken by 1 row of 2.csv"
    assert refused.held is not None and house.main() == 1 and [row["id"] for row in house.rows()] == ["a"]
    result, again = house.ingest()  # the same is not refused twice
    assert again is None and result.refused == refused.refused
    house.file("3.csv", "id,amount\nd,4\n")
    _, still = house.ingest()
    assert still is not None and not still.published and still.number == 3
    house.file("2.csv", "id,amount\nb,2\nc,9\n")  # mended: it was never taken in, so it may change
    _, version = house.ingest()
    assert version is not None and version.published and version.number == 4 and house.main() == 4
    assert [row["id"] for row in house.rows()] == ["a", "b", "c", "d"]
    with house.database.read() as reader:
        kinds = [event.kind for event in events.read_after(reader)]
        assert [v.published for v in versions.log(reader, "tx")] == [True, False, False, True]
    assert kinds.count("data.version_refused") == 2 and "data.rows_quarantined" not in kinds


def test_a_rule_relaxed_takes_in_what_was_refused(house: House) -> None:
    house.define(rules=(column("amount").not_null(stop=True),))
    house.file("1.csv", "id,amount\na,1\nb,\n")
    house.ingest()
    assert house.main() is None
    house.define(rules=(column("amount").not_null(),))
    _, version = house.ingest()
    assert version is not None and version.published and version.number == 2 and version.rows == 1


def test_freshness_is_judged_on_event_time(house: House) -> None:
    house.define(time="at", rules=(fresher_than("2d"),))
    house.file("1.csv", f"at,x\n{NOW - 3 * DAY},1\n")
    _, stale = house.ingest(now=NOW)
    assert stale is not None and stale.refused == "newest event at most 2 d old: it is 3 d old"
    house.file("2.csv", f"at,x\n{NOW - DAY},2\n")
    _, fresh = house.ingest(now=NOW)
    assert fresh is not None and fresh.published and fresh.rows == 2


@pytest.mark.parametrize(
    ("rule", "cells", "kept"),
    [
        (column("c").one_of("a", "b"), ["a", "b", "x", ""], ["a", "b", None]),
        (column("c").one_of(1, 2), ["1", "2", "3"], [1, 2]),
        (column("c").one_of([0.5, 1]), ["0.5", "1.0", "2"], [0.5, 1.0]),
        (column("c").matches(r"[A-Z]\d+"), ["A1", "B22", "A1x", "", "é"], ["A1", "B22", None]),
        (column("c").between(None, 5), ["5", "6", "-3", ""], [5, -3, None]),
        (column("c").between(1.5, None), ["1.5", "1", "inf", "1e400"], [1.5]),
        (column("c").kind("bool"), ["true", "No", "1", "perhaps"], [True, False, True]),
        (column("c").kind("int"), ["1", "2.0", "2.5", "99999999999999999999", "x"], [1, 2]),
        (column("c").kind("float"), ["1", "NaN", "NA", "null", "n/a"], [1.0, None, None, None]),
        (column("c").kind("string"), ["007", "x"], ["007", "x"]),
        (
            column("c").kind("time"),
            ["2026-01-05", "2026-01-05T00:00:00+01:00", "2026-01-05 00:00", "1767571200000000", "5 Jan"],
            [1767571200000000, 1767567600000000, 1767571200000000, 1767571200000000],
        ),
    ],
)
def test_each_rule(house: House, rule: Rule, cells: list[str], kept: list[Any]) -> None:
    house.define(rules=(rule,))
    house.file("1.csv", "i,c\n" + "".join(f"{i},{cell}\n" for i, cell in enumerate(cells)))
    house.ingest()
    assert [row.get("c") for row in house.rows()] == kept


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["1", "2", "-3"], "int"),
        (["1", "2.5"], "float"),
        (["1.0", "2.0"], "float"),
        (["true", "False", ""], "bool"),
        (["007", "008"], "string"),
        (["1", "x"], "string"),
        ([*"123456789", "oops"], "int"),
        (["99999999999999999999", "1"], "float"),
        (["ünïcode ✓", "日本"], "string"),
    ],
)
def test_the_first_files_settle_the_kind(house: House, cells: list[str], kind: str) -> None:
    house.define()
    house.file("1.csv", "i,c\n" + "".join(f"{i},{cell}\n" for i, cell in enumerate(cells)))
    _, version = house.ingest()
    assert version is not None and version.columns["c"] == kind


def test_huge_keys_lose_nothing(house: House) -> None:
    house.define("*.*", key="id")
    house.file("1.csv", "id\n99999999999999999998\n99999999999999999999\n")
    house.ingest()
    assert [row["id"] for row in house.rows()] == ["99999999999999999998", "99999999999999999999"]
    frame = pl.DataFrame({"id": [2**64 - 1, 5]}, schema={"id": pl.UInt64})
    frame.write_parquet(house.folder / "data" / "2.parquet")
    house.ingest()
    assert [row["id"] for row in house.rows()][2:] == ["18446744073709551615", "5"]


def test_an_inferred_int_widens_to_float(house: House) -> None:
    house.define(key="id")
    house.file("1.csv", "id,amount\n1,10\n2,20\n")
    _, first = house.ingest()
    house.file("2.csv", "id,amount\n3,3.0\n")
    _, second = house.ingest()
    assert second is not None and second.columns["amount"] == "int"
    house.file("3.csv", "id,amount\n4,2.5\n")
    _, third = house.ingest()
    assert first is not None and third is not None and third.columns["amount"] == "float"
    assert [row["amount"] for row in house.rows()] == [10.0, 20.0, 3.0, 2.5]
    earlier = house.stores.tables.scan("default/datasets/tx", first.delta_version).collect()
    assert earlier.schema["amount"] == pl.Int64


def test_a_stated_kind_may_widen_and_not_narrow(house: House) -> None:
    house.define()
    house.file("1.csv", "zip,name\n123,x\n")
    house.ingest()
    house.define(rules=(column("zip").kind("string"),))
    house.file("2.csv", "zip,name\n007,x\n")
    house.ingest()
    assert [row["zip"] for row in house.rows()] == ["123", "007"]
    house.define(rules=(column("zip").kind("int"),))
    house.file("3.csv", "zip,name\n9,x\n")
    with pytest.raises(HomeostatError, match="column 'zip' was taken in as string"):
        house.ingest()


def test_parquet_types(house: House) -> None:
    from datetime import date, datetime, timedelta
    from decimal import Decimal

    house.define("*.parquet", time="at")
    frame = pl.DataFrame(
        {
            "at": [datetime(2026, 1, 5), datetime(2026, 1, 6)],
            "day": [date(2026, 1, 5), None],
            "f32": pl.Series([0.5, float("nan")], dtype=pl.Float32),
            "i8": pl.Series([1, None], dtype=pl.Int8),
            "dec": pl.Series([Decimal("1.25"), None]),
            "cat": pl.Series(["x", None], dtype=pl.Categorical),
            "list": [[1, 2], None],
            "raw": [b"\x00\xff", None],
            "span": [timedelta(seconds=1), None],
            "none": [None, None],
        }
    )
    frame.write_parquet(house.folder / "data" / "1.parquet")
    _, version = house.ingest()
    assert version is not None and version.columns == {
        "at": "time", "day": "time", "f32": "float", "i8": "int", "dec": "float",
        "cat": "string", "list": "string", "raw": "string", "span": "int",
    }  # fmt: skip
    first, second = house.rows()
    assert first["at"] == first["day"] == 1767571200000000 and first["dec"] == 1.25 and first["raw"] == "00ff"
    assert "[1,2]" in first["list"] and first["span"] == 1_000_000
    assert second == {"at": 1767657600000000}


def test_semicolons_and_tabs(house: House) -> None:
    house.define("*.*")
    house.file("1.csv", "a;b\n1;2\n")
    house.file("2.tsv", "a\tb\n3\t4\n")
    house.ingest()
    assert house.rows() == [{"a": 1, "b": 2}, {"a": 3, "b": 4}]


def test_times_that_are_hardly_microseconds_are_a_finding(house: House) -> None:
    house.define(time="at")
    house.file("1.csv", "at\n1767571200\n")
    result, version = house.ingest()
    assert version is not None and [finding.kind for finding in result.findings] == ["odd_time"]


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: column("a").between(5, 1), "5 is above 1"),
        (lambda: column("a").between(None, None), "limits are not numbers"),
        (lambda: column("a").matches("("), "no regular expression"),
        (lambda: column("a").one_of(), "allows nothing"),
        (lambda: column("").not_null(), "names no column"),
        (lambda: column("a").kind("date"), "'date' is no kind"),  # type: ignore[arg-type]
        (lambda: fresher_than("soon"), "not a duration"),
        (lambda: fresher_than(0), "an age above zero"),
    ],
)
def test_a_rule_that_cannot_be_kept(make: Any, why: str) -> None:
    with pytest.raises(HomeostatError, match=why):
        make()


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"name": "../up"}, "not allowed"),
        ({"key": "a", "label": "a"}, "both key and label"),
        ({"key": "_row"}, "cannot be a column"),
        ({"label_delay": -1}, "below zero"),
        ({"rules": (column("a").kind("int"), column("a").kind("float"))}, "to be int already"),
        ({"rules": (column("a").kind("string"), column("a").between(0, 1))}, "to be string"),
        ({"rules": (fresher_than("1d"),)}, "names no time column"),
        ({"source": Source(pattern=" ")}, "is not a file pattern"),
    ],
)
def test_a_dataset_that_cannot_be_kept(house: House, fields: dict[str, Any], why: str) -> None:
    from homeostat.data import datasets

    dataset = msgspec.structs.replace(Dataset(name="tx", source=Source(pattern="*.csv")), **fields)
    with pytest.raises(HomeostatError, match=why), house.database.write(actor="person:test") as tx:
        datasets.define(tx, dataset)
    with house.database.read() as reader:
        assert datasets.listing(reader) == [] and events.read_after(reader) == []


def test_words_and_json(house: House) -> None:
    said = {
        "amount between 0 and 50,000": column("amount").between(0, 50_000),
        "x at least 0.5": column("x").between(0.5, None),
        "x one of a, b": column("x").one_of({"b", "a"}),
        "newest event at most 2 d old": fresher_than("2d"),
    }
    for words, rule in said.items():
        assert contracts.words(rule) == words
        assert msgspec.json.decode(msgspec.json.encode(rule), type=Rule) == rule
    house.define(rules=tuple(rule for rule in said.values() if rule.column))
