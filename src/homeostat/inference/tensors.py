"""Requests and answers of the protocol as records, and the reading of tensors into named columns.

An input tensor is one column, shape [n] or [n, 1]; a model whose inputs are all numeric also takes one tensor [n, k]
with its columns in the signature's order. What a column accepts is worked out once for each signature (`ColumnReader`),
because this is the hot path of the inference process: a value of the right type costs one comparison.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from homeostat.foundation.errors import Kind, entry
from homeostat.packages.records import Column, Signature

NO_INPUTS = entry(
    "inference.no_inputs", Kind.INVALID, "the request has no input tensor", "send one tensor for each of: {columns}"
)
UNKNOWN_COLUMN = entry(
    "inference.unknown_column",
    Kind.INVALID,
    "the model has no input column {column!r}",
    "send exactly these columns: {columns}",
)
MISSING_COLUMN = entry(
    "inference.missing_column", Kind.INVALID, "input columns are missing: {missing}", "send all of: {columns}"
)
REPEATED_COLUMN = entry(
    "inference.repeated_column", Kind.INVALID, "column {column!r} is sent twice", "send each column once"
)
WRONG_DATATYPE = entry(
    "inference.wrong_datatype",
    Kind.INVALID,
    "column {column!r} is {kind} and does not take datatype {datatype!r}",
    "use one of: {allowed}",
)
WRONG_SHAPE = entry(
    "inference.wrong_shape",
    Kind.INVALID,
    "shape {shape} with {count} values: a column of n rows has shape [n] or [n, 1], n values, and the n of every other",
    "send {expected}",
)
WRONG_VALUE = entry(
    "inference.wrong_value", Kind.INVALID, "row {row} is {value}, not {expected}", "send values of datatype {datatype}"
)
NULL_VALUE = entry(
    "inference.null_value",
    Kind.INVALID,
    "row {row} is null and column {column!r} does not allow nulls",
    "send a value for every row",
)
OUT_OF_RANGE = entry(
    "inference.out_of_range",
    Kind.INVALID,
    "a value is outside {low} .. {high}, the range of {datatype} here",
    "send values within the range, or choose a wider datatype",
)


class Parameters(Struct, forbid_unknown_fields=True, gc=False):
    """What a caller may say of a request: whose prediction it is, and (with replay) when it happened."""

    key: str | int | None = None
    keys: list[str | int | None] | None = None
    subject: str | int | None = None
    subjects: list[str | int | None] | None = None
    event_at: str | int | None = None
    content_type: Any = None  # sent by some clients of the protocol; of no effect
    headers: Any = None
    binary_data_output: Any = None


class Tensor(Struct, gc=False):
    """One input tensor as sent."""

    name: str
    shape: list[int]
    datatype: str
    data: list[Any]
    parameters: Any = None


class RequestedOutput(Struct, gc=False):
    """An output the caller asks for; without any, it gets them all."""

    name: str
    parameters: Any = None


class InferRequest(Struct):
    """The body of an infer request."""

    inputs: list[Tensor]
    id: str | None = None
    parameters: Parameters | None = None
    outputs: list[RequestedOutput] | None = None


class OutputTensor(Struct, gc=False):
    """One output tensor; `data` is flat, row by row."""

    name: str
    datatype: str
    shape: list[int]
    data: list[Any]


class AnswerParameters(Struct, gc=False):
    """Whose answer it is: the id that labels can be sent under, and the arm that gave it."""

    prediction_id: str
    arm: str


class InferResponse(Struct, gc=False):
    """The body of an answer to an infer request."""

    model_name: str
    model_version: str
    id: str
    parameters: AnswerParameters
    outputs: list[OutputTensor]


_FLOAT32_MAX = 3.4028235677973366e38  # the largest magnitude that rounds to a finite float32; models are served in it
_INTEGERS: dict[str, tuple[int, int]] = {
    **{f"INT{bits}": (-(1 << bits - 1), (1 << bits - 1) - 1) for bits in (8, 16, 32, 64)},
    **{f"UINT{bits}": (0, (1 << bits) - 1) for bits in (8, 16, 32)},
    "UINT64": (0, (1 << 63) - 1),  # columns are int64 inside
}
_NONE = type(None)
DATATYPES = {"float": "FP64", "int": "INT64", "bool": "BOOL", "string": "BYTES"}  # what metadata shows for a kind


class _Never:
    """The type of no value."""


class _Rule:
    """What values one column takes under one datatype."""

    __slots__ = ("column", "datatype", "expected", "high", "low", "plain", "real", "types")

    def __init__(self, column: Column, datatype: str) -> None:
        self.column = column
        self.datatype = datatype
        self.low: float | None = None
        self.high: float = 0
        self.real = column.kind == "float"
        self.plain: type = float
        types: set[type] = {float, int}
        if datatype in _INTEGERS:
            self.low, self.high = _INTEGERS[datatype]
            self.plain, types = int, {int}
        elif datatype in ("FP32", "FP64"):
            self.low, self.high = -_FLOAT32_MAX, _FLOAT32_MAX
        else:
            self.plain = bool if datatype == "BOOL" else str
            types = {self.plain}
        self.expected = {float: "a number", int: "a whole number", bool: "true or false", str: "a string"}[self.plain]
        if self.real and self.plain is int:
            self.plain = _Never  # a whole number in a float column is taken, but never as it is
        self.types = frozenset(types | {_NONE}) if column.nullable else frozenset(types)


def _accepted(column: Column) -> dict[str, _Rule]:
    """Datatype -> rule: a float column takes whole numbers too, every other kind only its own."""
    names: tuple[str, ...] = {
        "float": ("FP64", "FP32", *_INTEGERS),
        "int": tuple(_INTEGERS),
        "bool": ("BOOL",),
        "string": ("BYTES",),
    }[column.kind]
    return {name: _Rule(column, name) for name in names}


class ColumnReader:
    """Reads the input tensors of one signature into columns. Immutable; safe in any thread."""

    def __init__(self, signature: Signature) -> None:
        self.columns = signature.inputs
        self.names = tuple(c.name for c in signature.inputs)
        self._rules = {c.name: _accepted(c) for c in signature.inputs}
        self._real = all(c.kind == "float" for c in signature.inputs)
        self._numeric = len(self.names) > 1 and all(c.kind in ("float", "int") for c in signature.inputs)

    def read(self, tensors: Sequence[Tensor]) -> tuple[dict[str, list[Any]], int]:
        """The columns by name, each a list of n values (null is None), and n. Raises the entries above."""
        if not tensors:
            raise NO_INPUTS(field="inputs", columns=", ".join(self.names))
        shape = tensors[0].shape
        if len(tensors) == 1 and self._numeric and len(shape) == 2 and shape[1] == len(self.names):
            return self._matrix(tensors[0])
        rows = shape[0] if shape else 0
        flat, tall = [rows], [rows, 1]
        columns: dict[str, list[Any]] = {}
        rules = self._rules
        for tensor in tensors:
            name = tensor.name
            by_datatype = rules.get(name)
            if by_datatype is None:
                raise UNKNOWN_COLUMN(field=f"inputs.{name}", column=name, columns=", ".join(self.names))
            rule = by_datatype.get(tensor.datatype)
            if rule is None:
                raise _wrong_datatype(rule_of=by_datatype, tensor=tensor)
            if name in columns:
                raise REPEATED_COLUMN(field=f"inputs.{name}", column=name)
            data = tensor.data
            if rows < 1 or len(data) != rows or (tensor.shape != flat and tensor.shape != tall):
                raise _wrong_shape(tensor, rows)
            plain = rows == 1 and type(data[0]) is rule.plain
            if not plain:
                data = _checked(rule, data, nested=len(tensor.shape) == 2)
            elif rule.low is not None and not rule.low <= data[0] <= rule.high:
                raise _out_of_range(rule)
            columns[name] = data
        if len(columns) != len(rules):
            missing = [name for name in self.names if name not in columns]
            raise MISSING_COLUMN(field="inputs", missing=", ".join(missing), columns=", ".join(self.names))
        return columns, rows

    def _matrix(self, tensor: Tensor) -> tuple[dict[str, list[Any]], int]:
        """One tensor [n, k], flat or as n lists of k, as k columns in the signature's order."""
        rows, width = tensor.shape
        data = tensor.data
        if rows > 0 and len(data) == rows and all(type(row) is list and len(row) == width for row in data):
            data = [value for row in data for value in row]
        if rows < 1 or len(data) != rows * width:
            expected = f"shape [n, {width}] with n * {width} values, or n lists of {width}"
            raise WRONG_SHAPE(field=f"inputs.{tensor.name}", shape=tensor.shape, count=len(data), expected=expected)
        if self._real and tensor.datatype in ("FP64", "FP32") and set(map(type, data)) == {float}:
            if not _within(data, -_FLOAT32_MAX, _FLOAT32_MAX):
                raise _out_of_range(self._rules[self.names[0]][tensor.datatype])
            if rows == 1:
                return dict(zip(self.names, [[value] for value in data], strict=True)), 1
            return {name: data[index::width] for index, name in enumerate(self.names)}, rows
        columns: dict[str, list[Any]] = {}
        for index, column in enumerate(self.columns):
            values = data[index::width]
            by_datatype = self._rules[column.name]
            whole = column.kind == "int" and tensor.datatype in ("FP32", "FP64")
            rule = by_datatype.get("INT64" if whole else tensor.datatype)
            if rule is None:
                raise _wrong_datatype(rule_of=by_datatype, tensor=tensor)
            if whole:  # one datatype for the whole matrix: a float that is a whole number stands for it
                values = [int(v) if type(v) is float and v.is_integer() else v for v in values]
            columns[column.name] = _checked(rule, values, nested=False)
        return columns, rows


