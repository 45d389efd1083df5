"""Metrics equal scikit-learn's; the healthy band holds what it should."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from homeostat.foundation.errors import HomeostatError
from homeostat.monitoring.metrics import healthy_band, measure


def binary(seed: int, n: int = 700, *, ties: bool = True) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.random(n) < 0.1
    score = 1 / (1 + np.exp(-(rng.normal(size=n) + 2 * truth - 1.5)))
    return truth, np.round(score, 2) if ties else score


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("ties", [True, False])
def test_binary_metrics_equal_scikit_learns(seed: int, ties: bool) -> None:
    truth, score = binary(seed, ties=ties)
    cut = 0.35
    called = score >= cut
    theirs = {
        "accuracy": sk.accuracy_score(truth, called),
        "balanced_accuracy": sk.balanced_accuracy_score(truth, called),
        "precision": sk.precision_score(truth, called),
        "recall": sk.recall_score(truth, called),
        "f1": sk.f1_score(truth, called),
        "average_precision": sk.average_precision_score(truth, score),
        "roc_auc": sk.roc_auc_score(truth, score),
        "log_loss": sk.log_loss(truth, score),
        "brier": sk.brier_score_loss(truth, score),
    }
    for name, value in theirs.items():
        assert measure(name, truth, score, threshold=cut) == pytest.approx(value, rel=1e-9), name


def test_metrics_of_more_classes_equal_scikit_learns() -> None:
    rng = np.random.default_rng(9)
    truth = rng.integers(0, 4, size=500)
    score = rng.random((500, 4)) + np.eye(4)[truth]
    score /= score.sum(axis=1, keepdims=True)
    called = score.argmax(axis=1)
    assert measure("accuracy", truth, score) == pytest.approx(sk.accuracy_score(truth, called))
    assert measure("balanced_accuracy", truth, score) == pytest.approx(sk.balanced_accuracy_score(truth, called))
    assert measure("f1", truth, score) == pytest.approx(sk.f1_score(truth, called, average="macro"))
    assert measure("precision", truth, score) == pytest.approx(sk.precision_score(truth, called, average="macro"))
    assert measure("recall", truth, score) == pytest.approx(sk.recall_score(truth, called, average="macro"))
    assert measure("log_loss", truth, score) == pytest.approx(sk.log_loss(truth, score))


def test_regression_metrics_equal_scikit_learns() -> None:
    rng = np.random.default_rng(10)
    truth = rng.normal(size=300)
    value = truth + rng.normal(scale=0.3, size=300)
    assert measure("mae", truth, value) == pytest.approx(sk.mean_absolute_error(truth, value))
    assert measure("rmse", truth, value) == pytest.approx(sk.root_mean_squared_error(truth, value))
    assert measure("r2", truth, value) == pytest.approx(sk.r2_score(truth, value))


@pytest.mark.parametrize("metric", ["average_precision", "roc_auc", "f1", "recall"])
def test_rows_that_cannot_tell_a_metric_give_none(metric: str) -> None:
    assert measure(metric, np.zeros(50, dtype=bool), np.linspace(0, 1, 50), threshold=0.5) is None
    assert measure(metric, np.array([], dtype=bool), np.array([])) is None


def test_an_unknown_metric_is_named_with_those_there_are() -> None:
    with pytest.raises(HomeostatError) as error:
        measure("acuracy", np.array([True]), np.array([0.5]))
    assert error.value.code == "monitoring.unknown_metric"
    assert "accuracy" in error.value.hint


def test_the_band_is_the_same_each_time_and_holds_healthy_windows() -> None:
    truth, score = binary(11, n=8_000, ties=False)
    band = healthy_band("roc_auc", truth, score, window_rows=2_000)
    assert band is not None
    assert band == healthy_band("roc_auc", truth, score, window_rows=2_000)
    low, high = band
    fresh = [measure("roc_auc", *binary(100 + k, n=2_000, ties=False)) for k in range(100)]
    assert np.mean([low <= v <= high for v in fresh if v is not None]) > 0.9
    worse = measure("roc_auc", truth[:2_000], np.random.default_rng(0).permutation(score[:2_000]))
    assert worse is not None and worse < low


def test_there_is_no_band_where_windows_cannot_tell_the_metric() -> None:
    truth = np.zeros(1_000, dtype=bool)
    truth[5] = True
    assert healthy_band("roc_auc", truth, np.linspace(0, 1, 1_000), window_rows=24) is None
