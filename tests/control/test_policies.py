"""What a rule says of facts: pure functions, one case each."""

from __future__ import annotations

from typing import Any

import pytest

from homeostat.control import policies
from homeostat.control.policies import Facts
from homeostat.control.records import Policy
from homeostat.foundation.clock import DAY
from homeostat.monitoring.records import Cause, Incident

POLICY = Policy(endpoint="fraud", pipeline="fraud", dataset="tx", min_rows=500, min_positives=150, cooldown=3 * DAY)
WELL_FED = {"rows_since": 500, "positives_since": 150}


def incident(cause: Cause = "performance", *, version: int = 2, noticed: int = 50, began: int | None = 48) -> Incident:
    return Incident(
        id="i", endpoint="fraud", model="fraud", version=version, cause=cause, state="open", opened_at=0,
        event_at=noticed * DAY, change_at=None if began is None else began * DAY, summary="it missed more than it did",
    )  # fmt: skip


def facts(**known: Any) -> Facts:
    return Facts(**{"now": 51 * DAY, "champion": 2, "took_over_at": 10 * DAY, "learnt_at": 10 * DAY, **known})


def test_a_change_is_learnt_once_there_is_enough_of_it() -> None:
    found = policies.on_incident(incident(), POLICY, facts(**WELL_FED))
    assert (
        found.action == "retrain"
        and "500 labelled rows have followed the change, 150 of them positive" in found.summary
    )
    assert found.inputs["incident"] == "i" and "150" in found.rule
    for few in ({"rows_since": 499, "positives_since": 150}, {"rows_since": 500, "positives_since": 149}):
        assert policies.on_incident(incident(), POLICY, facts(**few)).action == "wait"
    numbers = facts(rows_since=500, positives_since=0, binary=False)
    assert policies.on_incident(incident(), POLICY, numbers).action == "retrain", "a regression has no positives"


def test_a_retrain_waits_until_the_last_has_cooled_down() -> None:
    recent = facts(**WELL_FED, last_action_at=49 * DAY)
    assert policies.on_incident(incident(), POLICY, recent).action == "wait"
    assert policies.on_incident(incident(), POLICY, facts(**WELL_FED, last_action_at=48 * DAY)).action == "retrain"


def test_what_cannot_be_retrained_is_asked_about() -> None:
    bare = Policy(endpoint="fraud")
    assert policies.on_incident(incident(), bare, facts(**WELL_FED)).action == "ask"


@pytest.mark.parametrize(
    ("began", "known", "action"),
    [
        (48, {}, "roll_back"),  # within the first window
        (None, {}, "roll_back"),  # noticed within it, and nobody knows since when
        (50, {}, "retrain"),  # it was well for longer than a window
        (48, {"previous": None}, "retrain"),  # nothing to go back to
        (48, {"attempts": 1}, "retrain"),  # a retrain was tried already
        (48, {"previous_was_ill": True}, "retrain"),  # it relieved a version that had become worse
        (48, {"champion": 3}, "retrain"),  # it is about another version
        (48, {"took_over_at": None}, "retrain"),
    ],
)
def test_a_version_that_was_never_well_goes_back(began: int | None, known: dict[str, Any], action: str) -> None:
    situation = facts(**{**WELL_FED, "took_over_at": 48 * DAY - DAY // 2, "previous": 1, **known})
    found = policies.on_incident(incident(began=began, noticed=48), POLICY, situation)
    assert found.action == action
    if action == "roll_back":
        assert found.inputs["version"] == 2 and "back to version 1" in found.summary


@pytest.mark.parametrize("cause", ["latency", "errors"])
def test_a_new_version_that_serves_badly_goes_back_and_an_old_one_is_looked_at(cause: Cause) -> None:
    assert policies.on_incident(incident(cause), POLICY, facts(previous=1, baking=True)).action == "roll_back"
    for known in ({"previous": 1, "baking": False}, {"baking": True}, {"previous": 1, "baking": True, "champion": 3}):
        assert policies.on_incident(incident(cause), POLICY, facts(**known)).action == "ask"


@pytest.mark.parametrize("cause", ["drift", "quality"])
def test_inputs_that_moved_are_told_and_labels_decide(cause: Cause) -> None:
    found = policies.on_incident(incident(cause), POLICY, facts(**WELL_FED))
    assert found.action == "abstain" and "labels come" in found.summary
    assert policies.on_incident(incident(cause), Policy(endpoint="fraud"), facts()).action == "ask"


def test_a_schedule_counts_from_what_was_learnt_and_asked_last() -> None:
    timely = Policy(endpoint="fraud", pipeline="fraud", schedule=30 * DAY)
    assert policies.on_schedule(POLICY, facts()) is None and policies.on_schedule(timely, facts(learnt_at=None)) is None
    assert policies.on_schedule(Policy(endpoint="fraud", schedule=1), facts()) is None, "nothing to retrain by"
    assert policies.on_schedule(timely, facts(now=39 * DAY)) is None
    due = policies.on_schedule(timely, facts(now=40 * DAY))
    assert due is not None and due.action == "retrain" and due.inputs["learnt_at"] == 10 * DAY
    assert policies.on_schedule(timely, facts(now=45 * DAY, last_asked_at=40 * DAY)) is None
