"""Counting, distances, and detectors over windows of inputs, scores, data quality and traffic."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from homeostat.foundation.clock import DAY
from homeostat.monitoring import drift, latency, quality, reference, sequential
from homeostat.monitoring.counts import CategoryCounts, NumericCounts, count
from homeostat.packages.records import CategoryProfile, NumericProfile, ReferenceProfile


def numeric(values: np.ndarray) -> NumericProfile:
    edges = np.unique(np.quantile(values, np.linspace(0, 1, 65)[1:-1]))
    bins = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)
    return NumericProfile(
        edges=tuple(edges.tolist()),
        shares=tuple((bins / len(values)).tolist()),
        nulls=0.0,
        low=float(values.min()),
        high=float(values.max()),
        mean=float(values.mean()),
        deviation=float(values.std()),
    )


def profile(seed: int = 0, rows: int = 8_000) -> ReferenceProfile:
    rng = np.random.default_rng(seed)
    return ReferenceProfile(
        rows=rows,
        columns={
            "amount": numeric(rng.lognormal(size=rows)),
            "hour": numeric(rng.integers(0, 24, rows).astype(float)),
            "kind": CategoryProfile(shares={"a": 0.6, "b": 0.3}, other=0.1, nulls=0.0),
        },
        score=numeric(rng.beta(1, 8, rows)),
    )


def window(rng: np.random.Generator, rows: int = 2_000, *, amount: float = 1.0, nulls: float = 0.0) -> pl.DataFrame:
    values = rng.lognormal(size=rows) * amount
    return pl.DataFrame(
        {
            "amount": pl.Series(np.where(rng.random(rows) < nulls, np.nan, values)),
            "hour": rng.integers(0, 24, rows).astype(float),
            "kind": rng.choice(["a", "b", "rare"], p=[0.6, 0.3, 0.1], size=rows),
            "score": rng.beta(1, 8, rows),
        }
    )


def counts_of(p: ReferenceProfile, frame: pl.DataFrame) -> dict[str, NumericCounts | CategoryCounts]:
    return count(drift.profiles(p), [frame])


def test_counting_in_pieces_equals_looking_each_value_up() -> None:
    rng = np.random.default_rng(1)
    p = numeric(np.round(rng.normal(size=5_000), 1))
    values = np.round(rng.normal(scale=2, size=40_001), 1)
    values[::17] = np.nan
    found = NumericCounts(p)
    for part in np.array_split(values, 7):
        found.add(pl.Series(part))
    present = values[~np.isnan(values)]
    expected = np.bincount(np.searchsorted(p.edges, present, side="right"), minlength=len(p.edges) + 1)
    assert found.bins.tolist() == expected.tolist()
    assert found.nulls == np.isnan(values).sum()
    assert found.rows == len(values)
    room = (p.high - p.low) / 2
    assert found.outside == np.sum((present < p.low - room) | (present > p.high + room)) > 0


def test_counting_takes_nulls_integers_booleans_and_strangers() -> None:
    p = numeric(np.array([0.0, 0.0, 1.0, 1.0]))
    found = NumericCounts(p)
    found.add(pl.Series([True, False, None]))
    found.add(pl.Series([0, 1, None], dtype=pl.Int64))
    assert (found.rows, found.nulls, found.bins.sum()) == (6, 2, 4)
    kinds = CategoryCounts(CategoryProfile(shares={"a": 1.0}, other=0.0, nulls=0.0))
    kinds.add(pl.Series(["a", None, "z", "z"]))
    assert (kinds.values, kinds.unseen, kinds.nulls, kinds.strangers) == ({"a": 1}, 2, 1, {"z": 2})


def test_a_column_that_is_gone_counts_as_null() -> None:
    p = profile()
    found = counts_of(p, pl.DataFrame({"hour": [1.0, 2.0]}))
    assert found["amount"].nulls == 2
    assert drift.distances(p, found) == {}


def test_the_divergence_runs_from_nothing_to_one_bit() -> None:
    p, q = np.array([0.5, 0.5, 0.0]), np.array([0.0, 0.0, 1.0])
    assert drift.jensen_shannon(p, p) == 0.0
    assert drift.jensen_shannon(p, q) == pytest.approx(1.0)
    assert drift.psi(np.array([500, 500]), np.array([0.5, 0.5])) == pytest.approx(0.0)
    assert drift.psi(np.array([700, 300]), np.array([0.5, 0.5])) == pytest.approx(0.2 * np.log(0.7 / 0.3), rel=1e-2)


@pytest.mark.parametrize("rows", [30, 500, 100_000])
def test_sampling_alone_is_no_distance(rows: int) -> None:
    p = profile(2)
    rng = np.random.default_rng(3)
    seen = [drift.distances(p, counts_of(p, window(rng, rows)))["amount"][0] for _ in range(20)]
    assert np.mean(seen) < drift.MARGIN * 0.75


def watch(p: ReferenceProfile, frames: list[pl.DataFrame]) -> dict[str, int]:
    """Monitor -> number of the window it alarmed in, over frames of one day each."""
    inputs, score = drift.tracks(p)
    states = {
        "inputs": sequential.detector("inputs", inputs, at=0),
        "score": sequential.detector("score", (score,), at=0),
        "quality": sequential.detector("quality", quality.tracks(p), at=0),
    }
    alarms: dict[str, int] = {}
    for day, frame in enumerate(frames):
        counts = counts_of(p, frame)
        moved = drift.observed(drift.distances(p, counts), start=day * DAY)
        seen = {"inputs": moved, "score": moved, "quality": quality.observed(counts, start=day * DAY)}
        for name in states:
            states[name], alarm = sequential.update(
                states[name], seen[name], at=(day + 1) * DAY, span=DAY, threshold=sequential.log_threshold(7)
            )
            if alarm is not None:
                alarms.setdefault(name, day)
    return alarms


def test_ninety_quiet_days_raise_nothing() -> None:
    rng = np.random.default_rng(4)
    assert watch(profile(5), [window(rng) for _ in range(90)]) == {}


def test_a_tiny_difference_in_a_million_rows_raises_nothing() -> None:
    rng = np.random.default_rng(6)
    p = profile(7)
    frame = window(rng, 300_000, amount=1.03)
    value, n = drift.distances(p, counts_of(p, frame))["amount"]
    assert 0 < value < drift.MARGIN
    assert n == 300_000
    assert watch(p, [frame] * 30) == {}


def test_amounts_that_double_are_found_and_named() -> None:
    rng = np.random.default_rng(8)
    p = profile(9)
    found = watch(p, [window(rng) for _ in range(10)] + [window(rng, amount=2.5) for _ in range(10)])
    assert set(found) == {"inputs"}
    assert 10 <= found["inputs"] <= 14
    counts = counts_of(p, window(rng, amount=2.5))
    assert drift.readings(p, drift.distances(p, counts))[0].name == "amount"


def test_nulls_are_found_in_a_window_or_two() -> None:
    rng = np.random.default_rng(10)
    p = profile(11)
    found = watch(p, [window(rng) for _ in range(5)] + [window(rng, nulls=0.1) for _ in range(5)])
    assert found["quality"] in (5, 6)
    named = quality.readings(p, counts_of(p, window(rng, nulls=0.1)))
    assert named[0].name == "amount nulls"
    assert named[0].value == pytest.approx(0.1, abs=0.03)


def test_a_stream_whose_days_differ_by_nature_is_compared_with_how_they_differed() -> None:
    """Each day's amounts have a level of their own. Without calibration this is drift; with it, it is Tuesday."""
    rng = np.random.default_rng(12)

    def days(n: int) -> list[pl.DataFrame]:
        return [window(rng, 1_000, amount=float(np.exp(rng.normal(scale=0.8)))) for _ in range(n)]

    past = days(40)
    whole = pl.concat(past)
    base = profile(13)
    plain = ReferenceProfile(
        rows=whole.height, columns={"amount": numeric(whole["amount"].to_numpy())}, score=base.score
    )
    times = np.repeat(np.arange(40), 1_000) * DAY
    calibrated = reference.calibrate(plain, whole, times, window=DAY)
    assert calibrated.drift_windows == 40
    assert calibrated.drift["amount"] > drift.MARGIN
    future = days(40)
    assert "inputs" in watch(plain, future)
    assert "inputs" not in watch(calibrated, future)
    assert "inputs" in watch(calibrated, [window(rng, 1_000, amount=30.0) for _ in range(30)])


