"""Labels late, out of order and corrected; training sets by what was known; splits by time."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pytest
from house import NOW, House, build
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from homeostat.data import label_table, labels, training
from homeostat.data.contracts import column
from homeostat.data.label_table import fold
from homeostat.data.records import Dataset, Label
from homeostat.foundation.clock import DAY
from homeostat.foundation.errors import HomeostatError

P = "0" * 31
EVENT = 1_767_571_200_000_000  # 2026-01-05


def known(house: House, at: int | None = None) -> dict[str, object]:
    frame = label_table.known(house.stores, "default", "tx", at)
    return {row["key"] or row["prediction_id"]: row["number"] for row in frame.to_dicts()}


def test_the_latest_known_wins_and_corrections_are_kept(house: House) -> None:
    house.define(key="id", label="fraud")
    house.label([Label(key="a", value=1, known_at=50), Label(key=7, value=True, known_at=10)])
    house.label([Label(key="a", value=0, known_at=20)])  # late word of an earlier belief
    assert known(house) == {"a": 1.0, "7": 1.0}
    assert known(house, 49) == {"a": 0.0, "7": 1.0} and known(house, 19) == {"7": 1.0} and known(house, 9) == {}
    house.label([Label(key="a", value=0, known_at=50)])  # as late: the one recorded last
    assert known(house) == {"a": 0.0, "7": 1.0}
    assert house.stores.tables.scan("default/labels/tx").collect().height == 4
    house.label([Label(key="now", value=1)])
    assert known(house, NOW + DAY)["now"] == 1.0 and "now" not in known(house, NOW + DAY - 1)


def test_a_prediction_id_tied_to_a_key_is_one_event(house: House) -> None:
    house.define(key="id", label="fraud")
    house.label(
        [Label(prediction_id=f"{P}1-0", value=1, known_at=1), Label(prediction_id=f"{P}2-0", value=1, known_at=1)]
    )
    assert known(house) == {f"{P}1-0": 1.0, f"{P}2-0": 1.0}
    house.label([Label(key="a", prediction_id=f"{P}1-0", value=0, known_at=2, event_at=5)])
    house.label([Label(prediction_id=f"{P}1-0", value=1, known_at=3)])
    assert known(house) == {"a": 1.0, f"{P}2-0": 1.0}
    row = label_table.known(house.stores, "default", "tx").filter(pl.col("key") == "a").to_dicts()[0]
    assert (row["prediction_id"], row["event_at"], row["known_at"]) == (f"{P}1-0", 5, 3)


def test_folding_is_exactly_once(house: House) -> None:
    house.define(key="id")
    with house.database.write(actor="service:test") as tx:
        assert labels.record(tx, house.stores.objects, "tx", [Label(key="a", value=1)]) == 1
        assert labels.record(tx, house.stores.objects, "tx", []) == 0
    with house.database.read() as reader:
        job = labels.fold_job(reader, "tx")
        assert [batch.labels for batch in labels.pending(reader)] == [1]
    assert job is not None
    assert fold(job, house.stores).labels == 1
    assert fold(job, house.stores).labels == 0  # killed before it was noted, run again
    with house.database.write(actor="service:test") as tx:
        labels.record(tx, house.stores.objects, "tx", [Label(key="b", value=1)])
    assert house.fold() == 1  # the first batch still waits in the rows, and is in the table already
    with house.database.read() as reader:
        assert labels.pending(reader) == [] and labels.fold_job(reader, "tx") is None
    assert house.stores.tables.scan("default/labels/tx").collect()["key"].sort().to_list() == ["a", "b"]


@pytest.mark.parametrize(
    ("label", "why"),
    [
        (Label(value=1), "neither key nor prediction_id"),
        (Label(key="", value=1), "is no key"),
        (Label(prediction_id="../x", value=1), "no prediction id"),
        (Label(key="a", value=float("nan")), "not finite"),
        (Label(key="a", value="yes"), "is text, and the label column is int"),
        (Label(key="a", value=0.5), "no whole number"),
        (Label(key="a", value=2**70), "does not fit 64 bits"),
        (Label(key="a", value=1, known_at=2**70), "is no time"),
    ],
)
def test_a_bad_label_is_named_and_nothing_is_taken(house: House, label: Label, why: str) -> None:
    house.define(key="id", label="fraud", rules=(column("fraud").kind("int"),))
    with pytest.raises(HomeostatError, match=why) as caught, house.database.write(actor="service:test") as tx:
        labels.record(tx, house.stores.objects, "tx", [Label(key="good", value=1), label])
    assert caught.value.field is not None and caught.value.field.startswith("labels[1].")
    with house.database.read() as reader:
        assert labels.pending(reader) == []


def test_labels_of_an_unknown_dataset(house: House) -> None:
    with pytest.raises(HomeostatError, match="no dataset 'tx'"), house.database.write(actor="service:test") as tx:
        labels.record(tx, house.stores.objects, "tx", [Label(key="a", value=1)])


def rows(house: House, dataset: Dataset, known_at: int, **span: int) -> dict[str, object]:
    frame = training.rows(house.stores, "default", dataset, house.stores.tables.version("default/datasets/tx") or 0,
                          known_at=known_at, **span)  # fmt: skip
    assert frame["event_at"].is_sorted() and not [name for name in frame.columns if name.startswith("_")]
    return dict(zip(frame["id"].to_list(), frame["fraud"].to_list(), strict=True))


def test_rows_carry_the_label_known_then(house: House) -> None:
    dataset = house.define(key="id", time="at", label="fraud", label_delay=3 * DAY)
    lines = [("c", EVENT + 2 * DAY, 0), ("a", EVENT, 0), ("b", EVENT + DAY, 1), ("n", EVENT, "")]
    house.file("1.csv", "id,at,fraud\n" + "".join(f"{i},{at},{y}\n" for i, at, y in lines))
    house.ingest()
    assert rows(house, dataset, EVENT + 3 * DAY - 1) == {}
    assert rows(house, dataset, EVENT + 4 * DAY) == {"a": 0, "b": 1}
    assert list(rows(house, dataset, EVENT + 9 * DAY)) == ["a", "b", "c"]
    house.label([Label(key="n", value=1, known_at=EVENT + DAY), Label(key="a", value=1, known_at=EVENT + 5 * DAY)])
    assert rows(house, dataset, EVENT + 3 * DAY) == {"a": 0, "n": 1}
    assert rows(house, dataset, EVENT + 5 * DAY) == {"a": 1, "n": 1, "b": 1, "c": 0}
    assert rows(house, dataset, EVENT + 9 * DAY, since=EVENT + DAY, until=EVENT + 2 * DAY) == {"b": 1}


def test_labels_alone_fill_a_column_no_file_has(house: House) -> None:
    dataset = house.define(key="id", time="at", label="fraud")
    house.file("1.csv", f"id,at\n1,{EVENT}\n2,{EVENT}\n3,{EVENT}\n")
    house.ingest()
    assert rows(house, dataset, EVENT) == {}
    house.label([Label(key=1, value=True, known_at=EVENT), Label(key="2", value=False, known_at=EVENT)])
    assert rows(house, dataset, EVENT) == {1: True, 2: False}
    house.label([Label(key=3, value="odd", known_at=EVENT + 1)])
    assert rows(house, dataset, EVENT + 1) == {1: "True", 2: "False", 3: "odd"}


def test_labels_by_prediction_id_reach_rows_through_the_log(house: House) -> None:
    dataset = house.define(key="id", time="at", label="fraud")
    house.file("1.csv", f"id,at\na,{EVENT}\nb,{EVENT}\n")
    house.ingest()
    logged = pl.DataFrame(
        {"prediction_id": [f"{P}1-0", f"{P}2-0"], "key": ["a", None]}, schema_overrides={"key": pl.String}
    )
    house.stores.tables.append("default/predictions/fraud", logged, writer="test", sequence=1)
    house.label(
        [
            Label(prediction_id=f"{P}1-0", value=1, known_at=EVENT),
            Label(prediction_id=f"{P}2-0", value=1, known_at=EVENT),
        ]
    )
    frame = training.rows(house.stores, "default", dataset, 0, known_at=EVENT, endpoints=["fraud", "absent"])
    assert frame.select("id", "fraud").rows() == [("a", 1)]


def test_a_dataset_without_time_uses_when_rows_were_recorded(house: House) -> None:
    dataset = house.define(label="fraud")
    house.file("1.csv", "id,fraud\na,1\nb,0\n")
    house.ingest(now=NOW)
    assert rows(house, dataset, NOW) == {"a": 1, "b": 0} and rows(house, dataset, NOW - 1) == {}
    whole = training.table(house.stores, "default", dataset, 0)
    assert whole.columns == ["id", "fraud", "event_at"] and whole["event_at"].to_list() == [NOW, NOW]
    with pytest.raises(HomeostatError, match="names no label"):
        training.rows(house.stores, "default", Dataset(name="tx", source=dataset.source), 0, known_at=NOW)


@given(st.lists(st.integers(0, 20), min_size=2, max_size=60), st.floats(0.05, 0.95))
def test_a_split_keeps_time_apart(times: list[int], held_out: float) -> None:
    frame = pl.DataFrame({"event_at": times, "row": range(len(times))})
    if len(set(times)) == 1:
        with pytest.raises(HomeostatError, match="cannot be split"):
            training.split(frame, held_out)
        return
    train, test = training.split(frame, held_out)
    assert train.height and test.height and train.height + test.height == len(times)
    assert max(train["event_at"]) < min(test["event_at"])


def test_a_split_of_distinct_times_has_the_share_asked_for() -> None:
    train, test = training.split(pl.DataFrame({"event_at": range(100)}))
    assert (train.height, test.height) == (75, 25)
    for share in (0.0, 1.0, 2.0):
        with pytest.raises(HomeostatError, match="not between 0 and 1"):
            training.split(pl.DataFrame({"event_at": [1, 2]}), share)


KEYS = ["a", "b", "c"]
words = st.tuples(st.sampled_from(KEYS), st.integers(0, 9), st.integers(0, 3))  # key, known_at, value


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.lists(words, max_size=5), min_size=1, max_size=4), st.integers(0, 9))
def test_training_never_knows_more_than_was_known(batches: list[list[tuple[str, int, int]]], at: int) -> None:
    """Any order of labels and corrections: the latest known by `at` wins, nothing known later is seen."""
    with TemporaryDirectory() as folder:
        house = build(Path(folder))
        dataset = house.define(key="id", time="at", label="fraud", label_delay=4)
        house.file("1.csv", "id,at,fraud\n" + "".join(f"{key},{i},9\n" for i, key in enumerate(KEYS)))
        house.ingest()
        for batch in batches:
            house.label([Label(key=key, value=value, known_at=known_at) for key, known_at, value in batch])
        expected: dict[str, object] = {key: 9 for i, key in enumerate(KEYS) if i + 4 <= at}
        told = [word for batch in batches for word in batch if word[1] <= at]
        for key, _, value in sorted(told, key=lambda word: word[1]):  # stable: among equals the last recorded
            expected[key] = value
        assert rows(house, dataset, at) == expected
        house.database.close()
