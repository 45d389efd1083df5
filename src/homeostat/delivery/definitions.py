"""The gate and the rollout that an endpoint asks of every version."""

from __future__ import annotations

import msgspec
import sqlalchemy as sa

from homeostat.delivery import tables
from homeostat.delivery.events import GateDefined
from homeostat.delivery.records import CheckDefinition, Gate, RolloutDefinition
from homeostat.foundation.database import Reader, Transaction
from homeostat.foundation.errors import Kind, entry
from homeostat.foundation.events import emit
from homeostat.foundation.ids import check_name, digest_of

BAD_SHARE = entry(
    "delivery.bad_share",
    Kind.INVALID,
    "a canary's share must lie between 0 and 1, not {value}",
    "write hs.canary(share=0.2)",
)

_encode = msgspec.json.Encoder(order="sorted").encode


def define(tx: Transaction, endpoint: str, gate: Gate, rollout: RolloutDefinition) -> None:
    """Set what the endpoint asks; tells of it only when it changed."""
    check_name("endpoint", endpoint)
    if not 0 < rollout.share < 1:
        raise BAD_SHARE(field="rollout.share", value=rollout.share)
    values = {"gate": _encode(gate), "rollout": _encode(rollout)}
    where = _where(tx, endpoint)
    row = tx.execute(sa.select(tables.definitions).where(*where)).mappings().first()
    if row is not None and {name: row[name] for name in values} == values:
        return
    if row is None:
        tx.execute(sa.insert(tables.definitions).values(project=tx.project, endpoint=endpoint, **values))
    else:
        tx.execute(sa.update(tables.definitions).where(*where).values(values))
    emit(tx, GateDefined(subject=f"endpoint/{endpoint}", gate_digest=digest_of(values["gate"])))


def gate_of(reader: Reader, endpoint: str) -> Gate:
    """The endpoint's gate; one that only asks that the version loads and its signature fits, where none was set."""
    row = reader.execute(sa.select(tables.definitions.c.gate).where(*_where(reader, endpoint))).scalar()
    if row is None:
        checks = (CheckDefinition(kind="signature"), CheckDefinition(kind="loads", p99_ms=50.0))
        return Gate(name=endpoint, metric="", checks=checks)
    return msgspec.json.decode(row, type=Gate)


def rollout_of(reader: Reader, endpoint: str) -> RolloutDefinition:
    """The endpoint's rollout; a canary with the defaults where none was set."""
    row = reader.execute(sa.select(tables.definitions.c.rollout).where(*_where(reader, endpoint))).scalar()
    return RolloutDefinition() if row is None else msgspec.json.decode(row, type=RolloutDefinition)


def gate_digest(gate: Gate) -> str:
    """The digest of a gate: part of what a blessing is bound to."""
    return digest_of(_encode(gate))


def _where(reader: Reader, endpoint: str) -> tuple[sa.ColumnElement[bool], ...]:
    return (tables.definitions.c.project == reader.project, tables.definitions.c.endpoint == endpoint)
