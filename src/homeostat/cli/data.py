"""`homeostat data` and `homeostat label`: datasets, their versions, what was set aside, and what turned out true."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from homeostat.cli import output
from homeostat.cli.options import connect, reads
from homeostat.foundation.errors import Kind, entry

NO_VALUES = entry(
    "cli.no_label_columns",
    Kind.INVALID,
    "{file} has no column {column!r}; it has: {columns}",
    "give a key (or prediction_id) and a value in each row, or name the columns with --key and --value",
)
WHICH_DATASET = entry(
    "cli.which_dataset", Kind.USAGE, "there are {count} datasets with a label: {names}", "name one with --dataset"
)


@click.group()
def data() -> None:
    """Take in, check and look at datasets."""


@data.command()
@click.argument("dataset")
@click.argument("pattern", required=False)
@click.option("--key", metavar="COLUMN", help="The column that tells rows apart.")
@click.option("--time", metavar="COLUMN", help="The event-time column.")
@click.option("--label", metavar="COLUMN", help="The column to learn.")
@click.option("--label-delay", default="0s", metavar="3d", help="How long after its event a label becomes known.")
@reads
def add(
    dataset: str,
    pattern: str | None,
    key: str | None,
    time: str | None,
    label: str | None,
    label_delay: str,
    flags: dict[str, Any],
    as_json: bool,
) -> None:
    """Take in what is new. With PATTERN (a file or glob) the dataset is defined first, without a project file."""
    connection = connect(flags)
    if pattern is not None:
        from homeostat.data.records import Dataset, Source
        from homeostat.foundation.clock import parse_duration

        delay = parse_duration(label_delay, field="--label-delay")
        source = Source(pattern=pattern, base=str(Path.cwd()))
        defined = Dataset(name=dataset, source=source, key=key, time=time, label=label, label_delay=delay)
        connection.post("/datasets", defined)
    answer = connection.post(f"/datasets/{dataset}/ingest") or {}
    if as_json:
        output.data(answer)
    version = answer.get("version")
    for finding in answer.get("findings") or ():
        output.talk(f"{finding['path']}: {finding['words']}")
    for reason in answer.get("reasons") or ():
        output.talk(f"quarantined {_rows(reason['rows'])} of {reason['file']}: {reason['rule']}")
    if answer.get("refused"):
        output.error(
            f"dataset {dataset!r}: the new data was not published: {answer['refused']}",
            f"homeostat data check {dataset}",
        )
        sys.exit(4)
    if as_json:
        return
    if version is None:
        output.talk("nothing new")
        return
    print(f"{dataset} version {version['number']}: {_rows(version['added'])} added, {version['rows']} in all")


@data.command("log")
@click.argument("dataset")
@reads
def log(dataset: str, flags: dict[str, Any], as_json: bool) -> None:
    """The versions of a dataset, newest first."""
    output.listing(
        connect(flags).get(f"/datasets/{dataset}/versions"),
        [
            ("version", lambda v: v["number"]),
            ("rows", lambda v: v["rows"]),
            ("added", lambda v: v["added"]),
            ("quarantined", lambda v: v["quarantined"]),
            ("made", lambda v: output.when(v["created_at"])),
            ("newest event", lambda v: output.when(v.get("last_event_at"))),
            ("published", lambda v: "yes" if v["published"] else f"no: {v.get('refused')}"),
            ("digest", lambda v: output.short(v["digest"])),
        ],
        as_json=as_json,
        empty=f"no versions yet: homeostat data add {dataset}",
    )


@data.command()
@click.argument("dataset", required=False)
@reads
def show(dataset: str | None, flags: dict[str, Any], as_json: bool) -> None:
    """One dataset as it is defined, and its newest version; without a name, every dataset."""
    connection = connect(flags)
    if dataset is None:
        output.listing(
            connection.get("/datasets"),
            [
                ("dataset", lambda d: d["name"]),
                ("files", lambda d: d["source"]["pattern"]),
                ("label", lambda d: d.get("label")),
                ("checks", lambda d: len(d["rules"])),
            ],
            as_json=as_json,
            empty="no datasets yet: homeostat data add NAME 'data/*.csv', or homeostat run in a project",
        )
        return
    defined = connection.get(f"/datasets/{dataset}")
    versions = connection.get(f"/datasets/{dataset}/versions")
    if as_json:
        output.data({"dataset": defined, "versions": versions})
        return
    from homeostat.foundation.clock import format_duration

    newest = max((v for v in versions if v["published"]), key=lambda v: v["number"], default=None)
    output.facts(
        [
            ("dataset", defined["name"]),
            ("files", defined["source"]["pattern"]),
            ("key", defined.get("key")),
            ("time", defined.get("time")),
            ("label", defined.get("label")),
            ("label known after", format_duration(defined["label_delay"])),
            ("version", newest and newest["number"]),
            ("rows", newest and newest["rows"]),
            ("digest", newest and newest["digest"]),
        ]
    )
    if newest:
        print("\ncolumns")
        output.facts((f"  {name}", kind) for name, kind in newest["columns"].items())


@data.command()
@click.argument("dataset")
@reads
def check(dataset: str, flags: dict[str, Any], as_json: bool) -> None:
    """What broke the contract: the rows in quarantine, by reason. Exits 4 when new data is held back."""
    connection = connect(flags)
    reasons = connection.get(f"/datasets/{dataset}/quarantine")
    versions = connection.get(f"/datasets/{dataset}/versions")
    newest = max(versions, key=lambda v: v["number"], default=None)
    output.listing(
        reasons,
        [
            ("rows", lambda r: r["rows"]),
            ("rule", lambda r: r["rule"]),
            ("file", lambda r: r["file"]),
            ("example", lambda r: _example(r)),
        ],
        as_json=as_json,
        empty="no row was set aside",
        answer={"quarantine": reasons, "newest": newest},
    )
    if newest and not newest["published"]:
        output.error(f"the newest data was not published: {newest.get('refused')}", f"homeostat data log {dataset}")
        sys.exit(4)


@click.command()
@click.option("--data", "file", required=True, type=click.Path(path_type=Path), help="CSV, JSON or Parquet file.")
@click.option(
    "--dataset", metavar="NAME", help="The dataset the labels belong to; the only one with a label otherwise."
)
@click.option("--key", metavar="COLUMN", help="The column that holds the dataset's key.")
@click.option("--value", metavar="COLUMN", help="The column that holds the label.")
@reads
def label(
    file: Path, dataset: str | None, key: str | None, value: str | None, flags: dict[str, Any], as_json: bool
) -> None:
    """Tell what turned out to be true: a key (or prediction_id) and a value a row; event_at and known_at if there."""
    from homeostat.project.predictions import read_columns

    columns = read_columns(file)
    connection = connect(flags)
    defined = _labelled(connection.get("/datasets"), dataset)
    rows = labels_of(columns, file, defined, key, value)
    taken = connection.post(f"/datasets/{defined['name']}/labels", {"labels": rows})
    if as_json:
        output.data(taken)
    else:
        print(f"{len(rows)} label{'' if len(rows) == 1 else 's'} recorded for {defined['name']}")


def labels_of(
    columns: dict[str, list[Any]], file: Path, dataset: dict[str, Any], key: str | None, value: str | None
) -> list[dict[str, Any]]:
    """The rows of a label file as the API takes them."""
    from homeostat.foundation.clock import parse_time

    said = next((c for c in (value, "value", dataset.get("label")) if c is not None and c in columns), None)
    by = next((c for c in (key, "key", dataset.get("key")) if c is not None and c in columns), None)
    if said is None or (by is None and "prediction_id" not in columns):
        lacking = value or "value" if said is None else key or "key"
        raise NO_VALUES(field="--data", file=file, column=lacking, columns=", ".join(columns))
    rows: list[dict[str, Any]] = []
    for i in range(len(columns[said])):
        row: dict[str, Any] = {"value": _value(columns[said][i]), "source": file.name}
        if by is not None:
            row["key"] = columns[by][i]
        else:
            row["prediction_id"] = columns["prediction_id"][i]
        for name in ("event_at", "known_at"):
            if columns.get(name) and columns[name][i] is not None:
                given = columns[name][i]
                row[name] = parse_time(int(given) if str(given).isdigit() else given, field=name)
        rows.append(row)
    return rows


def _labelled(datasets: list[dict[str, Any]], name: str | None) -> dict[str, Any]:
    found = [d for d in datasets if (d.get("label") if name is None else d["name"] == name)]
    if len(found) != 1:
        names = ", ".join(d["name"] for d in found or datasets) or "none"
        raise WHICH_DATASET(field="--dataset", count=len(found), names=names)
    return found[0]


def _value(cell: Any) -> Any:
    """A cell as the label it means: text from a CSV file may be a bool or a number."""
    if not isinstance(cell, str):
        return cell
    if cell.lower() in ("true", "false"):
        return cell.lower() == "true"
    try:
        return int(cell)
    except ValueError:
        pass
    try:
        return float(cell)
    except ValueError:
        return cell


def _rows(count: int) -> str:
    return f"{count} row{'' if count == 1 else 's'}"


def _example(reason: dict[str, Any]) -> str:
    examples = reason.get("examples") or []
    if not examples:
        return ""
    column = reason.get("column")
    first = examples[0]
    return f"row {first.get('row')}: {column} = {first.get(column)!r}" if column else f"row {first.get('row')}"
