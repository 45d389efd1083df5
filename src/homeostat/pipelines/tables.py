"""The tables of pipelines; private to this folder. `definition` is the pipeline as JSON; each run keeps its own."""

from __future__ import annotations

import sqlalchemy as sa

from homeostat.foundation.database import metadata

pipelines = sa.Table(
    "pipelines",
    metadata,
    sa.Column("project", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("definition", sa.LargeBinary, nullable=False),
    sa.Column("defined_at", sa.BigInteger, nullable=False),
)
pipeline_runs = sa.Table(
    "pipeline_runs",
    metadata,
    sa.Column("project", sa.Text, primary_key=True),
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("pipeline", sa.Text, nullable=False),
    sa.Column("definition", sa.LargeBinary, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("params", sa.JSON, nullable=False),
    sa.Column("trigger", sa.Text, nullable=False),
    sa.Column("started_at", sa.BigInteger, nullable=False),
    sa.Column("started_by", sa.Text, nullable=False),
    sa.Column("finished_at", sa.BigInteger),
    sa.Column("decision_id", sa.Text),
    sa.Column("context", sa.JSON, nullable=False),
    sa.Column("error", sa.Text),
    sa.Column("result", sa.JSON, nullable=False),
    sa.Index("pipeline_runs_by_state", "project", "state"),
    sa.Index("pipeline_runs_by_pipeline", "project", "pipeline", "started_at"),
    sa.Index("pipeline_runs_by_decision", "project", "decision_id"),
)
step_runs = sa.Table(
    "step_runs",
    metadata,
    sa.Column("project", sa.Text, primary_key=True),
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("pipeline_run_id", sa.Text, nullable=False),
    sa.Column("step", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("lost", sa.Integer, nullable=False),
    sa.Column("cache_key", sa.Text),
    sa.Column("inputs", sa.JSON, nullable=False),
    sa.Column("output", sa.Text),
    sa.Column("output_kind", sa.Text),
    sa.Column("started_at", sa.BigInteger),
    sa.Column("finished_at", sa.BigInteger),
    sa.Column("error", sa.Text),
    sa.Column("log", sa.Text),
    sa.UniqueConstraint("project", "pipeline_run_id", "step"),
    sa.Index("step_runs_by_cache_key", "project", "cache_key", "state"),
)
