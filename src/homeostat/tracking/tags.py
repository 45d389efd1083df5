"""Tags: what people note about a run; they may change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy.dialects.sqlite import insert

from homeostat.foundation.database import Transaction
from homeostat.tracking import tables
from homeostat.tracking.limits import LONGEST_TAG, check_count, check_key, check_value
from homeostat.tracking.lookup import require_active


def set(tx: Transaction, run_id: str, values: Mapping[str, Any]) -> None:
    """Set tags, over earlier values of the same keys; all or none."""
    check_count("tags", len(values))
    require_active(tx, run_id)
    if not values:
        return
    rows = [
        {
            "project": tx.project,
            "run_id": run_id,
            "key": check_key("tag", key),
            "value": check_value("tag", key, value, LONGEST_TAG),
        }
        for key, value in values.items()
    ]
    statement = insert(tables.run_tags)
    tx.execute(
        statement.on_conflict_do_update(
            index_elements=["project", "run_id", "key"], set_={"value": statement.excluded.value}
        ),
        rows,
    )
