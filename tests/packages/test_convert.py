"""Every estimator family becomes ONNX and agrees; what cannot agree says why and is served by scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from package_tables import mixed, numbers
from sklearn.compose import make_column_transformer
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    VotingClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, SGDClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from homeostat.foundation.errors import HomeostatError
from homeostat.packages.convert import Conversion, convert
from homeostat.packages.loader import Predictor, predictor_of

CLASSIFIERS = [
    LogisticRegression(max_iter=1000),
    DecisionTreeClassifier(max_depth=8, random_state=0),
    RandomForestClassifier(20, random_state=0),
    ExtraTreesClassifier(20, random_state=0),
    GradientBoostingClassifier(n_estimators=30, random_state=0),
    HistGradientBoostingClassifier(max_iter=20, random_state=0),
]
REGRESSORS = [
    LinearRegression(),
    Ridge(),
    DecisionTreeRegressor(random_state=0),
    RandomForestRegressor(20, random_state=0),
    ExtraTreesRegressor(20, random_state=0),
    GradientBoostingRegressor(n_estimators=30, random_state=0),
    HistGradientBoostingRegressor(max_iter=20, random_state=0),
    HistGradientBoostingRegressor(max_iter=20, loss="poisson", random_state=0),
]
TAKES_NULLS = [
    m
    for m in CLASSIFIERS + REGRESSORS
    if not isinstance(m, LogisticRegression | LinearRegression | Ridge)
    and not isinstance(m, GradientBoostingClassifier | GradientBoostingRegressor)
]


def encoded(estimator: Any, *, unknown: str = "ignore") -> Any:
    """The estimator behind a one-hot encoder of the text column."""
    return make_pipeline(
        make_column_transformer(
            (OneHotEncoder(handle_unknown=unknown, sparse_output=False), ["kind"]), remainder="passthrough"
        ),
        estimator,
    )


def served(conversion: Conversion) -> Predictor:
    return predictor_of(conversion.manifest(), conversion.files)


def name(estimator: Any) -> str:
    return type(estimator).__name__


def agrees(conversion: Conversion) -> None:
    """ONNX, on 1,000 rows or more, within the tolerance and without a flipped decision."""
    assert conversion.format == "onnx", conversion.refusal
    assert conversion.parity.rows >= 1000
    assert conversion.parity.agrees
    assert conversion.parity.decisions_flipped == 0
    assert conversion.parity.largest_difference <= conversion.parity.tolerance
    assert conversion.refusal is None
    assert conversion.cost.rows_1 > 0


@pytest.mark.parametrize("estimator", CLASSIFIERS + REGRESSORS, ids=name)
def test_numeric_columns_convert_as_one_matrix(estimator: Any) -> None:
    X, label, value = numbers()
    estimator.fit(X, label if estimator in CLASSIFIERS else np.abs(value))
    conversion = convert(estimator, X)
    agrees(conversion)
    assert conversion.layout == "matrix"
    assert [c.name for c in conversion.signature.inputs] == ["x0", "x1", "x2", "x3", "x4"]
    assert not conversion.warnings


@pytest.mark.parametrize("estimator", CLASSIFIERS + REGRESSORS, ids=name)
def test_one_hot_pipelines_convert_by_column_with_null_and_unseen_categories(estimator: Any) -> None:
    X, label, value = mixed()
    model = encoded(estimator).fit(X, label if estimator in CLASSIFIERS else np.abs(value))
    conversion = convert(model, X)
    agrees(conversion)
    assert conversion.layout == "columns"
    assert [(c.name, c.kind, c.nullable) for c in conversion.signature.inputs] == [
        ("kind", "string", True),
        ("hour", "int", False),
        ("amount", "float", False),
        ("abroad", "bool", False),
        ("speed", "float", False),
    ]
    strange = X.head(5).with_columns(pl.lit("never seen").alias("kind"))
    columns = {c: strange[c].to_list() for c in strange.columns}
    answer = served(conversion).predict(columns, 5)
    expected = model.predict_proba(strange)[:, 1] if estimator in CLASSIFIERS else model.predict(strange)
    assert answer["score" if estimator in CLASSIFIERS else "value"] == pytest.approx(expected, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("estimator", TAKES_NULLS, ids=name)
def test_a_missing_value_goes_where_the_tree_says(estimator: Any) -> None:
    X, label, value = numbers(nulls=0.1)
    estimator.fit(X, label if estimator in CLASSIFIERS else np.abs(np.nan_to_num(value)))
    conversion = convert(estimator, X)
    agrees(conversion)
    assert all(c.nullable for c in conversion.signature.inputs)
    predictor = served(conversion)
    one = predictor.predict({c.name: [None] for c in conversion.signature.inputs}, 1)
    nothing = np.full((1, 5), np.nan)
    if estimator in CLASSIFIERS:
        assert one["score"][0] == pytest.approx(estimator.predict_proba(nothing)[0, 1], abs=1e-6)
    else:
        assert one["value"][0] == pytest.approx(estimator.predict(nothing)[0], rel=1e-6)


@pytest.mark.parametrize("library", ["numpy", "polars", "pandas"])
def test_numeric_frames_of_every_library(library: str) -> None:
    X, label, _ = numbers()
    table: Any = X
    if library != "numpy":
        table = pl.DataFrame(X, schema=["a", "b", "c", "d", "e"])
        table = table.to_dict(as_series=False) if library == "pandas" else table
    if library == "pandas":
        table = pytest.importorskip("pandas").DataFrame(table)
    model = make_pipeline(SimpleImputer(), GradientBoostingClassifier(n_estimators=10)).fit(table, label)
    conversion = convert(model, table)
    agrees(conversion)
    assert conversion.signature.inputs[0].name == ("x0" if library == "numpy" else "a")


def test_pandas_text_with_nulls() -> None:
    pandas = pytest.importorskip("pandas")
    frame, label, _ = mixed()
    table = pandas.DataFrame(frame.to_dict(as_series=False))
    conversion = convert(encoded(LogisticRegression(max_iter=1000)).fit(table, label), table)
    agrees(conversion)
    assert conversion.signature.inputs[0].nullable


def test_more_than_two_classes_keep_their_own_labels() -> None:
    X, _, value = numbers()
    label = np.array(["low", "middle", "high"])[np.digitize(value, [1, 3])]
    for model in (
        GradientBoostingClassifier(n_estimators=10),
        HistGradientBoostingClassifier(max_iter=10),
        RandomForestClassifier(10, random_state=0),
        LogisticRegression(max_iter=2000),
    ):
        conversion = convert(model.fit(X, label), X)
        agrees(conversion)
        assert conversion.signature.classes == ("high", "low", "middle")
        answer = served(conversion).predict({f"x{i}": X[:50, i] for i in range(5)}, 50)
        assert answer["score"].shape == (50, 3)
        assert answer["label"].tolist() == model.predict(X[:50]).tolist()


@pytest.mark.parametrize("classes", [(0, 1), (False, True), ("no", "yes"), (2, 7)])
def test_the_decision_is_taken_at_the_threshold(classes: tuple[Any, Any]) -> None:
    X, label, _ = numbers()
    model = LogisticRegression(max_iter=1000).fit(X, np.array(classes)[label])
    conversion = convert(model, X, threshold=0.2)
    assert conversion.signature.classes == classes
    answer = served(conversion).predict({f"x{i}": X[:, i].tolist() for i in range(5)}, len(X))
    expected = [classes[int(p >= 0.2)] for p in model.predict_proba(X)[:, 1].astype(np.float32)]
    assert answer["label"].tolist() == expected
    alone = [served(conversion).predict({f"x{i}": [X[r, i]] for i in range(5)}, 1)["label"][0] for r in range(20)]
    assert alone == expected[:20]


def test_votes_that_tie_at_the_threshold_decide_as_the_forest_does() -> None:
    X, label, _ = numbers()
    model = RandomForestClassifier(20, random_state=1).fit(X, label)
    probability = model.predict_proba(X)[:, 1]
    threshold = 0.35
    assert (np.abs(probability - threshold) < 1e-9).any()
    agrees(convert(model, X, threshold=threshold))


def test_epoch_seconds_and_a_scaler_before_trees_convert_in_float64_and_say_so() -> None:
    X, _, value = numbers()
    X[:, 4] = np.random.default_rng(0).integers(1_600_000_000, 1_700_000_000, len(X))
    label = (value + (X[:, 4] > 1.65e9) > 2.5).astype(int)
    plain = convert(HistGradientBoostingClassifier(max_iter=20).fit(X, label), X)
    agrees(plain)
    scaled = convert(make_pipeline(StandardScaler(), GradientBoostingClassifier(n_estimators=30)).fit(X, label), X)
    agrees(scaled)
    assert "StandardScaler before trees flips branches in float32" in scaled.warnings[0]
    assert "remove the scaler, trees do not need it" in scaled.warnings[0]


@pytest.mark.parametrize("estimator", [LogisticRegression(), GradientBoostingClassifier(n_estimators=30)], ids=name)
def test_imputed_scaled_and_encoded_columns_with_nulls_convert(estimator: Any) -> None:
    frame, label, _ = mixed()
    frame = frame.with_columns(
        pl.when(pl.col("speed") > 1.5).then(None).otherwise(pl.col("speed")).alias("speed"),
        pl.when(pl.col("hour") == 3).then(None).otherwise(pl.col("hour")).alias("hour"),
    )
    columns = make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), ["hour", "amount", "speed"]),
        (
            make_pipeline(
                SimpleImputer(strategy="constant", fill_value="none", missing_values=None),
                OneHotEncoder(handle_unknown="ignore"),
            ),
            ["kind"],
        ),
    )
    conversion = convert(make_pipeline(columns, estimator).fit(frame, label), frame)
    agrees(conversion)
    assert [c.nullable for c in conversion.signature.inputs] == [True, True, False, False, True]


def test_a_missing_indicator_is_not_left_out_without_a_word() -> None:
    X, label, _ = numbers(nulls=0.1)
    model = make_pipeline(SimpleImputer(add_indicator=True), LogisticRegression(max_iter=2000)).fit(X, label)
    conversion = convert(model, X)
    assert conversion.format == "skops"
    assert "add_indicator" in str(conversion.parity.cause)
    assert not conversion.warnings


@pytest.mark.parametrize(
    "estimator",
    [
        VotingClassifier([("l", LogisticRegression(max_iter=1000)), ("r", RandomForestClassifier(5))], voting="soft"),
        SGDClassifier(loss="log_loss", random_state=0),
        GaussianNB(),
    ],
    ids=name,
)
def test_other_families_convert_through_skl2onnx(estimator: Any) -> None:
    X, label, _ = numbers()
    agrees(convert(estimator.fit(X, label), X))


def test_categorical_features_are_refused_with_cause_and_fix_and_served_by_scikit_learn() -> None:
    X, label, _ = numbers()
    model = HistGradientBoostingClassifier(categorical_features=[0], max_iter=10).fit(X, label)
    conversion = convert(model, X)
    assert conversion.format == "skops"
    assert not conversion.parity.agrees
    assert "categorical_features= of histogram gradient boosting converts wrong" in str(conversion.parity.cause)
    assert "OneHotEncoder" in str(conversion.parity.fix)
    assert conversion.refusal is not None and "us for one row" in conversion.refusal
    assert conversion.cost.rows_1 > 10
    answer = served(conversion).predict({f"x{i}": X[:30, i].tolist() for i in range(5)}, 30)
    assert answer["score"] == pytest.approx(model.predict_proba(X[:30])[:, 1], abs=1e-6)


def test_what_onnx_cannot_write_is_served_by_scikit_learn_on_named_columns() -> None:
    X, _, value = mixed()
    model = encoded(GradientBoostingRegressor(n_estimators=5, init=Ridge())).fit(X, value)
    conversion = convert(model, X)
    assert conversion.format == "skops"
    assert "init= is an estimator of its own" in str(conversion.parity.cause)
    assert not conversion.warnings
    answer = served(conversion).predict({c: X[c].head(8).to_list() for c in X.columns}, 8)
    assert answer["value"] == pytest.approx(model.predict(X.head(8)), rel=1e-5)


def test_an_estimator_that_holds_foreign_code_is_refused_whole() -> None:
    X, label, _ = numbers()
    model = make_pipeline(FunctionTransformer(foreign), HistGradientBoostingClassifier(max_iter=5)).fit(X, label)
    with pytest.raises(HomeostatError, match="foreign") as refusal:
        convert(model, X)
    assert refusal.value.code == "package.cannot_serve"


def foreign(X: np.ndarray) -> np.ndarray:
    return X * 2


def test_unseen_categories_that_the_estimator_refuses_are_refused_when_served() -> None:
    X, label, _ = mixed()
    conversion = convert(encoded(LogisticRegression(max_iter=1000), unknown="error").fit(X, label), X)
    agrees(conversion)
    row = served(conversion).example()
    assert len(served(conversion).predict(row, 1)["score"]) == 1
    with pytest.raises(HomeostatError) as refusal:
        served(conversion).predict(row | {"kind": ["never seen"]}, 1)
    assert refusal.value.code == "package.refused_input"
    assert refusal.value.kind.status == 400


def test_the_best_estimator_of_a_search_is_what_converts() -> None:
    X, label, _ = numbers()
    search = GridSearchCV(DecisionTreeClassifier(random_state=0), {"max_depth": [2, 3]}, cv=2).fit(X, label)
    conversion = convert(search, X)
    agrees(conversion)
    assert conversion.estimator == "sklearn.tree.DecisionTreeClassifier"


def test_a_tree_of_one_leaf_and_columns_named_like_outputs() -> None:
    frame = pl.DataFrame({"score": [1.0, 2.0, 3.0, 4.0] * 30, "label": ["a", "b"] * 60})
    target = np.array([0, 0, 1, 1] * 30)
    model = make_pipeline(
        make_column_transformer((OneHotEncoder(sparse_output=False), ["label"]), remainder="passthrough"),
        GradientBoostingClassifier(n_estimators=3, min_samples_leaf=100),
    ).fit(frame, target)
    conversion = convert(model, frame)
    agrees(conversion)
    assert served(conversion).predict({"score": [1.0], "label": ["a"]}, 1)["score"][0] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda X, y: LinearSVC().fit(X, y), "signature.no_probabilities"),
        (lambda X, y: LogisticRegression(), "signature.not_fitted"),
        (lambda X, y: StandardScaler().fit(X), "signature.not_a_model"),
        (lambda X, y: RandomForestClassifier(3).fit(X, np.c_[y, y]), "signature.bad_classes"),
    ],
)
def test_what_is_not_a_servable_model_is_refused_by_rule(make: Any, code: str) -> None:
    X, label, _ = numbers()
    with pytest.raises(HomeostatError) as refusal:
        convert(make(X, label), X)
    assert refusal.value.code == code


def test_a_small_sample_is_made_up_to_a_thousand_rows() -> None:
    X, label, _ = numbers()
    agrees(convert(LogisticRegression(max_iter=1000).fit(X, label), X[:3]))
