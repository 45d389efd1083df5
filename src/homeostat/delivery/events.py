"""What happens on the way to production."""

from __future__ import annotations

from homeostat.foundation.events import Event


class GateDefined(Event, frozen=True, kw_only=True, tag="delivery.gate_defined"):
    """The gate or the rollout of an endpoint was set or changed."""

    gate_digest: str


class DeploymentRequested(Event, frozen=True, kw_only=True, tag="delivery.deployment_requested"):
    """Someone, or a decision, wants a version on an endpoint."""

    deployment: str
    version: int


class Evaluated(Event, frozen=True, kw_only=True, tag="delivery.evaluated"):
    """A gate gave its verdict."""

    evaluation: str
    version: int
    verdict: str
    summary: str


class DeploymentMoved(Event, frozen=True, kw_only=True, tag="delivery.deployment_moved"):
    """A deployment went on to its next state."""

    deployment: str
    version: int
    state: str
    stage: str | None
    summary: str
