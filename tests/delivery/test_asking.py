"""From a request through the gate: verdicts that count, verdicts that came too late, and what waits."""

from __future__ import annotations

from pathlib import Path

import msgspec
import polars as pl
import pytest
from delivered import SIGNATURE_ONLY, Place, rows

from homeostat.data import datasets, labels
from homeostat.data.label_table import fold
from homeostat.data.records import Dataset, Label, Rule
from homeostat.data.sources import files
from homeostat.delivery import deployments, loads, rollbacks
from homeostat.delivery.records import CheckDefinition, Deployment, Gate, RolloutDefinition
from homeostat.foundation import events
from homeostat.foundation.clock import DAY
from homeostat.foundation.errors import HomeostatError
from homeostat.governance import decisions
from homeostat.registry import versions
from homeostat.serving import endpoints
from homeostat.serving.records import Taken

DIRECT = RolloutDefinition(kind="direct")
START = 20_000 * DAY


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short bursts: how long they take is tested in test_loads."""
    monkeypatch.setattr(loads, "_REQUESTS", 10)


def step(place: Place) -> bool:
    """One turn of delivery for every open deployment."""
    return place.releases.step("default")


def until(place: Place, deployment: Deployment, *states: str) -> Deployment:
    """Turn delivery until the deployment is in one of the states; its gate's worker is waited for."""
    for _ in range(50):
        now = place.read(deployment)
        if now.state in states:
            return now
        asked = place.releases.asking._asked.get(deployment.id)
        if asked is not None:
            asked.verdict.result(60)
        step(place)
    raise AssertionError(f"it is {now.state}: {now.summary}")


def close(place: Place, name: str) -> None:
    """Leave nothing open for the next test."""
    with place.database.write(actor="service:test") as tx:
        for deployment in deployments.listing(tx, name, states=deployments.OPEN):
            deployments.move(tx, deployment, state="superseded")


