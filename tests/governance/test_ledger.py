"""Decisions, approvals and leases."""

from __future__ import annotations

import threading

import pytest

from homeostat.foundation import events
from homeostat.foundation.clock import DrivenClock
from homeostat.foundation.database import Database
from homeostat.foundation.errors import HomeostatError
from homeostat.governance import approvals, decisions, leases
from homeostat.governance.records import Decision, Lease


def retrain(**more: object) -> Decision:
    values: dict[str, object] = {
        "id": "",
        "at": 0,
        "event_at": 5,
        "subject": "endpoint/fraud",
        "decider": "service:loop",
        "rule": "performance incident",
        "verdict": "retrain",
        "summary": "Misses rose from 20% to 45%; there are 180 labelled positives since.",
        "inputs": {"misses": 0.45, "positives": 180, "interval": [0.38, 0.52]},
        "action": {"pipeline": "fraud", "since": 3},
    }
    return Decision(**{**values, **more})  # type: ignore[arg-type]


def test_a_decision_is_entered_once_with_its_event(database: Database) -> None:
    with database.write(actor="service:loop") as tx:
        first = decisions.record(tx, retrain(id="incident-7-retrain"))
        again = decisions.record(tx, retrain(id="incident-7-retrain", summary="said twice"))
    assert again == first and first.at > 0
    with database.read() as reader:
        assert decisions.get(reader, first.id) == first
        (told,) = events.read_after(reader)
    assert (told.kind, told.subject, told.decision_id) == ("governance.decision_recorded", first.subject, first.id)
    assert told.payload and told.payload["inputs"]["interval"] == [0.38, 0.52]


def test_it_moves_on_and_never_back(database: Database, clock: DrivenClock) -> None:
    with database.write(actor="service:loop") as tx:
        made = decisions.record(tx, retrain())
        decisions.move(tx, made.id, "acting", expected="noted")
        assert decisions.move(tx, made.id, "acting").state == "acting", "said twice, done once"
        done = decisions.move(tx, made.id, "done", "version 2 registered")
        assert (done.outcome, done.finished_at) == ("version 2 registered", clock.now())
        for state in ("noted", "waiting", "acting", "failed", "superseded"):
            with pytest.raises(HomeostatError) as raised:
                decisions.move(tx, made.id, state)  # type: ignore[arg-type]
            assert raised.value.code == "decisions.moved"
        kinds = [event.kind for event in events.read_after(tx)]
    assert kinds == ["governance.decision_recorded", *["governance.decision_moved"] * 2]


def test_expected_is_compare_and_set(database: Database) -> None:
    with database.write(actor="service:loop") as tx:
        made = decisions.record(tx, retrain())
        with pytest.raises(HomeostatError):
            decisions.move(tx, made.id, "acting", expected="approved")
        assert decisions.move(tx, made.id, "acting", expected=("approved", "noted")).state == "acting"


def test_decisions_belong_to_their_project(database: Database) -> None:
    with database.write(actor="service:loop", project="a") as tx:
        decisions.record(tx, retrain(id="same"))
    with database.write(actor="service:loop", project="b") as tx:
        with pytest.raises(HomeostatError):
            decisions.get(tx, "same")
        decisions.record(tx, retrain(id="same", verdict="ask"))
        assert [d.verdict for d in decisions.listing(tx)] == ["ask"]


def test_listing_filters_and_puts_the_newest_first(database: Database, clock: DrivenClock) -> None:
    for n, subject in enumerate(("endpoint/a", "endpoint/b", "endpoint/a")):
        clock.advance(1)
        with database.write(actor="service:loop") as tx:
            decisions.record(tx, retrain(subject=subject, summary=str(n), state="done" if n == 0 else "noted"))
    with database.read() as reader:
        assert [d.summary for d in decisions.listing(reader)] == ["2", "1", "0"]
        assert [d.summary for d in decisions.listing(reader, subject="endpoint/a", state="noted")] == ["2"]
        assert [d.summary for d in decisions.listing(reader, limit=1)] == ["2"]


def test_an_incomplete_decision_is_refused(database: Database) -> None:
    with database.write(actor="service:loop") as tx:
        for name in ("subject", "decider", "rule", "verdict", "summary"):
            with pytest.raises(HomeostatError) as raised:
                decisions.record(tx, retrain(**{name: ""}))
            assert raised.value.field == name
        assert decisions.listing(tx) == []


