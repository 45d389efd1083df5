"""What a model takes: inferred once from a sample, then checked on every block of columns.

`infer` runs where the model is made; `Checker` where it answers, so it costs well under a microsecond a column for
a single row and one vectorised pass for more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from homeostat.foundation.errors import HomeostatError, entry
from homeostat.foundation.errors import Kind as ErrorKind
from homeostat.packages.records import Column, Signature, Task

if TYPE_CHECKING:
    from homeostat.packages.columns import Table

UNKNOWN_COLUMN = entry(
    "signature.unknown_column",
    ErrorKind.INVALID,
    "column {column!r} is not an input of this model",
    "send exactly these columns: {columns}",
)
MISSING_COLUMN = entry(
    "signature.missing_column",
    ErrorKind.INVALID,
    "input column {column!r} is missing",
    "send exactly these columns: {columns}",
)
WRONG_LENGTH = entry(
    "signature.wrong_length",
    ErrorKind.INVALID,
    "column {column!r} has {length} values where the others have {rows}",
    "send one value a row in every column, and at least one row",
)
WRONG_KIND = entry(
    "signature.wrong_kind",
    ErrorKind.INVALID,
    "row {row} of column {column!r} is {value}, and the column is of kind {kind}",
    "send {expected}",
)
NULL = entry(
    "signature.null",
    ErrorKind.INVALID,
    "row {row} of column {column!r} is {value}, and the model was trained on a column without nulls",
    "send a value in every row, or train on data where this column has nulls",
)
INFINITE = entry(
    "signature.infinite",
    ErrorKind.INVALID,
    "row {row} of column {column!r} is {value}, and a number must be finite",
    "send a finite number, or null where the column allows it",
)
NO_PROBABILITIES = entry(
    "signature.no_probabilities",
    ErrorKind.INVALID,
    "{estimator} gives a class but no probability, and scores are what gates and monitors work on",
    "wrap it in sklearn.calibration.CalibratedClassifierCV, or choose a classifier that has predict_proba",
)
NOT_FITTED = entry(
    "signature.not_fitted", ErrorKind.INVALID, "{estimator} is not fitted", "call fit(X, y) before registering it"
)
BAD_CLASSES = entry(
    "signature.bad_classes",
    ErrorKind.INVALID,
    "the classifier's classes are {classes}",
    "train one target with two classes or more, each a text, whole number or bool",
)
NOT_A_MODEL = entry(
    "signature.not_a_model",
    ErrorKind.INVALID,
    "{estimator} is neither a classifier nor a regressor",
    "pass task='classification' or task='regression' with an estimator that has predict_proba or predict",
)
BAD_THRESHOLD = entry(
    "signature.bad_threshold",
    ErrorKind.INVALID,
    "the threshold is {threshold}, and a probability lies between 0 and 1",
    "pass a threshold such as 0.5",
)

_EXPECTED = {"float": "numbers", "int": "whole numbers of at most 64 bits", "bool": "true or false", "string": "text"}
_NONE = type(None)
_TYPES: dict[str, frozenset[type]] = {
    "float": frozenset({float, int}),
    "int": frozenset({int}),
    "bool": frozenset({bool}),
    "string": frozenset({str}),
}
_DTYPES = {"float": "fiu", "int": "iu", "bool": "b", "string": "UT"}
_INT64 = 1 << 63
_FLOAT32_MAX = 3.4028235677973366e38  # beyond it a float32 is infinite, and that is what many models are served in


def infer(table: Table, estimator: Any, *, task: Task | None = None, threshold: float = 0.5) -> Signature:
    """The signature of a fitted scikit-learn estimator and a sample of its inputs.

    A column allows nulls when the sample has one. `threshold` is kept for a binary classifier only.
    """
    what = type(estimator).__name__
    inputs = tuple(Column(name=n, kind=table.kinds[n], nullable=table.nulls(n) > 0) for n in table.names)
    if task is None:
        kind = getattr(estimator, "_estimator_type", None) or _tagged(estimator)
        if kind not in ("classifier", "regressor"):
            raise NOT_A_MODEL(field="estimator", estimator=what)
        task = "classification" if kind == "classifier" else "regression"
    if task == "regression":
        return Signature(inputs=inputs, task="regression")
    if not 0 < threshold < 1:
        raise BAD_THRESHOLD(field="threshold", threshold=threshold)
    if not hasattr(estimator, "predict_proba"):
        raise NO_PROBABILITIES(field="estimator", estimator=what)
    try:
        raw = estimator.classes_
    except AttributeError:
        raise NOT_FITTED(field="estimator", estimator=what) from None
    classes = tuple(c.item() if hasattr(c, "item") and not getattr(c, "ndim", 0) else c for c in raw)
    if len(classes) < 2 or not all(isinstance(c, str | int | float | bool) for c in classes):
        raise BAD_CLASSES(field="estimator", classes=str(classes)[:120])
    return Signature(
        inputs=inputs, task="classification", classes=classes, threshold=float(threshold) if len(classes) == 2 else None
    )


def _tagged(estimator: Any) -> str | None:
    """The estimator's own word for what it is (scikit-learn 1.6 and later keep it in tags)."""
    tags = getattr(estimator, "__sklearn_tags__", None)
    return getattr(tags(), "estimator_type", None) if tags else None


