"""Labels: what turned out to be true, late, out of order, and sometimes corrected.

`record` makes a batch durable at once: an object and a row. Folding it into the dataset's label table is a worker's
business (`label_table.fold`), asked for by the control loop through `fold_job` and noted by `folded`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import msgspec
import sqlalchemy as sa

from homeostat.data import contracts, datasets, versions
from homeostat.data.records import ColumnKind, Dataset, FoldJob, FoldResult, Label, LabelBatch
from homeostat.data.tables import label_batches
from homeostat.foundation import refs
from homeostat.foundation.database import Reader, Transaction
from homeostat.foundation.errors import Kind, entry
from homeostat.foundation.killpoints import passing
from homeostat.foundation.objects import Objects

BAD_LABEL = entry("data.bad_label", Kind.INVALID, "label {position} cannot be taken: {why}", "{fix}")

_PREDICTION = re.compile(r"[0-9a-f]{32}-\d{1,9}")
_LARGEST = 2**63
_MOST_BATCHES = 1000


def record(tx: Transaction, objects: Objects, dataset: str, labels: Sequence[Label]) -> int:
    """Make `labels` durable; returns how many. A label without `known_at` became known now (`tx.at`).

    All or nothing: `data.bad_label` names the first that cannot be taken. The same label twice does no harm.
    """
    definition = datasets.get(tx, dataset)
    kind = _label_kind(tx, definition)
    settled = [_settled(label, position, tx.at, kind) for position, label in enumerate(labels)]
    if not settled:
        return 0
    digest = objects.put_bytes(msgspec.msgpack.encode(settled))
    passing("labels.stored")
    row = {
        "project": tx.project,
        "dataset": dataset,
        "digest": digest,
        "labels": len(settled),
        "recorded_at": tx.at,
        "folded": False,
    }
    tx.execute(sa.insert(label_batches).values(row))
    return len(settled)


def pending(reader: Reader, dataset: str | None = None) -> list[LabelBatch]:
    """Batches that are not in a label table yet, in the order they were recorded."""
    query = sa.select(label_batches).where(label_batches.c.project == reader.project, label_batches.c.folded.is_(False))
    if dataset is not None:
        query = query.where(label_batches.c.dataset == dataset)
    return [_batch(row) for row in reader.execute(query.order_by(label_batches.c.id)).mappings()]


def projects(reader: Reader) -> list[str]:
    """Every project that has labels waiting, whatever project `reader` is of."""
    query = sa.select(label_batches.c.project).where(label_batches.c.folded.is_(False)).distinct()
    return list(reader.execute(query).scalars())


def newest(reader: Reader, dataset: str) -> int:
    """The id of the newest batch recorded for `dataset`, folded or not; 0 where there is none."""
    query = sa.select(sa.func.max(label_batches.c.id))
    where = (label_batches.c.project == reader.project, label_batches.c.dataset == dataset)
    return int(reader.execute(query.where(*where)).scalar() or 0)


def fold_job(reader: Reader, dataset: str) -> FoldJob | None:
    """The job that folds the oldest waiting batches of `dataset` (a thousand at most), or None."""
    waiting = pending(reader, dataset)[:_MOST_BATCHES]
    return FoldJob(project=reader.project, dataset=dataset, batches=tuple(waiting)) if waiting else None


def folded(tx: Transaction, result: FoldResult) -> None:
    """Note that every batch up to `result.through` is in the label table; again changes nothing."""
    tx.execute(
        sa.update(label_batches)
        .where(
            label_batches.c.project == tx.project,
            label_batches.c.dataset == result.dataset,
            label_batches.c.id <= result.through,
        )
        .values(folded=True)
    )


def _batch(row: sa.RowMapping) -> LabelBatch:
    return LabelBatch(**{name: row[name] for name in LabelBatch.__struct_fields__})


def _label_kind(reader: Reader, dataset: Dataset) -> ColumnKind | None:
    """What kind the label column has, as far as rules or the newest version tell."""
    if dataset.label is None:
        return None
    stated = contracts.stated_kinds(dataset).get(dataset.label)
    if stated is not None or refs.get(reader, versions.table_of(reader.project, dataset.name)) is None:
        return stated
    return versions.get(reader, dataset.name).columns.get(dataset.label)


def _settled(label: Label, position: int, now: int, kind: ColumnKind | None) -> Label:
    """The label with its `known_at`, or `data.bad_label`."""

    def bad(field: str, why: str, fix: str) -> Exception:
        return BAD_LABEL(field=f"labels[{position}].{field}", position=position, why=why, fix=fix)

    if label.key is None and label.prediction_id is None:
        raise bad(
            "key", "it has neither key nor prediction_id", "say which event it is of: the dataset's key, or the id"
        )
    if label.key is not None and (isinstance(label.key, bool) or str(label.key) == ""):
        raise bad("key", f"{label.key!r} is no key", "give the key as text or a whole number")
    if label.prediction_id is not None and not _PREDICTION.fullmatch(label.prediction_id):
        raise bad(
            "prediction_id",
            f"{label.prediction_id[:80]!r} is no prediction id",
            "use the one the answer carried: 32 hex digits, '-', the row",
        )
    for name in ("event_at", "known_at"):
        at = getattr(label, name)
        if at is not None and (isinstance(at, bool) or not isinstance(at, int) or not -_LARGEST <= at < _LARGEST):
            raise bad(name, f"{at!r} is no time", "give microseconds since 1970 UTC")
    why = _misfit(label.value, kind)
    if why:
        raise bad("value", why, "send the value the dataset's label column would hold")
    return label if label.known_at is not None else msgspec.structs.replace(label, known_at=now)


def _misfit(value: object, kind: ColumnKind | None) -> str | None:
    """Why `value` cannot be a label of this kind."""
    if not isinstance(value, bool | int | float | str):
        return f"{value!r} is no number, text, true or false"
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value} is not finite"
    if isinstance(value, int) and not -_LARGEST <= value < _LARGEST:
        return f"{value} does not fit 64 bits"
    if kind in ("float", "int", "bool", "time") and isinstance(value, str):
        return f"{value[:80]!r} is text, and the label column is {kind}"
    if kind == "int" and isinstance(value, float) and value != int(value):
        return f"{value} is no whole number, and the label column is int"
    if kind == "bool" and value not in (0, 1):
        return f"{value} is neither true nor false"
    if kind == "string" and not isinstance(value, str):
        return f"{value} is no text, and the label column is string"
    return None
