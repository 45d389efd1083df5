"""Objects: bytes in, digest out, streamed both ways.

Objects are shared by the projects of a home: who knows a digest knows the content already, and digests cannot be
guessed or listed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio.to_thread
from litestar import Request, get, put
from litestar.params import FromPath
from litestar.response import Stream
from msgspec import Struct

from homeostat.api.access import Calling, needs
from homeostat.foundation.objects import MISSING

_TAGS = ["objects"]


class Stored(Struct, frozen=True):
    """The name of what was stored."""

    digest: str


@put(
    "/objects",
    opt=needs("models.write", "runs.write", "data.write", "definitions.write"),
    tags=_TAGS,
    request_max_body_size=None,
)
async def store(caller: Calling, request: Request[Any, Any, Any]) -> Stored:
    """Store the raw body; answers with its digest once it is durable."""
    chunks = _pulled(request.stream(), asyncio.get_running_loop())
    return Stored(await anyio.to_thread.run_sync(caller.home.objects.put, chunks))


@get(
    "/objects/{digest:str}",
    opt=needs("data.read"),
    sync_to_thread=True,
    tags=_TAGS,
    media_type="application/octet-stream",
)
def fetch(caller: Calling, digest: FromPath[str]) -> Stream:
    """The bytes of an object."""
    objects = caller.home.objects
    if not objects.has(digest):
        raise MISSING(field="digest", digest=digest)
    # The name is the content, so a copy of it never goes stale; "attachment" keeps a browser from running it.
    headers = {"Cache-Control": "private, immutable", "Content-Disposition": "attachment"}
    headers["Content-Length"] = str(objects.size(digest))
    return Stream(objects.stream(digest), media_type="application/octet-stream", headers=headers)


def _pulled(stream: AsyncIterator[bytes], loop: asyncio.AbstractEventLoop) -> Iterator[bytes]:
    """The chunks of `stream`, which lives on `loop`, for a thread: nothing is read ahead of what it asks for."""
    end = object()

    async def following() -> Any:
        return await anext(stream, end)

    while (chunk := asyncio.run_coroutine_threadsafe(following(), loop).result()) is not end:
        if chunk:
            yield chunk


ROUTES = [store, fetch]
