"""From an incident to what is done about it: by itself, once a person agrees, or not at all."""

from __future__ import annotations

from typing import Any

from wired import DIRECT, START, Wired

from homeostat.delivery import rollbacks
from homeostat.delivery.records import RolloutDefinition
from homeostat.foundation.clock import DAY
from homeostat.governance import approvals
from homeostat.governance.records import Approval
from homeostat.monitoring import incidents


def questions(wired: Wired, name: str, state: Any = "waiting") -> list[Approval]:
    with wired.database.read() as reader:
        return [a for a in approvals.listing(reader, state) if a.subject == f"endpoint/{name}"]


def answer(wired: Wired, approval: Approval, approve: bool) -> None:
    with wired.database.write(actor="person:ann") as tx:
        approvals.answer(tx, approval.id, approve, "so it is")


def test_automatic_retrains_and_takes_over_by_itself(wired: Wired, name: str) -> None:
    wired.serve(name)
    found = wired.ail(name)
    wired.turn(8)
    (decision,) = wired.decisions(name)
    assert (decision.verdict, decision.state) == ("retrain", "done") and "took over" in str(decision.outcome)
    assert wired.arms(name) == {"champion": 2, "previous": 1}
    (run,) = wired.runs(name, "succeeded")
    assert run.decision_id == decision.id and run.context["change_at"] == START + 4 * DAY
    made = wired.deployments(name)[-1]
    assert made.decision_id == decision.id and made.rule == "shown_better" and made.data_since == START + 4 * DAY
    assert wired.incident(found).state == "resolved"
    wired.turn(3)
    assert len(wired.decisions(name)) == 1 and len(wired.runs(name, "succeeded")) == 1, "nothing is repeated"


def test_ask_waits_for_a_person_and_is_carried_out_after_approval(wired: Wired, name: str) -> None:
    wired.serve(name, mode="ask")
    found = wired.ail(name)
    wired.turn(3)
    (decision,) = wired.decisions(name)
    (question,) = questions(wired, name)
    assert decision.state == "waiting" and question.decision_id == decision.id and "Retrain now?" in question.question
    assert wired.runs(name, None) == [] and wired.arms(name) == {"champion": 1}
    answer(wired, question, True)
    wired.turn(8)
    assert wired.decisions(name)[0].state == "done" and wired.arms(name) == {"champion": 2, "previous": 1}
    assert wired.incident(found).state == "resolved"


def test_what_a_person_rejects_is_not_done_and_not_asked_again(wired: Wired, name: str) -> None:
    wired.serve(name, ask=("retrain",))
    wired.ail(name)
    wired.turn()
    answer(wired, questions(wired, name)[0], False)
    wired.ail(name, day=20)
    wired.turn(4)
    (decision,) = wired.decisions(name)
    assert decision.state == "rejected" and wired.runs(name, None) == [] and questions(wired, name) == []


def test_observe_writes_down_what_it_would_do_and_does_nothing(wired: Wired, name: str) -> None:
    wired.serve(name, mode="observe")
    found = wired.ail(name)
    wired.turn(4)
    (decision,) = wired.decisions(name)
    assert (decision.verdict, decision.state) == ("retrain", "noted") and questions(wired, name) == []
    assert wired.runs(name, None) == [] and wired.arms(name) == {"champion": 1}
    assert wired.incident(found).state == "open"


def test_observe_of_a_schedule_notes_each_time_once(wired: Wired, name: str) -> None:
    wired.serve(name, mode="observe", schedule=10 * DAY)
    for day in (9, 10, 15, 20):
        wired.reach(name, START + day * DAY)
        wired.turn()
        assert not wired.loop._decide("default"), "and the loop comes to rest"
    assert [d.event_at for d in wired.decisions(name)] == [START + 10 * DAY, START + 20 * DAY]


def test_a_rejected_schedule_comes_again_with_the_next(wired: Wired, name: str) -> None:
    wired.serve(name, mode="ask", schedule=10 * DAY)
    wired.reach(name, START + 10 * DAY)
    wired.turn()
    answer(wired, questions(wired, name)[0], False)
    wired.turn()
    assert not wired.loop._decide("default") and questions(wired, name) == []
    wired.reach(name, START + 20 * DAY)
    wired.turn()
    assert [d.state for d in wired.decisions(name)] == ["rejected", "waiting"]


