"""The handler as an ASGI 3 application: for embedding in another server, and for tests. Not the production path."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from homeostat.inference.answers import refuse
from homeostat.inference.handler import Handler
from homeostat.inference.http import TOO_LARGE, Limits

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class InferenceApp:
    """Give it to any ASGI server; whoever embeds it sets `handler.table` (see `routes.build`)."""

    def __init__(self, handler: Handler, limits: Limits | None = None) -> None:
        self.handler = handler
        self._limits = limits or Limits()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI connection: lifespan, or one HTTP request. Others are refused by raising."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            raise ValueError(f"inference speaks HTTP, not {scope['type']}")
        headers: dict[bytes, bytes] = {}
        for name, value in scope["headers"]:
            headers[name] = headers[name] + b", " + value if name in headers else value
        method = scope["method"].encode()
        body = await self._read(receive)
        if body is None:
            answer = refuse(TOO_LARGE(part="body", limit=self._limits.body))
        else:
            target = scope.get("raw_path") or scope["path"].encode()
            answer = self.handler.handle(method, target, headers, body)
        sent = [
            (b"content-type", answer.content_type),
            (b"content-length", b"%d" % len(answer.body)),
            *answer.headers,
        ]
        await send({"type": "http.response.start", "status": answer.status, "headers": sent})
        await send({"type": "http.response.body", "body": b"" if method == b"HEAD" else answer.body})
        while self.handler.run_shadows():
            await asyncio.sleep(0)

    async def _read(self, receive: Receive) -> bytes | None:
        """The whole body, None when it is larger than allowed or the client left."""
        pieces: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            piece = message.get("body", b"")
            size += len(piece)
            if size > self._limits.body:
                return None
            pieces.append(piece)
            if not message.get("more_body", False):
                return b"".join(pieces)


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
