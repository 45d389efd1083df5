"""What an output is remembered by: the function, its code, its inputs' content, params and settings.

A platform function ("module:qualname") also sees the run's `context`, and its code is this package's version, so both
are part of its key. What else a step looks at (the clock, labels that came since) is not: such a step says
`cache=False`, or takes what it looks at as an input.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import sqlalchemy as sa
from blake3 import blake3
from msgspec import Struct

from homeostat import __version__
from homeostat.foundation.database import Reader
from homeostat.pipelines import tables
from homeostat.pipelines.records import Step


class Hit(Struct, frozen=True, kw_only=True):
    """An output that was made before."""

    output: str
    output_kind: str


def key_of(step: Step, params: Mapping[str, Any], inputs: Mapping[str, str], context: Mapping[str, Any]) -> str:
    """The cache key of one execution of `step`: 64 hex digits."""
    content: list[Any] = [step.function, step.code_digest, inputs, params, step.settings]
    if not step.function.startswith("project:"):
        content += [__version__, context]
    return blake3(msgspec.json.encode(content, order="deterministic")).hexdigest()


_made = (
    sa.select(tables.step_runs.c.cache_key, tables.step_runs.c.output, tables.step_runs.c.output_kind)
    .where(
        tables.step_runs.c.project == sa.bindparam("project"),
        tables.step_runs.c.cache_key.in_(sa.bindparam("keys", expanding=True)),
        tables.step_runs.c.state == "succeeded",
    )
    .order_by(tables.step_runs.c.finished_at)
)


def find(reader: Reader, keys: Iterable[str]) -> dict[str, Hit]:
    """The newest output made under each of `keys`, where there is one."""
    wanted = list(keys)
    if not wanted:
        return {}
    rows = reader.execute(_made, {"project": reader.project, "keys": wanted})
    return {row.cache_key: Hit(output=row.output, output_kind=row.output_kind) for row in rows if row.output}
