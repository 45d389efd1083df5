"""The tables of tracking; private to this folder.

Metric points lie in the order they are read (run, key, step, time), and a point logged twice is one row: a client may
repeat a request it had no answer to. A NaN is kept as `is_nan`, since SQLite stores NaN as NULL.
"""

from __future__ import annotations

import sqlalchemy as sa

from homeostat.foundation.database import metadata

experiments = sa.Table(
    "experiments",
    metadata,
    sa.Column("project", sa.Text, primary_key=True),
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("lifecycle", sa.Text, nullable=False),
    sa.Column("tags", sa.JSON, nullable=False),
    sa.UniqueConstraint("project", "name"),
)
runs = sa.Table(
    "runs",
    metadata,
    sa.Column("project", sa.Text, primary_key=True),
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("experiment_id", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("started_at", sa.BigInteger, nullable=False),
    sa.Column("ended_at", sa.BigInteger),
    sa.Column("started_by", sa.Text, nullable=False),
    sa.Column("step_run_id", sa.Text),
    sa.Column("lifecycle", sa.Text, nullable=False),
    sa.Index("runs_by_experiment", "project", "experiment_id", "started_at"),
    sa.Index("runs_by_time", "project", "started_at"),
)


def _of_run(name: str, *columns: sa.Column[object]) -> sa.Table:
    owner = (
        sa.Column("project", sa.Text, primary_key=True),
        sa.Column("run_id", sa.Text, primary_key=True),
    )
    return sa.Table(name, metadata, *owner, *columns, sqlite_with_rowid=False)


metric_points = _of_run(
    "metric_points",
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("step", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("at", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("value", sa.Double, primary_key=True),
    sa.Column("is_nan", sa.Boolean, primary_key=True),
)
latest_metrics = _of_run(
    "latest_metrics",
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("step", sa.BigInteger, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("value", sa.Double, nullable=False),
    sa.Column("is_nan", sa.Boolean, nullable=False),
)
run_params = _of_run(
    "run_params", sa.Column("key", sa.Text, primary_key=True), sa.Column("value", sa.Text, nullable=False)
)
run_tags = _of_run("run_tags", sa.Column("key", sa.Text, primary_key=True), sa.Column("value", sa.Text, nullable=False))
run_artifacts = _of_run(
    "run_artifacts",
    sa.Column("path", sa.Text, primary_key=True),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
)
