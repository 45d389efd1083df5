"""One training end to end on real stores: what is learnt from, what is measured, what is shipped."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import polars as pl
import pytest
from project_world import START, World, trips

from homeostat.data.training import rows as training_rows
from homeostat.foundation.clock import DAY
from homeostat.foundation.errors import HomeostatError
from homeostat.packages import loader, package
from homeostat.project import training
from homeostat.project.fitting import columns_to_learn
from homeostat.project.thresholds import best_f1, choose, crossed


def test_a_model_is_trained_measured_and_packaged(world: World) -> None:
    ingested = world.take_in(trips())
    made = training.train(world.context(), ingested=ingested)
    manifest = package.read_manifest(world.stores.objects, made["package"])
    assert [c.name for c in manifest.signature.inputs] == ["km", "hour", "kind"]
    assert manifest.dataset_version == ingested["digest"] and manifest.run_id == "3" * 32
    assert made["parity"]["agrees"] and made["format"] == "onnx"
    profile = manifest.profile
    assert profile is not None and 750 <= profile.held_out_rows < 1000 and profile.misses is not None
    assert profile.metric == "average_precision" and profile.metric_value == made["metrics"]["average_precision"]
    assert profile.metric_low is not None and profile.metric_low < profile.metric_value
    assert made["metrics"]["average_precision"] > 0.6
    served = loader.load(world.stores.objects, made["package"])
    assert served.predict({"km": [40.0], "hour": [3], "kind": ["bus"]}, 1)["label"][0]


def test_the_function_sees_the_older_rows_and_never_the_label(world: World) -> None:
    frame = trips()
    ingested = world.take_in(frame)
    made = training.train(world.context(), ingested=ingested)
    X, y = sys.modules["homeostat_project"].SEEN[-1]
    assert X.columns == ["km", "hour", "kind"] and isinstance(X, pl.DataFrame)
    older = frame.sort("at").head(len(X))
    assert 2100 < len(X) == len(y) <= 2250 and y.dtype == np.bool_
    newer = frame.sort("at").tail(-len(X))["at"].cast(pl.Int64)
    assert older["at"].cast(pl.Int64).max() // DAY < newer.min() // DAY  # cut where a day begins
    assert made["fit_until"] == older["at"].cast(pl.Int64).max()
    assert X["km"].to_list() == pytest.approx(older["km"].to_list())


def test_labels_that_are_not_known_yet_teach_nothing(world: World) -> None:
    ingested = world.take_in(trips()) | {"known_at": START + 20 * DAY}
    made = training.train(world.context(), ingested=ingested)
    assert made["fit_until"] < START + 19 * DAY
    known = training_rows(
        world.stores, "default", world.dataset(), ingested["delta_version"], known_at=START + 20 * DAY
    )
    assert made["params"]["rows"] + made["params"]["held_out_rows"] == known.height


def test_after_a_change_the_better_of_two_candidates_ships(world: World) -> None:
    ingested = world.take_in(trips(change_day=20, rows=4000))
    ingested |= {"change_at": START + 20 * DAY, "learn_from": "best"}
    made = training.train(world.context(), ingested=ingested)
    assert [c["learnt_from"] for c in made["candidates"]] == ["all", "since_change"]
    assert made["params"]["learnt_from"] == "since_change"
    assert made["metrics"]["since_change.average_precision"] > made["metrics"]["all.average_precision"]
    manifest = package.read_manifest(world.stores.objects, made["package"])
    assert manifest.profile is not None and manifest.profile.held_out_positives >= 60
    assert manifest.fit_until is not None and manifest.fit_until > START + 20 * DAY


@pytest.mark.parametrize("change_day", [None, 20])
def test_days_to_hold_out_are_days_after_a_change_too(world: World, change_day: int | None) -> None:
    frame = trips(rows=6000, change_day=change_day)
    change_at = None if change_day is None else START + change_day * DAY
    ingested = world.take_in(frame) | {"change_at": change_at, "learn_from": "all"}
    made = training.train(world.context(held_out=5 * DAY), ingested=ingested)
    held_out = frame.filter(pl.col("at").cast(pl.Int64) >= START + 25 * DAY)
    assert made["params"]["held_out_rows"] == held_out.height


def test_a_repeated_training_writes_the_same_model(world: World) -> None:
    ingested = world.take_in(trips(1000))
    first, second = (training.train(world.context(), ingested=ingested) for _ in range(2))
    assert first["metrics"] == second["metrics"] and first["fit_until"] == second["fit_until"]


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"inputs": ["km", "speed"]}, "training.no_column"),
        ({"function": "later"}, "pipelines.no_function"),
    ],
)
def test_settings_that_do_not_fit_the_rows_are_one_line_errors(
    world: World, settings: dict[str, Any], code: str
) -> None:
    ingested = world.take_in(trips(200))
    with pytest.raises(HomeostatError) as caught:
        training.train(world.context(**settings), ingested=ingested)
    assert caught.value.code == code and caught.value.hint


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        ("return None", "training.not_a_model", "nothing"),
        ("return LogisticRegression()", "training.not_a_model", "not fitted"),
        (
            "from sklearn.svm import LinearSVC; return LinearSVC().fit(X[['km']], y)",
            "signature.no_probabilities",
            "SVC",
        ),
        ("from sklearn.linear_model import Ridge; return Ridge().fit(X[['km']], y)", "training.not_a_model", "classes"),
        ("raise ValueError('no trees left')", "pipelines.step_error", "project.py, line 15: ValueError: no trees left"),
    ],
)
def test_a_function_that_gives_no_model_is_told_so(world: World, body: str, code: str, said: str) -> None:
    ingested = world.take_in(trips(300))
    lines = world.path.read_text().splitlines()
    at = next(i for i, line in enumerate(lines) if "kinds = make" in line)
    world.path.write_text("\n".join([*lines[:at], f"    {body}"]))
    with pytest.raises(HomeostatError) as caught:
        training.train(world.context(), ingested=ingested)
    assert caught.value.code == code and said in str(caught.value)


def test_a_time_is_no_input_and_is_left_out_where_none_is_named() -> None:
    frame = pl.DataFrame({"km": [1.0], "begun": [0], "kind": ["bus"]}).cast({"begun": pl.Datetime("us")})
    assert columns_to_learn(frame, None, set()) == ("km", "kind")
    with pytest.raises(HomeostatError) as caught:
        columns_to_learn(frame, ["km", "begun"], set())
    assert caught.value.code == "training.not_an_input" and caught.value.field == "inputs"


def test_too_few_rows_and_a_single_class_are_refused(world: World) -> None:
    with pytest.raises(HomeostatError) as few:
        training.train(world.context(), ingested=world.take_in(trips(40)))
    assert few.value.code == "training.too_few_rows"


def test_the_threshold_is_half_when_balanced_and_the_best_f1_when_not() -> None:
    random = np.random.default_rng(1)
    truth = random.random(2000) < 0.03
    score = np.clip(0.02 + 0.2 * truth + random.normal(0, 0.03, 2000), 0.001, 0.999)
    threshold, picked = choose(None, truth, score, 0.03)
    assert picked and 0.05 < threshold < 0.2
    assert choose(None, truth, score, 0.4) == (0.5, False)
    assert choose(0.7, truth, score, 0.03) == (0.7, False)

    def f1(cut: float) -> float:
        called = score >= cut
        return float(2 * np.sum(called & truth) / (called.sum() + truth.sum()))

    assert f1(threshold) == pytest.approx(max(f1(c) for c in np.linspace(0.001, 0.999, 4000)), abs=0.02)
    assert best_f1(truth, np.full(2000, 0.5)) is None
    flattered = np.mean(~(score >= threshold)[truth]) + np.mean((score >= threshold)[~truth])
    honest = np.mean(~crossed(truth, score, threshold)[truth]) + np.mean(crossed(truth, score, threshold)[~truth])
    assert honest >= flattered - 1e-9
