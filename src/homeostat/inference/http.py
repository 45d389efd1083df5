"""HTTP/1.1 on an asyncio transport: the adapter between bytes on a connection and the handler, for production.

A `Connection` parses (httptools), a `Turn` gathers: requests that were read in one turn of the event loop, on one
connection (pipelined) or many, are predicted together when the loop has read them all, and each connection gets its
answers in order, in one write. Whoever sends too much, too slowly or nonsense is refused and his connection ends; an
ended connection is drained a moment before it closes, so that the refusal arrives.
"""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Callable
from http import HTTPStatus
from time import perf_counter_ns
from typing import cast

import httptools
from msgspec import Struct

from homeostat.foundation.errors import HomeostatError, Kind, entry
from homeostat.inference.answers import Answer, refuse
from homeostat.inference.handler import Handler
from homeostat.inference.infer import Job

NOT_HTTP = entry("inference.not_http", Kind.INVALID, "the request is not HTTP/1.1: {why}", "send a well-formed request")
TOO_LARGE = entry(
    "inference.too_large", Kind.TOO_LARGE, "the {part} is larger than {limit} bytes", "send fewer rows in a request"
)
TOO_SLOW = entry(
    "inference.too_slow", Kind.INVALID, "the request was not whole within {seconds} s", "send it in one go"
)
TOO_MANY = entry(
    "inference.too_many_connections", Kind.UNAVAILABLE, "{limit} connections are open", "reuse connections, or wait"
)
BROKEN = entry(
    "inference.broken", Kind.FAILED, "the inference process failed on this request", "its standard error tells why"
)


class Limits(Struct, frozen=True, kw_only=True):
    """What one client may take: bytes, and whole seconds."""

    head: int = 32 * 1024
    body: int = 16 * 1024 * 1024
    request_seconds: int = 30  # from the first byte of a request to its last
    idle_seconds: int = 75  # between two requests
    write_seconds: int = 30  # for an answer that the client does not read
    linger_seconds: int = 2
    connections: int = 8192


_HEADS: dict[tuple[int, bytes], bytes] = {}


def _head(status: int, content_type: bytes) -> bytes:
    found = _HEADS.get((status, content_type))
    if found is None:
        phrase = HTTPStatus(status).phrase.encode()
        found = b"HTTP/1.1 %d %b\r\ncontent-type: %b\r\ncontent-length: " % (status, phrase, content_type)
        _HEADS[status, content_type] = found
    return found


def _extra(answer: Answer, keep: bool, old: bool) -> bytes:
    """Header lines that not every answer has, each after a line end."""
    extra = b"".join(b"\r\n%b: %b" % header for header in answer.headers)
    if not keep:
        return extra + b"\r\nconnection: close"
    return extra + b"\r\nconnection: keep-alive" if old else extra


