"""Policies: what may follow what, and who is asked."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Mode = Literal["automatic", "ask", "observe"]


class Policy(Struct, frozen=True, kw_only=True):
    """How control responds for one endpoint. Durations are event time.

    `ask` names the actions that wait for a person even in automatic mode ("retrain", "roll_back", "reuse").
    """

    endpoint: str
    pipeline: str | None = None  # how to retrain; None: it cannot be retrained, so a person is asked
    dataset: str | None = None
    mode: Mode = "automatic"
    ask: tuple[str, ...] = ()
    learn_from: Literal["all", "since_change", "best"] = "best"
    min_positives: int = 150  # labelled positives after the change before a retrain is worth it
    min_rows: int = 500
    cooldown: int = 3 * 86_400_000_000
    schedule: int | None = None  # retrain at least this often
    window: int = 86_400_000_000
    label_delay: int = 0
