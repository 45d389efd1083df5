"""The writer of the prediction log: frames appended to preallocated, memory-mapped segment files.

An append is two stores into the page cache, no system call: a killed process loses nothing that it had written, and a
reader never sees a half-written record, because the length that makes a record visible is stored last. Room on the disk
is taken when a segment is begun (posix_fallocate), so a full disk shows as an error there and never as a bus error
later. The layout is `wire.HEADER` and frames; how files are named and sealed is told in `wire`.
"""

from __future__ import annotations

import errno
import mmap
import os
import time
import zlib
from contextlib import suppress
from pathlib import Path

from homeostat.foundation.errors import Kind, entry
from homeostat.inference.wire import HEADER

CANNOT_LOG = entry(
    "inference.cannot_log",
    Kind.UNAVAILABLE,
    "the prediction could not be written to the prediction log ({why}), so it is not given out",
    "free some disk space where the home lies; serving goes on by itself",
)

SIZE = 16 * 1024 * 1024
_FRAME = 8
_TAIL = 4  # a segment ends in a zero length, also when it is full to the last record
_PAUSE = 250_000_000  # ns between two tries to begin a segment on a disk that refused


class SegmentWriter:
    """Appends records for one worker; one thread at a time. Only this worker may write files of its name."""

    def __init__(self, directory: Path, worker: str, size: int = SIZE) -> None:
        self.directory = directory
        self.worker = worker
        self.size = size
        self.written = 0  # records
        self.failures = 0  # records refused because no room could be had
        self._number = 0
        self._map: mmap.mmap | None = None
        self._path = directory
        self._at = 0
        self._limit = 0
        self._retry_at = 0
        self._why = ""

    def append(self, payload: bytes) -> None:
        """Write one record. When it returns, the record outlives the process. Raises `inference.cannot_log`."""
        length = len(payload)
        at = self._at
        end = at + _FRAME + length
        if end > self._limit:
            self._roll_over(_FRAME + length)
            at = self._at
            end = at + _FRAME + length
        view = self._map
        assert view is not None
        view[at + 4 : end] = zlib.crc32(payload).to_bytes(4, "little") + payload
        view[at : at + 4] = length.to_bytes(4, "little")
        self._at = end
        self.written += 1

    def seal(self) -> None:
        """Seal the segment being written, if any; a later append begins another."""
        if self._map is None:
            return
        self._map.close()
        self._map, self._limit = None, 0
        with suppress(OSError):  # its records are whole as they lie; the next start of this worker seals it
            _seal(self._path, self._at)

    def _roll_over(self, room: int) -> None:
        """Seal the full segment and begin one with at least `room` bytes; on failure the old one stays open."""
        now = time.monotonic_ns()
        if now < self._retry_at:
            self.failures += 1
            raise CANNOT_LOG(field="prediction log", why=self._why)
        size = max(self.size, len(HEADER) + room + _TAIL)
        path = self.directory / f"{self.worker}-{time.time_ns() // 1000}-{self._number}.seg"
        try:
            fresh = _begin(path, size)
        except OSError as error:
            self.failures += 1
            self._why = errno.errorcode.get(error.errno or 0, "") + ": " + (error.strerror or "unknown")
            self._retry_at = now + _PAUSE
            raise CANNOT_LOG(field="prediction log", why=self._why) from error
        self.seal()
        self._map, self._path = fresh, path
        self._number += 1
        self._at, self._limit = len(HEADER), size - _TAIL


def _begin(path: Path, size: int) -> mmap.mmap:
    """A new file of `size` bytes whose room on disk is taken, mapped, with its header; nothing is left on failure."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(fd, 0, size)
        view = mmap.mmap(fd, size)
    except OSError:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(fd)
    view[: len(HEADER)] = HEADER
    return view


def _seal(path: Path, used: int) -> None:
    """Cut to length and rename. A name that is sealed is whole, because the rename comes second."""
    os.truncate(path, used)
    path.rename(path.with_suffix(".sealed"))


def seal_leftovers(directory: Path, worker: str) -> int:
    """Seal what an earlier process of this worker left behind when it was killed; how many segments that was.

    Call it before the first append, holding the worker's lock.
    """
    count = 0
    for path in sorted(directory.glob("*.seg")):
        if path.name.rsplit("-", 2)[0] == worker:
            _seal(path, _used(path.read_bytes()))
            count += 1
    return count


def _used(data: bytes) -> int:
    """How much of a segment holds whole records: `wire.read_segment` without the reading."""
    at = min(len(HEADER), len(data))
    while at + _FRAME <= len(data):
        end = at + _FRAME + int.from_bytes(data[at : at + 4], "little")
        if end == at + _FRAME or end > len(data):
            break
        if zlib.crc32(data[at + _FRAME : end]) != int.from_bytes(data[at + 4 : at + 8], "little"):
            break
        at = end
    return at
