"""Params: what a run was told. Written once; a run that needs another value is another run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from homeostat.foundation.database import Transaction
from homeostat.foundation.errors import Kind, entry
from homeostat.tracking import tables
from homeostat.tracking.limits import LONGEST_PARAM, check_count, check_key, check_value
from homeostat.tracking.lookup import require_active

FIXED = entry(
    "tracking.param_fixed",
    Kind.CONFLICT,
    "param {key!r} of this run is {kept!r} and cannot become {value!r}",
    "start another run, or log it under another key",
)


def log(tx: Transaction, run_id: str, values: Mapping[str, Any]) -> None:
    """Keep params as text. The same key with the same value changes nothing, with another raises; all or none."""
    check_count("params", len(values))
    require_active(tx, run_id)
    if not values:
        return
    table = tables.run_params
    texts = {check_key("param", key): check_value("param", key, v, LONGEST_PARAM) for key, v in values.items()}
    query = sa.select(table.c.key, table.c.value).where(table.c.project == tx.project, table.c.run_id == run_id)
    kept = {row.key: row.value for row in tx.execute(query)}
    for key, value in texts.items():
        if kept.get(key, value) != value:
            raise FIXED(field=key, key=key, kept=kept[key][:80], value=value[:80])
    rows = [{"project": tx.project, "run_id": run_id, "key": key, "value": value} for key, value in texts.items()]
    tx.execute(insert(table).on_conflict_do_nothing(), rows)
