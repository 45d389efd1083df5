"""A package made in this process, sent to the server: its objects by digest, then the version that names them."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from homeostat.foundation.errors import Kind, entry
from homeostat.packages.package import manifest_bytes
from homeostat.packages.records import Manifest
from homeostat.project.connection import Connection

DAMAGED = entry(
    "project.upload_damaged",
    Kind.FAILED,
    "{what} arrived at the server as {got}, and was sent as {sent}",
    "send it again; if it happens again, something between here and the server changes what it carries",
)

NO_HELD_OUT = (
    "rows it has not seen, held_out=(X, y): without them nobody knows how often it errs, so only its inputs and scores "
    "are watched"
)
NO_PIPELINE = "a dataset and a training function (homeostat init writes an example): without them it cannot retrain"


class Packaged(Struct, frozen=True, kw_only=True):
    """Files and manifest of a package that is not in a store yet, and what is missing before it can retrain."""

    manifest: Manifest
    files: dict[str, bytes]
    missing: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    example: dict[str, list[Any]] = {}  # one row, as a caller would send it


def upload(connection: Connection, made: Packaged, model: str) -> dict[str, Any]:
    """Store the package's objects and register it; gives the model version. The same package twice is one version."""
    for name, digest in made.manifest.files.items():
        _put(connection, name, made.files[name], digest)
    package = connection.put_object(manifest_bytes(made.manifest))
    body = {"package": package, "missing": list(made.missing)}
    answer: dict[str, Any] = connection.post(f"/models/{model}/versions", body, key=f"{model}/{package}")
    return answer


def _put(connection: Connection, name: str, data: bytes, digest: str) -> None:
    stored = connection.put_object(data)
    if stored != digest:
        raise DAMAGED(field=name, what=f"file {name!r}", got=stored, sent=digest)
