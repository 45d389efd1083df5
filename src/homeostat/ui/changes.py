"""The live stream: a page asks to be told when something was committed, and then fetches itself again.

What a page shows is more than events tell of (windows, metric points, watermarks), so the stream follows the commits
themselves. It says at most once a second that there was something, never what; what may be seen is decided when the
page is fetched. A stream ends after some minutes and the browser opens it anew, through the guard.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import anyio
from litestar import get
from litestar.response import Stream

from homeostat.governance.access import needs
from homeostat.ui.views import Viewing

if TYPE_CHECKING:
    from homeostat.app import Homeostat

_PAUSE = 0.2  # seconds between two looks
_AT_MOST_EVERY = 1.0  # seconds between two changes told
_KEEPALIVE = 15.0
_LONGEST = 300.0


@get("/changes", opt=needs("read"), media_type="text/event-stream", include_in_schema=False)
async def changes(view: Viewing) -> Stream:
    """Server-sent events "changed": something was committed since the last one."""
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return Stream(_follow(view.home), media_type="text/event-stream", headers=headers)


async def _follow(home: Homeostat) -> AsyncIterator[bytes]:
    seen, began = home.database.commits, time.monotonic()
    told = spoken = began
    yield b"retry: 2000\n\n"
    while not home.stopping and time.monotonic() - began < _LONGEST:
        await anyio.sleep(_PAUSE)
        now, commits = time.monotonic(), home.database.commits
        if commits != seen and now - told >= _AT_MOST_EVERY:
            seen, told, spoken = commits, now, now
            yield b"event: changed\ndata: %d\n\n" % commits
        elif now - spoken >= _KEEPALIVE:
            spoken = now
            yield b": still here\n\n"
