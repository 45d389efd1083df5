"""What control and the inference process say to each other: the plan, its acknowledgement, and segments.

Both sides share only this file and a directory, `<home>/inference/`:

- control writes `plan.json` whole (a temporary file, fsync, rename); the worker notices the new file, loads and warms
  what it names off the event loop, swaps in one assignment, and writes `acks/<worker>.json`;
- the worker appends predictions to `segments/<worker>-<start us>-<n>.seg`; control only reads them, and remembers how
  far by the file's stem. A full segment, and every segment of a worker that drains or was killed and came back, is
  sealed: cut to its used length and renamed to `.sealed`. After that it never changes and control may delete it.

Neither waits for the other to be alive: with control gone the worker follows its last plan and goes on writing.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

Role = Literal["champion", "challenger", "shadow", "previous"]


class Arm(Struct, frozen=True, kw_only=True):
    """One model version under an endpoint. `share` of the answered traffic (a shadow or previous arm has 0)."""

    name: str  # "champion", "canary", "shadow", "previous": written beside each prediction
    role: Role
    version: int
    package: str  # manifest digest
    share: float


class EndpointPlan(Struct, frozen=True, kw_only=True):
    """How one endpoint answers: its arms; their shares sum to 1. A request is assigned by a hash of its id or key."""

    endpoint_id: str
    project: str
    name: str
    model: str
    arms: tuple[Arm, ...]
    log: bool = True


class Grant(Struct, frozen=True, kw_only=True):
    """What the bearer of a token may do here; `until` is wall time in microseconds, None for no end."""

    principal: str
    endpoints: tuple[str, ...] | None  # names; None: every endpoint of its projects
    projects: tuple[str, ...] | None  # None: every project
    replay: bool = False  # may set event_at
    until: int | None = None


class Plan(Struct, frozen=True, kw_only=True):
    """The whole state the inference process follows. `tokens` maps sha256(token) in hex to its grant."""

    epoch: int
    objects: str  # root directory of the object store, for reading packages
    endpoints: tuple[EndpointPlan, ...]
    tokens: dict[str, Grant]
    open_access: bool = False  # --no-auth: taken only on a loopback address
    anonymous: Grant | None = None  # who an unauthenticated caller is under open_access


class Ack(Struct, frozen=True, kw_only=True):
    """A worker's answer to a plan: which epoch it serves, and what it could not load (`place` -> why).

    Written once at start too, with epoch 0, so that control learns pid and port before there is a plan. An unreadable
    plan leaves `epoch` as it was and is told under the key "plan". The worker holds a lock (flock) on
    `acks/<worker>.lock` as long as it lives: whoever can take that lock knows the worker is gone.
    """

    worker: str
    pid: int
    port: int
    epoch: int
    started: int
    failed: dict[str, str] = {}


class Prediction(Struct, frozen=True, array_like=True):
    """One answered request, a block of rows, as it lies in a segment.

    `endpoint` is the endpoint's id (`EndpointPlan.endpoint_id`). `request` is 16 bytes, time-ordered; row i of the
    block is prediction `hex(request)-i`. `inputs` and `outputs` map a column to its n values; `outputs` holds "label"
    and "score", or "value". `status` is the HTTP status of the answer; a refused request has no rows (and version 0,
    arm "", when no arm was chosen yet). Requests refused before their principal was let in to the endpoint (401, 403,
    404) are counted, not written. A shadow's block repeats the request id under arm "shadow"; one that failed has
    status 500 and no rows. A request that names a version which takes no share of the traffic has arm "direct".
    `keys` and `subjects` are per row or None. `latency` is microseconds from the last byte read to the answer ready to
    send (of a shadow: of its own computing).
    """

    request: bytes
    event_at: int
    recorded_at: int
    endpoint: str
    project: str
    version: int
    arm: str
    status: int
    latency: int
    rows: int
    keys: list[str | int | None] | None
    caller_id: str | None
    inputs: dict[str, list[Any]]
    outputs: dict[str, list[Any]]
    principal: str
    subjects: list[str | int | None] | None = None


def place(project: str, endpoint: str, version: int) -> str:
    """How an `Ack` names a version under an endpoint; the project is named where it is not the default one."""
    return f"{endpoint}/{version}" if project == "default" else f"{project}/{endpoint}/{version}"


HEADER = b"HSEG0001"  # first 8 bytes of a segment; records follow at once
_FRAME = 8  # little-endian u32 length, u32 crc32 of the payload

encode_prediction = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Prediction).decode


def frame(payload: bytes) -> bytes:
    """One record as it lies in a segment: length, crc32, payload."""
    return len(payload).to_bytes(4, "little") + zlib.crc32(payload).to_bytes(4, "little") + payload


def read_segment(data: bytes | memoryview, start: int = 0) -> Iterator[tuple[int, Prediction]]:
    """Yield (offset after the record, record) from `start` (0 means the beginning of the file).

    Ends quietly at the first zero length (room not yet written) or torn record: a crc32 that does not match is a write
    that was cut off by a crash before its request was answered, so nothing acknowledged is skipped.
    """
    view = memoryview(data)
    at = max(start, len(HEADER))
    while at + _FRAME <= len(view):
        length = int.from_bytes(view[at : at + 4], "little")
        end = at + _FRAME + length
        if length == 0 or end > len(view):
            return
        payload = view[at + _FRAME : end]
        if zlib.crc32(payload) != int.from_bytes(view[at + 4 : at + 8], "little"):
            return
        yield end, _decode(payload)
        at = end


def prediction_id(request: bytes, row: int) -> str:
    """The id of one prediction: the request id in hex and the row's index."""
    return f"{request.hex()}-{row}"


def segments(directory: Path) -> list[tuple[str, Path, bool]]:
    """The segments in `directory` in the order they were begun: (stem, path, sealed).

    A segment may be sealed between this listing and the opening of its path: on FileNotFoundError look again under the
    same stem. Read it with `read()`; a map of it would fault when the worker cuts it to length.
    """
    found: dict[str, tuple[str, Path, bool]] = {}
    for path in directory.iterdir():
        sealed = path.suffix == ".sealed"
        if sealed or path.suffix == ".seg":
            found[path.stem] = (path.stem, path, sealed or found.get(path.stem, ("", path, False))[2])
    return sorted(found.values(), key=lambda item: _order(item[0]))


def _order(stem: str) -> tuple[int, int, str]:
    """When a segment was begun: its start, then its number, then its worker."""
    worker, start, number = stem.rsplit("-", 2)
    return int(start), int(number), worker
