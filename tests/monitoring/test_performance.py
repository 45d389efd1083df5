"""What the performance detectors are fed, and what they are compared with."""

from __future__ import annotations

import numpy as np
import pytest

from homeostat.foundation.clock import DAY
from homeostat.monitoring import performance, reference
from homeostat.monitoring.performance import Labelled, bounded_loss, truth_of
from homeostat.packages.records import NumericProfile, ReferenceProfile, Signature

BINARY = Signature(inputs=(), task="classification", classes=(0, 1), threshold=0.3)
THREE = Signature(inputs=(), task="classification", classes=("a", "b", "c"))
NUMBER = Signature(inputs=(), task="regression")
SCORE = NumericProfile(edges=(0.5,), shares=(0.5, 0.5), nulls=0.0, low=0.0, high=1.0, mean=0.5, deviation=0.3)
PROFILE = ReferenceProfile(rows=100, columns={}, score=SCORE)


def test_labels_are_recognised_by_value_or_text_and_strangers_are_told_apart() -> None:
    truth, known = truth_of(BINARY, [1, 0, True, "1", 1.0, "0", 7, None])
    assert truth[:6].tolist() == [True, False, True, True, True, False]
    assert known.tolist() == [True] * 6 + [False, False]
    codes, known = truth_of(THREE, ["c", "a", "z"])
    assert codes[:2].tolist() == [2, 0]
    assert known.tolist() == [True, True, False]
    numbers, known = truth_of(NUMBER, [1, 2.5, "x", None])
    assert numbers[:2].tolist() == [1.0, 2.5]
    assert known.tolist() == [True, True, False, False]


def test_misses_and_false_alarms_are_told_apart_at_the_threshold() -> None:
    profile = ReferenceProfile(
        rows=100, columns={}, score=SCORE, held_out_rows=100, held_out_positives=20, misses=0.2, false_alarms=0.05
    )
    rows = Labelled(
        truth=np.array([True, True, False, False, False]),
        score=np.array([0.3, 0.29, 0.3, 0.1, 0.0]),
        event_at=np.arange(5),
    )
    seen = performance.observed(BINARY, profile, rows)
    assert seen["misses"].values.tolist() == [0.0, 1.0]
    assert seen["misses"].times.tolist() == [0, 1]
    assert seen["false_alarms"].values.tolist() == [1.0, 0.0, 0.0]
    assert [t.name for t in performance.tracks(BINARY, profile)] == ["misses", "false_alarms"]


def test_without_held_out_rows_nothing_is_watched() -> None:
    assert performance.tracks(BINARY, PROFILE) == ()


def test_losses_are_bounded() -> None:
    truth, value = np.array([0.0, 0.0, 0.0]), np.array([0.5, -1.0, 9.0])
    assert bounded_loss(truth, value, task="regression", scale=2.0).tolist() == [0.25, 0.5, 1.0]
    assert bounded_loss(np.array([True, False]), np.array([0.8, 0.8]), task="classification") == pytest.approx(
        [0.04, 0.64]
    )
    three = np.array([[0.7, 0.2, 0.1], [0.2, 0.5, 0.3]])
    assert bounded_loss(np.array([0, 2]), three, task="classification").tolist() == [0.0, 1.0]


def test_a_profile_is_completed_from_held_out_rows() -> None:
    rng = np.random.default_rng(1)
    truth = rng.random(8_000) < 0.02
    score = np.where(truth, rng.beta(3, 3, 8_000), rng.beta(1, 12, 8_000))
    times = np.sort(rng.integers(0, 4 * DAY, 8_000))
    made = reference.complete(
        PROFILE,
        BINARY,
        labels=truth.astype(int).tolist(),
        score=score,
        event_at=times,
        window=DAY,
        metric="average_precision",
    )
    assert made.held_out_rows == 8_000
    assert made.held_out_positives == truth.sum()
    assert made.misses == pytest.approx(np.mean(score[truth] < 0.3))
    assert made.false_alarms == pytest.approx(np.mean(score[~truth] >= 0.3))
    assert made.metric_value is not None and made.metric_low is not None and made.metric_high is not None
    assert made.metric_low < made.metric_value < made.metric_high
    assert {t.name: t.limit > t.reference for t in performance.tracks(BINARY, made)} == {
        "misses": True,
        "false_alarms": True,
    }


def test_regression_gets_a_scale_and_one_detector() -> None:
    rng = np.random.default_rng(2)
    truth = rng.normal(size=2_000)
    value = truth + rng.normal(scale=0.5, size=2_000)
    times = np.sort(rng.integers(0, 4 * DAY, 2_000))
    made = reference.complete(
        PROFILE, NUMBER, labels=truth.tolist(), score=value, event_at=times, window=DAY, metric="mae"
    )
    assert made.loss_scale == pytest.approx(np.quantile(np.abs(truth - value), 0.95))
    assert made.misses is None
    (only,) = performance.tracks(NUMBER, made)
    assert (only.name, only.reference) == ("loss", made.loss)
    doubled = Labelled(truth=truth, score=truth + 2 * (value - truth), event_at=times)
    assert performance.observed(NUMBER, made, doubled)["loss"].values.mean() > only.limit
