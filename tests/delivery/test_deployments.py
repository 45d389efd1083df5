"""A deployment's row is moved only from where it was seen, and only by who holds its endpoint."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from delivered import Place

from homeostat.delivery import definitions, deployments, gates, holding, rollbacks, tables
from homeostat.delivery.records import CheckDefinition, Deployment, Gate, RolloutDefinition
from homeostat.delivery.rollouts import Judgement, Turn
from homeostat.foundation import events
from homeostat.foundation.database import Reader
from homeostat.foundation.errors import HomeostatError
from homeostat.governance import decisions, leases
from homeostat.registry import aliases
from homeostat.serving import endpoints

CANARY = RolloutDefinition(kind="canary", share=0.5)
DIRECT = RolloutDefinition(kind="direct")


def held_by(place: Place, name: str) -> str | None:
    with place.database.read() as reader:
        lease = leases.current(reader, f"endpoint/{name}")
        return lease.holder if lease is not None and lease.until > place.database.clock.now() else None


def judged(turn: Turn) -> Judgement:
    return Judgement(turn=turn, summary="as the test says")


def code_of(act: Callable[[], Any]) -> str:
    with pytest.raises(HomeostatError) as caught:
        act()
    return caught.value.code


def test_a_stale_struct_overwrites_nothing(place: Place, name: str) -> None:
    seen = place.ask(name, place.register(name))
    with place.database.write(actor="person:ann") as tx:
        deployments.move(tx, seen, state="superseded", summary="by somebody else")

    def write_back() -> None:
        with place.database.write(actor="service:delivery") as tx:
            endpoints.pause(tx, name, True)
            deployments.move(tx, seen, state="rolling_out")

    assert code_of(write_back) == "delivery.moved"
    assert place.read(seen).state == "superseded"
    with place.database.read() as reader:
        assert not endpoints.get(reader, name).paused, "what was in the same transaction is undone"


def test_what_others_wrote_meanwhile_is_kept(place: Place, name: str) -> None:
    seen = place.ask(name, place.register(name))
    with place.database.write(actor="service:delivery") as tx:
        deployments.move(tx, seen, evidence={"a": 1})
        after = deployments.move(tx, seen, summary="words")
    assert after.evidence == {"a": 1} and after.summary == "words"


def test_events_tell_of_states_and_stages_alone(place: Place, name: str) -> None:
    seen = place.ask(name, place.register(name))
    with place.database.write(actor="service:delivery") as tx:
        seen = deployments.move(tx, seen, summary="words")
        deployments.move(tx, seen, state="failed", finished_at=tx.at)
        told = events.read_after(tx, kinds=["delivery.deployment_moved"], subject=f"endpoint/{name}")
    assert [e.payload["state"] for e in told if e.payload] == ["failed"]


def test_a_rollout_holds_its_endpoint_until_its_end(place: Place, name: str) -> None:
    place.define(name, CANARY)
    place.deploy(name, place.register(name))
    assert held_by(place, name) is None, "nothing was there to try it against"
    tried = place.deploy(name, place.register(name))
    assert (tried.state, tried.stage) == ("rolling_out", "canary") and held_by(place, name) == f"deployment/{tried.id}"

    def act_beside() -> None:
        with place.database.write(actor="service:loop") as tx:
            holding.hold(tx, name, "decision/other")

    assert code_of(act_beside) == "delivery.held"
    rollbacks.roll_back(place.plane, name, project="default", actor="person:ann", reason="enough")
    assert place.read(tried).state == "rolled_back" and held_by(place, name) is None
    act_beside()
    assert held_by(place, name) == "decision/other"


def test_a_deployment_that_a_decision_asked_for_acts_in_its_name(place: Place, name: str) -> None:
    place.define(name, CANARY)
    place.deploy(name, place.register(name))
    tried = place.deploy(name, place.register(name), by="service:loop", decision_id="d" * 32)
    assert held_by(place, name) == "decision/" + "d" * 32
    with place.database.write(actor="service:delivery") as tx:
        deployments.move(tx, tried, evidence={})  # the same holder takes it again, as after a crash
    place.releases.stages._turn("default", place.read(tried), CANARY, judged("promote"), over=False)
    assert place.read(tried).state == "baking" and held_by(place, name) is None


def test_the_same_key_gives_the_first_deployment_and_a_version_is_asked_for_once(place: Place, name: str) -> None:
    version = place.register(name)
    first = place.ask(name, version, key="a" * 32)
    assert place.ask(name, version, key="a" * 32).id == first.id == "a" * 32
    assert place.ask(name, version).id == first.id == place.ask(name, version, key="b" * 32).id
    with place.database.read() as reader:
        assert len(deployments.listing(reader, name)) == 1


def test_a_new_request_replaces_one_that_waits_and_is_refused_beside_one_that_rolls_out(
    place: Place, name: str
) -> None:
    place.define(name, CANARY)
    waits = place.ask(name, place.register(name))
    place.deploy(name, place.register(name))
    assert place.read(waits).state == "superseded"
    place.deploy(name, place.register(name))
    assert code_of(lambda: place.ask(name, place.register(name))) == "delivery.in_progress"
    with place.database.read() as reader:
        assert [d.state for d in deployments.listing(reader, name)] == ["rolling_out", "live", "superseded"]


def test_a_request_lets_one_that_bakes_rest(place: Place, name: str) -> None:
    place.define(name, DIRECT)
    place.deploy(name, place.register(name))
    bakes = place.deploy(name, place.register(name))
    assert bakes.state == "baking"
    place.ask(name, place.register(name))
    assert place.read(bakes).state == "live"


def test_what_cannot_be_had_is_told_and_changes_nothing(place: Place, name: str) -> None:
    version = place.register(name)
    assert code_of(lambda: place.ask(name, version + 5)) == "models.version_missing"
    assert code_of(lambda: place.releases.request("../x", name, version, project="default", actor="person:ann")) == (
        "name.invalid"
    )
    other = place.register(f"{name}-other")
    place.ask(name, version)
    request = place.releases.request
    assert code_of(lambda: request(name, f"{name}-other", other, project="default", actor="person:ann")) == (
        "serving.other_model"
    )
    with place.database.read() as reader:
        assert len(deployments.listing(reader, name)) == 1 and endpoints.find(reader, "../x") is None


def test_deploying_the_champion_again_keeps_what_can_be_gone_back_to(place: Place, name: str) -> None:
    place.define(name, DIRECT)
    for _ in range(2):
        place.deploy(name, place.register(name))
    with place.database.write(actor="service:delivery") as tx:
        (bakes,) = deployments.listing(tx, name, states=("baking",))
        deployments.move(tx, bakes, state="live")
    again = place.deploy(name, 2)
    assert again.state == "live" and "answers already" in again.summary
    assert place.arms(name) == {"champion": 2, "previous": 1}


def test_a_rollout_keeps_what_answered_before_the_champion(place: Place, name: str) -> None:
    place.define(name, DIRECT)
    for _ in range(2):
        place.deploy(name, place.register(name))
    place.define(name, CANARY)
    place.deploy(name, place.register(name))
    assert place.arms(name) == {"champion": 2, "canary": 3, "previous": 1}
    back = rollbacks.roll_back(place.plane, name, project="default", actor="person:ann", reason="no")
    assert back.state == "done" and place.arms(name) == {"champion": 2, "previous": 1}


# --- blessings ------------------------------------------------------------------------------------------------------


def begin(place: Place, deployment: Deployment) -> None:
    with place.database.write(actor="service:delivery") as tx:
        place.releases.stages.begin(tx, deployment)


def test_nothing_begins_without_a_blessing(place: Place, name: str) -> None:
    bare = place.ask(name, place.register(name))
    assert code_of(lambda: begin(place, bare)) == "delivery.not_blessed"
    assert place.arms(name) == {} and place.read(bare).state == "gating"


@pytest.mark.parametrize("forged", ["verdict", "package", "version", "gate", "endpoint", "model", "seal", "key"])
def test_a_forged_blessing_opens_nothing(place: Place, name: str, forged: str) -> None:
    """Whoever can write rows, but has not the home's key, cannot make a pass."""
    version = place.register(name)
    blessed = place.bless(place.ask(name, version))
    with place.database.read() as reader:
        evaluation = deployments.evaluation(reader, str(blessed.evaluation_id))
    package = place.pack("weak", estimator=name)
    changes: dict[str, dict[str, Any]] = {
        "verdict": {"verdict": "refused"},
        "package": {"package": package},
        "version": {"version": version + 1},
        "gate": {"gate_digest": "0" * 64},
        "endpoint": {"endpoint": "another"},
        "model": {"model": "another"},
        "seal": {"blessing": "0" * 64},
        "key": {"blessing": gates._seal(_other_key(place), evaluation)},
    }
    tampered = msgspec.structs.replace(evaluation, **changes[forged])
    with place.database.write(actor="person:mallory") as tx:
        where = tables.evaluations.c.id == evaluation.id
        tx.execute(sa.update(tables.evaluations).where(where).values(body=msgspec.json.encode(tampered)))
    assert code_of(lambda: begin(place, blessed)) == "delivery.not_blessed"


