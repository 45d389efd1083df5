"""Runs one call in the process it is in, and turns whatever happens into an Outcome. Worker-side only."""

from __future__ import annotations

import functools
import importlib
import time
import traceback
import typing
from collections.abc import Callable
from typing import Any

import msgspec

from homeostat.foundation.errors import INTERNAL, HomeostatError, Kind, entry
from homeostat.foundation.stores import Stores
from homeostat.pipelines.records import Call, Outcome

NO_FUNCTION = entry(
    "engine.no_function",
    Kind.INVALID,
    "there is no function {function!r} to call: {why}",
    "name it as 'package.module:function', importable where workers run",
)


def resolve(function: str) -> Callable[..., Any]:
    """The function called "module:qualname"."""
    module_name, _, qualname = function.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
        for part in qualname.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as why:
        raise NO_FUNCTION(field="function", function=function, why=why) from why
    if not callable(found):
        raise NO_FUNCTION(field="function", function=function, why="it is not callable")
    return typing.cast(Callable[..., Any], found)


def perform(call: Call, stores: Stores) -> Outcome:
    """Run `call` here and now. Never raises for what the function does, not even for its `sys.exit`."""
    started = time.perf_counter()
    try:
        function = resolve(call.function)
        answer = function(msgspec.msgpack.decode(call.payload, type=_job_type(function)), stores)
        result = msgspec.msgpack.encode(answer)
    except BaseException as failure:  # whatever a user's function raises is its answer, SystemExit included
        return Outcome(state="failed", error=describe(failure), seconds=time.perf_counter() - started)
    return Outcome(state="succeeded", result=result, seconds=time.perf_counter() - started)


def describe(failure: BaseException) -> dict[str, Any]:
    """`failure` as the one JSON form of errors; one that is not in the catalogue keeps its traceback in "detail"."""
    if isinstance(failure, HomeostatError):
        return failure.as_dict()
    said = f"{type(failure).__name__}: {failure}".strip().rstrip(":")
    detail = "".join(traceback.format_exception(failure))
    return {**INTERNAL(what=said.splitlines()[0]).as_dict(), "detail": detail}


@functools.lru_cache(maxsize=256)
def _job_type(function: Callable[..., Any]) -> Any:
    """The annotated type of the first parameter, which says how to decode the payload; Any where there is none."""
    code = getattr(function, "__code__", None)
    if code is None or code.co_argcount == 0:
        return Any
    return typing.get_type_hints(function).get(code.co_varnames[0], Any)
