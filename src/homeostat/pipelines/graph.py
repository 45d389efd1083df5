"""A graph from plain functions: the name of a function is its node, the name of a parameter is the edge to it.

Keyword-only arguments are the step's params, with their defaults::

    def numbers() -> list[int]: ...
    def total(numbers, *, scale: float = 1.0) -> float: ...

    steps_of([numbers, total])    # total waits for numbers
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from homeostat.foundation.errors import Kind, entry
from homeostat.foundation.ids import digest_of
from homeostat.foundation.objects import Objects
from homeostat.pipelines.definitions import DUPLICATE_STEP, check
from homeostat.pipelines.records import Pipeline, Step

UNKNOWN_PARAMETER = entry(
    "pipelines.unknown_parameter",
    Kind.INVALID,
    "function {function!r} takes {parameter!r}, which is no step",
    "name the parameter after one of: {known}; or put it behind a '*' with a default, and it is a param",
)
NO_DEFAULT = entry(
    "pipelines.param_without_default",
    Kind.INVALID,
    "param {parameter!r} of function {function!r} has no default",
    "write it as {parameter}=VALUE behind the '*'",
)
OPEN_SIGNATURE = entry(
    "pipelines.open_signature",
    Kind.INVALID,
    "function {function!r} takes {parameter}, and a step names everything it takes",
    "name its parameters one by one",
)
NO_SOURCE = entry(
    "pipelines.no_source",
    Kind.INVALID,
    "function {function!r} does not come from a file",
    "write it in a .py file and import it from there",
)

Function = Callable[..., Any]


def steps_of(functions: Iterable[Function], *, given: Mapping[str, str] | None = None) -> tuple[Step, ...]:
    """The steps that `functions` make. `given` maps further parameter names to steps made elsewhere.

    Raises a catalogue error for two functions of one name, or a parameter that matches no node.
    """
    listed = list(functions)
    nodes = {function.__name__: function.__name__ for function in listed}
    if len(nodes) != len(listed):
        names = [function.__name__ for function in listed]
        twice = next(name for name in names if names.count(name) > 1)
        raise DUPLICATE_STEP(field="steps", pipeline="(functions)", step=twice)
    return tuple(_step(function, {**(given or {}), **nodes}) for function in listed)


def pipeline_of(
    name: str, functions: Iterable[Function], objects: Objects, *, schedule: int | None = None, model: str | None = None
) -> Pipeline:
    """A checked pipeline of plain functions of one file, whose source is stored as an object."""
    listed = list(functions)
    path = source_of(listed[0]) if listed else Path()
    steps = steps_of(listed)
    code = objects.put_file(path) if listed else None
    pipeline = Pipeline(name=name, steps=steps, code=code, code_path=str(path), schedule=schedule, model=model)
    check(pipeline)
    return pipeline


def source_of(function: Function) -> Path:
    """The file that `function` was written in."""
    try:
        path = inspect.getsourcefile(function)
    except TypeError:
        path = None
    if path is None or not Path(path).is_file():
        raise NO_SOURCE(field="steps", function=getattr(function, "__name__", str(function)))
    return Path(path).resolve()


def _step(function: Function, nodes: Mapping[str, str]) -> Step:
    name = function.__name__
    inputs: dict[str, str] = {}
    params: dict[str, Any] = {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise OPEN_SIGNATURE(field="steps", function=name, parameter=str(parameter))
        if parameter.kind is parameter.KEYWORD_ONLY:
            if parameter.default is parameter.empty:
                raise NO_DEFAULT(field=parameter.name, function=name, parameter=parameter.name)
            params[parameter.name] = parameter.default
        elif parameter.name in nodes and parameter.name != name:
            inputs[parameter.name] = nodes[parameter.name]
        elif parameter.default is parameter.empty:
            known = ", ".join(node for node in nodes if node != name) or "(there is no other)"
            raise UNKNOWN_PARAMETER(field=parameter.name, function=name, parameter=parameter.name, known=known)
    code_digest = digest_of(source_of(function).read_bytes())
    return Step(name=name, function=f"project:{name}", inputs=inputs, params=params, code_digest=code_digest)
