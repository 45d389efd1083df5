"""What the engine and its fork server say to each other over one socket: length-prefixed msgpack messages."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from homeostat.pipelines.records import Call

_PREFIX = 4


class Request(Struct, frozen=True, kw_only=True):
    """Control to server: fork a worker for this call."""

    id: int
    call: Call


class Ready(Struct, frozen=True, kw_only=True, tag="ready"):
    """Server to control: everything is imported, calls may come."""

    seconds: float


class Ended(Struct, frozen=True, kw_only=True, tag="ended"):
    """Server to control: a worker is gone. `outcome` is its msgpack-encoded Outcome, empty when it left none."""

    id: int
    outcome: bytes
    log: str


Answer = Ready | Ended


def pack(message: Struct) -> bytes:
    """One frame: four bytes of length, big-endian, then the message."""
    body = msgspec.msgpack.encode(message)
    return len(body).to_bytes(_PREFIX, "big") + body


class Frames:
    """Bytes in, whole message bodies out."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Take in what was read; returns the bodies that are complete now."""
        self._buffer += data
        bodies = []
        while len(self._buffer) >= _PREFIX:
            end = _PREFIX + int.from_bytes(self._buffer[:_PREFIX], "big")
            if len(self._buffer) < end:
                break
            bodies.append(bytes(self._buffer[_PREFIX:end]))
            del self._buffer[:end]
        return bodies
