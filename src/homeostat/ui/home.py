"""The home page: how things are, the loop, every endpoint, and what happened just now."""

from __future__ import annotations

from typing import Any

from litestar import Response

from homeostat.ui import charts, health, organs, sentences, snapshot
from homeostat.ui.views import Viewing, screen

_TOLD = 14


@screen("/")
def home(view: Viewing) -> Response[bytes]:
    """How things are."""
    with view.read() as reader:
        seen = snapshot.take(reader, inference_alive=view.home.plane.supervisor.alive())
        told = sentences.newest(reader, _TOLD)
    found = health.ranked(health.of(seen, e.name) for e in seen.endpoints if e.name in seen.windows)
    return view.page(
        "home.html",
        "Loop",
        sentence=health.sentence(found) if found else "Nothing is served yet.",
        organs=organs.strip(seen, view.now),
        rows=rows(seen, found),
        more=len(seen.endpoints) - len(found),
        told=told,
        seen=seen,
    )


def rows(seen: snapshot.Snapshot, found: list[health.Health]) -> list[dict[str, Any]]:
    """The endpoints as table rows."""
    made = []
    for one in found:
        mine = snapshot.narrow(seen, one.endpoint)
        windows = charts.answering(mine.windows[one.endpoint])
        last = windows[-1] if windows else None
        marks = charts.marks(mine.noticed, mine.decisions)
        made.append(
            {
                "endpoint": mine.endpoints[0],
                "health": one,
                "drawing": charts.spark(charts.quality(windows), marks, name=one.metric or "quality"),
                "last": last,
                "span": last.end - last.start if last else 0,
            }
        )
    return made


ROUTES = [home]
