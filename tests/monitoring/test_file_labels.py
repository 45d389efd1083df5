"""Labels that arrive inside the dataset's own files count when their delay is over, once, behind the label table's."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from monitored import START, World

from homeostat.data import datasets, versions
from homeostat.data import tables as _tables  # noqa: F401  (puts its tables on the metadata)
from homeostat.data.records import Dataset, IngestResult, Source
from homeostat.foundation.clock import DAY
from homeostat.monitoring import labelled, monitors, windows
from homeostat.monitoring.records import Cursor, FileLabels
from homeostat.pipelines.engine import call


def define(world: World, folder: Path) -> None:
    dataset = Dataset(
        name="transactions",
        source=Source(pattern="*.parquet", base=str(folder)),
        key="id",
        time="at",
        label="fraud",
        label_delay=2 * DAY,
    )
    with world.database.write(actor="person:local") as tx:
        datasets.define(tx, dataset)


def ingest(world: World) -> None:
    with world.database.read() as reader:
        job = versions.next_ingest(reader, "transactions", world.database.clock.now())
    result = call(world.engine, "homeostat.data.ingest:ingest", job, IngestResult)
    with world.database.write(actor="person:local") as tx:
        versions.record(tx, result)


def counted(world: World) -> tuple[list[int], int]:
    with world.database.read() as reader:
        states = {s.monitor: s.observed for s in monitors.listing(reader, "fraud", 1)}
        seen = [w.labelled for w in windows.listing(reader, "fraud")]
    return seen, states["misses"] + states["false_alarms"]


def test_labels_in_files_count_once_when_their_delay_is_over(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    define(world, folder)
    for day in range(5):
        world.traffic(rows=100)
        today = world.keys[-100:]
        frame = pl.DataFrame(
            {
                "id": [key for _, key, _ in today],
                "at": [at for at, _, _ in today],
                "fraud": [int(t) for _, _, t in today],
            }
        ).with_columns(pl.col("at").cast(pl.Datetime("us", "UTC")))
        frame.write_parquet(folder / f"{day}.parquet")
        ingest(world)
        world.watch()
    assert counted(world) == ([100, 100, 100, 0, 0], 300)
    first = world.keys[:10]
    world.label([(key, int(not truth), START + 5 * DAY + 1) for _, key, truth in first])  # corrections, one by one
    world.traffic(rows=100)
    world.watch()
    assert counted(world) == ([100, 100, 100, 100, 0, 0], 400)


@pytest.mark.parametrize(
    ("values", "decoded"),
    [
        (["yes", 'a "quoted" one', None], ["yes", 'a "quoted" one']),
        ([True, False, None], [True, False]),
        ([1.5, 2.0, None], [1.5, 2.0]),
        ([3, 4, None], [3, 4]),
    ],
)
def test_labels_of_every_kind_are_read_as_json(world: World, values: list[object], decoded: list[object]) -> None:
    frame = pl.DataFrame(
        {
            "id": ["a", "b", "c"],
            "at": [START, START, START],
            "fraud": values,
            "_version": [1, 1, 1],
            "_row": [0, 1, 2],
            "_recorded_at": [START] * 3,
        }
    )
    delta = world.stores.tables.append(versions.table_of("default", "plain"), frame, writer="test", sequence=1)
    files = FileLabels(key="id", label="fraud", time="at", delay=DAY, data=1, delta_version=delta)

    def read(at: int) -> pl.DataFrame:
        return labelled.labels(
            world.stores, "default", "plain", files=files, known_at=at, newest=-1, cursor=Cursor()
        ).sort("key")

    assert labelled.decoded(read(START + DAY)["value"]) == decoded
    assert read(START + DAY - 1).is_empty()
