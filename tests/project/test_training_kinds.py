"""Training over the kinds of label, column and estimator that projects bring."""

from __future__ import annotations

import msgspec
import numpy as np
import polars as pl
import pytest
from project_world import START, World

from homeostat.foundation.clock import DAY
from homeostat.foundation.errors import HomeostatError
from homeostat.packages import package
from homeostat.pipelines import features
from homeostat.pipelines.records import Features
from homeostat.project import training
from homeostat.project.load import load

HEAD = """
import homeostat as hs
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor, RandomForestClassifier

d = hs.dataset("rows", hs.files("*.csv"), key="id", time="at", label="{label}")

"""


def frame(rows: int = 1200) -> pl.DataFrame:
    """Numbers, gaps, a flag, a text and labels of several kinds."""
    random = np.random.default_rng(3)
    a, b = random.normal(0, 1, rows), random.normal(0, 1, rows)
    made = pl.DataFrame(
        {
            "id": np.arange(rows),
            "at": START + np.arange(rows) * DAY // 40,
            "a": a,
            "b": np.where(random.random(rows) < 0.1, np.nan, b),
            "flag": random.random(rows) < 0.5,
            "size": 3 * a + random.normal(0, 0.3, rows),
            "grade": np.where(a > 0.5, "good", np.where(a < -0.5, "bad", "fair")),
            "rare": (a + random.normal(0, 0.4, rows) > 1.9).astype(int),
        }
    )
    return made.with_columns(pl.from_epoch("at", time_unit="us"), pl.col("b").fill_nan(None))


@pytest.mark.parametrize(
    ("label", "task", "body", "metric"),
    [
        ("size", "regression", "HistGradientBoostingRegressor(max_iter=40).fit(X, y)", "mae"),
        ("grade", "classification", "HistGradientBoostingClassifier(max_iter=20).fit(X, y)", "balanced_accuracy"),
        ("rare", "classification", "HistGradientBoostingClassifier(max_iter=20).fit(X, y)", "average_precision"),
    ],
)
def test_each_kind_of_label_is_learnt_and_profiled(world: World, label: str, task: str, body: str, metric: str) -> None:
    declared = (
        f"@hs.model(d, inputs=['a', 'b', 'flag'], task='{task}', metric='{metric}')\ndef m(X, y):\n    return {body}"
    )
    world.path.write_text(HEAD.format(label=label) + declared)
    ingested = world.take_in(frame(), name="rows")
    made = training.train(world.context(), ingested=ingested)
    manifest = package.read_manifest(world.stores.objects, made["package"])
    signature, profile = manifest.signature, manifest.profile
    assert profile is not None and profile.held_out_rows == 320 and profile.metric_value is not None
    assert [(c.kind, c.nullable) for c in signature.inputs] == [("float", False), ("float", True), ("bool", False)]
    assert made["format"] == "onnx" and made["parity"]["agrees"]
    if task == "regression":
        assert profile.loss_scale and profile.loss is not None and made["metrics"]["r2"] > 0.8
    if label == "grade":
        assert signature.classes == ("bad", "fair", "good") and signature.threshold is None
        assert made["metrics"]["balanced_accuracy"] > 0.8
    if label == "rare":
        assert signature.classes == (0, 1) and made["threshold"] != 0.5 and profile.misses is not None


def test_a_number_is_no_class_and_the_fix_says_so(world: World) -> None:
    world.path.write_text(
        HEAD.format(label="size") + "@hs.model(d, inputs=['a'])\ndef m(X, y):\n    raise AssertionError('never called')"
    )
    with pytest.raises(HomeostatError) as caught:
        training.train(world.context(), ingested=world.take_in(frame(), name="rows"))
    assert caught.value.code == "training.bad_label" and "regression" in caught.value.hint


def test_a_step_hands_its_frame_to_training(world: World) -> None:
    world.path.write_text(
        HEAD.format(label="rare")
        + "@hs.step\ndef doubled(rows):\n    return rows.with_columns(twice=rows['a'] * 2)\n"
        + "@hs.model(doubled, inputs=['twice'])\ndef m(X, y):\n"
        + "    return RandomForestClassifier(20, min_samples_leaf=20, random_state=0).fit(X, y)"
    )
    ingested = world.take_in(frame(), name="rows")
    before = training.rows(world.context(step="rows_rows"), ingested=ingested)
    made = training.train(world.context(), ingested=ingested, frame=before.with_columns(twice=before["a"] * 2))
    manifest = package.read_manifest(world.stores.objects, made["package"])
    assert [c.name for c in manifest.signature.inputs] == ["twice"]
    with pytest.raises(HomeostatError) as caught:
        training.train(world.context(), ingested=ingested, frame=before.drop("rare"))
    assert caught.value.code == "training.no_column" and "rare" in str(caught.value)


def test_newer_rows_go_through_the_same_steps_with_the_params_of_the_run(world: World) -> None:
    world.path.write_text(
        HEAD.format(label="rare")
        + "@hs.step\ndef before(rows, *, days: int = 1):\n    return rows.with_columns(earlier=rows['a'].shift(days))\n"
        + "@hs.step\ndef kept(before, rows):\n    return before.drop_nulls('earlier').head(len(rows) - 5)\n"
        + "@hs.model(kept, inputs=['earlier'])\ndef m(X, y):\n    return None"
    )
    ingested = world.take_in(frame(), name="rows")
    code = world.stores.objects.put_file(world.path)
    pipeline = msgspec.structs.replace(load(world.path).pipelines[0], code=code)
    asked = Features(pipeline=pipeline, step="kept", run="1" * 32, params={"days": 3}, versions={"rows": 0})
    context = world.context(step="rows_rows")
    made = features.make(asked, lambda _, version: training.rows(context, ingested=ingested), world.stores)
    assert made.height == 1195 and made["earlier"][0] == pytest.approx(frame()["a"][0])
    with pytest.raises(HomeostatError) as caught:
        features.make(msgspec.structs.replace(asked, params={"days": "x"}), lambda *_: frame(), world.stores)
    assert caught.value.code == "pipelines.step_error" and "project.py, line 9" in str(caught.value)
