"""What happened, as a person would say it: one sentence for each kind of event that is worth telling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from homeostat.foundation import events
from homeostat.foundation.database import Reader
from homeostat.foundation.events import Recorded
from homeostat.ui import formats
from homeostat.ui.organs import VERDICTS


class Told(Struct, frozen=True, kw_only=True):
    """One event for the log: `kind` in a word, the sentence, and where to read on."""

    seq: int
    at: int
    event_at: int | None
    kind: str
    words: str
    href: str
    actor: str


Payload = dict[str, Any]
_STATES = {
    "gating": "is held against its gate",
    "waiting": "waits for more evidence",
    "refused": "was refused",
    "rolling_out": "is rolling out",
    "baking": "took over and bakes",
    "live": "is live",
    "rolled_back": "was rolled back",
    "superseded": "was superseded",
    "failed": "failed",
}


def _moved(name: str, p: Payload) -> str:
    summary = str(p["summary"])
    said = f"{name}: version {p['version']} {_STATES.get(p['state'], p['state'])}"
    return f"{said}: {summary}" if summary and not summary.startswith(f"version {p['version']} ") else said


def _held(name: str, p: Payload) -> str:
    """A pass in short, anything else with every check's sentence."""
    verdict = VERDICTS.get(p["verdict"], p["verdict"])
    summary = str(p["summary"])
    if p["verdict"] == "passed":
        summary, _, more = summary.partition("; ")
        summary += "; and more" if more else ""
    return f"{name}: version {p['version']} {verdict}: {summary}"


def _ended(name: str, p: Payload) -> str:
    if p["state"] != "succeeded":
        return f"pipeline {name} {p['state']}: {p.get('error') or 'no reason was given'}"
    made = p.get("result") or {}
    version = f" and made {made['model']} version {made['version']}" if "version" in made else ""
    return f"pipeline {name} ran{version}"


def _aside(name: str, p: Payload) -> str:
    return f"{formats.plural(p['rows'], 'row')} of {name} set aside: {'; '.join(list(p['reasons'])[:2])}"


# kind of event -> (word for it, sentence from the subject's name and the payload, address of the details)
_TELL: dict[str, tuple[str, Callable[[str, Payload], str], Callable[[str, Payload], str]]] = {
    "data.version_added": (
        "data",
        lambda n, p: f"{p['dataset']} version {p['number']}: {formats.plural(p['added'], 'row')} added",
        lambda n, p: f"/datasets/{p['dataset']}",
    ),
    "data.version_refused": (
        "data",
        lambda n, p: f"{p['dataset']} version {p['number']} refused: {p['why']}",
        lambda n, p: f"/datasets/{p['dataset']}",
    ),
    "data.rows_quarantined": ("data", _aside, lambda n, p: f"/datasets/{n}"),
    "data.file_refused": (
        "data",
        lambda n, p: f"{p['dataset']}: {p['words']}",
        lambda n, p: f"/datasets/{p['dataset']}",
    ),
    "pipelines.run_started": (
        "train",
        lambda n, p: f"pipeline {p['pipeline']} {'went on' if p['resumed'] else 'started'}",
        lambda n, p: f"/pipeline-runs/{p['run']}",
    ),
    "pipelines.run_finished": (
        "train",
        lambda n, p: _ended(p["pipeline"], p),
        lambda n, p: f"/pipeline-runs/{p['run']}",
    ),
    "registry.version_registered": (
        "model",
        lambda n, p: f"{p['model']} version {p['number']} registered",
        lambda n, p: f"/models/{p['model']}/{p['number']}",
    ),
    "delivery.evaluated": (
        "gate",
        _held,
        lambda n, p: f"/evaluations/{p['evaluation']}",
    ),
    "delivery.deployment_moved": ("release", _moved, lambda n, p: f"/deployments/{p['deployment']}"),
    "serving.endpoint_paused": (
        "serve",
        lambda n, p: f"{n} paused: no automatic action",
        lambda n, p: f"/endpoints/{n}",
    ),
    "serving.endpoint_resumed": ("serve", lambda n, p: f"{n} resumed", lambda n, p: f"/endpoints/{n}"),
    "monitoring.incident_raised": (
        "incident",
        lambda n, p: f"{p['endpoint']}: {p['summary']}",
        lambda n, p: f"/incidents/{p['incident']}",
    ),
    "monitoring.incident_moved": (
        "incident",
        lambda n, p: (
            f"{p['endpoint']}: {p['cause']} incident {p['state']}" + (f": {p['resolution']}" if p["resolution"] else "")
        ),
        lambda n, p: f"/incidents/{p['incident']}",
    ),
    "governance.decision_recorded": (
        "decision",
        lambda n, p: f"{n}: {p['summary']}",
        lambda n, p: f"/decisions/{p['decision']}",
    ),
    "governance.decision_moved": (
        "decision",
        lambda n, p: f"{n}: {formats.words(p['verdict'])} {p['state']}" + (f": {p['outcome']}" if p["outcome"] else ""),
        lambda n, p: f"/decisions/{p['decision']}",
    ),
    "governance.approval_asked": ("ask", lambda n, p: f"{n}: {p['question']}", lambda n, p: "/approvals"),
    "governance.approval_answered": (
        "ask",
        lambda n, p: f"{n}: {p['state']}" + (f": {p['why']}" if p["why"] else ""),
        lambda n, p: f"/decisions/{p['decision']}",
    ),
}


def tell(event: Recorded) -> Told | None:
    """The event as a sentence; None where nobody needs to be told, or its payload was erased."""
    if event.kind not in _TELL or event.payload is None:
        return None
    # The question about a decision, and its answer, are told by the approval.
    if event.kind == "governance.decision_recorded" and event.payload.get("state") == "waiting":
        return None
    if event.kind == "governance.decision_moved" and event.payload.get("state") in ("approved", "rejected"):
        return None
    kind, words, href = _TELL[event.kind]
    name = event.subject.partition("/")[2].partition("/")[0]
    try:
        said, where = words(name, event.payload), href(name, event.payload)
    except KeyError:  # written by another version, with other fields
        said, where = f"{event.subject}: {event.kind}", "/audit"
    if event.reason and event.kind.startswith("serving."):
        said += f" ({event.reason})"
    return Told(
        seq=event.seq,
        at=event.at,
        event_at=event.payload.get("event_at"),
        kind=kind,
        words=said,
        href=where,
        actor=event.actor,
    )


def newest(reader: Reader, limit: int, subject: str | None = None) -> list[Told]:
    """The newest happenings worth telling, newest first."""
    found = events.read_after(reader, kinds=_TELL, subject=subject, newest_first=True, limit=2 * limit)
    return [told for event in found if (told := tell(event)) is not None][:limit]