class Turn:
    """What the connections of one server share: the requests of this turn of the loop, the coarse clock, the limits."""

    def __init__(self, handler: Handler, limits: Limits, warn: Callable[[str], None]) -> None:
        self.handler = handler
        self.limits = limits
        self.warn = warn
        self.loop = asyncio.get_running_loop()
        self.connections: set[Connection] = set()
        self.tick = 0  # seconds since the start; coarse, so that reading it is free
        self.date = b""
        self.empty = asyncio.Event()
        self._waiting: list[Connection] = []
        self._shadowing = False
        self._timer: asyncio.TimerHandle | None = None
        self._sweep()

    def add(self, connection: Connection) -> None:
        """`connection` has its first answer or job of this turn."""
        if not self._waiting:
            self.loop.call_soon(self._flush)
        self._waiting.append(connection)

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        jobs = [item for connection in waiting for item, _, _ in connection.out if type(item) is Job]
        if jobs:
            try:
                answers = iter(self.handler.complete(jobs))
            except Exception:  # a fault of ours must not leave callers waiting, nor end the others
                self.warn(traceback.format_exc())
                answers = iter([refuse(BROKEN())] * len(jobs))
        for connection in waiting:
            out = [(next(answers) if type(item) is Job else item, head, keep) for item, head, keep in connection.out]
            connection.out = []
            connection.send(out)  # type: ignore[arg-type]
        if jobs and not self._shadowing:
            self._shadowing = True
            self.loop.call_soon(self._run_shadows)

    def _run_shadows(self) -> None:
        try:
            self._shadowing = self.handler.run_shadows()
        except Exception:  # as above: a shadow must never harm who it follows
            self.warn(traceback.format_exc())
            self._shadowing = False
        if self._shadowing:
            self.loop.call_soon(self._run_shadows)

    def _sweep(self) -> None:
        """Once a second: the date, and connections that are out of time."""
        self.tick += 1
        self.date = time.strftime("\r\ndate: %a, %d %b %Y %H:%M:%S GMT\r\n", time.gmtime()).encode()
        self.handler.gauges["connections"] = len(self.connections)
        for connection in list(self.connections):
            connection.check_time()
        self._timer = self.loop.call_later(1.0, self._sweep)

    async def drain(self, idle_seconds: float, seconds: float) -> None:
        """Let every open request finish: a busy connection ends with its next answer, an idle one after a moment."""
        self.handler.draining = True
        for wait, only_idle in ((idle_seconds, True), (seconds, False)):
            if self.connections:
                self.empty.clear()
                try:
                    await asyncio.wait_for(self.empty.wait(), wait)
                except TimeoutError:
                    for connection in list(self.connections):
                        connection.leave(only_idle)
        while self.handler.run_shadows():
            pass
        if self._timer is not None:
            self._timer.cancel()


