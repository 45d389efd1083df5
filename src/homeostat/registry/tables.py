"""The rows of the registry. Private to this folder."""

from __future__ import annotations

import sqlalchemy as sa

from homeostat.foundation.database import metadata

models = sa.Table(
    "models",
    metadata,
    sa.Column("project", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("description", sa.Text, nullable=False, default=""),
    sa.Column("tags", sa.Text, nullable=False, default="{}"),  # JSON
    sa.Column("newest", sa.Integer, nullable=False, default=0),
)
model_versions = sa.Table(
    "model_versions",
    metadata,
    sa.Column("project", sa.Text, primary_key=True),
    sa.Column("model", sa.Text, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("package", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("run_id", sa.Text),
    sa.Column("dataset", sa.Text),
    sa.Column("dataset_version", sa.Text),
    sa.Column("format", sa.Text, nullable=False),
    sa.Column("description", sa.Text, nullable=False, default=""),
    sa.Column("tags", sa.Text, nullable=False, default="{}"),  # JSON
    sa.Column("missing", sa.Text, nullable=False, default="[]"),  # JSON
    sa.Column("request", sa.Text),  # what the registration was sent under; NULLs are distinct
    sa.UniqueConstraint("project", "model", "request"),
)
model_aliases = sa.Table(
    "model_aliases",
    metadata,
    sa.Column("project", sa.Text, primary_key=True),
    sa.Column("model", sa.Text, primary_key=True),
    sa.Column("alias", sa.Text, primary_key=True),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("moved_at", sa.BigInteger, nullable=False),
)
