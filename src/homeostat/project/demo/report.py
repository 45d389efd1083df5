"""The end of the demo: a timeline read back from the system's own records, a table, and what was claimed and held."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from homeostat.foundation.clock import DAY, format_duration, iso
from homeostat.project.connection import Connection
from homeostat.project.demo import transactions as world
from homeostat.project.demo.replay import CardReplay

_NEWS = {
    "monitoring.incident_raised": "incident",
    "governance.decision_recorded": "decision",
    "delivery.deployment_moved": "release",
}
_TIMELINE = {
    **_NEWS,
    "data.version_added": "data",
    "data.rows_quarantined": "quarantine",
    "registry.version_registered": "model",
    "delivery.evaluated": "gate",
    "serving.arms_changed": "serving",
    "monitoring.incident_moved": "incident",
}


class Report:
    """Gathers claims and figures while the story goes on, and says at the end which of them are true."""

    def __init__(self, change_day: int) -> None:
        self.change_at = world.START + change_day * DAY
        self.claims: list[tuple[str, bool]] = []
        self.spoiled = 0
        self.quarantined = 0
        self.rollback: str | None = None
        self._seen = 0

    @property
    def passed(self) -> bool:
        """Whether every claim held."""
        return bool(self.claims) and all(held for _, held in self.claims)

    def check(self, claim: str, held: bool) -> None:
        """Note a claim and whether it is true."""
        self.claims.append((claim, bool(held)))

    def news(self, control: Connection) -> list[str]:
        """What was recorded since the last call, for a reader who watches."""
        lines = []
        for event in self._events(control, self._seen):
            self._seen = event["seq"]
            if event["kind"] in _NEWS:
                lines.append(f"{_NEWS[event['kind']]}: {_words(event)}")
        return lines

    def conclude(self, control: Connection, replay: CardReplay, run: Callable[..., int]) -> None:
        """Read everything back, print timeline, table and claims; `run` is the command line."""
        incidents = control.get("/incidents")
        noticed = [i for i in incidents if i["cause"] == "performance" and i["event_at"] >= self.change_at]
        early = [i for i in incidents if i["event_at"] < self.change_at]
        quality = self._quality(control)
        retrained = [d for d in control.get("/decisions") if d["verdict"] == "retrain" and d["state"] == "done"]
        self.check("no false alarm before the change", not early)
        self.check("the change raised one incident", len(noticed) == 1)
        self.check("the loop decided to retrain, and the new version took over", bool(retrained))
        before, during, after = quality["before"], quality["during"], quality["after"]
        recovered = before is not None and during is not None and after is not None
        recovered = recovered and _recovered(before or 0, during or 0, after or 0)
        self.check("quality fell with the change and recovered after it", recovered)
        self.check("every damaged row was quarantined", self.quarantined == self.spoiled > 0)
        self.check("every request was answered", replay.failed == 0 and replay.requests > 0)
        self.check("every prediction is in the log", self._logged(control) == replay.rows)
        code = run("audit", "verify")
        self.check("the audit trail verifies", code == 0)
        self._print(control, replay, quality, noticed)

    def _quality(self, control: Connection) -> dict[str, float | None]:
        """Mean daily quality: of the first version before and after the change, and of what took its place."""
        windows = [w for w in control.get("/endpoints/fraud/windows", limit=500) if w["labelled"] >= 500]
        groups: dict[str, list[float]] = {"before": [], "during": [], "after": []}
        for window in windows:
            value = (window["metric"] or {}).get("value")
            if value is None:
                continue
            if window["version"] != 1:
                groups["after"].append(value)
            else:
                groups["before" if window["start"] < self.change_at else "during"].append(value)
        return {name: sum(values) / len(values) if values else None for name, values in groups.items()}

    def _logged(self, control: Connection) -> int:
        return int(control.get("/endpoints/fraud").get("predictions", -1))

    def _print(
        self, control: Connection, replay: CardReplay, quality: dict[str, float | None], noticed: list[dict[str, Any]]
    ) -> None:
        print("\nTimeline, from the platform's own records (event time where there is one)\n")
        for event in self._events(control, 0):
            if event["kind"] in _TIMELINE:
                at = (event["payload"] or {}).get("event_at")
                when = iso(at)[:16].replace("T", " ") if at else " " * 16
                print(f"  {when}  {_TIMELINE[event['kind']]:<10}  {_words(event)}")
        delay = noticed[0]["event_at"] - self.change_at if noticed else None
        rows = [
            ("average precision before the change", _number(quality["before"])),
            ("average precision after it, first version", _number(quality["during"])),
            ("average precision after adapting", _number(quality["after"])),
            ("noticed after the change (labels are 3 d late)", format_duration(delay) if delay else "never"),
            ("requests sent / failed", f"{replay.requests:,} / {replay.failed}"),
            ("predictions answered", f"{replay.rows:,}"),
            ("rollback", self.rollback or "none"),
        ]
        print()
        for name, value in rows:
            print(f"  {name:<48} {value}")
        print()
        for claim, held in self.claims:
            print(f"  {'yes' if held else 'NO '}  {claim}")
        print(f"\n{'The loop closed.' if self.passed else 'The loop did not close: see the lines marked NO.'}")

    def _events(self, control: Connection, after: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while page := control.get("/events", after=after, limit=500):
            found += page
            after = page[-1]["seq"]
        return found


def _words(event: dict[str, Any]) -> str:
    """One line about an event, in words."""
    payload = event["payload"] or {}
    kind = event["kind"]
    if kind == "data.version_added":
        return f"{event['subject']}: {payload.get('added', payload.get('rows', 0)):,} rows"
    if kind == "data.rows_quarantined":
        return f"{event['subject']}: {payload.get('rows', 0):,} rows set aside"
    if kind == "registry.version_registered":
        return f"version {payload.get('number')} of {payload.get('model')} registered"
    if kind == "serving.arms_changed":
        return ", ".join(f"{arm}: {what}" for arm, what in payload.get("arms", {}).items())
    if kind == "delivery.deployment_moved":
        stage = f" ({payload['stage']})" if payload.get("stage") else ""
        return f"version {payload.get('version')} {payload.get('state')}{stage}: {payload.get('summary')}"
    if kind == "delivery.evaluated":
        return f"version {payload.get('version')} {payload.get('verdict')}: {payload.get('summary')}"
    if kind == "monitoring.incident_moved":
        return (
            f"{payload.get('state')}: {payload.get('resolution') or payload.get('reason') or 'it is being dealt with'}"
        )
    return str(payload.get("summary") or event["subject"])


def _recovered(before: float, during: float, after: float) -> bool:
    """Whether at least half of what was lost came back, and there was something lost."""
    return before - during > 0.1 and after > during + 0.5 * (before - during)


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"