def dataset(place: Place, folder: Path, name: str, *, label: bool = True) -> None:
    """A dataset over 400 rows from START on, ten minutes apart; without `label` its labels come later."""
    folder = folder / name
    folder.mkdir()
    frame = rows(400, seed=5).with_row_index("id")
    at = pl.from_epoch(pl.lit(START) + pl.col("id").cast(pl.Int64) * (DAY // 144), time_unit="us")
    frame = frame.with_columns(at=at)
    (frame if label else frame.drop("y")).write_csv(folder / "rows.csv")
    definition = Dataset(name=name, source=files("*.csv", base=folder), key="id", time="at", label="y")
    with place.database.write(actor="person:ann") as tx:
        datasets.define(tx, definition)


def gate(name: str, *checks: CheckDefinition) -> Gate:
    return Gate(name=name, metric="accuracy", checks=checks, dataset=name)


def test_a_version_passes_its_gate_and_answers(place: Place, name: str) -> None:
    asked = place.ask(name, place.register(name))
    assert place.releases.busy("default") == [f"gate of {name}@1"]
    live = until(place, asked, "live")
    assert place.releases.busy("default") == [] and place.arms(name) == {"champion": 1}
    with place.database.read() as reader:
        evaluation = deployments.evaluation(reader, str(live.evaluation_id))
        told = [e.kind for e in events.read_after(reader, subject=f"endpoint/{name}")]
        (promoted,) = decisions.listing(reader, f"endpoint/{name}")
    assert [c.check for c in evaluation.checks] == ["signature", "loads"] and evaluation.blessing is not None
    assert told == [
        "serving.endpoint_created", "delivery.deployment_requested", "delivery.evaluated", "serving.arms_changed",
        "delivery.deployment_moved", "governance.decision_recorded",
    ]  # fmt: skip
    assert promoted.verdict == "promote" and promoted.state == "done" and place.predict(name)[0] == 200


def test_a_worse_version_is_refused_and_the_champion_stays(place: Place, name: str, tmp_path: Path) -> None:
    dataset(place, tmp_path, name)
    champion = CheckDefinition(kind="champion", min_positives=30)
    place.define(name, DIRECT, gate(name, champion))
    first = place.ask(name, place.register(name, fit_until=START))
    until(place, first, "live")
    refused = until(place, place.ask(name, place.register(name, "weak", fit_until=START)), "refused")
    assert "shown worse than the champion" in refused.summary and place.arms(name) == {"champion": 1}
    with place.database.read() as reader:
        assert [d.verdict for d in decisions.listing(reader, f"endpoint/{name}")] == ["refuse", "promote"]


def test_a_verdict_about_another_gate_or_champion_is_dropped(place: Place, name: str) -> None:
    """What is judged must be what is asked when it counts: else a blessing covers what nobody looked at."""
    place.define(name, DIRECT)
    for _ in range(2):
        place.deploy(name, place.register(name))
    close(place, name)
    asked = place.ask(name, place.register(name))
    step(place)
    place.releases.asking._asked[asked.id].verdict.result(60)
    stricter = Gate(name=name, metric="", checks=(CheckDefinition(kind="loads", p99_ms=30_000.0),))
    place.define(name, DIRECT, stricter)
    assert step(place)
    assert place.read(asked).evaluation_id is None and place.read(asked).state == "gating"
    step(place)
    place.releases.asking._asked[asked.id].verdict.result(60)
    rollbacks.roll_back(place.plane, name, project="default", actor="person:ann", reason="meanwhile")
    step(place)
    assert place.read(asked).evaluation_id is None and place.arms(name) == {"champion": 1}
    assert until(place, asked, "baking").previous == 1
    with place.database.read() as reader:
        assert [e.champion for e in deployments.evaluations(reader, name, version=3)] == [1]
    close(place, name)


def test_a_deployment_that_was_superseded_while_its_gate_was_asked_stays_so(place: Place, name: str) -> None:
    first = place.ask(name, place.register(name))
    step(place)
    verdict = place.releases.asking._asked[first.id].verdict
    second = place.ask(name, place.register(name))
    verdict.result(60)
    until(place, second, "live")
    assert place.read(first).state == "superseded" and place.arms(name) == {"champion": 2}
    assert first.id not in place.releases.asking._asked


def test_a_verdict_that_could_not_be_written_down_is_written_the_next_time(place: Place, name: str) -> None:
    asked = place.ask(name, place.register(name))
    step(place)
    place.releases.asking._asked[asked.id].verdict.result(60)
    with place.database.read() as reader:
        before = len(events.read_after(reader, limit=10_000))
    place.database._local.writing = True  # as for whoever is inside a write: it is refused
    with pytest.raises(HomeostatError, match="write transaction"):
        step(place)
    place.database._local.writing = False
    with place.database.read() as reader:
        assert len(events.read_after(reader, limit=10_000)) == before
    assert until(place, asked, "live")


def test_one_deployments_trouble_does_not_hold_up_the_others(place: Place, name: str) -> None:
    lost = f"{name}-lost"
    with place.database.write(actor="person:ann") as tx:
        versions.register(tx, lost, "e" * 64)  # a package that is nowhere
    troubled = place.ask(lost, 1)
    fine = place.ask(name, place.register(name))
    assert until(place, fine, "live")
    failed = until(place, troubled, "failed")
    assert "the gate could not be held against it" in failed.summary and "e" * 64 in failed.summary


def test_new_data_that_cannot_be_taken_in_leaves_what_was_published(place: Place, name: str, tmp_path: Path) -> None:
    dataset(place, tmp_path, name)
    floor = CheckDefinition(kind="metric_at_least", value=0.7, min_positives=30)
    place.define(name, DIRECT, gate(name, floor))
    until(place, place.ask(name, place.register(name, fit_until=START)), "live")
    lines = (tmp_path / name / "rows.csv").read_text().splitlines()
    (tmp_path / name / "more.csv").write_text("\n".join((lines[0], lines[1].replace("0,", "1000,", 1))))
    with place.database.write(actor="person:ann") as tx:  # somebody says something else of a column
        wrong = Rule(kind="type", column="x", column_kind="bool")
        datasets.define(tx, msgspec.structs.replace(datasets.get(tx, name), rules=(wrong,)))
    second = until(place, place.ask(name, place.register(name, fit_until=START)), "baking")
    with place.database.read() as reader:
        evaluation = deployments.evaluation(reader, str(second.evaluation_id))
    assert "could not be taken in" in evaluation.checks[0].evidence["remark"] and evaluation.verdict == "passed"
    close(place, name)


def test_a_gate_over_a_dataset_that_nobody_defined_fails_the_deployment(place: Place, name: str) -> None:
    place.define(name, DIRECT, gate("nothing", CheckDefinition(kind="metric_at_least", value=0.7)))
    failed = until(place, place.ask(name, place.register(name)), "failed")
    assert "nothing" in failed.summary and failed.finished_at is not None


def seen(name: str, at: int, *, replayed: bool = False, told: bool = True) -> Taken:
    return Taken(
        endpoint=name, project="default", requests=1, rows=1, failed=0,
        first_event_at=at, last_event_at=at, replayed=replayed, told=told,
    )  # fmt: skip


def reach(place: Place, name: str, at: int) -> None:
    """A replay has come to event time `at`."""
    taken = seen(name, at, replayed=True)
    with place.database.write(actor="service:test") as tx:
        endpoints.see(tx, taken)


def test_too_little_evidence_waits_and_is_asked_again_when_a_day_has_passed(
    place: Place, name: str, tmp_path: Path
) -> None:
    dataset(place, tmp_path, name, label=False)
    floor = CheckDefinition(kind="metric_at_least", value=0.7, min_positives=30)
    place.define(name, DIRECT, gate(name, floor))
    with place.database.write(actor="person:ann") as tx:
        endpoints.create(tx, name, name)
    reach(place, name, START + 3 * DAY)
    waits = until(place, place.ask(name, place.register(name, fit_until=START)), "waiting")
    assert "30 are needed" in waits.summary and not step(place) and place.releases.busy("default") == []
    truth = rows(400, seed=5)["y"].to_list()
    told = [Label(key=str(n), value=y, known_at=START + 4 * DAY - 1) for n, y in enumerate(truth)]
    with place.database.write(actor="person:ann") as tx:
        labels.record(tx, place.engine.stores.objects, name, told)
        job = labels.fold_job(tx, name)
    assert job is not None
    fold(job, place.engine.stores)
    reach(place, name, START + 4 * DAY - 1)
    assert not step(place), "not a day yet"
    reach(place, name, START + 4 * DAY)
    assert until(place, waits, "live").summary.startswith("version 1 took over")


def test_waiting_ends_with_the_time_of_the_rollout(place: Place, name: str, tmp_path: Path) -> None:
    dataset(place, tmp_path, name, label=False)
    floor = CheckDefinition(kind="metric_at_least", value=0.7)
    place.define(name, RolloutDefinition(kind="direct", timeout=2 * DAY), gate(name, floor))
    with place.database.write(actor="person:ann") as tx:
        endpoints.create(tx, name, name)
    reach(place, name, START)
    waits = until(place, place.ask(name, place.register(name, fit_until=START)), "waiting")
    for day in (1, 2):
        reach(place, name, START + day * DAY)
        until(place, waits, "waiting")
    reach(place, name, START + 3 * DAY)
    ended = until(place, waits, "refused")
    assert "not enough evidence in time" in ended.summary


def test_an_inconclusive_verdict_is_asked_thrice_and_then_given_up(place: Place, name: str) -> None:
    busy = Gate(name=name, metric="", checks=(CheckDefinition(kind="loads", p99_ms=0.0005),))
    place.define(name, DIRECT, busy)
    failed = until(place, place.ask(name, place.register(name)), "failed")
    assert "could not tell in 3 tries" in failed.summary
    with place.database.read() as reader:
        assert [e.verdict for e in deployments.evaluations(reader, name)] == ["inconclusive"] * 3
    assert place.arms(name) == {}


def pause(place: Place, name: str, paused: bool) -> None:
    with place.database.write(actor="person:ann") as tx:
        endpoints.pause(tx, name, paused)


def test_while_paused_only_a_persons_wish_begins_and_then_it_stands_still(place: Place, name: str) -> None:
    place.define(name, RolloutDefinition(kind="canary", share=0.5, timeout=1))
    place.deploy(name, place.register(name))
    pause(place, name, True)
    automatic = place.ask(name, place.register(name), by="service:loop")
    assert not step(place) and place.read(automatic).state == "gating" and place.releases.busy("default") == []
    persons = until(place, place.ask(name, place.register(name)), "rolling_out")
    assert place.read(automatic).state == "superseded" and place.arms(name) == {"champion": 1, "canary": 3}
    reach(place, name, START)
    reach(place, name, START + DAY)
    assert not step(place) and place.read(persons).state == "rolling_out", "its time is over, and nothing is done"
    pause(place, name, False)
    step(place)
    reach(place, name, START + 2 * DAY)
    assert until(place, persons, "rolled_back").summary.startswith("version 3 was rolled back: it was not shown")


def test_a_canary_that_sees_no_traffic_ends_with_its_time(place: Place, name: str) -> None:
    """Its endpoint is live and lies still: the wall clock is its event time, and nothing else moves."""
    place.define(name, RolloutDefinition(kind="canary", share=0.5))
    place.deploy(name, place.register(name))
    with place.database.write(actor="service:test") as tx:
        now = tx.at
        endpoints.see(tx, seen(name, now, told=False))
    tried = place.deploy(name, place.register(name))
    step(place)
    assert place.read(tried).summary == "no traffic has been answered yet" and not step(place)
    place.define(name, RolloutDefinition(kind="canary", share=0.5, timeout=1), SIGNATURE_ONLY)
    assert until(place, tried, "rolled_back")


def test_what_cannot_be_loaded_goes_back_even_after_a_crash(place: Place, name: str) -> None:
    """The rows were written and control was killed before it heard that the version does not load."""
    place.define(name, RolloutDefinition(kind="canary", share=0.5))
    place.deploy(name, place.register(name))
    version = place.register(name, estimator="its files go")
    with place.database.read() as reader:
        from homeostat.packages import package

        manifest = package.read_manifest(place.engine.stores.objects, versions.get(reader, name, version).package)
    asked = place.bless(place.ask(name, version))
    with place.database.write(actor="service:delivery") as tx:
        place.releases.stages.begin(tx, asked)
    path = place.engine.stores.objects.path_of(manifest.files["model.onnx"])
    kept = path.read_bytes()
    path.unlink()
    try:
        place.plane.apply()  # the next start
        assert until(place, asked, "rolled_back").summary.startswith("version 2 was rolled back: the inference process")
    finally:
        path.write_bytes(kept)
    assert place.arms(name) == {"champion": 1}
