"""Runs and everything logged to them: what is kept, what is refused, and what a crash or a repeat may not change."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.foundation import events
from homeostat.foundation.clock import DrivenClock
from homeostat.foundation.database import Database, metadata
from homeostat.foundation.errors import HomeostatError
from homeostat.tracking import artifacts, experiments, metrics, params, runs, tables, tags  # noqa: F401
from homeostat.tracking.limits import check_key, check_path
from homeostat.tracking.records import Metric, Run

START = 1_000_000_000


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'h.db'}", DrivenClock(START))
    metadata.create_all(database.engine)
    yield database
    database.close()


def begin(database: Database, name: str = "", **fields: object) -> Run:
    with database.write(actor="person:ada") as tx:
        return runs.start(tx, "fraud", name=name, **fields)  # type: ignore[arg-type]


def refused(code: str, function: object, *arguments: object, **fields: object) -> HomeostatError:
    with pytest.raises(HomeostatError) as caught:
        function(*arguments, **fields)  # type: ignore[operator]
    assert caught.value.code == code
    assert caught.value.field and caught.value.hint
    return caught.value


def test_a_run_from_start_to_finish(database: Database) -> None:
    run = begin(database, "first", params={"trees": 100}, tags={"owner": "ada"}, step_run_id="s1")
    assert (run.state, run.params, run.tags, run.started_by) == (
        "RUNNING",
        {"trees": "100"},
        {"owner": "ada"},
        "person:ada",
    )
    with database.write(actor="person:ada") as tx:
        points = [Metric(key="loss", value=1 / step, at=START + step, step=step) for step in (1, 2, 3)]
        metrics.log(tx, run.id, points)
        artifacts.record(tx, run.id, "plots/roc.png", "a" * 64, 12)
        done = runs.finish(tx, run.id, "FINISHED")
        assert runs.finish(tx, run.id, "FINISHED") == done
    assert (done.state, done.ended_at, done.metrics) == ("FINISHED", START, {"loss": 1 / 3})
    with database.read() as reader:
        assert runs.get(reader, run.id) == done
        assert metrics.history(reader, run.id, "loss") == points
        assert metrics.history(reader, run.id, "gain") == []
        assert [a.path for a in artifacts.listing(reader, run.id)] == ["plots/roc.png"]
        kinds = [event.kind for event in events.read_after(reader)]
    assert kinds == ["tracking.experiment_created", "tracking.run_started", "tracking.run_finished"]


def test_the_latest_point_is_the_one_with_the_highest_step_and_time(database: Database) -> None:
    run = begin(database)
    with database.write(actor="x") as tx:
        metrics.log(tx, run.id, [Metric(key="a", value=3.0, at=3, step=3), Metric(key="a", value=1.0, at=9, step=1)])
        metrics.log(tx, run.id, [Metric(key="a", value=2.0, at=99, step=2)])
        assert runs.get(tx, run.id).metrics == {"a": 3.0}
        metrics.log(tx, run.id, [Metric(key="a", value=4.0, at=3, step=3)])
        assert runs.get(tx, run.id).metrics == {"a": 4.0}
        assert len(metrics.history(tx, run.id, "a")) == 4


def test_values_that_are_no_ordinary_numbers_are_kept(database: Database) -> None:
    run = begin(database)
    values = {"nan": math.nan, "up": math.inf, "down": -math.inf, "tiny": 5e-324}
    with database.write(actor="x") as tx:
        metrics.log(tx, run.id, [Metric(key=key, value=value, at=1) for key, value in values.items()])
        kept = runs.get(tx, run.id).metrics
        assert math.isnan(metrics.history(tx, run.id, "nan")[0].value)
    assert math.isnan(kept.pop("nan"))
    assert kept == {key: value for key, value in values.items() if key != "nan"}


def test_a_repeated_request_changes_nothing(database: Database) -> None:
    first = begin(database, "once", run_id="ab" * 16, params={"a": 1})
    again = begin(database, "twice", run_id="ab" * 16, params={"a": 2})
    assert again == first
    for _ in range(2):
        with database.write(actor="x") as tx:
            metrics.log(tx, first.id, [Metric(key="a", value=1.0, at=1), Metric(key="a", value=1.0, at=1)])
            params.log(tx, first.id, {"a": 1, "b": "two"})
            tags.set(tx, first.id, {"t": "v"})
    with database.read() as reader:
        assert len(metrics.history(reader, first.id, "a")) == 1
        assert runs.get(reader, first.id).params == {"a": "1", "b": "two"}


def test_a_param_cannot_change_and_the_refused_batch_leaves_nothing(database: Database) -> None:
    run = begin(database, params={"depth": 3})
    with pytest.raises(HomeostatError) as caught, database.write(actor="x") as tx:
        params.log(tx, run.id, {"new": 1, "depth": 4})
    assert caught.value.code == "tracking.param_fixed" and "'3'" in str(caught.value)
    with database.read() as reader:
        assert runs.get(reader, run.id).params == {"depth": "3"}


def test_a_bad_point_leaves_nothing_of_its_batch(database: Database) -> None:
    run = begin(database)
    bad_points = [
        Metric(key="../up", value=1.0, at=1),
        Metric(key="", value=1.0, at=1),
        Metric(key="a" * 251, value=1.0, at=1),
        Metric(key="a", value="high", at=1),  # type: ignore[arg-type]
        Metric(key="a", value=True, at=1),
        Metric(key="a", value=10**400, at=1),
        Metric(key="a", value=1.0, at=1 << 63),
        Metric(key="a", value=1.0, at=1, step=-(1 << 64)),
    ]
    for bad in bad_points:
        with pytest.raises(HomeostatError) as caught, database.write(actor="x") as tx:
            metrics.log(tx, run.id, [Metric(key="good", value=1.0, at=1), bad])
        assert caught.value.code in ("tracking.bad_key", "tracking.bad_number")
    with database.read() as reader:
        assert runs.get(reader, run.id).metrics == {}
        assert metrics.history(reader, run.id, "good") == []


def test_other_refusals_say_what_to_do(database: Database) -> None:
    run = begin(database)
    with database.write(actor="x") as tx:
        refused("tracking.no_run", metrics.log, tx, "0" * 32, [Metric(key="a", value=1.0, at=1)])
        refused("tracking.no_run", metrics.history, tx, "0" * 32, "a")
        refused("tracking.no_run", runs.get, tx, "0" * 32)
        refused("tracking.no_experiment", experiments.get, tx, "nowhere")
        refused("tracking.too_long", params.log, tx, run.id, {"a": "x" * 6001})
        refused("tracking.too_long", tags.set, tx, run.id, {"a": "x" * 8001})
        refused("tracking.bad_key", tags.set, tx, run.id, {"a/../b": "x"})
        refused("tracking.too_many", metrics.log, tx, run.id, [Metric(key="a", value=1.0, at=1)] * 100_001)
        refused("tracking.bad_state", runs.finish, tx, run.id, "DONE")
        refused("tracking.bad_run_id", runs.start, tx, "fraud", run_id="../../x")
        refused("tracking.bad_name", experiments.ensure, tx, " ")
        refused("objects.bad_digest", artifacts.record, tx, run.id, "a", "short", 1)
        for order in ("nonsense", "metrics", "started_at sideways"):
            refused("tracking.bad_order", runs.listing, tx, order_by=order)


@pytest.mark.parametrize(
    "path", ["", "/etc/passwd", "..", "a/../b", "a//b", "./a", "a/", "C:/x", "a\\b", "a\0b", "a\nb", "x" * 1001]
)
def test_artifact_paths_stay_within_the_run(path: str) -> None:
    refused("tracking.bad_path", check_path, path)


@given(st.text(max_size=40))
def test_whatever_key_is_accepted_stays_below_a_folder(text: str) -> None:
    for check in (check_path, lambda key: check_key("metric", key)):
        try:
            accepted = check(text)
        except HomeostatError:
            continue
        assert os.path.normpath(f"/runs/{accepted}").startswith("/runs/")


def test_listing_orders_by_anything_and_puts_what_lacks_it_last(database: Database) -> None:
    made = {name: begin(database, name) for name in ("low", "high", "none", "nan")}
    with database.write(actor="x") as tx:
        for name, value in (("low", 1.0), ("high", 2.0), ("nan", math.nan)):
            metrics.log(tx, made[name].id, [Metric(key="valid loss", value=value, at=1)])
        tags.set(tx, made["none"].id, {"owner": "z"})
        tags.set(tx, made["low"].id, {"owner": "a"})
        runs.start(tx, "elsewhere", name="other")

        def names(**fields: object) -> list[str]:
            return [run.name for run in runs.listing(tx, **fields)]  # type: ignore[arg-type]

        assert names(experiment="fraud") == ["nan", "none", "high", "low"]
        assert names(experiment="fraud", order_by="metrics.valid loss") == ["low", "high", "nan", "none"]
        assert names(experiment="fraud", order_by="metrics.valid loss desc")[:2] == ["high", "low"]
        assert names(experiment="fraud", order_by="tags.owner desc")[:2] == ["none", "low"]
        assert names(order_by="name asc", limit=2) == ["high", "low"]
        assert names()[0] == "other"
        assert [e.name for e in experiments.listing(tx)] == ["elsewhere", "fraud"]


def test_projects_do_not_see_each_other(database: Database) -> None:
    run = begin(database, run_id="cd" * 16)
    with database.write(actor="x", project="other") as tx:
        refused("tracking.no_run", runs.get, tx, run.id)
        refused("tracking.no_run", metrics.log, tx, run.id, [Metric(key="a", value=1.0, at=1)])
        assert runs.listing(tx) == []
        assert runs.start(tx, "fraud", run_id=run.id).experiment_id != run.experiment_id


def test_an_acknowledged_metric_survives_kill_9(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'h.db'}"
    program = f"""
import itertools
from homeostat.foundation.database import Database, metadata
from homeostat.tracking import metrics, runs
from homeostat.tracking.records import Metric
database = Database({url!r})
metadata.create_all(database.engine)
with database.write(actor="x") as tx:
    run = runs.start(tx, "e", run_id="ef" * 16)
for step in itertools.count():
    with database.write(actor="x") as tx:
        metrics.log(tx, run.id, [Metric(key="loss", value=step, at=step, step=step)])
    print(step, flush=True)
"""
    writer = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    acknowledged = -1
    while acknowledged < 50:
        acknowledged = int(writer.stdout.readline())
    writer.send_signal(signal.SIGKILL)
    rest, _ = writer.communicate()
    whole = [line for line in rest.splitlines(keepends=True) if line.endswith("\n")]
    acknowledged = int(whole[-1]) if whole else acknowledged
    database = Database(url)
    with database.read() as reader:
        kept = [point.step for point in metrics.history(reader, "ef" * 16, "loss")]
        assert runs.get(reader, "ef" * 16).metrics["loss"] == kept[-1]
    database.close()
    assert kept[: acknowledged + 1] == list(range(acknowledged + 1)) and len(kept) <= acknowledged + 2
