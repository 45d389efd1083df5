"""Datasets as their projects define them."""

from __future__ import annotations

import msgspec
import sqlalchemy as sa

from homeostat.data import contracts, sources
from homeostat.data.events import DatasetDefined
from homeostat.data.records import Dataset
from homeostat.data.tables import datasets
from homeostat.foundation import events
from homeostat.foundation.database import Reader, Transaction
from homeostat.foundation.errors import Kind, entry
from homeostat.foundation.ids import digest_of

NO_DATASET = entry(
    "data.no_dataset", Kind.NOT_FOUND, "there is no dataset {dataset!r}", "list them with: homeostat data show"
)


def define(tx: Transaction, dataset: Dataset) -> Dataset:
    """Declare a dataset, or change its declaration; the same one again changes nothing and tells nothing.

    Raises `name.invalid`, `data.bad_dataset`, `data.bad_rule` or `data.bad_pattern`.
    """
    sources.check(contracts.check_dataset(dataset).source)
    record = msgspec.json.encode(dataset)
    here = (datasets.c.project == tx.project, datasets.c.name == dataset.name)
    found = tx.execute(sa.select(datasets.c.record).where(*here)).scalar()
    if found == record:
        return dataset
    if found is None:
        row = {"project": tx.project, "name": dataset.name, "record": record, "defined_at": tx.at}
        tx.execute(sa.insert(datasets).values(row))
    else:
        tx.execute(sa.update(datasets).where(*here).values(record=record, defined_at=tx.at))
    told = DatasetDefined(subject=f"dataset/{dataset.name}", dataset=dataset.name, digest=digest_of(record))
    events.emit(tx, told)
    return dataset


def get(reader: Reader, name: str) -> Dataset:
    """The dataset called `name`; raises `data.no_dataset`."""
    query = sa.select(datasets.c.record).where(datasets.c.project == reader.project, datasets.c.name == name)
    record = reader.execute(query).scalar()
    if record is None:
        raise NO_DATASET(field="dataset", dataset=name)
    return msgspec.json.decode(record, type=Dataset)


def listing(reader: Reader) -> list[Dataset]:
    """Every dataset of the project, by name."""
    query = sa.select(datasets.c.record).where(datasets.c.project == reader.project).order_by(datasets.c.name)
    return [msgspec.json.decode(record, type=Dataset) for record in reader.execute(query).scalars()]
