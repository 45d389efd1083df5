"""The loop strip: the same seven organs in the same order, on the home page and on each endpoint's own.

Each says what it is doing now and links to where it is done. One function an organ, from the snapshot; on an
endpoint's page the snapshot holds what concerns that endpoint only, so the same functions tell of it alone.
"""

from __future__ import annotations

from msgspec import Struct

from homeostat.delivery.records import Deployment
from homeostat.governance.records import Decision
from homeostat.ui import charts, formats
from homeostat.ui.health import Tone
from homeostat.ui.snapshot import Snapshot

VERDICTS = {
    "passed": "passed",
    "refused": "refused",
    "not_enough_evidence": "not enough evidence",
    "inconclusive": "inconclusive",
}


class Organ(Struct, frozen=True, kw_only=True):
    """One organ now: `what` it does in a few words, `detail` below it; `at` (wall time) is said as how long ago."""

    name: str
    tone: Tone
    what: str
    detail: str = ""
    at: int | None = None
    href: str = "/"


def strip(seen: Snapshot, now: int) -> list[Organ]:
    """The seven organs."""
    return [_data(seen), _train(seen, now), _gate(seen), _release(seen), _serve(seen), _watch(seen), _decide(seen)]


def _data(seen: Snapshot) -> Organ:
    href = f"/datasets/{seen.datasets[0].name}" if len(seen.datasets) == 1 else "/datasets"
    if not seen.datasets:
        return Organ(name="Data", tone="idle", what="no dataset", href=href)
    if seen.refused:
        name, event = next(iter(seen.refused.items()))
        return Organ(name="Data", tone="bad", what=f"{name} refused", at=event.at, href=f"/datasets/{name}")
    what = seen.datasets[0].name if len(seen.datasets) == 1 else f"{len(seen.datasets)} datasets"
    newest = max(seen.versions.values(), key=lambda v: v.created_at, default=None)
    if newest is None:
        return Organ(name="Data", tone="idle", what=what, detail="nothing taken in yet", href=href)
    aside = f"{newest.quarantined:,} set aside" if newest.quarantined else f"{newest.rows:,} rows"
    return Organ(name="Data", tone="ok", what=what, detail=aside, at=newest.created_at, href=href)


def _train(seen: Snapshot, now: int) -> Organ:
    running = [run for run in seen.runs if run.state == "running"]
    if running:
        run = running[0]
        more = f" and {len(running) - 1} more" if len(running) > 1 else ""
        detail = f"running {formats.duration(max(0, now - run.started_at))}"
        href = f"/pipeline-runs/{run.id}"
        return Organ(name="Train", tone="run", what=run.pipeline + more, detail=detail, href=href)
    if not seen.runs:
        what = "never ran" if seen.pipelines else "no pipeline"
        return Organ(name="Train", tone="idle", what=what, href="/pipelines")
    run = seen.runs[0]
    href = f"/pipeline-runs/{run.id}"
    made = f"{run.result['model']} v{run.result['version']}" if "version" in run.result else run.pipeline
    if run.state == "failed":
        return Organ(name="Train", tone="bad", what=f"{run.pipeline} failed", at=run.finished_at, href=href)
    detail = "made" if "version" in run.result else run.state
    return Organ(name="Train", tone="ok", what=made, detail=detail, at=run.finished_at, href=href)


def _gate(seen: Snapshot) -> Organ:
    gating = next((d for d in seen.deployments if d.state == "gating"), None)
    if gating is not None:
        what, href = f"{gating.model} v{gating.version}", f"/deployments/{gating.id}"
        return Organ(name="Gate", tone="run", what=what, detail="being held against its gate", href=href)
    held = seen.evaluation
    if held is None:
        return Organ(name="Gate", tone="idle", what="nothing to check", href="/endpoints")
    passed = sum(check.verdict == "passed" for check in held.checks)
    verdict = VERDICTS[held.verdict]
    waits = any(d.state == "waiting" and d.evaluation_id == held.id for d in seen.deployments)
    detail = f"{verdict}, {passed} of {len(held.checks)} checks"
    what, href = f"{held.model} v{held.version}", f"/evaluations/{held.id}"
    return Organ(name="Gate", tone="run" if waits else "ok", what=what, detail=detail, at=held.at, href=href)


