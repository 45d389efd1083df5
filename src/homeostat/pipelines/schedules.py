"""Which pipelines are due, by event time.

A schedule counts from the event time of the pipeline's last run (`context["event_at"]`, in microseconds), so that a
replay of two years retrains as often as two years would. "Now" is the watermark that the caller has seen.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from homeostat.foundation.database import Reader
from homeostat.pipelines import definitions, runs


class Due(Struct, frozen=True, kw_only=True):
    """A pipeline to start; pass `event_at` on in the context of the run."""

    pipeline: str
    event_at: int


def due(reader: Reader, watermark: int | Mapping[str, int]) -> list[Due]:
    """The pipelines whose `schedule` has passed since their last run began, at `watermark` (one, or one a pipeline).

    A pipeline is not due while it runs, nor where the watermark is unknown; one that has never run is due at once. A
    run that carries no event time counts from the recorded time it was started at.
    """
    found = []
    for pipeline in definitions.listing(reader):
        now = watermark if isinstance(watermark, int) else watermark.get(pipeline.name)
        if pipeline.schedule is None or now is None:
            continue
        last = next(iter(runs.listing(reader, pipeline.name, limit=1)), None)
        if last is None:
            found.append(Due(pipeline=pipeline.name, event_at=now))
        elif last.state != "running":
            began = last.context.get("event_at", last.started_at)
            if now - int(began) >= pipeline.schedule:
                found.append(Due(pipeline=pipeline.name, event_at=now))
    return found
