"""Models, their versions and aliases."""

from __future__ import annotations

from typing import Any

from litestar import Request, delete, get, post, put
from litestar.params import FromPath, JSONBody
from msgspec import Struct

from homeostat.api.access import Calling, needs
from homeostat.packages.package import read_manifest
from homeostat.packages.records import Manifest
from homeostat.registry import aliases, models, versions
from homeostat.registry.records import Model, ModelVersion

_TAGS = ["models"]


class Registration(Struct, frozen=True, kw_only=True):
    """A version to register. What is left out is taken from the package's manifest."""

    package: str
    run_id: str | None = None
    dataset: str | None = None
    dataset_version: str | None = None
    missing: tuple[str, ...] = ()
    description: str = ""
    tags: dict[str, str] = {}


class Description(Struct, frozen=True, kw_only=True):
    """What may change of a model or a version; None leaves it as it is."""

    description: str | None = None
    tags: dict[str, str] | None = None


class Target(Struct, frozen=True, kw_only=True):
    """The version an alias is to point at."""

    version: int


@get("/models", opt=needs("read"), sync_to_thread=True, tags=_TAGS)
def listing(caller: Calling) -> list[Model]:
    """Every model of the project."""
    with caller.read() as reader:
        return models.listing(reader)


@get("/models/{model:str}", opt=needs("read"), sync_to_thread=True, tags=_TAGS)
def show(caller: Calling, model: FromPath[str]) -> Model:
    """One model."""
    with caller.read() as reader:
        return models.get(reader, model)


@put("/models/{model:str}", opt=needs("models.write"), sync_to_thread=True, tags=_TAGS)
def describe(caller: Calling, model: FromPath[str], data: JSONBody[Description]) -> Model:
    """Change a model's description or tags."""
    with caller.write() as tx:
        return models.describe(tx, model, description=data.description, tags=data.tags)


@get("/models/{model:str}/versions", opt=needs("read"), sync_to_thread=True, tags=_TAGS)
def log(caller: Calling, model: FromPath[str]) -> list[ModelVersion]:
    """Every version, the newest first."""
    with caller.read() as reader:
        return versions.listing(reader, model)


@get("/models/{model:str}/versions/{number:int}", opt=needs("read"), sync_to_thread=True, tags=_TAGS)
def version(caller: Calling, model: FromPath[str], number: FromPath[int]) -> ModelVersion:
    """One version."""
    with caller.read() as reader:
        return versions.get(reader, model, number)


@post("/models/{model:str}/versions", opt=needs("models.write"), sync_to_thread=True, tags=_TAGS)
def register(
    caller: Calling, request: Request[Any, Any, Any], model: FromPath[str], data: JSONBody[Registration]
) -> ModelVersion:
    """Register an uploaded package as the next version; once for each Idempotency-Key, however often it is sent."""
    manifest = read_manifest(caller.home.objects, data.package)
    caller.home.expect_work()  # a version is registered to be deployed: its gate comes next
    missing = (*data.missing, *(() if manifest.profile or "profile" in data.missing else ("profile",)))
    with caller.write() as tx:
        return versions.register(
            tx,
            model,
            data.package,
            run_id=data.run_id or manifest.run_id,
            dataset=data.dataset or manifest.dataset,
            dataset_version=data.dataset_version or manifest.dataset_version,
            format=manifest.format,
            missing=missing,
            request=request.headers.get("idempotency-key"),
            description=data.description,
            tags=data.tags,
        )


@put("/models/{model:str}/versions/{number:int}", opt=needs("models.write"), sync_to_thread=True, tags=_TAGS)
def describe_version(
    caller: Calling, model: FromPath[str], number: FromPath[int], data: JSONBody[Description]
) -> ModelVersion:
    """Change a version's description or tags; what it is made of cannot change."""
    with caller.write() as tx:
        return versions.update(tx, model, number, description=data.description, tags=data.tags)


@get("/models/{model:str}/aliases/{alias:str}", opt=needs("read"), sync_to_thread=True, tags=_TAGS)
def resolve(caller: Calling, model: FromPath[str], alias: FromPath[str]) -> ModelVersion:
    """The version an alias points at."""
    with caller.read() as reader:
        return aliases.resolve(reader, model, alias)


@put("/models/{model:str}/aliases/{alias:str}", opt=needs("models.write"), sync_to_thread=True, tags=_TAGS)
def point(caller: Calling, model: FromPath[str], alias: FromPath[str], data: JSONBody[Target]) -> ModelVersion:
    """Point an alias at a version."""
    with caller.write() as tx:
        return aliases.set(tx, model, alias, data.version)


@delete("/models/{model:str}/aliases/{alias:str}", opt=needs("models.write"), sync_to_thread=True, tags=_TAGS)
def remove(caller: Calling, model: FromPath[str], alias: FromPath[str]) -> None:
    """Remove an alias."""
    with caller.write() as tx:
        aliases.delete(tx, model, alias)


@get("/packages/{digest:str}", opt=needs("read"), sync_to_thread=True, tags=_TAGS)
def package(caller: Calling, digest: FromPath[str]) -> Manifest:
    """What a package says of itself: signature, reference profile, parity, cost, origin."""
    return read_manifest(caller.home.objects, digest)


ROUTES = [
    listing,
    show,
    describe,
    log,
    version,
    register,
    describe_version,
    resolve,
    point,
    remove,
    package,
]
