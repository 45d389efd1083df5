"""Model versions: (model, number) -> package. What a version is made of never changes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import msgspec
import sqlalchemy as sa

from homeostat.foundation import events
from homeostat.foundation.database import Reader, Transaction
from homeostat.foundation.errors import Kind, entry
from homeostat.registry import models, tables
from homeostat.registry.events import VersionDescribed, VersionRegistered
from homeostat.registry.records import ModelVersion

MISSING = entry(
    "models.version_missing",
    Kind.NOT_FOUND,
    "model {model!r} has no version {number}",
    "list them with: homeostat models show {model}",
)
NO_VERSIONS = entry(
    "models.no_versions",
    Kind.NOT_FOUND,
    "model {model!r} has no versions yet",
    "register one with: homeostat models register",
)
REUSED_REQUEST = entry(
    "models.request_reused",
    Kind.CONFLICT,
    "request {request!r} registered version {number} of {model!r} with another package already",
    "send a new registration under a new request",
)
BAD_PACKAGE = entry(
    "models.bad_package",
    Kind.INVALID,
    "{package!r} is not the digest of a package: 64 hex digits",
    "upload the package first, and name it by the digest that came back",
)

# Without these a version cannot be blessed (design rule 14); whatever else it lacks only keeps it from being retrained.
NEEDED_FOR_BLESSING: frozenset[str] = frozenset({"package", "signature", "profile"})


def register(
    tx: Transaction,
    model: str,
    package: str,
    *,
    run_id: str | None = None,
    dataset: str | None = None,
    dataset_version: str | None = None,
    format: str = "onnx",
    missing: Iterable[str] = (),
    request: str | None = None,
    description: str = "",
    tags: dict[str, str] | None = None,
) -> ModelVersion:
    """Make the next version of `model` (made too, if it is new) out of the package with that manifest digest.

    The same `request` again gives the version it made the first time; with another package it is refused.
    """
    if len(package) != 64 or not set(package) <= set("0123456789abcdef"):
        raise BAD_PACKAGE(field="package", package=package[:80])
    models.ensure(tx, model)
    before = None if request is None else _of_request(tx, model, request)
    if before is not None:
        if before.package != package:
            raise REUSED_REQUEST(field="request", request=request, number=before.number, model=model)
        return before
    lacking = tuple(missing)
    version = ModelVersion(
        model=model,
        number=models.next_number(tx, model),
        package=package,
        state="incomplete" if NEEDED_FOR_BLESSING & set(lacking) else "complete",
        created_at=tx.at,
        created_by=tx.actor,
        run_id=run_id,
        dataset=dataset,
        dataset_version=dataset_version,
        format=format,
        description=description,
        tags=tags or {},
        missing=lacking,
    )
    values = msgspec.structs.asdict(version)
    del values["aliases"]
    for name in ("tags", "missing"):
        values[name] = msgspec.json.encode(values[name]).decode()
    tx.execute(sa.insert(tables.model_versions).values(project=tx.project, request=request, **values))
    told = {name: getattr(version, name) for name in VersionRegistered.__struct_fields__ if name in values}
    events.emit(tx, VersionRegistered(subject=f"model/{model}/{version.number}", **told))
    return version


def get(reader: Reader, model: str, number: int | None = None) -> ModelVersion:
    """The version of that number (None: the newest), or a NOT_FOUND entry."""
    known = models.get(reader, model)
    if number is None and known.newest == 0:
        raise NO_VERSIONS(field="version", model=model)
    table = tables.model_versions
    wanted = known.newest if number is None else number
    found = _select(reader, table.c.model == model, table.c.number == wanted)
    if not found:
        raise MISSING(field="version", model=model, number=wanted)
    return found[0]


def listing(reader: Reader, model: str) -> list[ModelVersion]:
    """Every version of the model, the newest first."""
    models.get(reader, model)
    return _select(reader, tables.model_versions.c.model == model)


def update(
    tx: Transaction,
    model: str,
    number: int,
    description: str | None = None,
    tags: dict[str, str] | None = None,
) -> ModelVersion:
    """Replace the description or the tags (None: leave as it is)."""
    found = get(tx, model, number)
    changed = msgspec.structs.replace(
        found,
        description=found.description if description is None else description,
        tags=found.tags if tags is None else tags,
    )
    if changed == found:
        return found
    table = tables.model_versions
    where = (table.c.project == tx.project, table.c.model == model, table.c.number == number)
    values = {"description": changed.description, "tags": msgspec.json.encode(changed.tags).decode()}
    tx.execute(sa.update(table).where(*where).values(values))
    told = VersionDescribed(
        subject=f"model/{model}/{number}",
        model=model,
        number=number,
        description=changed.description,
        tags=changed.tags,
    )
    events.emit(tx, told)
    return changed


def _of_request(reader: Reader, model: str, request: str) -> ModelVersion | None:
    table = tables.model_versions
    found = _select(reader, table.c.model == model, table.c.request == request)
    return found[0] if found else None


def _select(reader: Reader, *where: sa.ColumnElement[bool]) -> list[ModelVersion]:
    table = tables.model_versions
    query = sa.select(table).where(table.c.project == reader.project, *where).order_by(table.c.number.desc())
    rows = list(reader.execute(query).mappings())
    if not rows:
        return []
    aliases = _aliases(reader, rows[0]["model"])
    return [_version(row, aliases[row["number"]]) for row in rows]


def _aliases(reader: Reader, model: str) -> dict[int, list[str]]:
    table = tables.model_aliases
    query = sa.select(table.c.number, table.c.alias).where(table.c.project == reader.project, table.c.model == model)
    found: dict[int, list[str]] = defaultdict(list)
    for row in reader.execute(query.order_by(table.c.alias)).mappings():
        found[row["number"]].append(row["alias"])
    return found


def _version(row: sa.RowMapping, aliases: list[str]) -> ModelVersion:
    values: dict[str, Any] = {name: row[name] for name in ModelVersion.__struct_fields__ if name != "aliases"}
    values["tags"] = msgspec.json.decode(values["tags"])
    values["missing"] = tuple(msgspec.json.decode(values["missing"]))
    return ModelVersion(**values, aliases=tuple(aliases))