def _checked(rule: _Rule, data: list[Any], *, nested: bool) -> list[Any]:
    """`data` as values that `rule` takes; [n, 1] sent as n lists of one is flattened, whole numbers become floats."""
    kinds = set(map(type, data))
    if nested and kinds == {list} and all(len(row) == 1 for row in data):
        data = [row[0] for row in data]
        kinds = set(map(type, data))
    if not kinds <= rule.types:
        raise _wrong_value(rule, data)
    present = [v for v in data if v is not None] if _NONE in kinds else data
    if rule.low is not None and present and not _within(present, rule.low, rule.high):
        raise _out_of_range(rule)
    if rule.real and int in kinds:
        return [v if v is None else float(v) for v in data]
    return data


def _within(values: list[Any], low: float, high: float) -> bool:
    return bool(low <= min(values) and max(values) <= high)


def _wrong_value(rule: _Rule, data: list[Any]) -> Exception:
    field = f"inputs.{rule.column.name}"
    row, value = next((i, v) for i, v in enumerate(data) if type(v) not in rule.types)
    if value is None:
        return NULL_VALUE(field=field, row=row, column=rule.column.name)
    shown = repr(value)[:60]
    return WRONG_VALUE(field=field, row=row, value=shown, expected=rule.expected, datatype=rule.datatype)


