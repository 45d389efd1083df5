"""Asking an endpoint about some rows, through the Open Inference Protocol. Standard library only."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from homeostat.foundation.errors import Kind, entry
from homeostat.project.connection import Connection

NO_COLUMN = entry(
    "project.no_input_column",
    Kind.INVALID,
    "the rows have no column {column!r}, which endpoint {endpoint!r} takes",
    "give it these columns: {columns}",
)
BAD_FILE = entry(
    "project.bad_data_file",
    Kind.INVALID,
    "{file} cannot be read as rows: {why}",
    "give a CSV file with a header, a JSON list of objects, or a Parquet file",
)
BAD_VALUE = entry(
    "project.bad_value",
    Kind.INVALID,
    "row {row} of column {column!r} is {value!r}, which is not {expected}",
    "correct that cell",
)
NO_INFERENCE = entry(
    "project.no_inference",
    Kind.UNAVAILABLE,
    "the control plane at {address} knows of no inference plane",
    "start both with: homeostat up",
)

_WHOLE = ("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64")


def inference_of(connection: Connection) -> Connection:
    """A connection to the inference plane that this control plane supervises, with the same token."""
    address = (connection.get("/status") or {}).get("inference")
    if not address:
        raise NO_INFERENCE(field="server", address=connection.address)
    return Connection(str(address), connection.token, connection.project)


def ask(
    inference: Connection,
    endpoint: str,
    columns: dict[str, list[Any]],
    *,
    keys: Sequence[str | int] | None = None,
    event_at: int | None = None,
) -> dict[str, Any]:
    """Answers of `endpoint` for named columns of n values each.

    Gives {"outputs": {name: values}, "prediction_ids": [...], "version": "..."}. Columns the endpoint does not take are
    left out; one that it takes and is not there raises `project.no_input_column`. `keys` are the rows' keys, by which
    labels find them; `event_at` (microseconds) needs a token with `replay`.
    """
    described = inference.get(f"/v2/models/{endpoint}")
    wanted = {i["name"]: i["datatype"] for i in described["inputs"]}
    tensors = []
    for name, datatype in wanted.items():
        if name not in columns:
            raise NO_COLUMN(field=name, column=name, endpoint=endpoint, columns=", ".join(wanted))
        values = columns[name]
        tensors.append(
            {"name": name, "shape": [len(values)], "datatype": datatype, "data": _typed(name, datatype, values)}
        )
    parameters: dict[str, Any] = {}
    if keys is not None:
        parameters["keys"] = list(keys)
    if event_at is not None:
        parameters["event_at"] = event_at
    answer = inference.post(f"/v2/models/{endpoint}/infer", {"inputs": tensors, "parameters": parameters})
    outputs = {o["name"]: _rows(o) for o in answer["outputs"]}
    count = len(next(iter(outputs.values()), []))
    request = str((answer.get("parameters") or {}).get("prediction_id") or "")
    return {
        "outputs": outputs,
        "prediction_ids": [f"{request}-{row}" for row in range(count)],
        "version": answer.get("model_version"),
    }


def read_columns(path: Path) -> dict[str, list[Any]]:
    """The columns of a CSV, JSON (a list of objects) or Parquet file, as lists. CSV cells stay text, empty is None."""
    if not path.is_file():
        raise BAD_FILE(field="data", file=path, why="there is no such file")
    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            import polars as pl  # only a Parquet file needs it

            return {c.name: c.to_list() for c in pl.read_parquet(path)}
        if path.suffix.lower() == ".json":
            rows = json.loads(path.read_text())
            rows = [rows] if isinstance(rows, dict) else rows
            return {name: [row.get(name) for row in rows] for name in dict.fromkeys(k for r in rows for k in r)}
        with path.open(newline="") as file:
            read = list(csv.reader(file))
    except Exception as why:  # any reader's complaint about the user's file is told as one line
        raise BAD_FILE(field="data", file=path, why=" ".join(str(why).split())[:200]) from None
    if not read:
        raise BAD_FILE(field="data", file=path, why="it is empty")
    header, body = read[0], [line for line in read[1:] if line]
    ragged = next((i for i, line in enumerate(body) if len(line) != len(header)), None)
    if ragged is not None:
        cells = f"row {ragged + 1} has {len(body[ragged])} cells under {len(header)} headings"
        raise BAD_FILE(field="data", file=path, why=cells)
    return {name: [line[i] or None for line in body] for i, name in enumerate(header)}


def _typed(name: str, datatype: str, values: list[Any]) -> list[Any]:
    """Values as the datatype has them; text from a CSV file is read as numbers or bools where those are wanted."""
    made = []
    for row, value in enumerate(values):
        try:
            made.append(_cell(datatype, value))
        except (TypeError, ValueError):
            raise BAD_VALUE(field=name, row=row, column=name, value=value, expected=datatype) from None
    return made


def _cell(datatype: str, value: Any) -> Any:
    if value is None or value != value:
        return None
    if datatype == "BYTES":
        return str(value)
    if datatype == "BOOL":
        if str(value).lower() in ("true", "1"):
            return True
        if str(value).lower() in ("false", "0"):
            return False
        raise ValueError(value)
    if datatype in _WHOLE:
        number = float(value)
        if number != int(number):
            raise ValueError(value)
        return int(value) if isinstance(value, int) else int(number)
    return float(value)


def _rows(output: dict[str, Any]) -> list[Any]:
    """An output's data by row: [n, k] data arrives flat, row after row."""
    shape, data = output["shape"], output["data"]
    if len(shape) == 2 and data and not isinstance(data[0], list):
        k = shape[1]
        return [data[i : i + k] for i in range(0, len(data), k)]
    return list(data)
