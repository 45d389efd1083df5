"""Incidents: one for each endpoint and cause while it is open; further alarms of that cause join it.

An incident goes open -> acting -> resolved, or is dismissed by a person from either. `event_at` is when it was noticed,
`change_at` when the change is estimated to have begun, both event time.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import msgspec
import sqlalchemy as sa
from msgspec.structs import replace

from homeostat.foundation import events
from homeostat.foundation.database import Reader, Transaction
from homeostat.foundation.errors import Kind, entry
from homeostat.foundation.ids import new_id
from homeostat.monitoring import tables
from homeostat.monitoring.events import AlarmJoined, IncidentMoved, IncidentRaised
from homeostat.monitoring.records import Cause, Incident

NO_INCIDENT = entry(
    "monitoring.no_incident", Kind.NOT_FOUND, "there is no incident {id!r}", "list them with: homeostat incidents"
)
CLOSED = entry(
    "monitoring.incident_closed",
    Kind.CONFLICT,
    "incident {id!r} is {state} already",
    "look at it with: homeostat incidents",
)

OPEN_STATES = ("open", "acting")

_MOST_ALARMS = 20  # kept in the incident besides the first; every one is an event

_decode = msgspec.json.Decoder(Incident).decode


def raise_(
    tx: Transaction,
    endpoint: str,
    model: str,
    version: int,
    cause: Cause,
    *,
    event_at: int,
    change_at: int | None,
    summary: str,
    evidence: dict[str, Any] | None = None,
) -> Incident:
    """Open an incident, or join the open one of this endpoint and cause.

    A joined alarm is added to `evidence["alarms"]`; summary, times and state stay those of the first.
    """
    alarm = {"version": version, "event_at": event_at, "change_at": change_at, "summary": summary, **(evidence or {})}
    found = current(tx, endpoint, cause)
    if found is not None:
        return _join(tx, found, alarm)
    incident = Incident(
        id=new_id(),
        endpoint=endpoint,
        model=model,
        version=version,
        cause=cause,
        state="open",
        opened_at=tx.at,
        event_at=event_at,
        change_at=change_at,
        summary=summary,
        evidence={"alarms": [alarm]},
    )
    row = {"id": incident.id, "project": tx.project, "endpoint": endpoint, "cause": cause, "opened_at": tx.at}
    tx.execute(sa.insert(tables.incidents).values(**row, open=True, body=msgspec.json.encode(incident)))
    raised = IncidentRaised(
        subject=f"endpoint/{endpoint}",
        event_at=event_at,
        incident=incident.id,
        endpoint=endpoint,
        model=model,
        version=version,
        cause=cause,
        change_at=change_at,
        summary=summary,
    )
    events.emit(tx, raised)
    return incident


def act(tx: Transaction, id: str) -> Incident:
    """Say that something is being done about it; no change if that was said already."""
    found = get(tx, id)
    return found if found.state == "acting" else _move(tx, found, "acting", None, None)


def resolve(tx: Transaction, id: str, resolution: str, event_at: int | None = None) -> Incident:
    """Close it: what ended it, and when in event time. No change if it is resolved already."""
    found = get(tx, id)
    return found if found.state == "resolved" else _move(tx, found, "resolved", resolution, event_at)


def dismiss(tx: Transaction, id: str, reason: str, event_at: int | None = None) -> Incident:
    """Close it as none: a person says that nothing is wrong. No change if it is dismissed already."""
    found = get(tx, id)
    return found if found.state == "dismissed" else _move(tx, found, "dismissed", reason, event_at)


def get(reader: Reader, id: str) -> Incident:
    """The incident, or `monitoring.no_incident`."""
    t = tables.incidents
    query = sa.select(t.c.body).where(t.c.project == reader.project, t.c.id == id)
    body = reader.execute(query).scalar()
    if body is None:
        raise NO_INCIDENT(field="id", id=id)
    return _decode(body)


def current(reader: Reader, endpoint: str, cause: Cause) -> Incident | None:
    """The open incident of this endpoint and cause, or None."""
    t = tables.incidents
    where = (t.c.project == reader.project, t.c.endpoint == endpoint, t.c.cause == cause, t.c.open.is_(True))
    body = reader.execute(sa.select(t.c.body).where(*where)).scalar()
    return None if body is None else _decode(body)


def listing(
    reader: Reader, endpoint: str | None = None, state: str | Iterable[str] | None = None, limit: int | None = None
) -> list[Incident]:
    """Incidents, newest first; `state` is one of an incident's states, or several."""
    t = tables.incidents
    query = sa.select(t.c.body).where(t.c.project == reader.project)
    if endpoint is not None:
        query = query.where(t.c.endpoint == endpoint)
    wanted = None if state is None else {state} if isinstance(state, str) else set(state)
    if wanted is not None and wanted <= set(OPEN_STATES):
        query = query.where(t.c.open.is_(True))
    found = (_decode(body) for body in reader.execute(query.order_by(t.c.opened_at.desc(), t.c.id.desc())).scalars())
    kept = [i for i in found if wanted is None or i.state in wanted]
    return kept if limit is None else kept[:limit]


def _join(tx: Transaction, found: Incident, alarm: dict[str, Any]) -> Incident:
    alarms: list[dict[str, Any]] = [*found.evidence.get("alarms", []), alarm]
    kept = [*alarms[:1], *alarms[1:][-_MOST_ALARMS:]]
    joined = replace(found, evidence=found.evidence | {"alarms": kept})
    _write(tx, joined)
    told = AlarmJoined(
        subject=f"endpoint/{found.endpoint}",
        event_at=alarm["event_at"],
        incident=found.id,
        endpoint=found.endpoint,
        version=alarm["version"],
        cause=found.cause,
        summary=alarm["summary"],
    )
    events.emit(tx, told)
    return joined


def _move(
    tx: Transaction,
    found: Incident,
    state: Literal["acting", "resolved", "dismissed"],
    resolution: str | None,
    event_at: int | None,
) -> Incident:
    if found.state not in OPEN_STATES:
        raise CLOSED(field="id", id=found.id, state=found.state)
    moved = replace(found, state=state)
    if state != "acting":
        moved = replace(moved, resolution=resolution, resolved_at=tx.at, resolved_event_at=event_at)
    _write(tx, moved)
    told = IncidentMoved(
        subject=f"endpoint/{found.endpoint}",
        event_at=event_at,
        incident=found.id,
        endpoint=found.endpoint,
        cause=found.cause,
        state=state,
        resolution=resolution,
    )
    events.emit(tx, told)
    return moved


def _write(tx: Transaction, incident: Incident) -> None:
    t = tables.incidents
    values = {"open": incident.state in OPEN_STATES, "body": msgspec.json.encode(incident)}
    tx.execute(sa.update(t).where(t.c.project == tx.project, t.c.id == incident.id).values(values))
