"""`homeostat runs`: the tracked runs."""

from __future__ import annotations

from typing import Any

import click

from homeostat.cli import output
from homeostat.cli.options import connect, reads


@click.group()
def runs() -> None:
    """List and show tracked runs."""


@runs.command("list")
@click.option("--experiment", metavar="NAME", help="Only the runs of this experiment.")
@reads
def list_(experiment: str | None, flags: dict[str, Any], as_json: bool) -> None:
    """The newest runs, with their metrics."""
    output.listing(
        connect(flags).get("/runs", experiment=experiment),
        [
            ("run", lambda r: r["id"]),
            ("name", lambda r: r["name"]),
            ("state", lambda r: r["state"].lower()),
            ("started", lambda r: output.when(r["started_at"])),
            ("metrics", lambda r: [f"{k} {output.number(v)}" for k, v in sorted(r["metrics"].items())][:4]),
        ],
        as_json=as_json,
        empty="no runs yet: every training step opens one",
    )


@runs.command()
@click.argument("run_id")
@reads
def show(run_id: str, flags: dict[str, Any], as_json: bool) -> None:
    """One run: params, metrics, tags."""
    run = connect(flags).get(f"/runs/{run_id}")
    if as_json:
        output.data(run)
        return
    output.facts(
        [
            ("run", run["id"]),
            ("name", run["name"]),
            ("state", run["state"].lower()),
            ("started", output.when(run["started_at"])),
            ("ended", output.when(run.get("ended_at"))),
            ("by", run["started_by"]),
        ]
    )
    for what in ("params", "metrics", "tags"):
        if run[what]:
            print(f"\n{what}")
            output.facts((f"  {k}", v) for k, v in sorted(run[what].items()))
