"""Callers notice nothing: no request fails while versions come and go, and each is answered by one that is planned."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable

from delivered import Crowd, Place

from homeostat.delivery import deployments, rollbacks
from homeostat.delivery.records import RolloutDefinition
from homeostat.delivery.rollouts import Judgement
from homeostat.foundation.errors import HomeostatError
from homeostat.governance import decisions

CHANGES = 20


def test_no_request_fails_through_twenty_changes_of_arms(
    place: Place, name: str, record_property: Callable[[str, object], None]
) -> None:
    place.define(name, RolloutDefinition(kind="direct"))
    place.deploy(name, place.register(name))
    phases: list[tuple[float, float, set[int]]] = []  # begun, acknowledged, versions that answer
    took: list[float] = []
    crowd = Crowd(place.plane.supervisor.address, name)

    def change(act: Callable[[], object]) -> None:
        begun = time.monotonic()
        act()
        arms = place.arms(name)
        phases.append((begun, time.monotonic(), {v for arm, v in arms.items() if arm in ("champion", "canary")}))
        crowd.wait_for(30)

    try:
        for n in range(CHANGES // 2):
            kind = "direct" if n % 2 else "canary"
            place.define(name, RolloutDefinition(kind=kind, share=0.5))  # type: ignore[arg-type]
            version = place.register(name)
            change(lambda version=version: place.deploy(name, version))  # type: ignore[misc]
            change(lambda: rollbacks.roll_back(place.plane, name, project="default", actor="person:ann", reason="x"))
            took.append(phases[-1][1] - phases[-1][0])
    finally:
        answers = crowd.stop()
    assert len(phases) == CHANGES and len(answers) > 30 * CHANGES
    assert {status for _, _, status, _ in answers} == {200}
    within = 0
    for asked, answered, _, version in answers:
        before = [planned for _, acknowledged, planned in phases if acknowledged <= asked][-1:] or [{1}]
        during = [planned for begun, acknowledged, planned in phases if acknowledged > asked and begun < answered]
        assert version in before[0].union(*during), "from the plan that held, or from one that came while it was asked"
        within += not during
    assert within > 20 * CHANGES
    record_property("rollback_seconds", max(took))
    print(
        f"rollbacks took at most {1000 * max(took):.0f} ms, {1000 * sorted(took)[len(took) // 2]:.0f} ms in the middle"
    )


def test_a_rollback_is_done_though_the_worker_is_dead_when_it_is_asked_for(own_place: Callable[[], Place]) -> None:
    place = own_place()
    place.plane.ensure()
    place.define("fraud", RolloutDefinition(kind="direct"))
    for _ in range(2):
        place.deploy("fraud", place.register("fraud"))
    ack = place.plane.supervisor.acknowledged()
    assert ack is not None
    os.kill(ack.pid, signal.SIGKILL)
    done = rollbacks.roll_back(place.plane, "fraud", project="default", actor="person:ann", reason="it is worse")
    assert done.state == "done" and place.predict("fraud")[1]["model_version"] == "1"


def test_of_people_and_the_loop_acting_at_once_each_act_is_whole(place: Place, name: str) -> None:
    """Two people roll back and the loop promotes, at the same moment: whoever comes first, rows and ledger agree."""
    canary = RolloutDefinition(kind="canary", share=0.5)
    place.define(name, RolloutDefinition(kind="direct"))
    for _ in range(2):
        place.deploy(name, place.register(name))
    place.define(name, canary)
    for _ in range(4):
        version = place.register(name)
        tried = place.deploy(name, version)
        start = threading.Barrier(3)
        outcomes: list[str] = []

        def act(how: Callable[[], object], start: threading.Barrier = start, outcomes: list[str] = outcomes) -> None:
            start.wait()
            try:
                how()
                outcomes.append("done")
            except HomeostatError as error:
                outcomes.append(error.code)

        def back(version: int = version) -> object:
            return rollbacks.roll_back(
                place.plane, name, project="default", actor="person:ann", reason="x", version=version
            )

        def promote(tried: deployments.Deployment = tried) -> object:
            stages = place.releases.stages
            return stages._turn("default", tried, canary, Judgement(turn="promote", summary="well"), over=False)

        threads = [threading.Thread(target=act, args=(how,)) for how in (back, back, promote)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        after = place.read(tried)
        assert after.state == "rolled_back" and outcomes.count("done") in (1, 2)
        assert set(outcomes) <= {"done", "delivery.gone_already", "delivery.moved", "delivery.nothing_before"}
        arms = place.arms(name)
        assert arms["champion"] == 2 and version not in arms.values()
        with place.database.read() as reader:
            taken_back = [
                d for d in decisions.listing(reader, f"endpoint/{name}")
                if d.verdict == "roll_back" and d.action.get("from") == version
            ]  # fmt: skip
        assert [d.state for d in taken_back] == ["done"], "once, and to its end"
    assert place.predict(name)[1]["model_version"] == "2"
