"""One endpoint observed window by window: records, detectors, incidents, late and corrected labels, crashes."""

from __future__ import annotations

import subprocess
import sys

import pytest
from monitored import START, World

from homeostat.engines.local import Local
from homeostat.foundation import events
from homeostat.foundation.clock import DAY
from homeostat.foundation.errors import HomeostatError
from homeostat.monitoring import incidents, monitors, watch, windows
from homeostat.monitoring.records import Incident, MonitorState, Window


def kept(world: World) -> tuple[list[Window], dict[str, MonitorState], list[Incident]]:
    with world.database.read() as reader:
        states = {s.monitor: s for s in monitors.listing(reader, "fraud", 1)}
        return windows.listing(reader, "fraud"), states, incidents.listing(reader)


def test_a_quiet_week_gives_windows_and_no_incident(world: World) -> None:
    for _ in range(7):
        world.traffic()
        world.label_what_is_due()
        assert world.watch()
    seen, states, found = kept(world)
    assert [w.start for w in seen] == [START + day * DAY for day in range(7)]
    assert [w.rows for w in seen] == [400] * 7
    assert [w.labelled for w in seen[:5]] == [400] * 5
    assert seen[6].labelled == 0
    metric = seen[0].metric
    assert metric is not None and metric.value is not None and metric.low is not None and metric.high is not None
    assert metric.name == "accuracy" and metric.low < metric.value < metric.high
    assert seen[0].p50 == 900
    assert {s.name for s in seen[0].drift} == {"x", "score"}
    assert set(states) == {"misses", "false_alarms", "inputs", "score", "quality", "errors"}
    assert states["misses"].observed + states["false_alarms"].observed == 5 * 400
    assert found == []


def test_nothing_is_done_until_a_whole_window_has_passed(world: World) -> None:
    assert not world.watch()
    world.traffic()
    assert world.watch()
    assert not world.watch()


def test_more_misses_open_one_incident_that_says_when_they_began(world: World) -> None:
    for day in range(16):
        world.traffic(miss=0.2 if day < 8 else 0.55)
        world.label_what_is_due()
        world.watch()
    _, _, found = kept(world)
    performance = [i for i in found if i.cause == "performance"]
    assert len(performance) == 1
    (incident,) = performance
    assert incident.state == "open"
    assert incident.change_at is not None and abs(incident.change_at - (START + 8 * DAY)) < DAY
    assert incident.event_at <= START + 13 * DAY  # labels come two days after
    assert "missed" in incident.summary
    with world.database.read() as reader:
        told = [e.kind for e in events.read_after(reader, kinds=["monitoring.incident_raised"])]
        assert len(told) == len(found)
        assert events.verify(reader).intact


def test_inputs_that_move_open_an_incident_of_their_own(world: World) -> None:
    for day in range(12):
        world.traffic(shift=0.0 if day < 6 else 1.5)
        world.watch()
    _, _, found = kept(world)
    assert [i.cause for i in found] == ["drift"]
    assert found[0].summary.startswith("the inputs moved away from those at training: x by")
    assert found[0].change_at == START + 6 * DAY


def test_labels_late_out_of_order_and_corrected_count_once(world: World) -> None:
    for _ in range(3):
        world.traffic(rows=100)
    keys = list(world.keys)
    world.watch()
    now = START + 3 * DAY
    first = [(key, int(truth), now - 5) for _, key, truth in keys[:50]]
    world.label(first)  # recorded after the window was observed, known before: late
    world.traffic(rows=100)
    world.watch()
    seen, states, _ = kept(world)
    assert [w.labelled for w in seen] == [50, 0, 0, 0]
    assert states["misses"].observed + states["false_alarms"].observed == 50
    before = seen[0].metric
    wrong = [(key, int(not truth), now + DAY) for _, key, truth in keys[:50]]
    older = [(key, int(not truth), now - 10) for _, key, truth in keys[:50]]
    world.label(wrong[:10] + older[10:])  # ten corrections, and forty that say something known before what we have
    world.label([(key, int(truth), now + DAY + 7) for _, key, truth in keys[200:220]])
    world.label([(key, int(truth), now + 90 * DAY) for _, key, truth in keys[220:240]])  # not known yet
    world.traffic(rows=100)
    world.watch()
    seen, states, _ = kept(world)
    assert [w.labelled for w in seen] == [50, 0, 20, 0, 0]
    assert states["misses"].observed + states["false_alarms"].observed == 70
    after = seen[0].metric
    assert before is not None and after is not None and before.value != after.value
    assert before.value is not None and after.value is not None
    assert abs(before.value - after.value) <= 10 / 50


def test_observing_in_one_go_or_day_by_day_ends_alike(world: World) -> None:
    """A control plane that was away catches up to the same evidence."""
    for _ in range(5):
        world.traffic(rows=200)
        world.label_what_is_due()
    world.watch()
    together, states, _ = kept(world)
    with world.database.write(actor="person:local") as tx:
        monitors.reset(tx, "fraud", 1)
        tx.execute(monitors.tables.cursors.delete())
    last = world.day
    for day in range(1, last + 1):
        world.day = day
        world.watch()
    apart, again, _ = kept(world)
    assert together == apart
    assert {k: s.evidence for k, s in states.items()} == pytest.approx({k: s.evidence for k, s in again.items()})


