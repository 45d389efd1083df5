"""The prediction log is taken in exactly once, whatever dies, and whatever is in it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from homeostat.engines.local import Local
from homeostat.foundation.clock import DrivenClock
from homeostat.foundation.database import Database, metadata
from homeostat.foundation.ids import new_id_bytes
from homeostat.inference import wire
from homeostat.inference.segments import SegmentWriter, seal_leftovers
from homeostat.serving import endpoints, intake, intake_table
from homeostat.serving.records import SegmentPart, Taken

NOW = 1_770_000_000_000_000


@dataclass
class Log:
    """A home with two endpoints and a worker's prediction log."""

    home: Path
    database: Database
    engine: Local
    writer: SegmentWriter
    ids: dict[str, str]

    def write(self, endpoint: str = "fraud", **fields: Any) -> str:
        """One answered request; returns its id."""
        request = new_id_bytes()
        record = wire.Prediction(
            **{
                "request": request, "event_at": NOW, "recorded_at": NOW, "endpoint": self.ids.get(endpoint, endpoint),
                "project": "default", "version": 1, "arm": "champion", "status": 200, "latency": 900, "rows": 1,
                "keys": None, "caller_id": None, "inputs": {"x": [1.0]}, "outputs": {"label": [1], "score": [0.9]},
                "principal": "person:test", **fields,
            }
        )  # fmt: skip
        self.writer.append(wire.encode_prediction(record))
        return request.hex()

    def step(self) -> tuple[Taken, ...]:
        return intake.step(self.database, self.engine, self.home / "inference")

    def rows(self, endpoint: str = "fraud") -> pl.DataFrame:
        table = intake_table.table_name("default", endpoint)
        return self.engine.stores.tables.scan(table).sort("prediction_id").collect()

    def files(self) -> list[str]:
        return sorted(p.suffix for p in self.writer.directory.iterdir())

    def predictions(self, endpoint: str = "fraud") -> int:
        with self.database.read() as reader:
            return endpoints.get(reader, endpoint).predictions


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    """A log with nothing in it."""
    database = Database(f"sqlite:///{tmp_path / 'homeostat.db'}", DrivenClock(NOW))
    metadata.create_all(database.engine)
    with database.write(actor="person:test") as tx:
        ids = {endpoints.create(tx, name, name).id: name for name in ("fraud", "churn")}
    segments = tmp_path / "inference" / "segments"
    segments.mkdir(parents=True)
    engine = Local(tmp_path)
    writer = SegmentWriter(segments, "0", 1 << 16)
    yield Log(tmp_path, database, engine, writer, {name: id for id, name in ids.items()})
    writer.seal()
    engine.close()
    database.close()


def test_what_was_written_is_taken_in_while_it_is_written(log: Log) -> None:
    assert log.step() == ()
    first = log.write(keys=["k1"], subjects=["s1"], caller_id="mine", rows=1)
    (taken,) = log.step()
    assert (taken.endpoint, taken.rows, taken.requests, taken.failed) == ("fraud", 1, 1, 0)
    assert log.step() == ()
    log.write("churn", rows=2, inputs={"x": [1.0, 2.0]}, outputs={"value": [0.1, 0.2]})
    log.write(rows=0, status=400, version=0, arm="", inputs={}, outputs={})
    assert {t.endpoint: (t.rows, t.requests) for t in log.step()} == {"churn": (2, 1), "fraud": (0, 1)}
    row = log.rows().filter(pl.col("request") == first).to_dicts()[0]
    assert row["prediction_id"] == f"{first}-0" and (row["key"], row["subject"], row["caller_id"]) == (
        "k1",
        "s1",
        "mine",
    )
    assert (row["in.x"], row["out.label"], row["out.score"]) == (1.0, "1", 0.9)
    refused = log.rows().filter(pl.col("status") == 400).to_dicts()[0]
    assert refused["row"] == -1 and refused["in.x"] is None
    assert log.rows("churn")["out.value"].to_list() == [0.1, 0.2]


def test_a_crash_before_the_offset_is_kept_counts_nothing_twice(log: Log) -> None:
    for _ in range(3):
        log.write()
    with log.database.read() as reader:
        names = endpoints.names(reader)
    part = [SegmentPart(stem=s, path=str(p), start=0) for s, p, _ in wire.segments(log.writer.directory)]
    job = intake.IntakeJob(parts=tuple(part), names=names)
    intake_table.take(job, log.engine.stores)  # the worker's half, whose control was killed before it heard of it
    log.write()
    intake_table.take(job, log.engine.stores)
    assert log.rows().height == 4 and log.predictions() == 0
    (taken,) = log.step()
    assert taken.rows == 4 == log.predictions() == log.rows().height


