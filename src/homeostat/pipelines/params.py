"""The params of a run: what a person gives (`-p trees=200`) laid over the defaults of the steps that take them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from homeostat.foundation.errors import Kind, entry
from homeostat.pipelines.records import Pipeline, Step

UNKNOWN_PARAM = entry(
    "pipelines.unknown_param",
    Kind.INVALID,
    "pipeline {pipeline!r} has no param {name!r}",
    "use one of: {known}",
)
BAD_PARAM = entry(
    "pipelines.bad_param",
    Kind.INVALID,
    "param {name!r} is {rule} by its default {default!r}, and {value!r} is not",
    "give a value of that kind",
)


def check(pipeline: Pipeline, given: Mapping[str, Any]) -> dict[str, Any]:
    """`given` with each value of the kind of its default; raises for a name that no step takes."""
    defaults = {name: default for step in pipeline.steps for name, default in step.params.items()}
    for name in given:
        if name not in defaults:
            known = ", ".join(defaults) or "(it has none)"
            raise UNKNOWN_PARAM(field=name, pipeline=pipeline.name, name=name, known=known)
    return {name: _like(name, value, defaults[name]) for name, value in given.items()}


def of_step(step: Step, given: Mapping[str, Any]) -> dict[str, Any]:
    """What `step` is called with: its defaults, and over them what was given for the run."""
    return {name: given.get(name, default) for name, default in step.params.items()}


def _like(name: str, value: Any, default: Any) -> Any:
    """`value` as the kind of `default`; a text is read as that kind, since a command line only has texts."""
    if default is None or type(value) is type(default):
        return value
    try:
        if isinstance(default, bool):
            if isinstance(value, str) and value.lower() in ("true", "false"):
                return value.lower() == "true"
        elif isinstance(default, int):
            if isinstance(value, str) or (isinstance(value, float) and value.is_integer()):
                return int(value)
        elif isinstance(default, float):
            if isinstance(value, str | int) and not isinstance(value, bool):
                return float(value)
        elif isinstance(default, str):
            if isinstance(value, int | float):
                return str(value)
        else:
            return value
    except ValueError:
        pass
    rule = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}[type(default)]
    raise BAD_PARAM(field=name, name=name, rule=rule, default=default, value=str(value)[:80])
