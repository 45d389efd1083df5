"""What a step hands on, as an object: JSON-like values, polars frames, numpy arrays, bytes. Worker-side only.

Nothing is pickled: what is none of these is refused, with what to hand on instead. A NaN within a JSON value becomes
null; in frames and arrays it stays.
"""

from __future__ import annotations

import io
from typing import Any

import msgspec
import numpy as np
import polars as pl

from homeostat.foundation.errors import Kind, entry
from homeostat.foundation.objects import Objects
from homeostat.pipelines.records import Output

BAD_OUTPUT = entry(
    "pipelines.bad_output",
    Kind.INVALID,
    "step {step!r} returned {what}, which cannot be handed on",
    "return numbers, texts, lists or dicts with text keys, a polars frame, a numpy array or bytes",
)


def put(objects: Objects, step: str, value: Any) -> Output:
    """Store a step's output; raises `pipelines.bad_output` for a kind that cannot be stored without pickling."""
    if isinstance(value, pl.LazyFrame):
        value = value.collect()
    if isinstance(value, pl.DataFrame):
        buffer = io.BytesIO()
        value.write_ipc(buffer)
        return Output(digest=objects.put_bytes(buffer.getvalue()), kind="arrow")
    if isinstance(value, np.ndarray):
        if value.dtype.hasobject:
            raise BAD_OUTPUT(field=step, step=step, what="a numpy array of Python objects")
        buffer = io.BytesIO()
        np.save(buffer, value, allow_pickle=False)
        return Output(digest=objects.put_bytes(buffer.getvalue()), kind="numpy")
    if isinstance(value, bytes | bytearray):
        return Output(digest=objects.put_bytes(bytes(value)), kind="bytes")
    encoded = msgspec.json.encode(plain(step, value))
    return Output(digest=objects.put_bytes(encoded), kind="json")


def take(objects: Objects, output: Output) -> Any:
    """The value of a stored output."""
    data = objects.get_bytes(output.digest)
    if output.kind == "json":
        return msgspec.json.decode(data)
    if output.kind == "arrow":
        return pl.read_ipc(io.BytesIO(data))
    if output.kind == "numpy":
        return np.load(io.BytesIO(data), allow_pickle=False)
    return data


def plain(step: str, value: Any) -> Any:
    """`value` as JSON has it: numpy's numbers and structs as plain ones; raises for anything that JSON cannot say."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, np.generic):
        return plain(step, value.item())
    if isinstance(value, int | float):
        return value
    if isinstance(value, list | tuple):
        return [plain(step, item) for item in value]
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise BAD_OUTPUT(field=step, step=step, what=f"a dict with the key {key!r}")
        return {key: plain(step, item) for key, item in value.items()}
    if isinstance(value, msgspec.Struct):
        return msgspec.to_builtins(value)
    kind = type(value)
    raise BAD_OUTPUT(field=step, step=step, what=f"a {kind.__module__}.{kind.__qualname__}")
