"""Models: named lines of versions."""

from __future__ import annotations

import msgspec
import sqlalchemy as sa

from homeostat.foundation import events
from homeostat.foundation.database import Reader, Transaction
from homeostat.foundation.errors import Kind, entry
from homeostat.foundation.ids import check_name
from homeostat.registry import tables
from homeostat.registry.events import ModelCreated, ModelDescribed
from homeostat.registry.records import Model

MISSING = entry("models.missing", Kind.NOT_FOUND, "there is no model {name!r}", "list them with: homeostat models list")


def ensure(tx: Transaction, name: str, description: str = "") -> Model:
    """The model of that name, made if it is new. A description is taken only when it is made: see `describe`."""
    check_name("model", name)
    found = _find(tx, name)
    if found is not None:
        return found
    made = Model(name=name, created_at=tx.at, description=description)
    values = {"name": name, "created_at": tx.at, "description": description, "tags": "{}", "newest": 0}
    tx.execute(sa.insert(tables.models).values(project=tx.project, **values))
    events.emit(tx, ModelCreated(subject=f"model/{name}", model=name))
    return made


def describe(
    tx: Transaction, name: str, *, description: str | None = None, tags: dict[str, str] | None = None
) -> Model:
    """Replace the description or the tags (None: leave as it is)."""
    found = get(tx, name)
    changed = msgspec.structs.replace(
        found,
        description=found.description if description is None else description,
        tags=found.tags if tags is None else tags,
    )
    if changed == found:
        return found
    table = tables.models
    values = {"description": changed.description, "tags": msgspec.json.encode(changed.tags).decode()}
    tx.execute(sa.update(table).where(table.c.project == tx.project, table.c.name == name).values(values))
    told = ModelDescribed(subject=f"model/{name}", model=name, description=changed.description, tags=changed.tags)
    events.emit(tx, told)
    return changed


def get(reader: Reader, name: str) -> Model:
    """The model, or `models.missing`."""
    found = _find(reader, name)
    if found is None:
        raise MISSING(field="model", name=name[:140])
    return found


def listing(reader: Reader) -> list[Model]:
    """Every model of the project, by name."""
    table = tables.models
    query = sa.select(table).where(table.c.project == reader.project).order_by(table.c.name)
    return [_model(row) for row in reader.execute(query).mappings()]


def next_number(tx: Transaction, name: str) -> int:
    """Take the model's next version number. One writer, and the number rolls back with its version: no gaps."""
    table = tables.models
    where = (table.c.project == tx.project, table.c.name == name)
    number = tx.execute(sa.update(table).where(*where).values(newest=table.c.newest + 1).returning(table.c.newest))
    return int(number.scalar_one())


def _find(reader: Reader, name: str) -> Model | None:
    table = tables.models
    query = sa.select(table).where(table.c.project == reader.project, table.c.name == name)
    row = reader.execute(query).mappings().first()
    return None if row is None else _model(row)


def _model(row: sa.RowMapping) -> Model:
    return Model(
        name=row["name"],
        created_at=row["created_at"],
        description=row["description"],
        tags=msgspec.json.decode(row["tags"]),
        newest=row["newest"],
    )
