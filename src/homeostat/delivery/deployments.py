"""The rows of deployments and evaluations. A deployment's row says all that is needed to go on after a crash."""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa

from homeostat.delivery import holding, tables
from homeostat.delivery.events import DeploymentMoved, DeploymentRequested, Evaluated
from homeostat.delivery.records import Deployment, Evaluation
from homeostat.foundation.database import Reader, Transaction
from homeostat.foundation.errors import Kind, entry
from homeostat.foundation.events import emit

NO_DEPLOYMENT = entry(
    "delivery.no_deployment",
    Kind.NOT_FOUND,
    "there is no deployment {id!r}",
    "list them with: homeostat endpoints show NAME",
)
NO_EVALUATION = entry(
    "delivery.no_evaluation",
    Kind.NOT_FOUND,
    "there is no evaluation {id!r}",
    "list them with: homeostat endpoints show NAME",
)

MOVED = entry(
    "delivery.moved",
    Kind.CONFLICT,
    "deployment {id!r} is {actual} by now, not {expected}",
    "read it again: somebody or something else has dealt with it",
)

OPEN = ("gating", "waiting", "rolling_out", "baking")
"""States in which a deployment still has something to do."""

_encode = msgspec.json.encode
_deployment = msgspec.json.Decoder(Deployment).decode
_evaluation = msgspec.json.Decoder(Evaluation).decode


def insert(tx: Transaction, deployment: Deployment) -> Deployment:
    """Enter a new deployment."""
    columns = {name: getattr(deployment, name) for name in ("id", "endpoint", "version", "state", "requested_at")}
    tx.execute(sa.insert(tables.deployments).values(project=tx.project, body=_encode(deployment), **columns))
    told = DeploymentRequested(
        subject=f"endpoint/{deployment.endpoint}", deployment=deployment.id, version=deployment.version
    )
    emit(tx, told, reason=deployment.reason)
    return deployment


def move(tx: Transaction, deployment: Deployment, *, event_at: int | None = None, **changes: Any) -> Deployment:
    """Change a deployment; an event tells of it when state or stage changed.

    Raises `delivery.moved`, and changes nothing, where the row is in another state or stage than `deployment`: between
    the look at it and this moment somebody else has dealt with it. While it rolls out it holds the endpoint's lease.
    """
    found = get(tx, deployment.id)
    if (found.state, found.stage) != (deployment.state, deployment.stage):
        raise MOVED(field="deployment", id=found.id, actual=found.state, expected=deployment.state)
    changed = msgspec.structs.replace(found, **changes)
    if changed.state == "rolling_out":
        holding.hold(tx, changed.endpoint, holding.holder_of(changed))
    elif found.state == "rolling_out":
        holding.give_back(tx, changed.endpoint, holding.holder_of(changed))
    where = (tables.deployments.c.project == tx.project, tables.deployments.c.id == deployment.id)
    tx.execute(sa.update(tables.deployments).where(*where).values(state=changed.state, body=_encode(changed)))
    if (changed.state, changed.stage) != (found.state, found.stage):
        told = DeploymentMoved(
            subject=f"endpoint/{changed.endpoint}",
            event_at=event_at,
            deployment=changed.id,
            version=changed.version,
            state=changed.state,
            stage=changed.stage,
            summary=changed.summary,
        )
        emit(tx, told)
    return changed


def find(reader: Reader, id: str) -> Deployment | None:
    """The deployment, or None."""
    where = (tables.deployments.c.project == reader.project, tables.deployments.c.id == id)
    body = reader.execute(sa.select(tables.deployments.c.body).where(*where)).scalar()
    return None if body is None else _deployment(body)


def get(reader: Reader, id: str) -> Deployment:
    """The deployment, or `delivery.no_deployment`."""
    found = find(reader, id)
    if found is None:
        raise NO_DEPLOYMENT(field="deployment", id=id)
    return found


def listing(
    reader: Reader, endpoint: str | None = None, *, states: tuple[str, ...] | None = None, limit: int = 200
) -> list[Deployment]:
    """Deployments, the newest first."""
    query = sa.select(tables.deployments.c.body).where(tables.deployments.c.project == reader.project)
    if endpoint is not None:
        query = query.where(tables.deployments.c.endpoint == endpoint)
    if states is not None:
        query = query.where(tables.deployments.c.state.in_(states))
    query = query.order_by(tables.deployments.c.requested_at.desc(), tables.deployments.c.id.desc()).limit(limit)
    return [_deployment(body) for body in reader.execute(query).scalars()]


def save_evaluation(tx: Transaction, evaluation: Evaluation) -> Evaluation:
    """Keep an evaluation with all its evidence, and tell of its verdict."""
    columns = {name: getattr(evaluation, name) for name in ("id", "endpoint", "version", "at")}
    tx.execute(sa.insert(tables.evaluations).values(project=tx.project, body=_encode(evaluation), **columns))
    told = Evaluated(
        subject=f"endpoint/{evaluation.endpoint}",
        event_at=evaluation.event_at,
        evaluation=evaluation.id,
        version=evaluation.version,
        verdict=evaluation.verdict,
        summary="; ".join(check.summary for check in evaluation.checks),
    )
    emit(tx, told)
    return evaluation


def evaluation(reader: Reader, id: str) -> Evaluation:
    """The evaluation, or `delivery.no_evaluation`."""
    where = (tables.evaluations.c.project == reader.project, tables.evaluations.c.id == id)
    body = reader.execute(sa.select(tables.evaluations.c.body).where(*where)).scalar()
    if body is None:
        raise NO_EVALUATION(field="evaluation", id=id)
    return _evaluation(body)


def evaluations(reader: Reader, endpoint: str, *, version: int | None = None, limit: int = 50) -> list[Evaluation]:
    """Evaluations for an endpoint, the newest first."""
    table = tables.evaluations
    query = sa.select(table.c.body).where(table.c.project == reader.project, table.c.endpoint == endpoint)
    if version is not None:
        query = query.where(table.c.version == version)
    query = query.order_by(table.c.at.desc(), table.c.id.desc()).limit(limit)
    return [_evaluation(body) for body in reader.execute(query).scalars()]
