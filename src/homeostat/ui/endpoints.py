"""Endpoints: all of them, one with its loop, quality, drift, traffic and acts; its deployments and evaluations."""

from __future__ import annotations

import math
from typing import Annotated, Any

from litestar import Response
from litestar.params import FromPath, QueryParameter, URLEncodedBody
from litestar.response import Redirect

from homeostat.delivery import definitions, deployments, rollbacks
from homeostat.delivery.records import Deployment
from homeostat.governance import decisions
from homeostat.monitoring import monitors
from homeostat.monitoring.records import MonitorState
from homeostat.serving import endpoints as served
from homeostat.ui import charts, evidence, health, home, organs, snapshot
from homeostat.ui.views import View, Viewing, act, reason_in, screen

Form = URLEncodedBody[dict[str, str]]


@screen("/endpoints")
def listing(view: Viewing, page: Annotated[int, QueryParameter(ge=1, le=1_000_000)] = 1) -> Response[bytes]:
    """Every endpoint, by name."""
    with view.read() as reader:
        seen = snapshot.take(reader, inference_alive=view.home.plane.supervisor.alive(), page=page)
    found = [health.of(seen, e.name) for e in seen.endpoints if e.name in seen.windows]
    sentence = health.sentence(found) if found else "No endpoint answers yet."
    pages = -(-len(seen.endpoints) // snapshot.PAGE)
    rows = home.rows(seen, found)
    return view.page("endpoints.html", "Endpoints", sentence=sentence, rows=rows, shown_page=page, pages=pages)


@screen("/endpoints/{endpoint:str}")
def show(view: Viewing, endpoint: FromPath[str]) -> Response[bytes]:
    """One endpoint: its own loop, and everything it was seen to do."""
    with view.read() as reader:
        seen = snapshot.of_endpoint(reader, endpoint, inference_alive=view.home.plane.supervisor.alive())
        states = monitors.listing(reader, endpoint)
        gate, rollout = definitions.gate_of(reader, endpoint), definitions.rollout_of(reader, endpoint)
    one = health.of(seen, endpoint)
    windows = charts.answering(seen.windows[endpoint])
    champion = seen.endpoints[0].arm("champion")
    marks = charts.marks(seen.noticed, seen.decisions)
    points = charts.quality(windows)
    last = windows[-1] if windows else None
    return view.page(
        "endpoint.html",
        f"Endpoint {endpoint}",
        endpoint=seen.endpoints[0],
        champion=champion,
        health=one,
        sentence=health.of_one(one),
        organs=organs.strip(seen, view.now),
        policy=seen.policies[endpoint],
        gate=gate,
        rollout=rollout,
        windows=windows,
        last=last,
        points=points,
        marks=marks,
        drawing=charts.spark(points, marks, width=1180, height=220, name=one.metric or "quality"),
        flow=charts.spark(
            [charts.Point(w.end, w.requests) for w in windows], marks, width=1180, height=120, name="requests"
        ),
        slow=charts.spark([charts.Point(w.end, w.p99) for w in windows], marks, width=1180, height=120, name="p99"),
        monitors=_evidence(states, champion.version if champion else None),
        evaluation=seen.evaluation,
        deployments=seen.deployments[:25],
        incidents=seen.noticed[:10],
        decisions=seen.decisions[:15],
        question=seen.approvals[0] if seen.approvals else None,
    )


def _evidence(states: list[MonitorState], version: int | None) -> list[dict[str, Any]]:
    """The champion's monitors, the nearest to its page threshold first; `fill` is how near, on a log scale."""
    found = [
        {
            "monitor": state.monitor,
            "cause": state.cause,
            "evidence": _e_value(state.evidence),
            "threshold": _e_value(state.threshold),
            "fill": min(1.0, max(0.0, state.evidence / state.threshold)) if state.threshold > 0 else 0.0,
            "paged": state.evidence >= state.threshold,
            "observed": state.observed,
            "change_at": state.change_at if state.evidence > 0 else None,
        }
        for state in states
        if state.version == version
    ]
    return sorted(found, key=lambda row: -float(row["fill"]))


def _e_value(natural_log: float) -> str:
    """An e-value from its natural logarithm; large ones as a power of ten."""
    if natural_log < math.log(1e6):
        return f"{math.exp(natural_log):,.0f}" if natural_log > math.log(10) else f"{math.exp(natural_log):.2g}"
    return f"10^{natural_log / math.log(10):.0f}"


@screen("/deployments/{id:str}")
def deployment(view: Viewing, id: FromPath[str]) -> Response[bytes]:
    """One version's way to an endpoint, with the evidence of its rollout."""
    with view.read() as reader:
        found = deployments.get(reader, id)
        held = deployments.evaluation(reader, found.evaluation_id) if found.evaluation_id else None
        subject = f"endpoint/{found.endpoint}"
        entries = [d for d in decisions.listing(reader, subject) if d.trigger == f"deployment/{id}"]
        decision = decisions.get(reader, found.decision_id) if found.decision_id else None
        rollout = definitions.rollout_of(reader, found.endpoint)
    title = f"{found.model} version {found.version} to {found.endpoint}, {found.state.replace('_', ' ')}"
    return view.page(
        "deployment.html",
        title,
        deployment=found,
        evaluation=held,
        entries=entries,
        decision=decision,
        rollout=rollout,
        summary=_plainly(found),
        evidence=evidence.rollout(found.evidence),
    )


def _plainly(found: Deployment) -> str:
    """The summary without the words that the page's heading says already."""
    said = found.summary.removeprefix(f"version {found.version} was rolled back: ")
    return said[:1].upper() + said[1:]


@screen("/evaluations/{id:str}")
def evaluation(view: Viewing, id: FromPath[str]) -> Response[bytes]:
    """One verdict of a gate, check by check."""
    with view.read() as reader:
        held = deployments.evaluation(reader, id)
    return view.page("evaluation.html", f"Gate of {held.endpoint}, version {held.version}", evaluation=held)


@act("/endpoints/{endpoint:str}/pause", "rollback")
def pause(view: Viewing, endpoint: FromPath[str], data: Form) -> Redirect:
    """Stop all automatic action."""
    return _pause(view, endpoint, True, data)


@act("/endpoints/{endpoint:str}/resume", "deploy")
def resume(view: Viewing, endpoint: FromPath[str], data: Form) -> Redirect:
    """Let the loop act again."""
    return _pause(view, endpoint, False, data)


def _pause(view: View, endpoint: str, paused: bool, data: dict[str, str]) -> Redirect:
    reason = reason_in(data)
    with view.caller.write() as tx:
        served.pause(tx, endpoint, paused, reason)
    view.home.loop.nudge()
    return view.back_to(f"/endpoints/{endpoint}")


@act("/endpoints/{endpoint:str}/rollback", "rollback")
def rollback(view: Viewing, endpoint: FromPath[str], data: Form) -> Redirect:
    """Put the version before back."""
    reason, plane = reason_in(data), view.home.plane
    decision = rollbacks.roll_back(plane, endpoint, project=view.project, actor=view.caller.name, reason=reason)
    return view.back_to(f"/decisions/{decision.id}")


ROUTES = [listing, show, deployment, evaluation, pause, resume, rollback]