def _other_key(place: Place) -> Reader:
    with place.database.read() as reader:
        return Reader(reader.connection, reader.project, key=b"x" * 32)


def test_a_blessing_of_another_project_or_version_does_not_count(place: Place, name: str) -> None:
    for _ in range(2):
        place.register(name)
    first = place.bless(place.ask(name, 1))
    second = place.ask(name, 2)
    with place.database.write(actor="person:mallory") as tx:
        borrowed = deployments.move(tx, second, evaluation_id=first.evaluation_id)
    assert code_of(lambda: begin(place, borrowed)) == "delivery.not_blessed"


def test_a_gate_that_changed_voids_what_passed_it(place: Place, name: str) -> None:
    place.define(name, CANARY)
    place.deploy(name, place.register(name))
    tried = place.deploy(name, place.register(name))
    stricter = Gate(name=name, metric="accuracy", checks=(CheckDefinition(kind="metric_at_least", value=0.9),))
    place.define(name, CANARY, stricter)
    place.releases.stages._turn("default", tried, CANARY, judged("promote"), over=False)
    after = place.read(tried)
    assert after.state == "rolled_back" and "blessing" in after.summary and place.arms(name) == {"champion": 1}


def test_the_users_own_rule_for_the_champion_stands(place: Place, name: str) -> None:
    gate = Gate(name=name, metric="accuracy", checks=(CheckDefinition(kind="champion", rule="shown_better"),))
    assert [c.rule for c in gates.complete(gate, "not_shown_worse").checks if c.kind == "champion"] == ["shown_better"]
    left = Gate(name=name, metric="accuracy", checks=(CheckDefinition(kind="champion"),))
    assert [c.rule for c in gates.complete(left, "shown_better").checks if c.kind == "champion"] == ["shown_better"]
    assert [c.kind for c in gates.complete(left, "shown_better").checks] == ["champion", "signature", "loads"]