def test_sealed_segments_go_once_they_are_taken_in_whole(log: Log) -> None:
    log.write()
    log.step()
    log.write()
    log.writer.seal()
    assert log.files() == [".sealed"]
    log.step()
    assert log.files() == [] and log.rows().height == 2
    for _ in range(300):  # more than one segment
        log.write(inputs={"x": [1.0], "text": ["t" * 200]})
    log.step()
    assert log.files() == [".seg"] and log.rows().height == 302


def test_a_segment_that_a_killed_worker_left_is_taken_in(log: Log) -> None:
    log.write()
    path = next(log.writer.directory.iterdir())
    shutil.copy(path, log.home / "as it was")
    with path.open("r+b") as file:  # torn: the length of a record that was not written whole
        file.seek(len(wire.HEADER) + int.from_bytes((log.home / "as it was").read_bytes()[8:12], "little") + 8)
        file.write((40).to_bytes(4, "little"))
    log.step()
    assert log.rows().height == 1
    seal_leftovers(log.writer.directory, "0")
    log.step()
    assert log.rows().height == 1 and log.files() == []
    log.writer._map = None  # the worker is gone


def test_a_damaged_segment_is_set_aside_and_holds_nothing_up(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        log.write()
    log.writer.seal()
    path = next(log.writer.directory.iterdir())
    data = bytearray(path.read_bytes())
    data[-3] ^= 0xFF
    path.write_bytes(data)
    log.step()
    log.step()
    assert log.rows().height == 2 and log.files() == [".damaged"] and "set aside" in caplog.text
    log.write()
    (taken,) = log.step()
    assert taken.rows == 1


def test_a_log_that_grew_meanwhile_is_taken_in_piece_by_piece(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "_LARGEST_JOB", 1 << 16)
    for _ in range(600):
        log.write(inputs={"x": [1.0], "text": ["t" * 300]})
    log.writer.seal()
    steps = 0
    while log.step():
        steps += 1
    assert steps >= 3 and log.rows().height == log.predictions() == 600 and log.files() == []


def test_a_column_of_nulls_does_not_say_what_it_holds(log: Log) -> None:
    log.write(inputs={"x": [1.0], "kind": [None]})
    log.step()
    assert "in.kind" not in log.rows().columns
    log.write(inputs={"x": [None], "kind": ["bus"]})
    log.step()
    log.write(inputs={"x": [2.0], "kind": [None]})
    log.step()
    assert log.rows().schema["in.kind"] == pl.String and log.rows()["in.kind"].to_list() == [None, "bus", None]
    assert log.rows()["in.x"].to_list() == [1.0, None, 2.0]


def test_an_input_that_changed_its_kind_does_not_stop_the_intake(log: Log) -> None:
    log.write(inputs={"x": [1.0], "hour": [7]})
    log.step()
    log.write(inputs={"x": ["many"], "hour": [True]})
    log.step()
    assert log.rows()["in.x"].to_list() == [1.0, None] and log.rows()["in.hour"].to_list() == [7.0, 1.0]
    log.write("churn", inputs={"x": ["text"]})
    log.step()
    log.write("churn", inputs={"x": [3]})
    log.step()
    assert log.rows("churn")["in.x"].to_list() == ["text", "3.0"]


def test_a_score_for_each_class_is_a_column_for_each(log: Log) -> None:
    log.write(rows=2, inputs={"x": [1.0, 2.0]}, outputs={"label": ["a", "b"], "score": [[0.7, 0.3], [0.1, 0.9]]})
    log.step()
    assert log.rows()["out.score_1"].to_list() == [0.3, 0.9] and log.rows()["out.label"].to_list() == ["a", "b"]


def test_event_time_comes_from_what_was_answered_or_failed(log: Log) -> None:
    past = NOW - 10**12
    log.write(event_at=past)
    log.write(rows=0, status=400, inputs={}, outputs={})
    (taken,) = log.step()
    assert (taken.first_event_at, taken.last_event_at, taken.replayed, taken.told) == (past, past, True, True)
    log.write(rows=0, status=422, inputs={}, outputs={})
    (taken,) = log.step()
    assert taken.last_event_at is None and taken.requests == 1 and taken.failed == 0
    log.write(rows=0, status=500, event_at=past + 1, inputs={}, outputs={})
    (taken,) = log.step()
    assert taken.last_event_at == past + 1 and taken.failed == 1


def test_predictions_of_an_endpoint_nobody_knows_are_passed_over(log: Log) -> None:
    log.write("0" * 32)
    log.write()
    (taken,) = log.step()
    assert taken.rows == 1 and log.step() == ()