def test_traffic_errors_and_latency_are_summed_up_and_watched() -> None:
    status = np.array([200] * 90 + [500] * 6 + [400] * 4)
    waits = np.concatenate([np.arange(1, 91) * 100.0, np.full(10, 1e6)])
    seen = latency.traffic(waits, status, rows=90, budget=8_000.0)
    assert (seen.requests, seen.answered, seen.errors, seen.refused, seen.slow) == (100, 90, 6, 4, 10)
    assert seen.p50 == pytest.approx(np.quantile(waits[:90], 0.5))
    assert seen.p99 == pytest.approx(np.quantile(waits[:90], 0.99))
    assert [t.name for t in latency.tracks(budget=None)] == ["errors"]
    states = {t.name: sequential.detector(t.name, (t,), at=0) for t in latency.tracks(budget=8_000.0)}
    alarmed: dict[str, int] = {}
    for day in range(5):
        for name, part in latency.observed(seen, start=day * DAY).items():
            states[name], alarm = sequential.update(
                states[name], {name: part}, at=(day + 1) * DAY, span=DAY, threshold=sequential.log_threshold(7)
            )
            if alarm is not None:
                alarmed.setdefault(name, day)
    assert set(alarmed) == {"errors", "slow"}


def test_no_answers_have_no_latency() -> None:
    seen = latency.traffic(np.array([5.0]), np.array([503]), rows=0)
    assert (seen.p50, seen.answered, seen.errors) == (None, 0, 1)
