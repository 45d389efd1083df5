"""Tables of serving; private to it."""

from __future__ import annotations

import sqlalchemy as sa

from homeostat.foundation.database import metadata

endpoints = sa.Table(
    "endpoints",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("project", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("arms", sa.LargeBinary, nullable=False),
    sa.Column("epoch", sa.Integer, nullable=False),
    sa.Column("paused", sa.Boolean, nullable=False),
    sa.Column("watermark", sa.BigInteger),
    sa.Column("predictions", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("replaying", sa.Boolean, nullable=False),
    sa.Column("replayed_at", sa.BigInteger),
    sa.UniqueConstraint("project", "name"),
)
plan_epochs = sa.Table(
    "plan_epochs",
    metadata,
    sa.Column("project", sa.Text, primary_key=True),  # always "": one plan for every project
    sa.Column("epoch", sa.Integer, nullable=False),
)
segments = sa.Table(
    "segments",
    metadata,
    sa.Column("project", sa.Text, nullable=False),  # "": a segment holds every project's predictions
    sa.Column("stem", sa.Text, primary_key=True),
    sa.Column("taken", sa.BigInteger, nullable=False),  # offset in the file up to which it was taken in
)
