"""Gathers what the rules look at, from the records of the other organs."""

from __future__ import annotations

from homeostat.control.policies import Facts
from homeostat.delivery import deployments
from homeostat.foundation.database import Reader
from homeostat.governance import decisions
from homeostat.governance.records import Decision
from homeostat.monitoring import incidents, windows
from homeostat.monitoring.records import Incident
from homeostat.serving import endpoints
from homeostat.serving.records import Endpoint


def gather(reader: Reader, endpoint: Endpoint, incident: Incident | None, wall: int) -> Facts | None:
    """The facts about an endpoint now, or None while nothing answers under it."""
    champion, previous = endpoint.arm("champion"), endpoint.arm("previous")
    if champion is None:
        return None
    open_ones = deployments.listing(reader, endpoint.name, states=("baking",))
    taken = [d for d in decisions.listing(reader, f"endpoint/{endpoint.name}", limit=10_000) if d.verdict == "retrain"]
    rows, positives, seen_any = _labelled_since(reader, endpoint, incident)
    return Facts(
        now=endpoints.event_now(endpoint, wall),
        champion=champion.version,
        took_over_at=champion.since_event,
        previous=previous.version if previous else None,
        previous_was_ill=previous is not None and _was_ill(reader, endpoint, previous.version),
        baking=any(d.version == champion.version for d in open_ones),
        rows_since=rows,
        positives_since=positives,
        last_action_at=max((d.event_at for d in taken if d.event_at is not None and _counts(d)), default=None),
        last_asked_at=max((d.event_at for d in taken if d.event_at is not None), default=None),
        attempts=sum(1 for d in taken if incident is not None and d.trigger == f"incident/{incident.id}"),
        binary=seen_any,
        learnt_at=champion.since_event if champion.since_event is not None else _first_seen(reader, endpoint),
    )


def _was_ill(reader: Reader, endpoint: Endpoint, version: int) -> bool:
    """Whether a version's answers were shown to be worse than promised, and nobody said that this was no incident."""
    listed = incidents.listing(reader, endpoint.name)
    return any(i.cause == "performance" and i.version == version and i.state != "dismissed" for i in listed)


def _first_seen(reader: Reader, endpoint: Endpoint) -> int | None:
    """The beginning of the first window of the champion: one that took over before any traffic has no event time."""
    champion = endpoint.arm("champion")
    listed = windows.listing(reader, endpoint.name, champion.version) if champion is not None else []
    return listed[0].start if listed else None


def _counts(decision: Decision) -> bool:
    return decision.state not in ("rejected", "superseded")


def _labelled_since(reader: Reader, endpoint: Endpoint, incident: Incident | None) -> tuple[int, int, bool]:
    """Labelled rows and positives in the windows after the change, and whether positives are counted at all."""
    if incident is None:
        return 0, 0, True
    since = incident.change_at if incident.change_at is not None else incident.event_at
    listed = windows.listing(reader, endpoint.name, limit=1000)
    after = [w for w in listed if w.end > since]
    return sum(w.labelled for w in after), sum(w.positives for w in after), any(w.positives for w in listed)
