"""Write and read a package in an object store: files by digest, and one manifest whose own digest names the package.

`Objects` of `foundation.objects` satisfies `ObjectStore`. The inference process, which must not load an object-store
library, reads a local store through `LocalObjects`. Whatever looks like a pickle is refused here already, by name and
by content, so that none lies in a store waiting for somebody to open it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import msgspec

from homeostat.foundation.errors import Kind, entry
from homeostat.foundation.ids import check_name, digest_of
from homeostat.packages.records import Manifest

MISSING = entry(
    "package.missing_object",
    Kind.NOT_FOUND,
    "object {digest} is not in the store at {where}",
    "check the digest and that this process reads the same object store; if it should be there, restore a backup",
)
DAMAGED = entry(
    "package.damaged",
    Kind.FAILED,
    "{what} does not have the content its digest {digest} promises",
    "restore the object from a backup, or register the model again",
)
BAD_MANIFEST = entry(
    "package.bad_manifest",
    Kind.INVALID,
    "object {digest} is not the manifest of a package: {why}",
    "pass the digest that writing the package returned",
)
PICKLE = entry(
    "package.pickle_refused",
    Kind.REFUSED,
    "file {name!r} is a pickle or joblib file, and opening one runs whatever code is in it",
    "register the fitted estimator itself from Python, or save it with skops.io.dump and register that file",
)
NO_FILES = entry(
    "package.no_files", Kind.INVALID, "a package of format {format} needs the file {name!r}", "add it to `files`"
)

MODEL_FILES = {"onnx": "model.onnx", "skops": "model.skops"}
"""Format -> the one file that a package of that format must hold."""

_PICKLE_SUFFIXES = (".pkl", ".pickle", ".joblib", ".dill", ".cloudpickle", ".pkl.gz", ".joblib.gz")
_GZIP, _ZLIB, _BZIP2, _XZ, _LZMA, _LZ4 = b"\x1f\x8b", b"\x78", b"BZh", b"\xfd7zXZ", b"\x5d\x00\x00", b"\x04\x22\x4d\x18"


class ObjectStore(Protocol):
    """Bytes by digest. Thread-safe; `put_bytes` is idempotent and durable when it returns.

    `get_bytes` and `path_of` raise a catalogue error of kind NOT_FOUND when the object is not there.
    """

    def put_bytes(self, data: bytes) -> str:
        """Store `data` and return its blake3 digest (64 hex digits)."""
        ...

    def get_bytes(self, digest: str) -> bytes:
        """The object's bytes."""
        ...

    def path_of(self, digest: str) -> Path:
        """Where the object lies on this machine."""
        ...


class LocalObjects:
    """Reads a local object store (`<root>/<two digits>/<digest>`) with nothing but the standard library."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    def get_bytes(self, digest: str) -> bytes:
        """The object's bytes; `read_manifest` and `read_files` check them against the digest."""
        return self.path_of(digest).read_bytes()

    def path_of(self, digest: str) -> Path:
        """Where the object lies. Raises `package.missing_object`."""
        path = self.root / digest[:2] / digest
        if len(digest) != 64 or not digest.isalnum() or not path.is_file():
            raise MISSING(field="digest", digest=digest[:80], where=str(self.root))
        return path


class Reader(Protocol):
    """The half of an object store that reading a package takes."""

    def get_bytes(self, digest: str) -> bytes:
        """The object's bytes."""
        ...


def manifest_bytes(manifest: Manifest) -> bytes:
    """The canonical bytes of a manifest: JSON, keys in order, so that equal manifests have one digest."""
    return msgspec.json.encode(manifest, order="sorted")


def write(objects: ObjectStore, manifest: Manifest, files: dict[str, bytes]) -> tuple[str, Manifest]:
    """Store `files` and then the manifest that names them; returns the package's digest and the manifest as stored.

    `manifest.files` is replaced. Writing the same package twice gives the same digest. A pickle raises
    `package.pickle_refused`, a bad file name `name.invalid`, a missing model file `package.no_files`; nothing is then
    written.
    """
    needed = MODEL_FILES[manifest.format]
    if needed not in files:
        raise NO_FILES(field="files", format=manifest.format, name=needed)
    for name, data in files.items():
        check_name("file", name, field="files")
        refuse_pickle(name, data)
    digests = {name: objects.put_bytes(data) for name, data in sorted(files.items())}
    complete = msgspec.structs.replace(manifest, files=digests)
    return objects.put_bytes(manifest_bytes(complete)), complete


def read_manifest(objects: Reader, digest: str) -> Manifest:
    """The manifest that `digest` names. Raises `package.damaged` or `package.bad_manifest`."""
    data = objects.get_bytes(digest)
    if digest_of(data) != digest:
        raise DAMAGED(field="digest", what="the manifest", digest=digest)
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except msgspec.MsgspecError as error:
        raise BAD_MANIFEST(field="digest", digest=digest, why=str(error)[:200]) from None
    if MODEL_FILES[manifest.format] not in manifest.files:
        raise BAD_MANIFEST(field="digest", digest=digest, why=f"it names no {MODEL_FILES[manifest.format]}")
    return manifest


def read_files(objects: Reader, manifest: Manifest) -> dict[str, bytes]:
    """Every file of a package, each checked against its digest."""
    files: dict[str, bytes] = {}
    for name, digest in manifest.files.items():
        data = objects.get_bytes(digest)
        if digest_of(data) != digest:
            raise DAMAGED(field=name, what=f"file {name!r}", digest=digest)
        files[name] = data
    return files


def refuse_pickle(name: str, data: bytes) -> None:
    """Raise `package.pickle_refused` when the name or the first bytes say pickle or joblib (compressed ones too)."""
    if name.lower().endswith(_PICKLE_SUFFIXES) or looks_pickled(data):
        raise PICKLE(field="files", name=name)


def looks_pickled(data: bytes) -> bool:
    """Whether bytes begin as a pickle of protocol 2 or later, or as joblib's compressed wrapping of one.

    Protocols 0 and 1 are text without a mark of their own; nothing opens those either, as neither format reads them.
    """
    if len(data) > 1 and data[0] == 0x80 and data[1] <= 5:
        return True
    compressed = data.startswith((_GZIP, _BZIP2, _XZ, _LZMA, _LZ4))
    zlib = data.startswith(_ZLIB) and len(data) > 1 and data[1] in (0x01, 0x5E, 0x9C, 0xDA)
    return compressed or zlib
