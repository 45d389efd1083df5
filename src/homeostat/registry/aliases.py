"""Aliases: names that point at one version of a model and may be moved, such as "champion"."""

from __future__ import annotations

import re

import sqlalchemy as sa

from homeostat.foundation import events
from homeostat.foundation.database import Reader, Transaction
from homeostat.foundation.errors import Kind, entry
from homeostat.foundation.ids import check_name
from homeostat.registry import models, tables, versions
from homeostat.registry.events import AliasMoved
from homeostat.registry.records import ModelVersion

MISSING = entry(
    "models.alias_missing",
    Kind.NOT_FOUND,
    "model {model!r} has no alias {alias!r}",
    "list them with: homeostat models show {model}",
)
RESERVED = entry(
    "models.alias_reserved",
    Kind.INVALID,
    "the alias {alias!r} would be read as a version",
    "choose a word such as 'champion': not a number, 'v' and a number, 'latest' or 'newest'",
)


def set(tx: Transaction, model: str, alias: str, number: int) -> ModelVersion:
    """Point the alias at a version; it leaves the one it pointed at."""
    check_name("alias", alias, field="alias")
    if re.fullmatch(r"v?\d+|latest|newest", alias, re.IGNORECASE):
        raise RESERVED(field="alias", alias=alias)
    version = versions.get(tx, model, number)
    before = _number(tx, model, alias)
    if before == number:
        return version
    key = {"project": tx.project, "model": model, "alias": alias}
    values = {"number": number, "moved_at": tx.at}
    if before is None:
        tx.execute(sa.insert(tables.model_aliases).values(**key, **values))
    else:
        tx.execute(sa.update(tables.model_aliases).where(*_is(tx, model, alias)).values(values))
    events.emit(tx, AliasMoved(subject=f"model/{model}", model=model, alias=alias, before=before, number=number))
    return versions.get(tx, model, number)


def delete(tx: Transaction, model: str, alias: str) -> None:
    """Remove the alias; one that is not there is no error."""
    models.get(tx, model)
    before = _number(tx, model, alias)
    if before is not None:
        tx.execute(sa.delete(tables.model_aliases).where(*_is(tx, model, alias)))
        events.emit(tx, AliasMoved(subject=f"model/{model}", model=model, alias=alias, before=before, number=None))


def resolve(reader: Reader, model: str, alias: str) -> ModelVersion:
    """The version the alias points at, or `models.alias_missing`."""
    models.get(reader, model)
    number = _number(reader, model, alias)
    if number is None:
        raise MISSING(field="alias", model=model, alias=alias[:140])
    return versions.get(reader, model, number)


def _is(reader: Reader, model: str, alias: str) -> tuple[sa.ColumnElement[bool], ...]:
    table = tables.model_aliases
    return (table.c.project == reader.project, table.c.model == model, table.c.alias == alias)


def _number(reader: Reader, model: str, alias: str) -> int | None:
    query = sa.select(tables.model_aliases.c.number).where(*_is(reader, model, alias))
    found = reader.execute(query).scalar()
    return None if found is None else int(found)
