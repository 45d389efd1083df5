"""Incidents: what is not as it should be, and what was decided about it."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Response
from litestar.params import FromPath, FromQuery, QueryParameter, URLEncodedBody
from litestar.response import Redirect

from homeostat.governance import decisions
from homeostat.monitoring import incidents, windows
from homeostat.monitoring.records import Incident
from homeostat.ui import charts, formats
from homeostat.ui.views import Viewing, act, reason_in, screen

STATES = ("open", "acting", "resolved", "dismissed")
_SHOWN = 200


@screen("/incidents")
def listing(
    view: Viewing,
    endpoint: FromQuery[str | None] = None,
    in_state: Annotated[str | None, QueryParameter(name="state")] = None,
) -> Response[bytes]:
    """Incidents, the newest first."""
    asked = in_state if in_state in STATES else None
    with view.read() as reader:
        found = incidents.listing(reader, endpoint or None, asked, _SHOWN)
        current = incidents.listing(reader, state=("open", "acting"))
    count = len(current)
    sentence = (
        f"{formats.spelled(count).capitalize()} {'incident is' if count == 1 else 'incidents are'} open."
        if count
        else "Nothing is wrong that the monitors can see."
    )
    return view.page(
        "incidents.html", "Incidents", sentence=sentence, incidents=found, state=asked, endpoint=endpoint, states=STATES
    )


@screen("/incidents/{id:str}")
def show(view: Viewing, id: FromPath[str]) -> Response[bytes]:
    """One incident: what was seen, since when, and what followed."""
    with view.read() as reader:
        found = incidents.get(reader, id)
        about = decisions.listing(reader, f"endpoint/{found.endpoint}", limit=500)
        around = windows.listing(reader, found.endpoint, limit=400)
    followed = [d for d in about if d.trigger == f"incident/{id}"]
    alarms = [_alarm(told, found) for told in found.evidence.get("alarms") or []]
    points = charts.quality(charts.answering(around))
    marks = charts.marks([found], followed)
    return view.page(
        "incident.html",
        f"{found.endpoint}: {found.cause}",
        incident=found,
        decisions=followed,
        alarms=alarms,
        points=points,
        marks=marks,
        metric=next((w.metric.name for w in reversed(around) if w.metric is not None), None),
        drawing=charts.spark(points, marks, width=1180, height=220),
    )


def _alarm(told: dict[str, Any], incident: Incident) -> dict[str, Any]:
    """One alarm as the page shows it, whatever of it was told."""
    known: dict[str, Any] = {"monitor": incident.cause, "event_at": incident.event_at, "summary": "", "tracks": []}
    measures = ("name", "observed", "reference", "limit", "count", "log10_evidence")
    tracks = [{name: track.get(name) for name in measures} for track in told.get("tracks") or []]
    sizes = {name: told.get(name) for name in ("log10_evidence", "log10_threshold")}
    return known | told | sizes | {"tracks": tracks}


@act("/incidents/{id:str}/dismiss", "rollback")
def dismiss(view: Viewing, id: FromPath[str], data: URLEncodedBody[dict[str, str]]) -> Redirect:
    """Close it: a person says that nothing is wrong."""
    reason = reason_in(data)
    with view.caller.write(reason=reason) as tx:
        incidents.dismiss(tx, id, reason)
    view.home.loop.nudge()
    return view.back_to(f"/incidents/{id}")


ROUTES = [listing, show, dismiss]