@pytest.mark.parametrize(("approve", "state"), [(True, "approved"), (False, "rejected")])
def test_a_persons_answer_moves_the_decision(database: Database, approve: bool, state: str) -> None:
    with database.write(actor="service:loop") as tx:
        made = decisions.record(tx, retrain())
        asked = approvals.ask(tx, made, "Retrain fraud on the 180 positives since 3 March?")
        assert approvals.ask(tx, made, "again?") == asked, "one question waits for a decision"
        assert decisions.get(tx, made.id).state == "waiting"
        assert [a.id for a in approvals.listing(tx, state="waiting")] == [asked.id]
        with pytest.raises(HomeostatError) as raised:
            approvals.answer(tx, asked.id, approve, "the loop agrees with itself")
        assert raised.value.code == "approvals.not_a_person"
    with database.write(actor="person:ada") as tx:
        answered = approvals.answer(tx, asked.id, approve, "looked at it")
        assert (answered.state, answered.answered_by, answered.reason) == (state, "person:ada", "looked at it")
        assert decisions.get(tx, made.id).state == state
        with pytest.raises(HomeostatError) as raised:
            approvals.answer(tx, asked.id, not approve)
        assert raised.value.code == "approvals.answered"
        told = events.read_after(tx, kinds=["governance.approval_asked", "governance.approval_answered"])
    assert [(event.actor, event.decision_id) for event in told] == [("service:loop", made.id), ("person:ada", made.id)]


def test_a_question_can_be_withdrawn(database: Database) -> None:
    with database.write(actor="service:loop") as tx:
        made = decisions.record(tx, retrain(state="waiting"))
        asked = approvals.ask(tx, made, "Retrain?")
        withdrawn = approvals.withdraw(tx, made.id, "the incident resolved by itself")
        assert withdrawn and (withdrawn.id, withdrawn.state) == (asked.id, "withdrawn")
        assert approvals.withdraw(tx, made.id, "again") is None
        assert decisions.get(tx, made.id).state == "superseded"


def acquire(database: Database, holder: str, ttl: int = 10) -> Lease | None:
    with database.write(actor=holder) as tx:
        return leases.acquire(tx, "endpoint/fraud", holder, ttl)


def holds(database: Database, lease: Lease) -> bool:
    with database.write(actor=lease.holder) as tx:
        try:
            leases.check(tx, lease)
        except HomeostatError as error:
            assert error.code == "leases.lost"
            return False
        return True


def test_the_fence_grows_with_each_holder(database: Database, clock: DrivenClock) -> None:
    first = acquire(database, "control-1")
    assert first and first.fence == 1
    assert acquire(database, "control-2") is None
    clock.advance(5)
    longer = acquire(database, "control-1")
    assert longer and (longer.fence, longer.until) == (1, clock.now() + 10)
    clock.advance(10)
    assert not holds(database, longer), "run out"
    second = acquire(database, "control-2")
    assert second and second.fence == 2
    assert holds(database, second) and not holds(database, longer)
    with database.write(actor="control-1") as tx:
        leases.release(tx, longer)  # woke up late: takes nothing from the new holder
    assert holds(database, second)
    with database.write(actor="control-2") as tx:
        leases.release(tx, second)
        assert leases.current(tx, "endpoint/fraud") == Lease(
            name="endpoint/fraud", holder="control-2", until=0, fence=2
        )
    third = acquire(database, "control-1")
    assert third and third.fence == 3


def test_one_of_many_gets_it(database: Database) -> None:
    won: list[Lease] = []

    def contend(n: int) -> None:
        lease = acquire(database, f"control-{n}", 1000)
        if lease is not None:
            won.append(lease)

    threads = [threading.Thread(target=contend, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1 and won[0].fence == 1


@pytest.mark.parametrize(("name", "holder", "ttl"), [("", "a", 1), ("x", "", 1), ("x", "a", 0)])
def test_a_bad_lease_is_refused(database: Database, name: str, holder: str, ttl: int) -> None:
    with database.write(actor="test") as tx, pytest.raises(HomeostatError):
        leases.acquire(tx, name, holder, ttl)
