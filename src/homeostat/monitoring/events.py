"""What happens to incidents."""

from __future__ import annotations

from homeostat.foundation.events import Event


class IncidentRaised(Event, frozen=True, kw_only=True, tag="monitoring.incident_raised"):
    """Something is not as it should be with one model; `event_at` is when it was noticed."""

    incident: str
    endpoint: str
    model: str
    version: int
    cause: str
    change_at: int | None
    summary: str


class AlarmJoined(Event, frozen=True, kw_only=True, tag="monitoring.alarm_joined"):
    """Another alarm of the same cause joined an incident that was open."""

    incident: str
    endpoint: str
    version: int
    cause: str
    summary: str


class IncidentMoved(Event, frozen=True, kw_only=True, tag="monitoring.incident_moved"):
    """An incident is now acted on, resolved or dismissed."""

    incident: str
    endpoint: str
    cause: str
    state: str
    resolution: str | None
