"""How a blessed version takes over, as a project file says it. All durations are event time."""

from __future__ import annotations

from homeostat.delivery.records import RolloutDefinition
from homeostat.foundation.clock import parse_duration
from homeostat.foundation.errors import Kind, entry

BAD_ROLLOUT = entry(
    "project.bad_rollout",
    Kind.INVALID,
    "{argument} of hs.{rollout}() must be {rule}, not {value!r}",
    "write it as {example}",
)

_BAKE = "1d"
_TIMEOUT = "10d"


def canary(
    *,
    share: float = 0.2,
    margin: float = 0.01,
    min_rows: int = 400,
    latency_budget_ms: float = 20.0,
    shadow_for: str | int = 0,
    bake: str | int = _BAKE,
    timeout: str | int = _TIMEOUT,
) -> RolloutDefinition:
    """The new version answers `share` of the traffic until errors, latency and scores show no harm, then all of it.

    Judged with `margin` on at least `min_rows` rows an arm. With `shadow_for` it first runs in the shadow for at most
    that long, judged on labels. After it took over the old version stays ready for `bake`; a rollout that cannot be
    judged within `timeout` is given up.
    """
    _share("canary", "share", share)
    _share("canary", "margin", margin)
    _count("canary", "min_rows", min_rows)
    _positive("canary", "latency_budget_ms", latency_budget_ms)
    shadow_us = parse_duration(shadow_for, field="shadow_for")
    return RolloutDefinition(
        kind="shadow_then_canary" if shadow_us else "canary",
        share=float(share),
        margin=float(margin),
        min_rows=min_rows,
        latency_budget_ms=float(latency_budget_ms),
        shadow_for=shadow_us,
        bake=parse_duration(bake, field="bake"),
        timeout=parse_duration(timeout, field="timeout"),
    )


def shadow(
    *,
    days: float | None = None,
    longest: str | int = "10d",
    margin: float = 0.01,
    min_rows: int = 400,
    latency_budget_ms: float = 20.0,
    bake: str | int = _BAKE,
    timeout: str | int | None = None,
) -> RolloutDefinition:
    """The new version answers nobody but sees every input, until the labels of at most `longest` judge the pair."""
    if days is not None:
        _positive("shadow", "days", days)
        longest = f"{days}d"
    _share("shadow", "margin", margin)
    _count("shadow", "min_rows", min_rows)
    _positive("shadow", "latency_budget_ms", latency_budget_ms)
    shadow_us = parse_duration(longest, field="longest")
    return RolloutDefinition(
        kind="shadow",
        margin=float(margin),
        min_rows=min_rows,
        latency_budget_ms=float(latency_budget_ms),
        shadow_for=shadow_us,
        bake=parse_duration(bake, field="bake"),
        timeout=shadow_us if timeout is None else parse_duration(timeout, field="timeout"),
    )


def direct(*, bake: str | int = _BAKE) -> RolloutDefinition:
    """The new version takes over at once; the old one stays ready for `bake`."""
    return RolloutDefinition(kind="direct", bake=parse_duration(bake, field="bake"))


def _share(rollout: str, field: str, value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
        _bad(rollout, field, "between 0 and 1", value, f"hs.{rollout}({field}=0.1)")


def _count(rollout: str, field: str, value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        _bad(rollout, field, "a whole number above 0", value, f"hs.{rollout}({field}=400)")


def _positive(rollout: str, field: str, value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        _bad(rollout, field, "a number above 0", value, f"hs.{rollout}({field}=20)")


def _bad(rollout: str, field: str, rule: str, value: object, example: str) -> None:
    raise BAD_ROLLOUT(field=field, argument=field, rollout=rollout, rule=rule, value=value, example=example)
