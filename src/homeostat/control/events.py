"""What happens to policies."""

from __future__ import annotations

from homeostat.foundation.events import Event


class PolicyDefined(Event, frozen=True, kw_only=True, tag="control.policy_defined"):
    """The policy of an endpoint was set or changed."""

    mode: str


class LoopFaltered(Event, frozen=True, kw_only=True, tag="control.loop_faltered"):
    """One organ failed in one pass; the others went on, and it is tried again."""

    organ: str
    error: str
