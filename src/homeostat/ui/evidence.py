"""The evidence of a rollout, as deployments and decisions keep it, put into rows that a table can show.

It is what delivery wrote when it judged; a key that it did not write, or that only a later version writes, is None.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

_ARM = ("version", "requests", "errors", "refused", "slow", "p99_us", "called", "mean")
_LIMITS = ("value", "low", "high", "margin")


class Rollout(Struct, frozen=True):
    """`arms` by name, `differences` candidate less champion, `paired` of a shadow; all of it may be empty."""

    arms: tuple[dict[str, Any], ...]
    differences: dict[str, dict[str, float]]
    paired: dict[str, Any] | None


def rollout(told: Mapping[str, Any]) -> Rollout:
    """The rollout's part of some evidence or inputs."""
    arms = tuple(
        {"arm": name} | {key: told[name].get(key) for key in _ARM}
        for name in ("champion", "candidate")
        if isinstance(told.get(name), dict)
    )
    found = told.get("differences") or {}
    differences = {name: limits for name, limits in found.items() if all(limits.get(k) is not None for k in _LIMITS)}
    paired = told.get("paired")
    return Rollout(arms, differences, _paired(paired) if isinstance(paired, dict) else None)


def rest(told: Mapping[str, Any]) -> dict[str, Any]:
    """What is left of the inputs once the rollout's part is shown in tables."""
    shown = {"differences", "paired"} | {n for n in ("champion", "candidate") if isinstance(told.get(n), dict)}
    return {name: value for name, value in told.items() if name not in shown}


def _paired(told: dict[str, Any]) -> dict[str, Any]:
    return {key: told.get(key) for key in ("rows", "disagreements", "labelled", "difference", "low", "high")}