def _out_of_range(rule: _Rule) -> Exception:
    low, high = rule.low, rule.high
    return OUT_OF_RANGE(field=f"inputs.{rule.column.name}", low=low, high=high, datatype=rule.datatype)


def _wrong_datatype(rule_of: dict[str, _Rule], tensor: Tensor) -> Exception:
    column = next(iter(rule_of.values())).column
    return WRONG_DATATYPE(
        field=f"inputs.{tensor.name}",
        column=column.name,
        kind=column.kind,
        datatype=tensor.datatype[:40],
        allowed=", ".join(rule_of),
    )


def _wrong_shape(tensor: Tensor, rows: int) -> Exception:
    expected = f"shape [{rows}] with {rows} values" if rows > 0 else "at least one row"
    return WRONG_SHAPE(field=f"inputs.{tensor.name}", shape=tensor.shape[:8], count=len(tensor.data), expected=expected)


class OutputWriter:
    """Turns a model's outputs into output tensors. Immutable; safe in any thread."""

    def __init__(self, signature: Signature) -> None:
        if signature.task == "regression":
            self.datatypes = {"value": "FP64"}
        else:
            kinds = {type(c) for c in signature.classes}
            label = (
                {bool: "BOOL", int: "INT64", float: "FP64"}.get(kinds.pop(), "BYTES") if len(kinds) == 1 else "BYTES"
            )
            self.datatypes = {"label": label, "score": "FP64"}
        self.names = tuple(self.datatypes)
        self.classes = len(signature.classes)

    def write(self, outputs: dict[str, list[Any]], rows: int, wanted: Sequence[str] | None) -> list[OutputTensor]:
        """The wanted outputs (all when None) as tensors; rows of several values become shape [n, k]."""
        tensors: list[OutputTensor] = []
        for name in self.names if wanted is None else wanted:
            data = outputs[name]
            if type(data[0]) is list:
                width = len(data[0])
                data = [value for row in data for value in row]
                tensors.append(OutputTensor(name, self.datatypes[name], [rows, width], data))
            else:
                tensors.append(OutputTensor(name, self.datatypes[name], [rows], data))
        return tensors
