"""The reference profile: shares that add up, bins that ties fill exactly, a vocabulary with a rest."""

from __future__ import annotations

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.packages.profile import BINS, categories, complete, numeric, profile
from homeostat.packages.records import CategoryProfile, Column, NumericProfile, ReferenceProfile, Signature


@given(st.lists(st.floats(allow_subnormal=False) | st.sampled_from([0.0, 1.0]), max_size=300))
def test_every_numeric_profile_is_whole(values: list[float]) -> None:
    found = numeric(np.array(values, float))
    assert len(found.shares) == len(found.edges) + 1 <= BINS
    assert list(found.edges) == sorted(set(found.edges))
    assert sum(found.shares) == pytest.approx(1)
    if np.isfinite(values).any():
        assert found.low <= found.high
    # JSON has no NaN and no infinity: a profile must not hold any, whatever the column held
    with np.errstate(all="ignore"):
        assert msgspec.json.decode(msgspec.json.encode(found), type=NumericProfile) == found


def test_quantile_bins_hold_equal_shares() -> None:
    found = numeric(np.random.default_rng(0).normal(size=64_000))
    assert len(found.shares) == 64
    assert found.shares == pytest.approx([1 / 64] * 64, rel=0.02)
    assert found.mean == pytest.approx(0, abs=0.02)
    assert found.deviation == pytest.approx(1, abs=0.02)


def test_a_column_of_few_values_has_a_bin_for_each() -> None:
    hours = np.repeat(np.arange(24.0), np.arange(1, 25))
    found = numeric(hours)
    assert found.edges == tuple(range(1, 24))
    assert found.shares == pytest.approx(np.arange(1, 25) / 300)
    rare = numeric(np.array([0.0] * 9999 + [1.0]))
    assert (rare.edges, rare.shares) == ((1.0,), (0.9999, 0.0001))


def test_nulls_are_counted_apart() -> None:
    found = numeric(np.array([1.0, np.nan, 2.0, np.nan]))
    assert (found.nulls, found.shares) == (0.5, (0.5, 0.5))
    assert numeric(np.array([np.nan])).nulls == 1.0
    assert categories(["a", None, "a", "b"]) == CategoryProfile(shares={"a": 2 / 3, "b": 1 / 3}, other=0.0, nulls=0.25)


def test_the_rest_of_a_long_vocabulary_shares_other() -> None:
    found = categories([str(i) for i in range(100) for _ in range(i + 1)])
    assert len(found.shares) == 64
    assert found.other == pytest.approx(sum(range(1, 37)) / 5050)
    assert next(iter(found.shares)) == "99"


def test_a_profile_of_a_table() -> None:
    frame = pl.DataFrame({"amount": [1.0, 2.0, 3.0], "kind": ["a", "b", None], "abroad": [True, False, True]})
    signature = Signature(
        inputs=(
            Column(name="amount", kind="float"),
            Column(name="kind", kind="string", nullable=True),
            Column(name="abroad", kind="bool"),
        ),
        task="classification",
        classes=(0, 1),
        threshold=0.5,
    )
    found = profile(frame, np.array([[0.3, 0.7], [0.9, 0.1], [0.5, 0.5]]), signature, held_out_rows=7)
    assert found.rows == 3 and found.held_out_rows == 7
    assert set(found.columns) == {"amount", "kind", "abroad"}
    assert found.columns["abroad"].shares == pytest.approx((1 / 3, 2 / 3))  # type: ignore[arg-type]
    assert found.score.high == pytest.approx(0.7)
    assert complete(found, misses=0.25).misses == 0.25
    assert msgspec.json.decode(msgspec.json.encode(found), type=ReferenceProfile) == found
