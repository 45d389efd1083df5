"""Fit a user's function on older rows and score the newer ones it has not seen. Worker-side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import polars as pl
from msgspec import Struct
from numpy.typing import NDArray

from homeostat.foundation.errors import HomeostatError, Kind, entry
from homeostat.monitoring.metrics import LOWER_IS_BETTER, measure
from homeostat.monitoring.performance import truth_of
from homeostat.packages.records import Signature
from homeostat.packages.signature import NO_PROBABILITIES
from homeostat.project.gates import METRICS, REGRESSION_METRICS
from homeostat.project.thresholds import choose

NO_COLUMN = entry(
    "training.no_column", Kind.INVALID, "the rows have no column {column!r}, which {what}", "it has: {columns}"
)
NOT_AN_INPUT = entry(
    "training.not_an_input",
    Kind.INVALID,
    "input {column!r} holds {dtype}, and a served model takes numbers, bools and texts",
    "turn it into one of those in a step before the model: a time, for example, into its hour",
)
BAD_LABEL = entry("training.bad_label", Kind.INVALID, "label {label!r} {why}", "{fix}")
TOO_FEW_ROWS = entry(
    "training.too_few_rows",
    Kind.INVALID,
    "{rows} labelled rows to learn from and {held_out} to measure on are too few: {least} of each are needed",
    "take in more rows, or wait until their labels are known",
)
NOT_A_MODEL = entry(
    "training.not_a_model",
    Kind.INVALID,
    "{function}(X, y) gave back {what}",
    "end it with: return estimator.fit(X, y)",
)

Task = Literal["classification", "regression"]
LEAST_ROWS = 20
_MOST_CLASSES = 100


class Spec(Struct, frozen=True, kw_only=True):
    """How one model is trained: what `@hs.model` said of it."""

    function: str
    label: str
    inputs: tuple[str, ...]
    task: Task
    metric: str
    threshold: float | Literal["f1"] | None
    params: dict[str, Any] = {}


class Fitted(Struct, frozen=True, kw_only=True):
    """A fitted estimator and how it did on the held-out rows."""

    name: str
    estimator: Any
    rows: int
    fit_until: int
    classes: tuple[Any, ...]
    threshold: float | None
    threshold_picked: bool
    score: NDArray[np.float64]
    metrics: dict[str, float]

    def better_than(self, other: Fitted, metric: str) -> bool:
        """Whether it did better on the same rows; one that cannot be measured is not better."""
        mine, theirs = self.metrics.get(metric), other.metrics.get(metric)
        if mine is None or theirs is None:
            return theirs is None and mine is not None
        return mine < theirs if metric in LOWER_IS_BETTER else mine > theirs


def columns_to_learn(frame: pl.DataFrame, wanted: Sequence[str] | None, left_out: set[str]) -> tuple[str, ...]:
    """The inputs: those that are wanted, else every column that can be one; raises on one that cannot."""
    if wanted is None:
        return tuple(c for c in frame.columns if c not in left_out and _can_be_input(frame.schema[c]))
    for column in wanted:
        if column not in frame.columns:
            what = "the model lists as an input"
            raise NO_COLUMN(field="inputs", column=column, what=what, columns=", ".join(frame.columns))
        if not _can_be_input(frame.schema[column]):
            raise NOT_AN_INPUT(field="inputs", column=column, dtype=frame.schema[column])
    return tuple(wanted)


def target(frame: pl.DataFrame, label: str, task: Task) -> NDArray[Any]:
    """The label column as scikit-learn takes it: float64 in regression, else bool, int64 or text."""
    if label not in frame.columns:
        raise NO_COLUMN(field="label", column=label, what="is the label", columns=", ".join(frame.columns))
    column = frame[label]
    kind = column.dtype
    if task == "regression":
        if not (kind.is_numeric() or kind == pl.Boolean):
            raise BAD_LABEL(field="label", label=label, why=f"holds {kind}, not numbers", fix="task='classification'")
        return column.cast(pl.Float64).to_numpy()
    if kind.is_float():
        if not (column == column.floor()).all():
            fix = "declare the model with task='regression', or turn the label into classes"
            raise BAD_LABEL(field="label", label=label, why="holds fractions, not classes", fix=fix)
        column = column.cast(pl.Int64)
    if column.n_unique() > _MOST_CLASSES:
        why = f"has {column.n_unique()} different values, more than {_MOST_CLASSES} classes"
        raise BAD_LABEL(field="label", label=label, why=why, fix="declare the model with task='regression'")
    if column.dtype == pl.Boolean or column.dtype.is_integer():
        return column.to_numpy()
    return np.array(column.cast(pl.String).to_list())


def fit(function: Callable[..., Any], name: str, rows: pl.DataFrame, held_out: pl.DataFrame, spec: Spec) -> Fitted:
    """Call the user's function on `rows` (inputs and label only) and score `held_out`, which it never sees."""
    if min(rows.height, held_out.height) < LEAST_ROWS:
        raise TOO_FEW_ROWS(field="data", rows=rows.height, held_out=held_out.height, least=LEAST_ROWS)
    y = target(rows, spec.label, spec.task)
    if spec.task == "classification" and len(np.unique(y)) < 2:
        why = f"is {y[0]!r} in all {len(y)} rows to learn from"
        raise BAD_LABEL(field="label", label=spec.label, why=why, fix="take in rows of the other class too")
    estimator = function(rows.select(spec.inputs), y, **spec.params)
    _check(estimator, spec)
    score = scores(estimator, held_out.select(spec.inputs), spec.task)
    classes: tuple[Any, ...] = ()
    threshold, picked = None, False
    if spec.task == "classification":
        classes = tuple(c.item() if hasattr(c, "item") else c for c in estimator.classes_)
    truth, known = truth_of(_signature(spec, classes), target(held_out, spec.label, spec.task).tolist())
    truth, score = truth[known], score[known]
    if len(classes) == 2:
        threshold, picked = choose(spec.threshold, truth, score, float(np.mean(y == classes[1])))
    return Fitted(
        name=name,
        estimator=estimator,
        rows=rows.height,
        fit_until=int(rows["event_at"].to_numpy().max()),
        classes=classes,
        threshold=threshold,
        threshold_picked=picked,
        score=score,
        metrics=measured(spec.task, truth, score, threshold),
    )


