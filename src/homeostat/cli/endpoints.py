"""`homeostat endpoints` and `homeostat predict`: what answers, and asking it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from homeostat.cli import output
from homeostat.cli.options import connect, reads


@click.group()
def endpoints() -> None:
    """List and show endpoints."""


@endpoints.command("list")
@reads
def list_(flags: dict[str, Any], as_json: bool) -> None:
    """Every endpoint and what serves it."""
    output.listing(
        connect(flags).get("/endpoints"),
        [
            ("endpoint", lambda e: e["name"]),
            ("model", lambda e: e["model"]),
            ("serves", _arms),
            ("event time", lambda e: output.when(e.get("watermark"))),
            ("paused", lambda e: e["paused"]),
        ],
        as_json=as_json,
        empty="no endpoints yet: homeostat deploy MODEL makes one",
    )


@endpoints.command()
@click.argument("endpoint")
@reads
def show(endpoint: str, flags: dict[str, Any], as_json: bool) -> None:
    """One endpoint: its arms, its newest windows, its monitors and its deployments."""
    connection = connect(flags)
    found = connection.get(f"/endpoints/{endpoint}")
    windows = connection.get(f"/endpoints/{endpoint}/windows")
    monitors = connection.get(f"/endpoints/{endpoint}/monitors")
    deployments = connection.get(f"/endpoints/{endpoint}/deployments")
    if as_json:
        output.data({"endpoint": found, "windows": windows, "monitors": monitors, "deployments": deployments})
        return
    output.facts(
        [
            ("endpoint", found["name"]),
            ("model", found["model"]),
            ("serves", _arms(found)),
            ("event time", output.when(found.get("watermark"))),
            ("paused", found["paused"]),
        ]
    )
    for heading, rows, columns in (
        ("windows", sorted(windows, key=lambda w: -w["start"])[:8], _WINDOW),
        ("monitors", monitors, _MONITOR),
        ("deployments", deployments[:8], _DEPLOYMENT),
    ):
        if rows:
            print(f"\n{heading}")
            output.listing(rows, columns, as_json=False, empty="")


@click.command()
@click.argument("endpoint")
@click.option("--data", "file", required=True, type=click.Path(path_type=Path), help="CSV, JSON or Parquet file.")
@click.option("--key", metavar="COLUMN", help="The column that holds the rows' keys, so that labels can find them.")
@reads
def predict(endpoint: str, file: Path, key: str | None, flags: dict[str, Any], as_json: bool) -> None:
    """Ask an endpoint about the rows of a file. Prints CSV: the prediction's id and every output."""
    import csv

    from homeostat.project.predictions import ask, inference_of, read_columns

    columns = read_columns(file)
    if key is not None and key not in columns:
        raise click.UsageError(f"{file} has no column {key!r}; it has: {', '.join(columns)}")
    answer = ask(inference_of(connect(flags)), endpoint, columns, keys=columns[key] if key else None)
    if as_json:
        output.data(answer)
        return
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["prediction_id", *answer["outputs"]])
    writer.writerows(zip(answer["prediction_ids"], *answer["outputs"].values(), strict=True))
    output.talk(f"answered by version {answer['version']}")


def describe(endpoint: dict[str, Any]) -> str:
    """An endpoint in one line."""
    paused = "; paused" if endpoint["paused"] else ""
    return f"{endpoint['name']}: {_arms(endpoint)}{paused}"


def _arms(endpoint: dict[str, Any]) -> str:
    arms = [f"{a['name']} @{a['version']} {a['share']:.0%}" for a in endpoint["arms"]]
    return ", ".join(arms) or "nothing yet"


def _metric(window: dict[str, Any]) -> str:
    metric = window.get("metric")
    if not metric or metric["value"] is None:
        return "-"
    band = ""
    if metric.get("low") is not None or metric.get("high") is not None:
        band = f" ({output.number(metric.get('low'), 3)} to {output.number(metric.get('high'), 3)})"
    return f"{metric['name']} {output.number(metric['value'], 3)}{band}"


_WINDOW: output.Columns = [
    ("from", lambda w: output.when(w["start"])),
    ("version", lambda w: w["version"]),
    ("rows", lambda w: w["rows"]),
    ("errors", lambda w: w["errors"]),
    ("labelled", lambda w: w["labelled"]),
    ("quality (healthy band)", _metric),
    ("p99", lambda w: "-" if w.get("p99") is None else f"{w['p99'] / 1000:.2f} ms"),
]
_MONITOR: output.Columns = [
    ("monitor", lambda m: m["monitor"]),
    ("version", lambda m: m["version"]),
    ("evidence", lambda m: f"{m['evidence']:.2f} of {m['threshold']:.2f}"),
    ("observed", lambda m: m["observed"]),
]
_DEPLOYMENT: output.Columns = [
    ("deployment", lambda d: output.short(d["id"])),
    ("version", lambda d: d["version"]),
    ("state", lambda d: d["state"].replace("_", " ")),
    ("by", lambda d: d["requested_by"]),
    ("asked", lambda d: output.when(d["requested_at"])),
    ("summary", lambda d: d["summary"]),
]
