"""`homeostat pipelines`: what can run, what ran, and going on with what stopped."""

from __future__ import annotations

import sys
from typing import Any

import click

from homeostat.cli import output
from homeostat.cli.options import connect, reads


@click.group()
def pipelines() -> None:
    """List, show and resume pipelines."""


@pipelines.command("list")
@reads
def list_(flags: dict[str, Any], as_json: bool) -> None:
    """Every pipeline of the project."""
    rows = connect(flags).get("/pipelines")
    output.listing(
        rows,
        [
            ("pipeline", lambda r: r["name"]),
            ("steps", lambda r: " > ".join(s["name"] for s in r["steps"])),
            ("model", lambda r: r.get("model")),
        ],
        as_json=as_json,
        empty="no pipelines yet: homeostat run, in a folder with a project, brings them",
    )


@pipelines.command()
@click.argument("name")
@reads
def show(name: str, flags: dict[str, Any], as_json: bool) -> None:
    """One pipeline and its newest runs; or one run (by its id) and its steps."""
    connection = connect(flags)
    if len(name) == 32 and all(c in "0123456789abcdef" for c in name):
        answer = connection.get(f"/pipeline-runs/{name}")
        if as_json:
            output.data(answer)
        else:
            _run(answer)
        return
    pipeline = connection.get(f"/pipelines/{name}")
    runs = connection.get("/pipeline-runs", pipeline=name)
    if as_json:
        output.data({"pipeline": pipeline, "runs": runs})
        return
    output.facts(
        [("pipeline", pipeline["name"]), ("model", pipeline.get("model")), ("file", pipeline.get("code_path"))]
    )
    print()
    output.listing(
        pipeline["steps"],
        [
            ("step", lambda s: s["name"]),
            ("takes", lambda s: list(s["inputs"].values())),
            ("params", lambda s: [f"{k}={v}" for k, v in s["params"].items()]),
        ],
        as_json=False,
        empty="",
    )
    print()
    output.listing(
        runs,
        [
            ("run", lambda r: r["id"]),
            ("state", lambda r: r["state"]),
            ("started", lambda r: output.when(r["started_at"])),
            ("trigger", lambda r: r["trigger"]),
        ],
        as_json=False,
        empty="it has not run yet",
    )


@pipelines.command()
@click.argument("run_id")
@reads
def resume(run_id: str, flags: dict[str, Any], as_json: bool) -> None:
    """Go on with a pipeline run at the step where it stopped."""
    from homeostat.cli.run import conclude, follow

    connection = connect(flags)
    run = connection.post(f"/pipeline-runs/{run_id}/resume")
    deploys = bool(run["context"].get("deploy", True)) and run.get("decision_id") is None
    sys.exit(conclude(connection, follow(connection, run_id), as_json, deploys=deploys))


def _run(answer: dict[str, Any]) -> None:
    from homeostat.cli.run import run_of

    run = run_of(answer)
    output.facts(
        [
            ("run", run["id"]),
            ("pipeline", run["pipeline"]),
            ("state", run["state"]),
            ("started", output.when(run["started_at"])),
            ("by", run["started_by"]),
            ("trigger", run["trigger"]),
            ("error", run.get("error")),
        ]
    )
    print()
    output.listing(
        answer["steps"],
        [
            ("step", lambda s: s["step"]),
            ("state", lambda s: s["state"]),
            ("attempt", lambda s: s["attempt"]),
            ("output", lambda s: output.short(s.get("output"))),
            ("error", lambda s: s.get("error")),
        ],
        as_json=False,
        empty="no steps",
    )
