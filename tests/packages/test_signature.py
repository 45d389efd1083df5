"""A block of columns fits a signature, or the error names the column, the rule and the fix."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.foundation.errors import HomeostatError
from homeostat.packages.columns import Table
from homeostat.packages.records import Column, Kind, Signature
from homeostat.packages.signature import Checker, check

ALL = Signature(
    inputs=(
        Column(name="amount", kind="float"),
        Column(name="hour", kind="int"),
        Column(name="abroad", kind="bool"),
        Column(name="kind", kind="string"),
        Column(name="age", kind="float", nullable=True),
        Column(name="shop", kind="string", nullable=True),
    ),
    task="regression",
)
GOOD: dict[str, Any] = {
    "amount": [1.5, 2],
    "hour": [3, 4],
    "abroad": [True, False],
    "kind": ["a", "b"],
    "age": [None, math.nan],
    "shop": [None, "x"],
}


def refused(columns: dict[str, Any]) -> HomeostatError:
    with pytest.raises(HomeostatError) as error:
        check(ALL, columns)
    assert error.value.field
    assert error.value.hint
    return error.value


def test_a_block_that_fits_tells_its_rows() -> None:
    assert check(ALL, GOOD) == 2
    assert check(ALL, {k: v[:1] for k, v in GOOD.items()}) == 1


@pytest.mark.parametrize(
    ("column", "values", "code", "row"),
    [
        ("amount", [1.0, None], "signature.null", 1),
        ("amount", [1.0, math.nan], "signature.null", 1),
        ("amount", [math.inf, 1.0], "signature.infinite", 0),
        ("age", [-math.inf, 1.0], "signature.infinite", 0),
        ("amount", [1e300, 1.0], "signature.infinite", 0),
        ("amount", ["1.0", 1.0], "signature.wrong_kind", 0),
        ("amount", [True, 1.0], "signature.wrong_kind", 0),
        ("hour", [1, 2.5], "signature.wrong_kind", 1),
        ("hour", [1, 2**70], "signature.wrong_kind", 1),
        ("hour", [None, 1], "signature.null", 0),
        ("abroad", [1, True], "signature.wrong_kind", 0),
        ("kind", [b"a", "b"], "signature.wrong_kind", 0),
        ("kind", [None, "b"], "signature.null", 0),
        ("shop", ["x", 3], "signature.wrong_kind", 1),
        ("amount", np.array([1.0, np.nan]), "signature.null", 1),
        ("amount", np.array([1.0, np.inf]), "signature.infinite", 1),
        ("amount", np.array(["1", "2"]), "signature.wrong_kind", 0),
        ("hour", np.array([1.0, 2.5]), "signature.wrong_kind", 1),
        ("abroad", np.array([1, 0]), "signature.wrong_kind", 0),
        ("kind", np.array(["a", None], dtype=object), "signature.null", 1),
    ],
)
def test_a_broken_rule_names_column_and_row(column: str, values: Any, code: str, row: int) -> None:
    error = refused(GOOD | {column: values})
    assert (error.code, error.field, error.values["row"]) == (code, column, row)


@pytest.mark.parametrize("value", [math.nan, math.inf, None, "1", True])
def test_a_single_row_is_held_to_the_same_rules(value: Any) -> None:
    one = {k: v[:1] for k, v in GOOD.items()}
    assert refused(one | {"amount": [value]}).field == "amount"


def test_columns_by_name() -> None:
    assert refused(GOOD | {"amuont": [1.0, 2.0]}).code == "signature.unknown_column"
    missing = refused({k: v for k, v in GOOD.items() if k != "hour"})
    assert (missing.code, missing.field) == ("signature.missing_column", "hour")
    assert refused(GOOD | {"kind": ["a"]}).code == "signature.wrong_length"
    assert refused({k: [] for k in GOOD}).code == "signature.wrong_length"


VALUES: dict[str, st.SearchStrategy[Any]] = {
    "float": st.floats(width=32, allow_nan=False, allow_infinity=False) | st.integers(-(2**60), 2**60),
    "int": st.integers(-(2**63), 2**63 - 1),
    "bool": st.booleans(),
    "string": st.text(max_size=5),
}
WRONG: dict[str, st.SearchStrategy[Any]] = {
    "float": st.booleans() | st.text(max_size=3) | st.just([1.0]) | st.just(math.inf),
    "int": st.booleans() | st.text(max_size=3) | st.floats() | st.just(2**63),
    "bool": st.integers() | st.text(max_size=3) | st.floats(),
    "string": st.booleans() | st.integers() | st.floats() | st.binary(max_size=3),
}


@st.composite
def blocks(draw: st.DrawFn) -> tuple[Signature, dict[str, list[Any]]]:
    kinds = draw(st.lists(st.sampled_from(sorted(VALUES)), min_size=1, max_size=5))
    rows = draw(st.integers(1, 4))
    columns: dict[str, list[Any]] = {}
    inputs = []
    for i, kind in enumerate(kinds):
        nullable = draw(st.booleans())
        value = st.none() | VALUES[kind] if nullable else VALUES[kind]
        columns[f"c{i}"] = draw(st.lists(value, min_size=rows, max_size=rows))
        known: Any = kind
        inputs.append(Column(name=f"c{i}", kind=known, nullable=nullable))
    return Signature(inputs=tuple(inputs), task="regression"), columns


@given(blocks(), st.data())
def test_every_block_made_by_the_rules_fits_and_one_wrong_value_is_found(
    block: tuple[Signature, dict[str, list[Any]]], data: st.DataObject
) -> None:
    signature, columns = block
    checker = Checker(signature)
    rows = len(columns["c0"])
    assert checker(columns) == rows
    column = data.draw(st.sampled_from(signature.inputs))
    row = data.draw(st.integers(0, rows - 1))
    wrong = WRONG[column.kind] if column.nullable else WRONG[column.kind] | st.none()
    spoiled = dict(columns)
    spoiled[column.name] = [*columns[column.name]]
    spoiled[column.name][row] = data.draw(wrong)
    with pytest.raises(HomeostatError) as error:
        checker(spoiled)
    assert (error.value.field, error.value.values["row"]) == (column.name, row)


@given(blocks())
def test_arrays_of_the_right_dtype_fit_like_lists(block: tuple[Signature, dict[str, list[Any]]]) -> None:
    signature, columns = block
    dtypes: dict[Kind, Any] = {"float": np.float64, "int": np.int64, "bool": np.bool_, "string": object}
    arrays = {
        c.name: np.array(columns[c.name], object if None in columns[c.name] else dtypes[c.kind])
        for c in signature.inputs
    }
    assert check(signature, arrays) == len(columns["c0"])


def test_kinds_are_read_from_every_library() -> None:
    pandas = pytest.importorskip("pandas")
    data: dict[str, list[Any]] = {
        "f": [1.0, None],
        "i": [1, 2],
        "b": [True, False],
        "s": ["a", None],
        "n": [1, None],
        "t": [True, None],
    }
    polars = Table(pl.DataFrame(data))
    assert polars.kinds == {"f": "float", "i": "int", "b": "bool", "s": "string", "n": "int", "t": "bool"}
    frame = Table(pandas.DataFrame(data))
    assert frame.kinds == {"f": "float", "i": "int", "b": "bool", "s": "string", "n": "float", "t": "bool"}
    assert Table(pl.DataFrame(data, schema_overrides={"s": pl.Categorical})).kinds["s"] == "string"
    assert Table(pandas.DataFrame(data).astype({"s": "category"})).kinds["s"] == "string"
    assert [frame.nulls(c) for c in data] == [polars.nulls(c) for c in data] == [1, 0, 0, 1, 1, 1]
    mixed = Table(np.array([["a", 1.5], [None, 2]], dtype=object))
    assert mixed.kinds == {"x0": "string", "x1": "float"}


@pytest.mark.parametrize(
    ("X", "code"),
    [
        ([[1.0]], "package.not_a_table"),
        (np.zeros(3), "package.not_a_table"),
        (pl.DataFrame({"a": [1]}).lazy(), "package.not_a_table"),
        (np.zeros((0, 3)), "package.empty_table"),
        (pl.DataFrame({"at": pl.Series([0], dtype=pl.Datetime)}), "package.unknown_kind"),
        (np.array([[object()]], dtype=object), "package.unknown_kind"),
    ],
)
def test_what_is_no_table_of_known_kinds_is_refused(X: Any, code: str) -> None:
    with pytest.raises(HomeostatError) as error:
        Table(X)
    assert error.value.code == code