def test_a_job_done_twice_is_counted_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two control planes (or one, and its ghost) keep what the same job saw: the second finds the cursor moved."""
    world.traffic()
    real = watch.call

    def meanwhile(*args: object, **kwargs: object) -> object:
        monkeypatch.setattr(watch, "call", real)
        assert world.watch()
        return real(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(watch, "call", meanwhile)
    assert not world.watch()
    _, states, _ = kept(world)
    assert states["inputs"].observed == 1


def test_shadow_rows_and_other_versions_do_not_count(world: World) -> None:
    world.traffic(rows=100)
    world.day -= 1
    world.traffic(rows=100, arm="shadow")
    world.watch()
    seen, _, _ = kept(world)
    assert [w.rows for w in seen] == [100]


def test_requests_that_failed_count_as_errors_not_as_rows(world: World) -> None:
    world.traffic(rows=100)
    at = START + 5
    failed = world.record(at, "none", 0.0, 0.0, "champion")
    bad = [type(failed)(**{**_fields(failed), "status": 500, "rows": 0, "inputs": {}, "outputs": {}, "keys": None})]
    world.append(bad * 20)
    world.watch()
    seen, _, _ = kept(world)
    assert (seen[0].requests, seen[0].rows, seen[0].errors) == (120, 100, 20)


def _fields(record: object) -> dict[str, object]:
    return {name: getattr(record, name) for name in record.__struct_fields__}  # type: ignore[attr-defined]


def test_labels_of_no_known_class_are_told_and_left_out(world: World) -> None:
    world.traffic(rows=100)
    now = START + DAY
    rows = [(key, 7 if i < 10 else int(truth), now - 1) for i, (_, key, truth) in enumerate(world.keys)]
    world.label(rows)
    world.watch()
    seen, _, _ = kept(world)
    assert seen[0].labelled == 90
    assert seen[0].quality[0].name == "labels of no known class"
    assert seen[0].quality[0].value == pytest.approx(0.1)


def test_a_reset_forgets_the_evidence_and_reads_nothing_again(world: World) -> None:
    for _ in range(4):
        world.traffic(miss=0.5)
        world.label_what_is_due()
        world.watch()
    with world.database.write(actor="person:local") as tx:
        monitors.reset(tx, "fraud", 1)
    world.traffic()
    world.label_what_is_due()
    world.watch()
    _, states, _ = kept(world)
    assert states["misses"].observed + states["false_alarms"].observed == 400


def test_an_incident_moves_once_and_says_so(world: World) -> None:
    with world.database.write(actor="service:loop") as tx:
        one = incidents.raise_(
            tx, "fraud", "fraud", 1, "performance", event_at=START, change_at=START - DAY, summary="it is worse"
        )
        two = incidents.raise_(
            tx, "fraud", "fraud", 2, "performance", event_at=START + DAY, change_at=None, summary="it is worse still"
        )
        other = incidents.raise_(tx, "fraud", "fraud", 1, "drift", event_at=START, change_at=None, summary="it moved")
    assert two.id == one.id != other.id
    assert [a["summary"] for a in two.evidence["alarms"]] == ["it is worse", "it is worse still"]
    with world.database.write(actor="service:loop") as tx:
        assert incidents.act(tx, one.id).state == "acting"
        assert incidents.act(tx, one.id).state == "acting"
        done = incidents.resolve(tx, one.id, "version 2 took over", START + 2 * DAY)
        assert incidents.resolve(tx, one.id, "again") == done
    with world.database.read() as reader:
        assert incidents.current(reader, "fraud", "performance") is None
        assert [i.id for i in incidents.listing(reader, state="open")] == [other.id]
        assert [i.id for i in incidents.listing(reader, "fraud", "resolved")] == [one.id]
        told = [e.kind for e in events.read_after(reader, subject="endpoint/fraud")]
    assert told == [
        "monitoring.incident_raised",
        "monitoring.alarm_joined",
        "monitoring.incident_raised",
        "monitoring.incident_moved",
        "monitoring.incident_moved",
    ]
    with world.database.write(actor="person:local") as tx, pytest.raises(HomeostatError) as error:
        incidents.dismiss(tx, one.id, "nothing is wrong")
    assert error.value.code == "monitoring.incident_closed"
    with world.database.write(actor="service:loop") as tx:
        again = incidents.raise_(
            tx, "fraud", "fraud", 2, "performance", event_at=START, change_at=None, summary="worse again"
        )
    assert again.id != one.id


def test_what_is_not_there_is_said(world: World) -> None:
    with world.database.read() as reader, pytest.raises(HomeostatError) as error:
        incidents.get(reader, "nothing")
    assert error.value.code == "monitoring.no_incident"


def test_an_engine_that_lost_its_worker_changes_nothing(world: World) -> None:
    world.traffic()
    closed = Local(world.home)
    closed.close()
    live, world.engine = world.engine, closed
    with pytest.raises(HomeostatError):
        world.watch()
    world.engine = live
    assert kept(world) == ([], {}, [])
    assert world.watch()


def test_controls_side_loads_nothing_heavy() -> None:
    asked = "import sys, homeostat.monitoring.watch as w; print([m for m in ('numpy', 'polars') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
