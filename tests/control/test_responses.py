"""What the loop enters into the ledger: schedules that come again, and questions that hold nothing up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from homeostat.app import Homeostat
from homeostat.control.records import Policy
from homeostat.foundation.clock import DAY, DrivenClock
from homeostat.foundation.settings import load
from homeostat.governance import decisions
from homeostat.governance.records import Decision
from homeostat.monitoring import incidents
from homeostat.serving import endpoints
from homeostat.serving.records import EndpointArm, Taken

START = 1_767_571_200_000_000
POLICY = Policy(endpoint="fraud", pipeline="fraud", dataset="tx", cooldown=3 * DAY, schedule=10 * DAY)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Homeostat]:
    """A home whose endpoint has been answered by version 1 since START; nothing runs in it."""
    opened = Homeostat.open(load({"home": str(tmp_path / "home")}, cwd=tmp_path), clock=DrivenClock(START))
    with opened.database.write(actor="test") as tx:
        endpoints.create(tx, "fraud", "fraud")
        arm = EndpointArm(name="champion", version=1, share=1.0, since=START, since_event=START)
        endpoints.set_arms(tx, "fraud", (arm,))
    yield opened
    opened.close()


def reach(home: Homeostat, day: int) -> list[Decision]:
    """Replay has come to `day`: what the loop enters then, and the ledger after it, oldest first."""
    with home.database.write(actor="test") as tx:
        counts = {"requests": 1, "rows": 1, "failed": 0}
        last = START + day * DAY
        seen = Taken(
            endpoint="fraud", project="default", first_event_at=START, last_event_at=last, replayed=True, **counts
        )
        endpoints.see(tx, seen)
        endpoint = endpoints.get(tx, "fraud")
    home.loop._respond("default", endpoint, POLICY)
    with home.database.read() as reader:
        return sorted(decisions.listing(reader), key=lambda d: d.event_at or 0)


def end(home: Homeostat, decision: Decision, state: str) -> None:
    with home.database.write(actor="test") as tx:
        decisions.move(tx, decision.id, "acting")
        decisions.move(tx, decision.id, state)  # type: ignore[arg-type]


def test_a_scheduled_retrain_that_failed_comes_again_a_schedule_later(home: Homeostat) -> None:
    assert reach(home, 9) == []
    (first,) = reach(home, 10)
    assert first.verdict == "retrain" and first.state == "approved"
    end(home, first, "failed")
    assert len(reach(home, 19)) == 1
    _, second = reach(home, 20)
    assert second.verdict == "retrain" and second.state == "approved" and second.trigger != first.trigger


def test_a_question_does_not_hold_up_what_can_be_done(home: Homeostat) -> None:
    with home.database.write(actor="test") as tx:
        incidents.raise_(tx, "fraud", "fraud", 1, "latency", event_at=START, change_at=None, summary="it is slow")
    (question,) = reach(home, 2)
    assert question.verdict == "ask" and question.state == "waiting"
    assert len(reach(home, 3)) == 1  # it is asked once
    assert [d.verdict for d in reach(home, 10)] == ["ask", "retrain"]
