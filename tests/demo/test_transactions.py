"""The demo's world: deterministic, structured, learnable, and changing on the day it says."""

from __future__ import annotations

import csv
from pathlib import Path

import polars as pl
import pytest

from homeostat.project.demo import transactions as world

SEED = 7


@pytest.fixture(scope="module")
def days() -> list[pl.DataFrame]:
    return world.generate(SEED, 44)


def frauds(frames: list[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(frames).filter(pl.col("fraud") == 1)


def share(true: pl.Series) -> float:
    return float(true.to_numpy().mean())


def test_same_seed_same_rows_and_a_shorter_run_is_a_prefix(days: list[pl.DataFrame]) -> None:
    again = world.generate(SEED, 3)
    assert len(again) == 3
    for one, other in zip(again, days, strict=False):
        assert one.equals(other)
    assert not world.generate(SEED + 1, 1)[0].equals(days[0])


def test_a_day_has_its_rows_in_time_order_under_unique_keys(days: list[pl.DataFrame]) -> None:
    every = pl.concat(days)
    assert every.height == 44 * 2000
    assert every["tx_id"].n_unique() == every.height
    assert every["at"].is_sorted()
    assert every.null_count().sum_horizontal().item() == 0
    for day, frame in enumerate(days):
        since = frame["at"].dt.epoch("us") - world.START
        assert (since // world.DAY_US == day).all()
        assert (frame["hour"] == frame["at"].dt.hour()).all()


def test_about_two_in_a_hundred_are_fraud(days: list[pl.DataFrame]) -> None:
    positives = [int(frame["fraud"].sum()) for frame in days]
    assert 0.015 < sum(positives) / (44 * 2000) < 0.025
    assert min(positives) >= 15


def test_the_pattern_of_fraud_changes_on_the_day_it_says(days: list[pl.DataFrame]) -> None:
    def on_small_kinds(frames: list[pl.DataFrame]) -> float:
        return share(frauds(frames)["merchant_kind"].is_in(["gift_cards", "games", "top_up"]))

    assert on_small_kinds(days[20:35]) < 0.1
    assert on_small_kinds(days[36:]) > 0.5
    before, after = frauds(days[20:35]), frauds(days[36:])
    assert share(before["amount_ratio"] > 2.5) > 2 * share(after["amount_ratio"] > 2.5)
    legitimate = [pl.concat(part).filter(pl.col("fraud") == 0)["amount"].mean() for part in (days[20:35], days[36:])]
    assert legitimate[0] == pytest.approx(legitimate[1], rel=0.1)  # only the fraud moves


def test_a_change_day_past_the_end_means_no_change() -> None:
    calm, moved = world.generate(SEED, 3, 500, change_day=99), world.generate(SEED, 3, 500, change_day=2)
    assert calm[1].equals(moved[1])
    assert not calm[2].equals(moved[2])


def test_files_tell_of_disputes_that_a_live_request_cannot_know(days: list[pl.DataFrame]) -> None:
    filed, live = world.as_filed(days[5]), world.as_requested(days[5])
    assert filed.columns == list(world.FILED)
    assert live.columns == ["tx_id", "at", *world.INPUTS]
    fraud = days[5]["fraud"] == 1
    assert share(filed.filter(fraud)["disputes"] > 0) > 0.8
    assert share(live.filter(fraud)["disputes"] > 0) < 0.3
    assert filed.filter(~fraud)["disputes"].equals(live.filter(~fraud)["disputes"])


def test_labels_are_known_three_days_later(days: list[pl.DataFrame]) -> None:
    labels = world.labels_of(days[4])
    assert labels.columns == ["tx_id", "event_at", "known_at", "fraud"]
    assert (labels["known_at"] - labels["event_at"]).unique().to_list() == [3 * world.DAY_US]
    assert labels["event_at"].equals(days[4]["at"].dt.epoch("us").alias("event_at"))


@pytest.mark.parametrize("file_format", ["csv", "parquet"])
def test_one_file_a_day_reads_back_as_it_was(tmp_path: Path, days: list[pl.DataFrame], file_format: str) -> None:
    read = pl.read_parquet if file_format == "parquet" else lambda p: pl.read_csv(p, try_parse_dates=True)
    written = world.write_days(days[:2], tmp_path / "in", damaged_day=None, file_format=file_format)  # type: ignore[arg-type]
    assert [path.name for path in written] == [f"transactions-2026-01-0{d}.{file_format}" for d in (5, 6)]
    for path, frame in zip(written, days, strict=False):
        back = read(path).with_columns(pl.col("at").cast(pl.Datetime("us", "UTC")))
        assert back.equals(world.as_filed(frame))


def test_the_damaged_file_holds_the_faults_it_says(tmp_path: Path, days: list[pl.DataFrame]) -> None:
    path, damage = world.write_day(days[12], tmp_path, 12, damaged=True, seed=SEED)
    assert damage is not None
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == damage.good + damage.bad
    assert 0.05 < damage.bad / len(rows) < 0.12
    assert sum(row["amount"] == "" for row in rows) == damage.nulls
    assert sum(row["amount"].startswith("-") for row in rows) == damage.negative_amounts
    assert sum(row["amount"] == "n/a" for row in rows) == damage.texts
    assert sum(row["hour"] == "27" for row in rows) == damage.hours_out_of_range
    assert len(rows) - len({row["tx_id"] for row in rows}) == damage.duplicate_keys
    again, same = world.write_day(days[12], tmp_path / "again", 12, damaged=True, seed=SEED)
    assert same == damage
    assert again.read_bytes() == path.read_bytes()
