"""Whether a served form agrees with the estimator it was made from, and if not, why and what to do.

Agreement is two things: numbers (probabilities within 1e-5; in regression 1e-4 of the value, or of the values' spread
where a value is smaller than that) and decisions (none may differ). Both sides are compared as float32, which is what
is served; see `loader` for the decision rule.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)

from homeostat.foundation.errors import HomeostatError
from homeostat.packages import trees
from homeostat.packages.columns import Table
from homeostat.packages.graph import final_of, parts_of
from homeostat.packages.loader import Predictor
from homeostat.packages.probes import Probes
from homeostat.packages.records import Parity, Signature

TOLERANCE = {"classification": 1e-5, "regression": 1e-4}
SCALERS = (StandardScaler, MinMaxScaler, MaxAbsScaler, RobustScaler, PowerTransformer, QuantileTransformer)
_EXACT = 2.0**24  # up to here float32 holds every whole number


class Reference:
    """The estimator's own answers on the probes, computed once."""

    def __init__(self, estimator: BaseEstimator, signature: Signature, probes: Probes) -> None:
        self.probes = probes
        self.known = answers(estimator, signature, probes.known)
        self.unseen: np.ndarray | None = None
        self.refuses_unseen = False
        if probes.unseen is not None:
            try:
                self.unseen = answers(estimator, signature, probes.unseen)
            except ValueError:  # scikit-learn's word for an unknown category under handle_unknown="error"
                self.refuses_unseen = True


def answers(estimator: Any, signature: Signature, table: Table) -> np.ndarray:
    """Probabilities [n, classes] or values [n], in float64, from the estimator itself."""
    given = estimator.predict(table.X) if signature.task == "regression" else estimator.predict_proba(table.X)
    return np.asarray(given, np.float64)


def compare(predictor: Predictor, signature: Signature, reference: Reference) -> Parity:
    """Run the served form on the same rows and compare. A form that fails on a row disagrees, and that is the cause."""
    tolerance = TOLERANCE[signature.task]
    rows = reference.probes.known.rows
    try:
        difference, flipped = _differ(predictor, signature, reference.probes.known, reference.known)
    except HomeostatError as error:
        return _failed(rows, tolerance, f"the converted model fails on rows the estimator takes: {error}")
    if reference.probes.unseen is not None:
        rows += reference.probes.unseen.rows
        try:
            if reference.refuses_unseen:
                _serve(predictor, signature, reference.probes.unseen)
                return _failed(rows, tolerance, "the estimator refuses unseen categories, the converted model does not")
            assert reference.unseen is not None
            more = _differ(predictor, signature, reference.probes.unseen, reference.unseen)
            difference, flipped = max(difference, more[0]), flipped + more[1]
        except HomeostatError as error:
            if not reference.refuses_unseen:
                return _failed(rows, tolerance, f"the converted model fails on unseen categories: {error}")
    return Parity(
        rows=rows,
        agrees=difference <= tolerance and not flipped,
        largest_difference=difference,
        decisions_flipped=flipped,
        tolerance=tolerance,
    )


def columns_of(table: Table) -> dict[str, Any]:
    """A table as the columns a caller would send: lists, null as None."""
    return {name: [None if v is None or v != v else v for v in table.values(name)] for name in table.names}


def _serve(predictor: Predictor, signature: Signature, table: Table) -> dict[str, np.ndarray]:
    return predictor.predict(columns_of(table), table.rows)


def _differ(predictor: Predictor, signature: Signature, table: Table, expected: np.ndarray) -> tuple[float, int]:
    """The largest difference and the number of decisions that differ."""
    served = _serve(predictor, signature, table)
    if signature.task == "regression":
        value = served["value"].astype(np.float64)
        scale = np.maximum(np.abs(expected), max(float(np.std(expected)), 1e-30))
        gap = np.abs(value - expected) / scale
        return _largest(gap), 0
    decided = decisions(expected, signature)
    flipped = int((np.asarray(served["label"]) != np.array(signature.classes, dtype=object)[decided]).sum())
    score = served["score"].astype(np.float64)
    gap = np.abs(score - (expected[:, 1] if score.ndim == 1 else expected))
    return _largest(gap), flipped


def decisions(probabilities: np.ndarray, signature: Signature) -> np.ndarray:
    """Index of the class decided for each row, by the loader's rule (on float32 scores)."""
    single = probabilities.astype(np.float32)
    if signature.threshold is not None:
        return (single[:, 1] >= np.float32(signature.threshold)).astype(np.int64)
    first: np.ndarray = single.argmax(axis=1)
    return first


def _largest(gap: np.ndarray) -> float:
    """The greatest gap; a number on one side only (NaN) counts as 1."""
    return float(np.nan_to_num(gap, nan=1.0, posinf=1e30).max())


def _failed(rows: int, tolerance: float, cause: str) -> Parity:
    return Parity(
        rows=rows, agrees=False, largest_difference=0.0, decisions_flipped=0, tolerance=tolerance, cause=cause
    )


def explain(estimator: Any, table: Table, failure: str | None) -> tuple[str, str]:
    """Why float32 or ONNX does not agree with this estimator, and what its author can do, in words."""
    final = final_of(estimator)
    if isinstance(final, HistGradientBoostingClassifier | HistGradientBoostingRegressor):
        chosen = getattr(final, "is_categorical_", None)
        if chosen is not None and np.any(chosen):
            return (
                "categorical_features= of histogram gradient boosting converts wrong: ONNX has no split on a set",
                "put a OneHotEncoder or OrdinalEncoder before the model and leave categorical_features unset",
            )
    parts = parts_of(estimator)
    scalers = sorted({type(p).__name__ for p in parts if isinstance(p, SCALERS)})
    if scalers and any(trees.is_ensemble(p) for p in parts):
        return (
            f"{' and '.join(scalers)} before trees flips branches in float32: a rounded value falls on the other side "
            "of a split",
            "remove the scaler, trees do not need it",
        )
    for name in table.names:
        if table.kinds[name] in ("float", "int"):
            values = table.numbers(name)
            largest = float(np.nanmax(np.abs(values), initial=0))
            if largest > _EXACT and np.nanmax(np.abs(values.astype(np.float32) - values), initial=0) > 0:
                return (
                    f"column {name!r} reaches {largest:.4g}, and float32 keeps about seven digits: epoch seconds and "
                    "long whole numbers lose precision in float32",
                    f"make {name!r} small before the model: hours since a fixed day, an hour of day, or a category",
                )
    if failure is not None:
        return failure, "use estimators that skl2onnx can write, or accept the cost of serving by scikit-learn"
    return (
        "the converted model rounds in float32 where the estimator does not",
        "bring the columns to similar sizes, or accept the cost of serving by scikit-learn",
    )
