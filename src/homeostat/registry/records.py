"""Models and their versions."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct


class Model(Struct, frozen=True, kw_only=True):
    """A named line of versions."""

    name: str
    created_at: int
    description: str = ""
    tags: dict[str, str] = {}
    newest: int = 0


class ModelVersion(Struct, frozen=True, kw_only=True):
    """(model, number) and what it is made of. `package` never changes; description, tags and aliases may.

    `run_id`, `dataset_version` may be absent; a version without signature or profile is "incomplete": it is kept, and
    cannot be blessed until completed.
    """

    model: str
    number: int
    package: str  # manifest digest
    state: Literal["complete", "incomplete"]
    created_at: int
    created_by: str
    run_id: str | None = None
    dataset: str | None = None
    dataset_version: str | None = None
    format: str = "onnx"
    description: str = ""
    tags: dict[str, str] = {}
    aliases: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()  # what it lacks before it can be blessed, or retrained by itself
