"""The policy of each endpoint."""

from __future__ import annotations

import msgspec
import sqlalchemy as sa

from homeostat.control import tables
from homeostat.control.events import PolicyDefined
from homeostat.control.records import Policy
from homeostat.foundation.database import Reader, Transaction
from homeostat.foundation.events import emit
from homeostat.foundation.ids import check_name

_encode = msgspec.json.Encoder(order="sorted").encode


def define(tx: Transaction, policy: Policy) -> Policy:
    """Set an endpoint's policy; tells of it only when it changed."""
    check_name("endpoint", policy.endpoint)
    body = _encode(policy)
    where = (tables.policies.c.project == tx.project, tables.policies.c.endpoint == policy.endpoint)
    found = tx.execute(sa.select(tables.policies.c.body).where(*where)).scalar()
    if found == body:
        return policy
    if found is None:
        tx.execute(sa.insert(tables.policies).values(project=tx.project, endpoint=policy.endpoint, body=body))
    else:
        tx.execute(sa.update(tables.policies).where(*where).values(body=body))
    emit(tx, PolicyDefined(subject=f"endpoint/{policy.endpoint}", mode=policy.mode))
    return policy


def policy_of(reader: Reader, endpoint: str) -> Policy:
    """The endpoint's policy; where none was set, one that observes and cannot retrain."""
    where = (tables.policies.c.project == reader.project, tables.policies.c.endpoint == endpoint)
    body = reader.execute(sa.select(tables.policies.c.body).where(*where)).scalar()
    if body is None:
        return Policy(endpoint=endpoint, mode="observe")
    return msgspec.json.decode(body, type=Policy)


def listing(reader: Reader) -> list[Policy]:
    """Every policy of the project, by endpoint."""
    query = sa.select(tables.policies.c.body).where(tables.policies.c.project == reader.project)
    rows = reader.execute(query.order_by(tables.policies.c.endpoint)).scalars()
    return [msgspec.json.decode(body, type=Policy) for body in rows]
