"""The detectors of one version: made from its profile, moved on window by window, kept as monitor states. Worker-side.

All detectors of a version share one budget of false alarms: k of them alarm at a k-th of the rate each (see
`monitoring.sequential`), so the version pages at most once in 90 days of event time while nothing changes.
"""

from __future__ import annotations

import math

import msgspec

from homeostat.monitoring import drift, latency, performance, quality, sequential
from homeostat.monitoring.findings import CAUSES, finding
from homeostat.monitoring.records import Finding, MonitorState
from homeostat.monitoring.sequential import Observed
from homeostat.monitoring.states import DetectorState
from homeostat.packages.records import Manifest

_decode = msgspec.msgpack.Decoder(DetectorState).decode


class Detectors:
    """Every detector of one endpoint version, by monitor name."""

    def __init__(self, states: dict[str, DetectorState], *, endpoint: str, version: int) -> None:
        self.states = states
        self.endpoint = endpoint
        self.version = version
        self.threshold = sequential.log_threshold(len(states))
        self.findings: list[Finding] = []

    @classmethod
    def fresh(
        cls, manifest: Manifest, *, endpoint: str, version: int, at: int, budget: float | None, labels: bool
    ) -> Detectors:
        """New detectors that begin at event time `at`; those the manifest has no reference for are left out."""
        states = {t.name: sequential.detector(t.name, (t,), at=at) for t in latency.tracks(budget=budget)}
        profile = manifest.profile
        if profile is not None:
            inputs, score = drift.tracks(profile)
            states[drift.SCORE] = sequential.detector(drift.SCORE, (score,), at=at)
            if inputs:
                states["inputs"] = sequential.detector("inputs", inputs, at=at)
                states["quality"] = sequential.detector("quality", quality.tracks(profile), at=at)
            if labels:
                for t in performance.tracks(manifest.signature, profile):
                    states[t.name] = sequential.detector(t.name, (t,), at=at)
        return cls(states, endpoint=endpoint, version=version)

    def restore(self, kept: tuple[MonitorState, ...]) -> None:
        """Go on from what was kept. What is no longer watched is dropped; what is new begins now."""
        self.states |= {s.monitor: _decode(s.state) for s in kept if s.monitor in self.states}

    def take(self, monitor: str, observed: dict[str, Observed], *, at: int, span: int) -> None:
        """Give one detector its block; an alarm becomes a finding. A monitor that is not watched is passed over."""
        state = self.states.get(monitor)
        if state is None:
            return
        moved, alarm = sequential.update(state, observed, at=at, span=span, threshold=self.threshold)
        self.states[monitor] = moved
        if alarm is not None:
            self.findings.append(finding(monitor, alarm))

    def kept(self) -> tuple[MonitorState, ...]:
        """The detectors as control keeps them."""
        made: list[MonitorState] = []
        for monitor, state in self.states.items():
            evidence = sequential.log_evidence(state)
            begun = sequential.began(state) if evidence > self.threshold / 2 else None
            made.append(
                MonitorState(
                    endpoint=self.endpoint,
                    version=self.version,
                    monitor=monitor,
                    cause=CAUSES[monitor],
                    evidence=max(evidence, -math.log(1e9)),
                    threshold=self.threshold,
                    observed=sum(t.observations for t in state.tracks),
                    change_at=begun,
                    state=msgspec.msgpack.encode(state),
                    updated_at=state.at,
                )
            )
        return tuple(made)
