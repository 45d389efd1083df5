"""`settle` says that the platform has caught up: it must never say so while something is in flight."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from delivered import Caller
from wired import DIRECT, START, Wired

from homeostat.control.loop import Loop
from homeostat.data import datasets, labels
from homeostat.data.records import Dataset, Label
from homeostat.data.sources import files
from homeostat.foundation.clock import DAY
from homeostat.serving import endpoints


@pytest.fixture
def turning(tmp_path: Path) -> Iterator[Wired]:
    """A home of its own whose loop turns by itself."""
    made = Wired.at(tmp_path)
    made.loop.start()
    yield made
    made.close()


def settled(wired: Wired, timeout: float = 60.0) -> None:
    assert wired.loop.settle(timeout), wired.loop.busy()


def dataset(wired: Wired, project: str = "default") -> None:
    source = files("*.csv", base=wired.folder)
    with wired.database.write(actor="person:ann", project=project) as tx:
        datasets.define(tx, Dataset(name="tx", source=source, key="id", label="y"))


def label(wired: Wired, count: int, project: str = "default") -> None:
    told = [Label(key=str(n), value=1, known_at=START) for n in range(count)]
    with wired.database.write(actor="person:ann", project=project) as tx:
        labels.record(tx, wired.engine.stores.objects, "tx", told)


def pending(wired: Wired, project: str = "default") -> int:
    with wired.database.read(project) as reader:
        return len(labels.pending(reader))


def test_labels_that_were_posted_are_in_their_table(turning: Wired) -> None:
    dataset(turning)
    for n in range(1, 6):
        label(turning, n)
        settled(turning)
        assert pending(turning) == 0
    scan = turning.engine.stores.tables.scan("default/labels/tx").collect()
    assert scan.height == 15


def test_labels_of_a_project_without_endpoints_or_pipelines_too(turning: Wired) -> None:
    dataset(turning, "bare")
    label(turning, 3, "bare")
    settled(turning)
    assert pending(turning, "bare") == 0


def test_predictions_that_were_answered_are_in_their_table(turning: Wired) -> None:
    turning.serve("m")
    caller = Caller(turning.plane.supervisor.address)
    sent = 0
    try:
        for n in range(8):
            for _ in range(5):
                status, _ = caller.ask("m", event_at=START + n * DAY)
                sent += status == 200
            settled(turning)
            with turning.database.read() as reader:
                endpoint = endpoints.get(reader, "m")
            assert endpoint.predictions == sent + 1 and endpoint.watermark == START + n * DAY
            assert turning.engine.stores.tables.scan("default/predictions/m").collect().height == sent
    finally:
        caller.close()
    assert sent == 40


def test_a_run_goes_all_the_way_to_its_version_in_production(turning: Wired) -> None:
    turning.serve("m")
    turning.may_make.clear()
    turning.runner.start("m", {}, trigger="person", actor="person:ann")
    assert turning.making.wait(30)
    assert not turning.loop.settle(0.5) and turning.loop.busy() == ["pipeline m"]
    threading.Timer(0.2, turning.may_make.set).start()
    settled(turning)
    assert turning.arms("m") == {"champion": 2, "previous": 1} and turning.runs() == []


def test_a_deployment_that_was_asked_for_has_its_verdict(turning: Wired) -> None:
    turning.define("m", DIRECT)
    asked = turning.ask("m", turning.register("m"))
    settled(turning)
    assert turning.read(asked).state == "live"


def test_an_incident_is_answered_to_the_end(turning: Wired) -> None:
    turning.serve("m")
    settled(turning)
    turning.ail("m")
    settled(turning)
    assert [(d.verdict, d.state) for d in turning.decisions("m")] == [("retrain", "done")]
    assert turning.arms("m") == {"champion": 2, "previous": 1}


class Late(Loop):
    """A loop in which a run ends at the worst moment: after a pass has looked, before it is judged quiet."""

    wired: Any = None

    def one_pass(self) -> bool:
        moved = super().one_pass()
        if self.wired is not None and not moved:
            wired, self.wired = self.wired, None
            wired.may_make.set()
            for run in wired.runs():
                wired.runner.wait(run.id, 30)
        return moved


@pytest.mark.parametrize("by_decision", [False, True])
def test_a_run_that_ends_behind_the_pass_that_looked_at_it_is_not_missed(tmp_path: Path, by_decision: bool) -> None:
    wired = Wired.at(tmp_path)
    try:
        wired.loop = late = wired.new_loop(Late)
        assert isinstance(late, Late)
        wired.serve("m")
        wired.may_make.clear()
        if by_decision:
            wired.ail("m")
            wired.turn(2)
        else:
            wired.runner.start("m", {}, trigger="person", actor="person:ann")
        assert wired.making.wait(30) and len(wired.runs()) == 1
        late.wired = wired
        wired.loop.start()
        settled(wired)
        assert late.wired is None and wired.arms("m") == {"champion": 2, "previous": 1}
    finally:
        wired.close()


def test_trouble_in_one_project_is_not_settled_by_another(turning: Wired) -> None:
    """An organ that falters in one project and goes well in the next: there is still something to do."""
    for project in ("a", "b"):
        dataset(turning, project)
        with turning.database.write(actor="person:ann", project=project) as tx:
            endpoints.create(tx, "m", "m")
    settled(turning)
    with turning.database.write(actor="person:ann", project="a") as tx:
        from homeostat.governance import decisions
        from homeostat.governance.records import Decision

        odd = Decision(
            id="d" * 32, at=0, event_at=None, subject="endpoint/m", decider="service:loop", rule="r", verdict="retrain",
            summary="s", state="approved",
        )  # fmt: skip
        decisions.record(tx, odd)  # it says nothing of how to retrain
    assert not turning.loop.settle(1.0)
    assert set(turning.loop._faltered) == {("control", "a")}
    with turning.database.write(actor="person:ann", project="a") as tx:
        decisions.move(tx, odd.id, "superseded")
    settled(turning)
    assert not turning.loop._faltered


def test_the_loop_outlives_a_pass_that_breaks_off(turning: Wired) -> None:
    settled(turning)
    before = turning.loop.passes
    turning.database.engine.dispose()
    path = turning.folder / "homeostat.db"
    away = path.with_suffix(".away")
    path.rename(away)
    path.mkdir()  # nothing can be read or written
    assert not turning.loop.settle(1.0)
    path.rmdir()
    away.rename(path)
    settled(turning)
    assert turning.loop.passes > before


def test_settling_ends_with_the_loop(turning: Wired) -> None:
    turning.serve("m")
    turning.may_make.clear()
    turning.runner.start("m", {}, trigger="person", actor="person:ann")
    ending = threading.Timer(0.3, turning.loop.stop)
    ending.start()
    assert not turning.loop.settle(30.0)
    ending.join()
    assert turning.loop.stop() and turning.loop.stop(0.0)
