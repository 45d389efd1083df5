"""`hs.log_metric` and `hs.log_param` inside a step: they go to the run that was opened for it.

The run's id is in the environment variable HOMEOSTAT_RUN_ID, which the runner sets for a tracked step. Outside of one
(a notebook, a plain call of the function in a test) they do nothing but check what they are given.
"""

from __future__ import annotations

import math
import os

from homeostat.foundation.clock import SystemClock
from homeostat.foundation.errors import Kind, entry
from homeostat.foundation.settings import load as load_settings
from homeostat.project.connection import Connection
from homeostat.project.locate import open_connection

BAD_METRIC = entry(
    "project.bad_metric_value",
    Kind.INVALID,
    "metric {key!r} must be a number, not {value!r}",
    "write it as hs.log_metric({key!r}, 0.93)",
)

_connection: Connection | None = None


def log_metric(key: str, value: float, *, step: int = 0) -> None:
    """Log one point of a metric to the run of the step this is called in."""
    try:
        number = float(value)  # numpy's numbers too
    except (TypeError, ValueError):
        raise BAD_METRIC(field="value", key=key, value=value) from None
    if math.isnan(number):
        raise BAD_METRIC(field="value", key=key, value=value)
    run = os.environ.get("HOMEOSTAT_RUN_ID")
    if run:
        point = {"key": key, "value": number, "at": SystemClock().now(), "step": step}
        _speak().post(f"/runs/{run}/metrics", {"metrics": [point]})


def log_param(key: str, value: str | int | float | bool) -> None:
    """Log one param to the run of the step this is called in; the same key with another value is a conflict."""
    run = os.environ.get("HOMEOSTAT_RUN_ID")
    if run:
        _speak().post(f"/runs/{run}/params", {"params": {key: str(value)}})


def _speak() -> Connection:
    """The connection of this process; a forked worker makes its own. It never starts a server."""
    global _connection
    if _connection is None:
        _connection = open_connection(load_settings(), start=False)
    return _connection