def _release(seen: Snapshot) -> Organ:
    moving = [d for d in seen.deployments if d.state in ("rolling_out", "baking")]
    if moving:
        found = moving[0]
        what = f"{found.model} v{found.version}"
        return Organ(
            name="Release", tone="run", what=what, detail=stage_of(seen, found), href=f"/deployments/{found.id}"
        )
    ended = next((d for d in seen.deployments if d.state in ("live", "rolled_back", "failed")), None)
    if ended is None:
        return Organ(name="Release", tone="idle", what="nothing on its way", href="/endpoints")
    said = {"live": "live", "rolled_back": "rolled back", "failed": "failed"}[ended.state]
    tone: Tone = "bad" if ended.state == "failed" else "ok"
    what, href = f"{ended.model} v{ended.version}", f"/deployments/{ended.id}"
    return Organ(name="Release", tone=tone, what=what, detail=said, at=ended.finished_at, href=href)


def stage_of(seen: Snapshot, deployment: Deployment) -> str:
    """ "canary at 20 %", "in shadow", "baking"."""
    if deployment.state == "baking":
        return "baking"
    endpoint = next((e for e in seen.endpoints if e.name == deployment.endpoint), None)
    arm = endpoint.arm("canary") if endpoint is not None else None
    if arm is not None:
        return f"canary at {formats.share(arm.share)}"
    return f"in {deployment.stage}" if deployment.stage else deployment.state.replace("_", " ")


def _serve(seen: Snapshot) -> Organ:
    answering = [e for e in seen.endpoints if e.arm("champion") is not None]
    single = len(seen.endpoints) == 1
    href = f"/endpoints/{seen.endpoints[0].name}" if single else "/endpoints"
    if not answering:
        return Organ(name="Serve", tone="idle", what="nothing answers", href=href)
    champion = answering[0].arm("champion")
    what = f"version {champion.version}" if single and champion else formats.plural(len(answering), "endpoint")
    if not seen.inference_alive:
        return Organ(name="Serve", tone="bad", what=what, detail="inference is not running", href=href)
    newest = [found[-1] for found in map(charts.answering, seen.windows.values()) if found]
    if not newest:
        return Organ(name="Serve", tone="ok", what=what, detail="no whole window yet", href=href)
    rate = formats.rate(sum(w.requests for w in newest), max(w.end - w.start for w in newest))
    failed = sum(w.errors for w in newest)
    tone: Tone = "bad" if failed else "ok"
    return Organ(name="Serve", tone=tone, what=what, detail=f"{rate}, {failed:,} failed", href=href)


def _watch(seen: Snapshot) -> Organ:
    if seen.incidents:
        first = seen.incidents[0]
        href = f"/incidents/{first.id}" if len(seen.incidents) == 1 else "/incidents"
        acting = all(i.state == "acting" for i in seen.incidents)
        what = formats.plural(len(seen.incidents), "incident")
        detail = f"{first.cause}, being acted on" if acting else first.cause
        return Organ(name="Watch", tone="bad", what=what, detail=detail, at=first.opened_at, href=href)
    watched = sum(bool(found) for found in seen.windows.values())
    if not watched:
        return Organ(name="Watch", tone="idle", what="nothing seen yet", href="/incidents")
    count = sum(len(found) for found in seen.windows.values())
    return Organ(
        name="Watch", tone="ok", what="no incident", detail=f"{formats.plural(count, 'window')} seen", href="/incidents"
    )


def _decide(seen: Snapshot) -> Organ:
    if seen.approvals:
        count = len(seen.approvals)
        oldest = min(approval.asked_at for approval in seen.approvals)
        return Organ(
            name="Decide", tone="ask", what=f"{count} waiting for you", detail="asked", at=oldest, href="/approvals"
        )
    acting = [d for d in seen.decisions if d.state in ("acting", "approved")]
    if acting:
        return Organ(name="Decide", tone="run", what=_act(acting[0]), detail="under way", href=_at(acting[0]))
    if any(e.paused for e in seen.endpoints):
        paused = sum(e.paused for e in seen.endpoints)
        what = "paused" if len(seen.endpoints) == 1 else f"{paused} paused"
        return Organ(name="Decide", tone="idle", what=what, detail="no automatic action", href="/decisions")
    if not seen.decisions:
        return Organ(name="Decide", tone="idle", what="nothing decided yet", href="/decisions")
    newest = seen.decisions[0]
    tone: Tone = "bad" if newest.state == "failed" else "ok"
    return Organ(name="Decide", tone=tone, what=_act(newest), detail=newest.state, at=newest.at, href=_at(newest))


def _act(decision: Decision) -> str:
    return decision.verdict.replace("_", " ")


def _at(decision: Decision) -> str:
    return f"/decisions/{decision.id}"
