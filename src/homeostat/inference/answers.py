"""An answer before it becomes bytes on a connection, and how a failure is said in the protocol's form."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from homeostat.foundation.errors import HomeostatError

JSON = b"application/json"
_encode = msgspec.json.Encoder().encode


class Answer(Struct, frozen=True, gc=False):
    """Status, body, its content type, and further headers. `close` says that the connection ends with it."""

    status: int
    body: bytes
    content_type: bytes = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()
    close: bool = False


def say(value: Any, status: int = 200) -> Answer:
    """`value` as JSON."""
    return Answer(status, _encode(value))


def refuse(error: HomeostatError, *, close: bool = False) -> Answer:
    """The protocol's error form: {"error": "field: rule. Fix: what to do"}, and our stable code beside it."""
    status = error.kind.status
    headers = ((b"www-authenticate", b"Bearer"),) if status == 401 else ()
    return Answer(status, _encode({"error": f"{error}. Fix: {error.hint}", "code": error.code}), JSON, headers, close)
