"""Tables of control; private to it."""

from __future__ import annotations

import sqlalchemy as sa

from homeostat.foundation.database import metadata

policies = sa.Table(
    "policies",
    metadata,
    sa.Column("project", sa.Text, primary_key=True),
    sa.Column("endpoint", sa.Text, primary_key=True),
    sa.Column("body", sa.LargeBinary, nullable=False),
)