def test_paused_decides_nothing_and_takes_up_nothing(wired: Wired, name: str) -> None:
    wired.serve(name)
    wired.pause(name, True)
    wired.ail(name)
    wired.turn(3)
    assert wired.decisions(name) == []
    wired.pause(name, False)
    wired.turn(8)
    assert wired.decisions(name)[0].state == "done"


def test_a_pause_stops_what_is_under_way(wired: Wired, name: str) -> None:
    """The training that runs may end; what it made reaches nothing until a person lets the loop act again."""
    wired.serve(name)
    wired.may_make.clear()
    wired.ail(name)
    wired.turn(3)
    (run,) = wired.runs(name)
    wired.pause(name, True)
    wired.may_make.set()
    wired.runner.wait(run.id, 60)
    wired.turn(3)
    assert wired.decisions(name)[0].state == "acting" and len(wired.deployments(name)) == 1
    assert wired.arms(name) == {"champion": 1} and wired.loop.busy() == []
    wired.pause(name, False)
    wired.turn(5)
    assert wired.arms(name) == {"champion": 2, "previous": 1}


def test_a_version_that_was_never_well_is_rolled_back(wired: Wired, name: str) -> None:
    wired.serve(name)
    wired.deploy(name, wired.register(name))
    found = wired.ail(name, version=2, day=1)
    wired.turn(3)
    (decision,) = wired.decisions(name)
    assert (decision.verdict, decision.state) == ("roll_back", "done") and wired.arms(name) == {"champion": 1}
    assert wired.incident(found).state == "resolved" and wired.deployments(name)[-1].state == "rolled_back"


def test_a_version_that_relieved_an_ill_one_is_not_rolled_back_to_it(wired: Wired, name: str) -> None:
    """The world goes on changing: the retrained version alarms in its first window, and the stale one was worse."""
    wired.serve(name, cooldown=3 * DAY)
    wired.ail(name, day=5)
    wired.turn(8)
    assert wired.arms(name) == {"champion": 2, "previous": 1}
    second = wired.ail(name, version=2, day=6)
    wired.turn(3)
    assert wired.arms(name) == {"champion": 2, "previous": 1} and wired.incident(second).state == "open"
    assert [d.verdict for d in wired.decisions(name)] == ["retrain"], "it waits for its cool-down"
    wired.reach(name, START + 9 * DAY)
    wired.pipeline(name, "high")
    wired.turn(8)
    assert [(d.verdict, d.state) for d in wired.decisions(name)] == [("retrain", "done")] * 2
    assert wired.arms(name)["champion"] == 3


def test_an_incident_that_a_person_dismissed_does_not_speak_against_going_back(wired: Wired, name: str) -> None:
    wired.serve(name, mode="observe")
    false_alarm = wired.ail(name, day=1)
    with wired.database.write(actor="person:ann") as tx:
        incidents.dismiss(tx, false_alarm.id, "it was nothing")
    wired.deploy(name, wired.register(name))
    wired.ail(name, version=2, day=2)
    wired.turn()
    assert wired.decisions(name)[-1].verdict == "roll_back"


def test_a_question_about_what_is_over_is_taken_back(wired: Wired, name: str) -> None:
    wired.serve(name, mode="ask")
    wired.ail(name)
    wired.turn()
    (question,) = questions(wired, name)
    wired.deploy(name, wired.register(name))  # a person sees to it
    wired.turn(2)
    assert questions(wired, name) == [] and wired.decisions(name)[0].state == "superseded"
    with wired.database.read() as reader:
        assert approvals.get(reader, question.id).state == "withdrawn"


def test_an_approval_that_comes_too_late_does_nothing(wired: Wired, name: str) -> None:
    wired.serve(name, mode="ask")
    wired.deploy(name, wired.register(name))
    found = wired.ail(name, version=2, day=1)
    wired.turn()
    (question,) = questions(wired, name)
    assert wired.decisions(name)[0].verdict == "roll_back"
    with wired.database.write(actor="person:ann") as tx:
        approvals.answer(tx, question.id, True)
        incidents.dismiss(tx, found.id, "it was nothing after all")
    wired.turn(2)
    assert wired.decisions(name)[0].state == "superseded" and wired.arms(name) == {"champion": 2, "previous": 1}


def test_an_approved_rollback_takes_off_only_the_version_it_was_about(wired: Wired, name: str) -> None:
    wired.serve(name, mode="ask")
    wired.deploy(name, wired.register(name))
    wired.ail(name, version=2, day=1)
    wired.turn()
    answer(wired, questions(wired, name)[0], True)
    wired.deploy(name, wired.register(name))  # version 3 answers before the loop has come round
    wired.loop._decide("default")
    assert wired.arms(name)["champion"] == 3
    assert [d.state for d in wired.decisions(name)] in (["superseded"], ["failed"])


