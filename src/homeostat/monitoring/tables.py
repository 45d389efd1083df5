"""Tables of monitoring; private to it."""

from __future__ import annotations

import sqlalchemy as sa

from homeostat.foundation.database import metadata

windows = sa.Table(
    "windows",
    metadata,
    sa.Column("project", sa.Text, primary_key=True),
    sa.Column("endpoint", sa.Text, primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    sa.Column("start", sa.BigInteger, primary_key=True),
    sa.Column("body", sa.LargeBinary, nullable=False),  # records.Window as JSON
)
monitors = sa.Table(
    "monitors",
    metadata,
    sa.Column("project", sa.Text, primary_key=True),
    sa.Column("endpoint", sa.Text, primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    sa.Column("monitor", sa.Text, primary_key=True),
    sa.Column("body", sa.LargeBinary, nullable=False),  # records.MonitorState as JSON
)
cursors = sa.Table(
    "monitor_cursors",
    metadata,
    sa.Column("project", sa.Text, primary_key=True),
    sa.Column("endpoint", sa.Text, primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    sa.Column("until", sa.BigInteger, nullable=False),
    sa.Column("batch", sa.BigInteger, nullable=False),
    sa.Column("data", sa.BigInteger, nullable=False),
)
incidents = sa.Table(
    "incidents",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("project", sa.Text, nullable=False),
    sa.Column("endpoint", sa.Text, nullable=False),
    sa.Column("cause", sa.Text, nullable=False),
    sa.Column("open", sa.Boolean, nullable=False),
    sa.Column("opened_at", sa.BigInteger, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),  # records.Incident as JSON
)
sa.Index(
    "one_open_incident",
    incidents.c.project,
    incidents.c.endpoint,
    incidents.c.cause,
    unique=True,
    sqlite_where=incidents.c.open.is_(True),
    postgresql_where=incidents.c.open.is_(True),
)