def test_a_definition_is_told_of_when_it_changes(place: Place, name: str) -> None:
    for _ in range(2):
        place.define(name, CANARY)
    with pytest.raises(HomeostatError) as caught:
        place.define(name, RolloutDefinition(share=1.5))
    assert caught.value.code == "delivery.bad_share"
    with place.database.read() as reader:
        assert definitions.rollout_of(reader, name) == CANARY
        told = events.read_after(reader, kinds=["delivery.gate_defined"], subject=f"endpoint/{name}")
        assert len(told) == 1
        assert definitions.gate_of(reader, "nobody").checks[-1].kind == "loads"


# --- rollbacks ------------------------------------------------------------------------------------------------------


def test_a_reflex_takes_off_only_the_version_it_judged(place: Place, name: str) -> None:
    """A person was quicker: the canary is gone, and the champion must not be taken off in its place."""
    place.define(name, DIRECT)
    for _ in range(2):
        place.deploy(name, place.register(name))
    place.define(name, CANARY)
    tried = place.deploy(name, place.register(name))
    rollbacks.roll_back(place.plane, name, project="default", actor="person:ann", reason="quicker")
    stages = place.releases.stages
    assert code_of(lambda: stages._turn("default", tried, CANARY, judged("roll_back"), over=False)) == (
        "delivery.gone_already"
    )
    assert code_of(lambda: stages._turn("default", tried, CANARY, judged("promote"), over=False)) == "delivery.moved"
    assert place.arms(name) == {"champion": 2, "previous": 1} and place.read(tried).state == "rolled_back"


def test_a_rollback_says_what_it_did_in_the_ledger(place: Place, name: str) -> None:
    place.define(name, DIRECT)
    first, second = (place.deploy(name, place.register(name)) for _ in range(2))
    done = rollbacks.roll_back(place.plane, name, project="default", actor="person:ann", reason="it is worse")
    with place.database.read() as reader:
        entered = decisions.get(reader, done.id)
        assert aliases.resolve(reader, name, "champion").number == 1
        told = events.read_after(reader, kinds=["serving.arms_changed"], subject=f"endpoint/{name}")
    assert entered.state == "done" and entered.decider == "person:ann" and entered.action == {"from": 2, "to": 1}
    assert "version 1 answers alone again" in str(entered.outcome) and told[-1].decision_id == done.id
    assert (place.read(first).state, place.read(second).state) == ("live", "rolled_back")
    assert done.id not in place.plane.in_hand and held_by(place, name) is None
    assert (
        code_of(lambda: rollbacks.roll_back(place.plane, name, project="default", actor="person:ann", reason="again"))
        == "delivery.nothing_before"
    )


def test_a_rollback_that_was_broken_off_is_brought_to_its_end(place: Place, name: str) -> None:
    """As after a kill between the rows and the plan: the arms are changed, the decision acts, nobody holds it."""
    place.define(name, DIRECT)
    for _ in range(2):
        place.deploy(name, place.register(name))
    in_the_way = place.plane.directory / "plan.json.new"
    in_the_way.mkdir()  # the plan cannot be written
    with pytest.raises(IsADirectoryError):
        rollbacks.roll_back(place.plane, name, project="default", actor="person:ann", reason="it is worse")
    in_the_way.rmdir()
    with place.database.read() as reader:
        (acting,) = decisions.listing(reader, f"endpoint/{name}", state="acting")
    assert place.arms(name) == {"champion": 1} and held_by(place, name) == f"rollback/{acting.id}"
    place.plane.in_hand.add(acting.id)
    assert not rollbacks.conclude(place.plane, acting, project="default", actor="service:loop")
    place.plane.in_hand.clear()
    assert rollbacks.conclude(place.plane, acting, project="default", actor="service:loop")
    with place.database.read() as reader:
        assert decisions.get(reader, acting.id).state == "done"
    assert held_by(place, name) is None and place.predict(name)[1]["model_version"] == "1"
