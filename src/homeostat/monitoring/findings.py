"""An alarm in words that a person understands, with the numbers behind it."""

from __future__ import annotations

from homeostat.foundation.clock import iso
from homeostat.monitoring.records import Cause, Finding
from homeostat.monitoring.states import Alarm, Contribution

CAUSES: dict[str, Cause] = {
    "misses": "performance",
    "false_alarms": "performance",
    "loss": "performance",
    "inputs": "drift",
    "score": "drift",
    "quality": "quality",
    "errors": "errors",
    "slow": "latency",
}
"""Monitor -> the cause of the incident its alarm opens or joins."""

_SAID = {
    "misses": "missed {seen} of {n} positives, {was} when held out",
    "false_alarms": "raised a false alarm on {seen} of {n} negatives, {was} when held out",
    "loss": "the mean loss is {raw} over {n} rows, {was_raw} when held out",
    "errors": "{seen} of {n} requests failed",
    "slow": "{seen} of {n} answers took longer than the budget",
    "score": "the scores lie {raw} bits from those at training, over {n} windows",
}
_MOST_NAMED = 3


def finding(monitor: str, alarm: Alarm) -> Finding:
    """The alarm of a monitor as a finding."""
    lead = alarm.tracks[0]
    since = iso(alarm.change_at)[:16].replace("T", " ")
    if monitor == "inputs":
        said = "the inputs moved away from those at training: " + ", ".join(_far(t) for t in _leading(alarm))
    elif monitor == "quality":
        said = "the inputs are not whole: " + ", ".join(f"{t.name} {t.observed:.1%}" for t in _leading(alarm))
    else:
        said = _SAID[monitor].format(
            seen=f"{lead.observed:.1%}",
            was=f"{lead.reference:.1%}",
            raw=f"{lead.observed:.3g}",
            was_raw=f"{lead.reference:.3g}",
            n=f"{lead.count:,}",
        )
    return Finding(
        monitor=monitor,
        cause=CAUSES[monitor],
        event_at=alarm.at,
        change_at=alarm.change_at,
        summary=f"{said}, since about {since} UTC",
        evidence={
            "monitor": monitor,
            "log10_evidence": round(alarm.log10_evidence, 3),
            "log10_threshold": round(alarm.log10_threshold, 3),
            "tracks": [
                {
                    "name": t.name,
                    "observed": t.observed,
                    "reference": t.reference,
                    "limit": t.limit,
                    "count": t.count,
                    "change_at": t.change_at,
                    "log10_evidence": round(t.log10_evidence, 3),
                }
                for t in alarm.tracks[:10]
            ],
        },
    )


def _leading(alarm: Alarm) -> list[Contribution]:
    """The tracks that carry the alarm: within a factor of a thousand of the first."""
    floor = alarm.tracks[0].log10_evidence - 3
    return [t for t in alarm.tracks if t.log10_evidence >= floor][:_MOST_NAMED]


def _far(t: Contribution) -> str:
    return f"{t.name} by {t.observed:.2f} bits"
