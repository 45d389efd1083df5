"""Those who act: people, services and agents."""

from __future__ import annotations

from typing import get_args

import msgspec
import sqlalchemy as sa

from homeostat.foundation import events
from homeostat.foundation.database import Reader, Transaction
from homeostat.foundation.errors import Kind, entry
from homeostat.foundation.ids import check_name
from homeostat.governance import tables
from homeostat.governance.events import PrincipalChanged
from homeostat.governance.records import Principal, PrincipalKind, Role

MISSING = entry(
    "principals.missing",
    Kind.NOT_FOUND,
    "there is no principal {name!r}",
    "an administrator can add one with: POST /api/v1/principals",
)
BAD_NAME = entry(
    "principals.bad_name",
    Kind.INVALID,
    "{name!r} does not name a {kind}: it must be written '{kind}:short-name'",
    "write '{kind}:' and a short name, such as '{kind}:ada'",
)
BAD_ROLE = entry("principals.bad_role", Kind.INVALID, "{role!r} is not a role", "use some of: {known}")


def ensure(
    tx: Transaction, name: str, kind: PrincipalKind, roles: tuple[Role, ...], projects: tuple[str, ...] | None = None
) -> Principal:
    """Make the principal, or give it these roles and projects (None: every project); a disabled one works again.

    `name` is "kind:short", such as "person:ada". Changes nothing, and tells nothing, when it is so already.
    """
    _check(name, kind, roles, projects)
    wanted = tuple(sorted(set(roles)))
    where = None if projects is None else tuple(sorted(set(projects)))
    found = _find(tx, name)
    made = Principal(
        name=name, kind=kind, roles=wanted, projects=where, created_at=found.created_at if found else tx.at
    )
    if found == made:
        return made
    _save(tx, made, new=found is None)
    return made


def disable(tx: Transaction, name: str) -> Principal:
    """Stop everything the principal may do: its tokens and sessions end with the next request."""
    found = get(tx, name)
    if found.disabled:
        return found
    changed = msgspec.structs.replace(found, disabled=True)
    _save(tx, changed, new=False)
    return changed


def get(reader: Reader, name: str) -> Principal:
    """The principal, or `principals.missing`."""
    found = _find(reader, name)
    if found is None:
        raise MISSING(field="principal", name=name)
    return found


def listing(reader: Reader) -> list[Principal]:
    """Every principal of the home, by name."""
    query = sa.select(tables.principals).order_by(tables.principals.c.name)
    return [principal_of(row) for row in reader.execute(query).mappings()]


def principal_of(row: sa.RowMapping) -> Principal:
    """The record of a row of `principals`."""
    return Principal(
        name=row["name"],
        kind=row["kind"],
        roles=msgspec.json.decode(row["roles"], type=tuple[Role, ...]),
        projects=names_of(row["projects"]),
        created_at=row["created_at"],
        disabled=bool(row["disabled"]),
    )


def names_of(column: str | None) -> tuple[str, ...] | None:
    """A JSON list column as a tuple; None stays None."""
    return None if column is None else msgspec.json.decode(column, type=tuple[str, ...])


def column_of(names: tuple[str, ...] | None) -> str | None:
    """A tuple of names as a JSON list column; None stays None."""
    return None if names is None else msgspec.json.encode(names).decode()


def _find(reader: Reader, name: str) -> Principal | None:
    query = sa.select(tables.principals).where(tables.principals.c.name == name)
    row = reader.execute(query).mappings().first()
    return None if row is None else principal_of(row)


def _save(tx: Transaction, principal: Principal, *, new: bool) -> None:
    values = {
        "kind": principal.kind,
        "roles": column_of(principal.roles),
        "projects": column_of(principal.projects),
        "created_at": principal.created_at,
        "disabled": principal.disabled,
    }
    table = tables.principals
    if new:
        tx.execute(sa.insert(table).values(name=principal.name, project=tx.project, **values))
    else:
        tx.execute(sa.update(table).where(table.c.name == principal.name).values(values))
    told = PrincipalChanged(
        subject=f"principal/{principal.name}",
        principal=principal.name,
        roles=principal.roles,
        projects=principal.projects,
        disabled=principal.disabled,
    )
    events.emit(tx, told)


def _check(name: str, kind: str, roles: tuple[str, ...], projects: tuple[str, ...] | None) -> None:
    prefix, _, short = name.partition(":")
    if kind not in get_args(PrincipalKind) or prefix != kind or not short:
        raise BAD_NAME(field="name", name=name[:140], kind=kind if kind in get_args(PrincipalKind) else "person")
    check_name("principal", short)
    for role in roles:
        if role not in get_args(Role):
            raise BAD_ROLE(field="roles", role=role, known=", ".join(get_args(Role)))
    for project in projects or ():
        check_name("project", project, field="projects")