def scores(estimator: Any, X: pl.DataFrame, task: Task) -> NDArray[np.float64]:
    """The value in regression, the probability of the second class in binary classification, else of each class."""
    if task == "regression":
        return np.asarray(estimator.predict(X), dtype=np.float64)
    probability = np.asarray(estimator.predict_proba(X), dtype=np.float64)
    return probability[:, 1] if probability.shape[1] == 2 else probability


def measured(task: Task, truth: NDArray[Any], score: NDArray[Any], threshold: float | None) -> dict[str, float]:
    """Every metric of the task that these rows can tell."""
    names = REGRESSION_METRICS if task == "regression" else METRICS - REGRESSION_METRICS
    found = {name: measure(name, truth, score, threshold=threshold) for name in sorted(names)}
    return {name: value for name, value in found.items() if value is not None}


def _signature(spec: Spec, classes: tuple[Any, ...]) -> Signature:
    return Signature(inputs=(), task=spec.task, classes=classes)


def _can_be_input(kind: pl.DataType) -> bool:
    return kind.is_numeric() or kind in (pl.Boolean, pl.String, pl.Categorical, pl.Enum)


def _check(estimator: Any, spec: Spec) -> None:
    """Refuse what is no fitted model of the task, before anything is measured."""
    what = type(estimator).__name__
    if estimator is None or not hasattr(estimator, "predict"):
        raise NOT_A_MODEL(field=spec.function, function=spec.function, what="nothing" if estimator is None else what)
    if spec.task == "regression":
        return
    if not hasattr(estimator, "predict_proba"):
        if hasattr(estimator, "decision_function") or hasattr(estimator, "classes_"):
            raise NO_PROBABILITIES(field=spec.function, estimator=what)
        words = f"{what}, which gives no classes, and the model is declared for classification"
        raise NOT_A_MODEL(field=spec.function, function=spec.function, what=words)
    try:
        fitted = estimator.classes_
    except (AttributeError, HomeostatError):
        fitted = None
    if fitted is None:
        raise NOT_A_MODEL(field=spec.function, function=spec.function, what=f"{what}, which is not fitted")