def test_a_question_that_was_dealt_with_is_asked_again_when_it_happens_again(wired: Wired, name: str) -> None:
    wired.serve(name)
    first = wired.ail(name, cause="latency")
    wired.turn()
    (question,) = questions(wired, name)
    assert "Has this been dealt with?" in question.question
    answer(wired, question, True)
    wired.turn(2)
    assert wired.incident(first).state == "resolved" and wired.decisions(name)[0].state == "done"
    wired.ail(name, cause="latency", day=9)
    wired.turn()
    assert len(questions(wired, name)) == 1


def test_a_run_that_makes_no_version_fails_its_decision(wired: Wired, name: str) -> None:
    wired.serve(name, kind=None)
    wired.ail(name)
    wired.turn(5)
    (decision,) = wired.decisions(name)
    assert decision.state == "failed" and "made no version" in str(decision.outcome)
    assert not wired.loop._faltered


def test_a_retrain_waits_its_turn_beside_a_rollout_and_holds_nothing_up(wired: Wired, name: str) -> None:
    canary = RolloutDefinition(kind="canary", share=0.5)
    wired.serve(name)
    wired.may_make.clear()
    wired.ail(name)
    wired.turn(3)
    wired.define(name, canary)
    persons = wired.deploy(name, wired.register(name))
    wired.may_make.set()
    wired.turn(4)
    assert wired.decisions(name)[0].state == "acting" and persons.state == "rolling_out"
    assert not wired.loop._decide("default") and not wired.loop._faltered
    rollbacks.roll_back(wired.plane, name, project="default", actor="person:ann", reason="no")
    wired.define(name, DIRECT)
    wired.turn(6)
    assert wired.decisions(name)[0].state == "done" and wired.arms(name)["champion"] == 3


def test_a_version_that_a_person_already_asked_for_is_followed(wired: Wired, name: str) -> None:
    wired.serve(name, rollout=RolloutDefinition(kind="canary", share=0.5))
    wired.may_make.clear()
    wired.ail(name)
    wired.turn(2)
    (run,) = wired.runs(name)
    wired.may_make.set()
    wired.runner.wait(run.id, 60)
    wired.deploy(name, 2)  # a person was quicker than the loop
    wired.turn(3)
    assert not wired.loop._decide("default") and len(wired.deployments(name)) == 2
    wired.reach(name, START + 40 * DAY)
    wired.turn(2)
    wired.reach(name, START + 80 * DAY)
    wired.turn(3)
    assert wired.decisions(name)[0].state == "failed" and "not shown harmless" in str(wired.decisions(name)[0].outcome)


def test_a_run_beside_a_rollout_is_told_and_does_not_stop_the_loop(wired: Wired, name: str) -> None:
    wired.serve(name, rollout=RolloutDefinition(kind="canary", share=0.5))
    wired.deploy(name, wired.register(name))
    run = wired.runner.start(name, {}, trigger="person", actor="person:ann")
    wired.runner.wait(run.id, 60)
    wired.turn(2)
    (noted,) = wired.decisions(name)
    assert (noted.verdict, noted.state) == ("abstain", "noted") and "was not deployed" in noted.summary
    assert noted.inputs["code"] == "delivery.in_progress" and not wired.loop._faltered
    assert len(wired.deployments(name)) == 2 and wired.arms(name) == {"champion": 1, "canary": 2}


def test_what_a_person_ran_goes_to_the_gate(wired: Wired, name: str) -> None:
    wired.serve(name)
    run = wired.runner.start(name, {}, trigger="person", actor="person:ann")
    quiet = wired.runner.start(name, {}, trigger="person", actor="person:ann", context={"deploy": False})
    for one in (run, quiet):
        wired.runner.wait(one.id, 60)
    wired.turn(4)
    made = wired.deployments(name)
    assert len(made) == 2 and made[-1].requested_by == "person:ann" and made[-1].state == "baking"


def test_one_action_at_a_time(wired: Wired, name: str) -> None:
    wired.serve(name)
    wired.may_make.clear()
    wired.ail(name)
    wired.turn(2)
    wired.ail(name, cause="errors", day=6)
    wired.turn()
    assert [(d.verdict, d.state) for d in wired.decisions(name)] == [("retrain", "acting")]
    wired.may_make.set()
    wired.turn(4)
