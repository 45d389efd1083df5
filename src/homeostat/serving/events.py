"""What happens to endpoints."""

from __future__ import annotations

from homeostat.foundation.events import Event


class EndpointCreated(Event, frozen=True, kw_only=True, tag="serving.endpoint_created"):
    """A name began to exist for versions of `model`."""

    model: str


class ArmsChanged(Event, frozen=True, kw_only=True, tag="serving.arms_changed"):
    """Other versions answer, or in other shares. `arms` maps an arm to "version at share"."""

    arms: dict[str, str]
    epoch: int


class EndpointPaused(Event, frozen=True, kw_only=True, tag="serving.endpoint_paused"):
    """Automatic action stopped."""


class EndpointResumed(Event, frozen=True, kw_only=True, tag="serving.endpoint_resumed"):
    """Automatic action is allowed again."""


class InferenceStarted(Event, frozen=True, kw_only=True, tag="serving.inference_started"):
    """A worker of the inference plane was started, or adopted from before control's own restart."""

    pid: int
    port: int
    adopted: bool
