"""Bytes by digest: `put` gives the blake3 digest, `get` takes it. What an object is lies apart from where it lies.

Local folders, S3, GCS and Azure are all reached through obstore. An object is written under a temporary key and
renamed, so a reader never meets half of one; in a local folder it is fsynced before `put` returns.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import obstore
from blake3 import blake3
from obstore.store import LocalStore, from_url

from homeostat.foundation.errors import Kind, entry
from homeostat.foundation.ids import new_id

MISSING = entry(
    "objects.missing",
    Kind.NOT_FOUND,
    "object {digest} is not in the store",
    "check the digest; if it should be there, restore it from a backup",
)
BAD_DIGEST = entry(
    "objects.bad_digest", Kind.INVALID, "{digest!r} is not a digest: 64 hex digits", "copy the digest whole"
)
CORRUPT = entry(
    "objects.corrupt",
    Kind.FAILED,
    "object {digest} does not have the content its name promises",
    "restore it from a backup",
)
NOT_LOCAL = entry(
    "objects.not_local", Kind.FAILED, "objects at {url} have no local path", "read them with get() instead"
)


class Objects:
    """An object store at a local folder or an address with a scheme. Thread-safe; `put` is idempotent."""

    def __init__(self, url: str | Path) -> None:
        self.url = str(url)
        self.root: Path | None = None
        self._store: Any
        if "://" in self.url:
            self._store = from_url(self.url)
        else:
            self.root = Path(self.url)
            self.root.mkdir(parents=True, exist_ok=True)
            self._store = LocalStore(self.root)

    def put(self, stream: Iterable[bytes]) -> str:
        """Store the bytes of `stream`; returns their digest once they are durable."""
        hasher = blake3()
        key = f"incoming/{new_id()}"

        def hashed() -> Iterator[bytes]:
            for chunk in stream:
                hasher.update(chunk)
                yield bytes(chunk)

        try:
            obstore.put(self._store, key, hashed())
        except BaseException:  # the stream broke off: what came of it is nobody's
            self._drop(key)
            raise
        digest = hasher.hexdigest()
        if self.root is not None:
            self._settle(self.root / key, self.root / _key(digest))
        else:
            obstore.rename(self._store, key, _key(digest))
        return digest

    def put_bytes(self, data: bytes) -> str:
        """Store `data`; returns its digest. Costs only a hash when it is there already."""
        digest = blake3(data).hexdigest()
        if not self.has(digest):
            self.put([data])
        return digest

    def put_file(self, path: Path) -> str:
        """Store a file's content, streamed; returns its digest."""
        with path.open("rb") as file:
            return self.put(iter(lambda: file.read(1 << 20), b""))

    def get_bytes(self, digest: str, *, start: int = 0, end: int | None = None) -> bytes:
        """The object's bytes, or those from `start` to `end`; a whole read is checked against the digest.

        A range is cut to the object's length, as a slice is.
        """
        if start or end is not None:
            size = self.size(digest)
            start, end = min(max(start, 0), size), size if end is None else min(end, size)
            if start >= end:
                return b""
        try:
            if end is not None:
                return bytes(obstore.get_range(self._store, _key(digest), start=start, end=end))
            data = bytes(obstore.get(self._store, _key(digest)).bytes())
        except FileNotFoundError:
            raise MISSING(field="digest", digest=digest) from None
        if blake3(data).hexdigest() != digest:
            raise CORRUPT(field="digest", digest=digest)
        return data

    def stream(self, digest: str) -> Iterator[bytes]:
        """The object's bytes in chunks; raises `objects.corrupt` at the end where they are not those promised."""
        try:
            result = obstore.get(self._store, _key(digest))
        except FileNotFoundError:
            raise MISSING(field="digest", digest=digest) from None
        hasher = blake3()
        for chunk in result:
            hasher.update(chunk)
            yield bytes(chunk)
        if hasher.hexdigest() != digest:
            raise CORRUPT(field="digest", digest=digest)

    def has(self, digest: str) -> bool:
        """Whether the object is there."""
        if self.root is not None:
            return (self.root / _key(digest)).is_file()
        try:
            obstore.head(self._store, _key(digest))
        except FileNotFoundError:
            return False
        return True

    def size(self, digest: str) -> int:
        """The object's length in bytes."""
        try:
            return int(obstore.head(self._store, _key(digest))["size"])
        except FileNotFoundError:
            raise MISSING(field="digest", digest=digest) from None

    def path_of(self, digest: str) -> Path:
        """Where the object lies on this machine; only for a local store. The file must not be changed."""
        if self.root is None:
            raise NOT_LOCAL(field="objects", url=self.url)
        path = self.root / _key(digest)
        if not path.is_file():
            raise MISSING(field="digest", digest=digest)
        return path

    def _settle(self, written: Path, final: Path) -> None:
        _sync(written)
        if not final.parent.is_dir():
            final.parent.mkdir(parents=True, exist_ok=True)
            _sync(final.parent.parent)
        written.replace(final)
        _sync(final.parent)

    def _drop(self, key: str) -> None:
        with contextlib.suppress(Exception):  # whatever the store says: the error that is on its way matters more
            obstore.delete(self._store, key)


def _sync(path: Path) -> None:
    """Make a file's content, or the entries of a folder, outlive a loss of power."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _key(digest: str) -> str:
    if len(digest) != 64 or any(c not in "0123456789abcdef" for c in digest):
        raise BAD_DIGEST(field="digest", digest=digest[:80])
    return f"{digest[:2]}/{digest}"