class Connection(asyncio.Protocol):
    """One client's connection."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._handler = turn.handler
        self._limits = turn.limits
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self.out: list[tuple[Answer | Job, bool, bool]] = []  # answer or job; whether for HEAD; whether to keep alive
        self._ended = False  # nothing more is read from this client
        self._at_end = False  # and he has closed his side
        self._reading = False  # a request has begun and is not whole
        self._in_head = True
        self._began = False  # a request began in the bytes that came last
        self._since = turn.tick  # when this request, pause or farewell began
        self._stalled: int | None = None
        self._received = 0
        self._arrived = 0  # bytes that came last
        self._unread_head = 0
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._body_size = 0

    # What the transport tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection, unless there are too many."""
        self._transport = cast(asyncio.Transport, transport)  # what uvloop gives is one in all but its class
        self._turn.connections.add(self)
        if len(self._turn.connections) > self._limits.connections:
            self._refuse(TOO_MANY(limit=self._limits.connections))

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection; a prediction under way is still written."""
        self._ended = True
        self._turn.connections.discard(self)
        if not self._turn.connections:
            self._turn.empty.set()

    def data_received(self, data: bytes) -> None:
        """Parse; whole requests call `on_message_complete` from in here."""
        if self._ended:
            return
        self._received = perf_counter_ns()
        self._began = False
        self._arrived = len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._ended = True  # the request was answered as plain HTTP; what follows is in another protocol
        except httptools.HttpParserError as error:
            if not self._ended:
                self._refuse(NOT_HTTP(why=str(error)[:120] or "it cannot be parsed"))
            return
        if self._in_head and self._reading and not self._began and not self._ended:
            self._unread_head += len(data)  # a header that never ends is not told by the parser
            if self._unread_head > self._limits.head:
                self._refuse_head()

    def eof_received(self) -> bool:
        """The client sends no more; it may still wait for its answers."""
        self._ended = self._at_end = True
        return bool(self.out)

    def pause_writing(self) -> None:
        """The client does not read its answers: read no more of its requests."""
        self._stalled = self._turn.tick
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """It reads again."""
        self._stalled = None
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    # What the parser tells

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self._reading = self._in_head = self._began = True
        self._since = self._turn.tick
        self._unread_head = self._body_size = 0
        self._url = b""
        self._headers = {}
        self._body = []

    def on_url(self, url: bytes) -> None:
        """The request target, or a part of it."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; a repeated one is joined, so that a second Host or Authorization matches nothing."""
        name = name.lower()
        headers = self._headers
        headers[name] = headers[name] + b", " + value if name in headers else value

    def on_headers_complete(self) -> None:
        """Refuse a body that is too large before it is sent."""
        self._in_head = False
        if self._ended:
            return
        spread = self._arrived > self._limits.head or not self._began  # else it cannot be too large
        if spread and self._size_of_head() > self._limits.head:
            self._refuse_head()
            return
        length = self._headers.get(b"content-length")
        if length is not None and int(length) > self._limits.body:
            self._refuse(TOO_LARGE(part="body", limit=self._limits.body))
        elif self._headers.get(b"expect", b"").lower() == b"100-continue" and self._transport and not self.out:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        if self._ended:
            return
        self._body_size += len(body)
        if self._body_size > self._limits.body:
            self._refuse(TOO_LARGE(part="body", limit=self._limits.body))
            return
        self._body.append(body)

    def on_message_complete(self) -> None:
        """A whole request: hand it to the handler."""
        if self._ended:
            return
        self._reading = False
        self._since = self._turn.tick
        parser, parts = self._parser, self._body
        method = parser.get_method()
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        try:
            got = self._handler.prepare(method, self._url, self._headers, body, self._received)
        except Exception:  # a fault of ours: this caller is told, the process goes on
            self._turn.warn(traceback.format_exc())
            got = refuse(BROKEN())
        keep = parser.should_keep_alive() and not self._handler.draining and not parser.should_upgrade()
        self._put(got, method == b"HEAD", keep)

    # What goes out

    def _put(self, got: Answer | Job, head: bool, keep: bool) -> None:
        if not self.out:
            self._turn.add(self)
        self.out.append((got, head, keep))
        if not keep:
            self._ended = True

    def _refuse(self, error: HomeostatError, status: int | None = None) -> None:
        """Say why, after the answers already due, and end the connection."""
        answer = refuse(error)
        if status is not None:
            answer = Answer(status, answer.body)
        self._handler.counters.refuse(answer.status)
        self._reading = False
        self._put(answer, False, False)

    def _size_of_head(self) -> int:
        return len(self._url) + sum(len(name) + len(value) + 4 for name, value in self._headers.items())

    def _refuse_head(self) -> None:
        self._refuse(TOO_LARGE(part="head of the request", limit=self._limits.head), status=431)

    def send(self, out: list[tuple[Answer, bool, bool]]) -> None:
        """Write the answers of one turn, in order; end the connection after one that ends it."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        date = self._turn.date
        old = self._parser.get_http_version() == "1.0"
        pieces: list[bytes] = []
        for answer, head, keep in out:
            body = answer.body
            extra = b"" if keep and not old and not answer.headers else _extra(answer, keep, old)
            start = _head(answer.status, answer.content_type)
            pieces.append(b"%b%d%b%b\r\n%b" % (start, len(body), extra, date, b"" if head else body))
        transport.write(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        if self._ended:
            self._since = self._turn.tick
            if self._at_end or self._handler.draining:
                transport.close()
            else:
                transport.write_eof()  # and read on a moment: closing now could cost the client its answer

    def check_time(self) -> None:
        """Once a second: refuse what is too slow, close what is idle or finished too long."""
        transport, limits, spent = self._transport, self._limits, self._turn.tick - self._since
        if transport is None:
            return
        if self._stalled is not None and self._turn.tick - self._stalled > limits.write_seconds:
            transport.abort()
        elif self._ended:
            if spent > limits.linger_seconds and self._stalled is None:
                transport.abort()
        elif self._reading:
            if spent > limits.request_seconds:
                self._refuse(TOO_SLOW(seconds=limits.request_seconds), status=408)
        elif spent > limits.idle_seconds:
            transport.close()

    def leave(self, only_idle: bool) -> None:
        """The server goes: close an idle connection, or any."""
        if self._transport is not None and not (only_idle and (self._reading or self.out)):
            self._transport.close()
