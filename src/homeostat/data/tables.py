"""The rows of the data domain; nobody else reads them."""

from __future__ import annotations

import sqlalchemy as sa

from homeostat.foundation.database import metadata

datasets = sa.Table(
    "datasets",
    metadata,
    sa.Column("project", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("record", sa.LargeBinary, nullable=False),
    sa.Column("defined_at", sa.BigInteger, nullable=False),
)
dataset_versions = sa.Table(
    "dataset_versions",
    metadata,
    sa.Column("project", sa.Text, primary_key=True),
    sa.Column("dataset", sa.Text, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("published", sa.Boolean, nullable=False),
    sa.Column("attempt", sa.Text),
    sa.Column("record", sa.LargeBinary, nullable=False),
)
# Files taken in, by path. `version` is null where every row of the file went to quarantine.
dataset_files = sa.Table(
    "dataset_files",
    metadata,
    sa.Column("project", sa.Text, primary_key=True),
    sa.Column("dataset", sa.Text, primary_key=True),
    sa.Column("path", sa.Text, primary_key=True),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("version", sa.Integer),
    sa.Column("record", sa.LargeBinary, nullable=False),
)
dataset_findings = sa.Table(
    "dataset_findings",
    metadata,
    sa.Column("project", sa.Text, primary_key=True),
    sa.Column("dataset", sa.Text, primary_key=True),
    sa.Column("path", sa.Text, primary_key=True),
    sa.Column("digest", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("record", sa.LargeBinary, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
)
quarantine_reasons = sa.Table(
    "quarantine_reasons",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("project", sa.Text, nullable=False),
    sa.Column("dataset", sa.Text, nullable=False),
    sa.Column("version", sa.Integer),
    sa.Column("record", sa.LargeBinary, nullable=False),
    sa.Index("quarantine_reasons_of", "project", "dataset"),
)
label_batches = sa.Table(
    "label_batches",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("project", sa.Text, nullable=False),
    sa.Column("dataset", sa.Text, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("labels", sa.Integer, nullable=False),
    sa.Column("recorded_at", sa.BigInteger, nullable=False),
    sa.Column("folded", sa.Boolean, nullable=False, default=False),
    sa.Index("label_batches_waiting", "project", "folded", "dataset"),
    sqlite_autoincrement=True,  # an id is never given twice: the label table counts on it after a crash
)
