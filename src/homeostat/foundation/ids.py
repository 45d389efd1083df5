"""Identity: time-ordered ids, digests, and the one rule for names.

Ids follow the UUIDv7 layout (RFC 9562 §5.7): 48 bits of milliseconds, then a counter that keeps ids of one process in
order within a millisecond, then random bits. Their text form is 32 lower-case hex digits, which is also what MLflow
clients accept as a run id.
"""

from __future__ import annotations

import os
import re
import threading
import time

from blake3 import blake3

from homeostat.foundation.errors import Kind, entry

BAD_NAME = entry(
    "name.invalid",
    Kind.INVALID,
    "{kind} name {name!r} is not allowed: 1 to 128 letters, digits, '_', '-' or '.', starting with a letter or digit, "
    "without '..'",
    "choose a name such as 'fraud' or 'card-transactions'",
)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_lock = threading.Lock()
_last = 0


def new_id_bytes() -> bytes:
    """A fresh 16-byte id; ids made by one process sort in the order they were made."""
    global _last
    with _lock:
        # 48 bits of ms and 12 bits of counter in one integer: adding one carries over into the next ms by itself.
        stamp = max((time.time_ns() // 1_000_000) << 12, _last + 1)
        _last = stamp
    tail = int.from_bytes(os.urandom(8), "big") & ((1 << 62) - 1)
    value = ((stamp >> 12) << 80) | (0x7 << 76) | ((stamp & 0xFFF) << 64) | (0b10 << 62) | tail
    return value.to_bytes(16, "big")


def new_id() -> str:
    """A fresh id as 32 hex digits."""
    return new_id_bytes().hex()


def digest_of(data: bytes) -> str:
    """The blake3 digest of `data`, 64 hex digits: how every object, payload and version is named."""
    return blake3(data).hexdigest()


def check_name(kind: str, name: str, *, field: str = "name") -> str:
    """Return `name` if it is a legal name of a `kind` ("dataset", "model"), else raise `name.invalid`.

    This is the one guard against path traversal in names: a legal name can be a file name on every platform.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name) or ".." in name:
        raise BAD_NAME(field=field, kind=kind, name=str(name)[:140])
    return name
