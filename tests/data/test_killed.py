"""kill -9 in the middle of an ingest or a fold, in a real process: called again, no row twice, none lost."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest
from house import NOW, House

from homeostat.data import labels, versions
from homeostat.data.contracts import column
from homeostat.data.ingest import ingest
from homeostat.data.records import IngestJob, IngestResult, Label


def run_killed(house: House, job: Any, name: str, point: str) -> None:
    """Run a job in a process that kills itself at `point`."""
    path = house.folder / name
    path.write_bytes(msgspec.msgpack.encode(job))
    command = [sys.executable, str(Path(__file__).with_name("killed.py")), str(path), str(house.folder), point]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == -signal.SIGKILL, ran.stderr


@pytest.mark.parametrize("point", ["before", "after", "1", "2"])
def test_an_ingest_killed_anywhere(house: House, point: str) -> None:
    house.define(key="id", rules=(column("amount").between(0, 100),))
    house.file("0.csv", "id,amount\nz,1\n")
    house.ingest()
    house.file("1.csv", "id,amount\na,1\nb,2\nc,999\n")
    with house.database.read() as reader:
        job = versions.next_ingest(reader, "tx", NOW)
    run_killed(house, job, "ingest", point)
    house.file("2.csv", "id,amount\nd,4\na,5\n")  # comes while nobody is there
    for _ in range(2):
        house.ingest()
    assert [row["id"] for row in house.rows()] == ["z", "a", "b", "d"]
    with house.database.read() as reader:
        log = versions.log(reader, "tx")
    # The append that was there is answered for itself; the later file comes with the next version.
    assert [version.added for version in log] == ([1, 2, 1] if point == "after" else [3, 1])
    assert sum(version.quarantined for version in log) == 2


def test_an_ingest_that_widens_a_column_killed_after_it(house: House) -> None:
    house.define(key="id")
    house.file("0.csv", "id,amount\n1,1\n")
    house.ingest()
    house.file("1.csv", "id,amount\n2,2.5\n")
    with house.database.read() as reader:
        job = versions.next_ingest(reader, "tx", NOW)
    run_killed(house, job, "ingest", "after")
    house.ingest()
    assert [row["amount"] for row in house.rows()] == [1.0, 2.5]


def test_two_workers_with_the_same_job_append_once(house: House) -> None:
    house.define(key="id")
    for number in (1, 2):
        house.file(f"{number}.csv", f"id\n{number}\n")
        with house.database.read() as reader:
            job = versions.next_ingest(reader, "tx", NOW)
        start = threading.Barrier(3)

        def run(_: int, job: IngestJob = job, start: threading.Barrier = start) -> IngestResult:
            start.wait()
            return ingest(job, house.stores)

        with ThreadPoolExecutor(3) as threads:
            results = list(threads.map(run, range(3)))
        assert results[0] == results[1] == results[2]
        with house.database.write(actor="service:control") as tx:
            assert len({versions.record(tx, result).digest for result in results}) == 1  # type: ignore[union-attr]
        assert len(house.rows()) == number


def test_a_fold_killed_after_its_append(house: House) -> None:
    house.define(key="id")
    with house.database.write(actor="service:test") as tx:
        labels.record(tx, house.stores.objects, "tx", [Label(key="a", value=1)])
    with house.database.read() as reader:
        job = labels.fold_job(reader, "tx")
    run_killed(house, job, "fold", "after")
    with house.database.write(actor="service:test") as tx:
        labels.record(tx, house.stores.objects, "tx", [Label(key="b", value=1)])
    house.fold()
    assert house.stores.tables.scan("default/labels/tx").collect()["key"].sort().to_list() == ["a", "b"]
