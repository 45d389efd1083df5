"""What the registry tells the audit stream."""

from __future__ import annotations

from homeostat.foundation.events import Event


class ModelCreated(Event, frozen=True, kw_only=True, tag="registry.model_created"):
    """A model was named; it has no versions yet."""

    model: str


class ModelDescribed(Event, frozen=True, kw_only=True, tag="registry.model_described"):
    """A model's description or tags changed."""

    model: str
    description: str
    tags: dict[str, str]


class VersionRegistered(Event, frozen=True, kw_only=True, tag="registry.version_registered"):
    """A model version was registered."""

    model: str
    number: int
    package: str
    state: str
    run_id: str | None
    dataset: str | None
    dataset_version: str | None
    format: str
    missing: tuple[str, ...]


class VersionDescribed(Event, frozen=True, kw_only=True, tag="registry.version_described"):
    """A version's description or tags changed; what it is made of cannot."""

    model: str
    number: int
    description: str
    tags: dict[str, str]


class AliasMoved(Event, frozen=True, kw_only=True, tag="registry.alias_moved"):
    """An alias points at another version; `number` is None when it was removed, `before` when it was made."""

    model: str
    alias: str
    before: int | None
    number: int | None
