"""The audit stream: by cursor, live, and verified."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import anyio.to_thread
import msgspec
from litestar import Request, get, post
from litestar.params import FromQuery
from litestar.response import Stream

from homeostat.api.access import Caller, Calling, authenticate, needs
from homeostat.api.errors import BAD_PARAMETER
from homeostat.api.paging import After, Limit
from homeostat.foundation import events
from homeostat.foundation.database import Reader
from homeostat.foundation.errors import HomeostatError
from homeostat.foundation.events import Recorded, Verification

_TAGS = ["events"]
_PAUSE = 0.2  # seconds between two looks at whether anything was committed
_BATCH = 500  # events read at once
_KEEPALIVE = 75  # looks without news until a comment is sent, and the caller's right is asked again


@get("/events", opt=needs("read"), sync_to_thread=True, tags=_TAGS)
def listing(
    caller: Calling,
    after: After = 0,
    limit: Limit = 500,
    kind: FromQuery[list[str] | None] = None,
    subject: FromQuery[str | None] = None,
    newest_first: FromQuery[bool] = False,
) -> list[Recorded]:
    """What happened after a sequence number, in order; `subject` also matches what lies below it."""
    with caller.read() as reader:
        return events.read_after(reader, after, limit=limit, kinds=kind, subject=subject, newest_first=newest_first)


@get("/events/stream", opt=needs("read"), media_type="text/event-stream", tags=_TAGS)
async def stream(
    caller: Calling,
    request: Request[Any, Any, Any],
    after: FromQuery[int | None] = None,
    kind: FromQuery[list[str] | None] = None,
    subject: FromQuery[str | None] = None,
) -> Stream:
    """Server-sent events: what happens from now on, or after a sequence number (`after`, or Last-Event-ID)."""
    start = _start(request, after)
    if start is None:
        start = await anyio.to_thread.run_sync(_newest_seq, caller)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return Stream(_follow(caller, request, start, kind, subject), media_type="text/event-stream", headers=headers)


@post("/audit/verify", opt=needs("read"), sync_to_thread=True, status_code=200, tags=_TAGS)
def verify(caller: Calling) -> Verification:
    """Walk the whole audit stream and say whether every seal holds."""
    with caller.read() as reader:
        return events.verify(reader)


def newest(reader: Reader) -> int:
    """The sequence number of the newest event of the home."""
    found = events.read_after(reader, limit=1, every_project=True, newest_first=True)
    return found[0].seq if found else 0


async def _follow(
    caller: Caller, request: Request[Any, Any, Any], seq: int, kinds: list[str] | None, subject: str | None
) -> AsyncIterator[bytes]:
    def look() -> list[Recorded]:
        with caller.read() as reader:
            return events.read_after(reader, seq, limit=_BATCH, kinds=kinds, subject=subject)

    yield b"retry: 1000\n\n"
    database, seen, quiet = caller.home.database, -1, 0
    while not caller.home.stopping:
        commits = database.commits  # taken before the look: what is committed during it is looked at again
        if commits != seen:
            found = await anyio.to_thread.run_sync(look)
            for event in found:
                seq, quiet = event.seq, 0
                yield b"id: %d\nevent: %s\ndata: %s\n\n" % (seq, event.kind.encode(), msgspec.json.encode(event))
            if len(found) < _BATCH:  # else there is more to catch up with
                seen = commits
            continue
        quiet += 1
        if quiet % _KEEPALIVE == 0:
            try:  # a token revoked meanwhile, a session that ran out
                again = await anyio.to_thread.run_sync(authenticate, caller.home, request)
                again.require("read")
            except HomeostatError:
                return
            yield b": still here\n\n"
        await anyio.sleep(_PAUSE)


def _start(request: Request[Any, Any, Any], after: int | None) -> int | None:
    last = request.headers.get("last-event-id")
    if last is None:
        return after
    if not last.isdigit() or len(last) > 18:
        raise BAD_PARAMETER(field="Last-Event-ID", name="Last-Event-ID", place="header", why="not a sequence number")
    return int(last)


def _newest_seq(caller: Caller) -> int:
    with caller.read() as reader:
        return newest(reader)


ROUTES = [listing, stream, verify]
