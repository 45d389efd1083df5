"""A table of inputs, whatever its library, as named columns: Polars, pandas and NumPy look the same behind `Table`.

No frame library is imported: a frame brings its own methods. NumPy columns are named x0 .. xk.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from homeostat.foundation.errors import Kind as ErrorKind
from homeostat.foundation.errors import entry
from homeostat.packages.records import Kind

NOT_A_TABLE = entry(
    "package.not_a_table",
    ErrorKind.INVALID,
    "inputs of type {type} are not a table of named columns",
    "pass a Polars or pandas frame, or a NumPy array of shape [rows, columns]",
)
EMPTY_TABLE = entry(
    "package.empty_table", ErrorKind.INVALID, "the inputs have {rows} rows and {columns} columns", "pass at least one"
)
UNKNOWN_KIND = entry(
    "package.unknown_kind",
    ErrorKind.INVALID,
    "column {column!r} holds {dtype}, and an input is a float, int, bool or string",
    "turn it into one of those before the model: a time, for example, into its hour",
)
BAD_COLUMN_NAME = entry(
    "package.bad_column_name",
    ErrorKind.INVALID,
    "column {column!r} has no usable name: names are text, not empty, and each stands once",
    "rename the columns",
)

Library = Literal["polars", "pandas", "numpy"]


def library_of(X: Any) -> Library:
    """Which library a table is of. Raises `package.not_a_table`."""
    module = type(X).__module__.split(".")[0]
    if isinstance(X, np.ndarray) and X.ndim == 2:
        return "numpy"
    if module == "polars" and type(X).__name__ == "LazyFrame":
        raise NOT_A_TABLE(field="X", type="polars.LazyFrame (collect it first)")
    if module in ("polars", "pandas") and hasattr(X, "columns"):
        return "polars" if module == "polars" else "pandas"
    shape = f" of shape {X.shape}" if isinstance(X, np.ndarray) else ""
    raise NOT_A_TABLE(field="X", type=f"{module}.{type(X).__name__}{shape}")


class Table:
    """A frame or array, its column names in order, and the kind of each."""

    def __init__(self, X: Any) -> None:
        self.library = library_of(X)
        self.X = X
        self.names: tuple[str, ...] = (
            tuple(f"x{i}" for i in range(X.shape[1])) if self.library == "numpy" else tuple(X.columns)
        )
        self.rows = int(X.shape[0])
        if not self.rows or not self.names:
            raise EMPTY_TABLE(field="X", rows=self.rows, columns=len(self.names))
        for name in self.names:
            if not isinstance(name, str) or not name or self.names.count(name) > 1:
                raise BAD_COLUMN_NAME(field="X", column=name)
        self.kinds: dict[str, Kind] = {name: self._kind(name) for name in self.names}

    def column(self, name: str) -> Any:
        """The column as its own library holds it."""
        return self.X[:, self.names.index(name)] if self.library == "numpy" else self.X[name]

    def numbers(self, name: str) -> np.ndarray:
        """A numeric or bool column as float64, null as NaN."""
        column = self.column(name)
        if self.library == "polars":
            return np.asarray(column.cast(float).to_numpy(), np.float64)
        if self.library == "pandas":
            return np.asarray(column.to_numpy(dtype=np.float64, na_value=np.nan))
        return np.array([np.nan if v is None else v for v in column] if column.dtype == object else column, np.float64)

    def values(self, name: str) -> list[Any]:
        """The column as plain Python values, null (NaN too, in a string column) as None."""
        column = self.column(name)
        values: list[Any] = column.to_list() if self.library != "numpy" else column.tolist()
        if self.library == "polars":
            return values
        return [None if _is_null(v) else v for v in values]

    def nulls(self, name: str) -> int:
        """How many rows are null or NaN."""
        if self.kinds[name] == "string":
            column = self.column(name)
            if self.library == "polars":
                return int(column.null_count())
            return sum(map(_is_null, column.tolist()))
        return int(np.isnan(self.numbers(name)).sum())

    def take(self, index: Sequence[int] | np.ndarray) -> Table:
        """The rows of `index`, in that order."""
        chosen = np.asarray(index)
        return Table(self.X.iloc[chosen] if self.library == "pandas" else self.X[chosen])

    def put(self, name: str, values: Sequence[Any]) -> Table:
        """The same rows with one column's values replaced, its type kept where it can hold them."""
        if self.library == "numpy":
            copy = self.X.copy()
            copy[:, self.names.index(name)] = values
            return Table(copy)
        column = self.column(name)
        kept = type(column)(name=name, **_series(self.library, column, values))
        if self.library == "polars":
            return Table(self.X.with_columns(kept))
        return Table(self.X.assign(**{name: kept}))

    def bounds(self, name: str) -> tuple[float, float]:
        """The smallest and greatest value the column's own type can hold."""
        dtype = str(getattr(self.column(name), "dtype", "float64")).lower()
        with contextlib.suppress(ValueError, TypeError):
            limits = np.iinfo(np.dtype(dtype))
            return float(limits.min), float(limits.max)
        return -math.inf, math.inf

    def _kind(self, name: str) -> Kind:
        column = self.column(name)
        dtype = str(column.dtype).lower()
        if dtype.startswith(("float", "decimal")):
            return "float"
        if dtype.startswith(("int", "uint")):
            return "int"
        if dtype.startswith("bool"):
            return "bool"
        if dtype.startswith(("str", "<u")) or (self.library == "polars" and dtype.startswith(("cat", "enum"))):
            return "string"
        if dtype.startswith(("cat", "object")):
            return self._kind_of_values(name)
        raise UNKNOWN_KIND(field="X", column=name, dtype=str(column.dtype))

    def _kind_of_values(self, name: str) -> Kind:
        seen = {type(v) for v in self.values(name)} - {type(None)}
        if seen <= {str, np.str_}:
            return "string"
        if seen <= {bool, np.bool_}:
            return "bool"
        if seen <= {int}:
            return "int"
        if seen <= {int, float}:
            return "float"
        raise UNKNOWN_KIND(field="X", column=name, dtype=" and ".join(sorted(t.__name__ for t in seen)))


def _is_null(value: Any) -> bool:
    """None, NaN and pandas' NA and NaT: what does not equal itself, or cannot say whether it does."""
    if value is None:
        return True
    if isinstance(value, str | int):
        return False
    try:
        return bool(value != value)
    except TypeError:  # pandas.NA has no truth value
        return True


def _series(library: Library, column: Any, values: Sequence[Any]) -> dict[str, Any]:
    if library == "polars":
        return {"values": list(values), "dtype": column.dtype}
    data = list(values)
    dtype: Any = column.dtype
    if str(dtype) == "category":
        dtype = object if column.cat.categories.dtype == object else column.cat.categories.dtype
    if dtype.kind in "iub" and any(_is_null(v) for v in data):
        dtype = np.float64
    return {"data": data, "dtype": dtype, "index": column.index}
