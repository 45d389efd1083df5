"""Tables of delivery; private to it."""

from __future__ import annotations

import sqlalchemy as sa

from homeostat.foundation.database import metadata

definitions = sa.Table(
    "delivery_definitions",
    metadata,
    sa.Column("project", sa.Text, primary_key=True),
    sa.Column("endpoint", sa.Text, primary_key=True),
    sa.Column("gate", sa.LargeBinary, nullable=False),
    sa.Column("rollout", sa.LargeBinary, nullable=False),
)
evaluations = sa.Table(
    "evaluations",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("project", sa.Text, nullable=False),
    sa.Column("endpoint", sa.Text, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Index("evaluations_by_endpoint", "project", "endpoint", "at"),
)
deployments = sa.Table(
    "deployments",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("project", sa.Text, nullable=False),
    sa.Column("endpoint", sa.Text, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("requested_at", sa.BigInteger, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Index("deployments_by_endpoint", "project", "endpoint", "requested_at"),
    sa.Index("deployments_by_state", "project", "state"),
)
