"""What follows from what: one pure function for each trigger, from facts to a verdict in words.

A verdict is an action's name, or "wait" (nothing is entered yet: more evidence is on its way), or "abstain" (entered,
so that a person can read why nothing was done).
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from homeostat.control.records import Policy
from homeostat.foundation.clock import format_duration
from homeostat.monitoring.records import Incident

Action = Literal["retrain", "roll_back", "ask", "abstain", "wait"]


class Facts(Struct, frozen=True, kw_only=True):
    """What a rule looks at, all in event time.

    `rows_since` and `positives_since` count labelled predictions after the estimated change. `took_over_at` is when the
    champion began; `previous` the version loaded beside it, and `previous_was_ill` that it was relieved because its
    answers had become worse. `last_action_at` is when the last retrain was decided,
    `last_asked_at` the same with those that a person has rejected.
    """

    now: int
    champion: int
    took_over_at: int | None = None
    previous: int | None = None
    previous_was_ill: bool = False
    baking: bool = False
    rows_since: int = 0
    positives_since: int = 0
    last_action_at: int | None = None
    last_asked_at: int | None = None
    attempts: int = 0
    binary: bool = True
    learnt_at: int | None = None


class Verdict(Struct, frozen=True, kw_only=True):
    """What a rule says: the action, the rule's name, and the sentence a colleague would say."""

    action: Action
    rule: str
    summary: str
    inputs: dict[str, Any] = {}


def on_incident(incident: Incident, policy: Policy, facts: Facts) -> Verdict:
    """What follows from an open incident."""
    if incident.cause == "performance":
        return _on_performance(incident, policy, facts)
    if incident.cause in ("latency", "errors"):
        return _on_service(incident, facts)
    words = f"{incident.summary}. No harm to its answers has been shown; " + (
        f"labels come {format_duration(policy.label_delay)} later and will tell."
        if policy.dataset
        else "no labels reach it, so nothing can tell: a person should look."
    )
    action: Action = "abstain" if policy.dataset else "ask"
    rule = "inputs or scores moved: labels decide, not drift"
    return Verdict(action=action, rule=rule, summary=words, inputs=_inputs(incident, facts))


def on_schedule(policy: Policy, facts: Facts) -> Verdict | None:
    """A retrain because it is time, or None."""
    if policy.schedule is None or policy.pipeline is None or facts.learnt_at is None:
        return None
    since = max(facts.learnt_at, facts.last_asked_at or 0)
    if facts.now - since < policy.schedule:
        return None
    words = f"Retrain: it is {format_duration(facts.now - since)} since it last learnt, and the schedule says so."
    return Verdict(
        action="retrain",
        rule=f"retrain every {format_duration(policy.schedule)}",
        summary=words,
        inputs={"now": facts.now, "learnt_at": since},
    )


def _on_performance(incident: Incident, policy: Policy, facts: Facts) -> Verdict:
    inputs = _inputs(incident, facts)
    if _never_was_well(incident, policy, facts):
        words = (
            f"Roll version {facts.champion} back to version {facts.previous}: it has been worse than it promised "
            f"from the moment it took over. {incident.summary}"
        )
        rule = "a version that was never well goes back"
        return Verdict(action="roll_back", rule=rule, summary=words, inputs=inputs)
    if policy.pipeline is None:
        words = f"{incident.summary}. It has no pipeline to retrain by: a person should look."
        return Verdict(action="ask", rule="what cannot be retrained is asked about", summary=words, inputs=inputs)
    rule = f"retrain once {policy.min_rows:,} labelled rows followed the change"
    if facts.binary:
        rule += f", {policy.min_positives:,} of them positive"
    if facts.last_action_at is not None and facts.now - facts.last_action_at < policy.cooldown:
        words = f"the last retrain was {format_duration(facts.now - facts.last_action_at)} ago"
        return Verdict(action="wait", rule=rule, summary=words, inputs=inputs)
    enough = facts.rows_since >= policy.min_rows and (not facts.binary or facts.positives_since >= policy.min_positives)
    if not enough:
        words = f"{facts.rows_since:,} labelled rows since the change, {facts.positives_since:,} of them positive"
        return Verdict(action="wait", rule=rule, summary=words, inputs=inputs)
    counted = f"{facts.rows_since:,} labelled rows have followed the change"
    if facts.binary:
        counted += f", {facts.positives_since:,} of them positive"
    words = f"Retrain: {incident.summary}. {counted}: enough to learn it anew."
    return Verdict(action="retrain", rule=rule, summary=words, inputs=inputs)


def _never_was_well(incident: Incident, policy: Policy, facts: Facts) -> bool:
    """The trouble began with the version, not with the world: within one window of its taking over.

    Where it relieved a version that had itself become worse, the world is what changes: the one before is known to be
    no better, the gate had shown this one better on newer rows, and going back would only begin the same again.
    """
    if facts.previous is None or facts.took_over_at is None or incident.version != facts.champion:
        return False
    if facts.previous_was_ill:
        return False
    began = incident.change_at if incident.change_at is not None else incident.event_at
    return began - facts.took_over_at <= policy.window and facts.attempts == 0


def _on_service(incident: Incident, facts: Facts) -> Verdict:
    inputs = _inputs(incident, facts)
    rule = "a new version that is slow or fails goes back; otherwise a person is asked"
    if facts.previous is not None and facts.baking and incident.version == facts.champion:
        words = f"Roll version {facts.champion} back to version {facts.previous}: {incident.summary}"
        return Verdict(action="roll_back", rule=rule, summary=words, inputs=inputs)
    words = f"{incident.summary}. Another version would not mend it: a person should look."
    return Verdict(action="ask", rule=rule, summary=words, inputs=inputs)


def _inputs(incident: Incident, facts: Facts) -> dict[str, Any]:
    return {
        "incident": incident.id,
        "cause": incident.cause,
        "version": incident.version,
        "noticed_at": incident.event_at,
        "change_at": incident.change_at,
        "now": facts.now,
        "rows_since": facts.rows_since,
        "positives_since": facts.positives_since,
        "took_over_at": facts.took_over_at,
    }
