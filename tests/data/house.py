"""A home with rows, objects and tables for the tests of this folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from homeostat.data import datasets, labels, versions
from homeostat.data.ingest import ingest
from homeostat.data.label_table import fold
from homeostat.data.records import Dataset, DatasetVersion, IngestResult, Label
from homeostat.data.sources import files
from homeostat.foundation import refs
from homeostat.foundation.clock import DAY, DrivenClock
from homeostat.foundation.database import Database, metadata
from homeostat.foundation.stores import Stores

NOW = 1_770_000_000_000_000  # 2026-02-02


@dataclass
class House:
    """Control's rows and a worker's stores in one folder, driven by hand."""

    folder: Path
    database: Database
    stores: Stores

    def define(self, pattern: str = "*.csv", **fields: Any) -> Dataset:
        """Declare dataset "tx" over files of the folder "data"."""
        source = files(pattern, base=self.folder / "data")
        with self.database.write(actor="person:test") as tx:
            return datasets.define(tx, Dataset(name="tx", source=source, **fields))

    def file(self, name: str, text: str | bytes) -> Path:
        """Write a file into the folder "data"."""
        path = self.folder / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def ingest(self, now: int = NOW) -> tuple[IngestResult, DatasetVersion | None]:
        """Ask for a job, run it, record its result."""
        with self.database.read() as reader:
            job = versions.next_ingest(reader, "tx", now)
        result = ingest(job, self.stores)
        with self.database.write(actor="service:control") as tx:
            return result, versions.record(tx, result)

    def rows(self) -> list[dict[str, Any]]:
        """The rows of the newest published version, in the order they came in, without the platform's columns."""
        with self.database.read() as reader:
            version = versions.get(reader, "tx")
        frame = self.stores.tables.scan("default/datasets/tx", version.delta_version).sort("_version", "_row").collect()
        assert frame.height == version.rows
        return [{k: v for k, v in row.items() if k in version.columns and v is not None} for row in frame.to_dicts()]

    def main(self) -> int | None:
        """The version ref "main" points at."""
        with self.database.read() as reader:
            ref = refs.get(reader, "default/datasets/tx")
        return None if ref is None else ref.version

    def label(self, given: Sequence[Label]) -> None:
        """Record labels and fold them in."""
        with self.database.write(actor="service:test") as tx:
            labels.record(tx, self.stores.objects, "tx", given)
        self.fold()

    def fold(self) -> int:
        """Fold what waits; returns how many labels were added."""
        with self.database.read() as reader:
            job = labels.fold_job(reader, "tx")
        if job is None:
            return 0
        result = fold(job, self.stores)
        with self.database.write(actor="service:control") as tx:
            labels.folded(tx, result)
        return result.labels


def build(folder: Path) -> House:
    """A fresh house."""
    database = Database(f"sqlite:///{folder / 'rows.db'}", DrivenClock(NOW + DAY))
    metadata.create_all(database.engine)
    (folder / "data").mkdir(exist_ok=True)
    return House(folder, database, Stores.at(folder))