class Checker:
    """Checks blocks of columns against one signature. Immutable; safe in any thread.

    A null is None; NaN in a float column counts as one. A whole number is taken in a float column; a float with a
    whole value is taken in an int column only as part of a NumPy array of integers, never as 3.0 in a list.
    """

    def __init__(self, signature: Signature) -> None:
        self.columns = {c.name: c for c in signature.inputs}
        self.names = tuple(self.columns)
        self._rules = [(c.name, c, _TYPES[c.kind], c.kind == "float", c.kind == "int") for c in signature.inputs]

    def __call__(self, columns: Mapping[str, Sequence[Any] | Any]) -> int:
        """The number of rows of a block that fits; else the first broken rule as an error naming column and row."""
        if len(columns) != len(self.names) or any(name not in columns for name in self.names):
            raise self._misnamed(columns)
        rows = len(columns[self.names[0]]) if self.names else 0
        for name, column, types, is_float, is_int in self._rules:
            values = columns[name]
            if len(values) != rows or not rows:
                raise WRONG_LENGTH(field=name, column=name, length=len(values), rows=rows)
            if type(values) is not list:
                _check_array(column, values)
            elif rows == 1 and type(values[0]) in types:
                value = values[0]
                # false for NaN as well, so this one comparison holds every rule of a float
                if (is_float and not -_FLOAT32_MAX <= value <= _FLOAT32_MAX) or (
                    is_int and not -_INT64 <= value < _INT64
                ):
                    _check_list(column, values)
            else:
                _check_list(column, values)
        return rows

    def _misnamed(self, columns: Mapping[str, Any]) -> HomeostatError:
        listed = ", ".join(self.names)
        for name in columns:
            if name not in self.columns:
                return UNKNOWN_COLUMN(field=str(name)[:120], column=str(name)[:120], columns=listed)
        missing = next(name for name in self.names if name not in columns)
        return MISSING_COLUMN(field=missing, column=missing, columns=listed)


def check(signature: Signature, columns: Mapping[str, Sequence[Any] | Any]) -> int:
    """Check one block against a signature and return its rows; keep a `Checker` for more than one."""
    return Checker(signature)(columns)


def _check_list(column: Column, values: Sequence[Any]) -> None:
    allowed = _TYPES[column.kind]
    kinds = set(map(type, values))
    if not column.nullable and _NONE in kinds:
        raise NULL(field=column.name, row=values.index(None), column=column.name, value="null")
    if not kinds - {_NONE} <= allowed:
        row = next(i for i, v in enumerate(values) if type(v) not in allowed and v is not None)
        raise _wrong_kind(column, row, values[row])
    if column.kind == "int":
        for row, value in enumerate(values):
            if value is not None and not -_INT64 <= value < _INT64:
                raise _wrong_kind(column, row, value)
    elif column.kind == "float":
        for row, value in enumerate(values):
            if value is None:
                continue
            if value != value:
                if not column.nullable:
                    raise NULL(field=column.name, row=row, column=column.name, value="NaN")
            elif not -_FLOAT32_MAX <= value <= _FLOAT32_MAX:
                raise INFINITE(field=column.name, row=row, column=column.name, value=str(value)[:40])


def _check_array(column: Column, values: Any) -> None:
    """One vectorised pass over a NumPy array; an object array is checked as the list it holds."""
    kind = getattr(getattr(values, "dtype", None), "kind", "O")
    if kind == "O" or getattr(values, "ndim", 1) != 1:
        return _check_list(column, list(values))
    if kind == "f" and column.kind == "int":
        whole = (values == values.round()) | ((values != values) & column.nullable)
        if not whole.all():
            row = int((~whole).argmax())
            raise _wrong_kind(column, row, values[row])
    elif kind not in _DTYPES[column.kind]:
        raise _wrong_kind(column, 0, values[0])
    if kind == "f":
        nan = values != values
        if not column.nullable and nan.any():
            raise NULL(field=column.name, row=int(nan.argmax()), column=column.name, value="NaN")
        beyond = abs(values) > _FLOAT32_MAX
        if beyond.any():
            row = int(beyond.argmax())
            raise INFINITE(field=column.name, row=row, column=column.name, value=str(values[row]))
    return None


def _wrong_kind(column: Column, row: int, value: Any) -> HomeostatError:
    return WRONG_KIND(
        field=column.name,
        row=row,
        column=column.name,
        value=repr(value)[:60],
        kind=column.kind,
        expected=_EXPECTED[column.kind],
    )
