"""`homeostat models`: what is registered, and registering a model that exists already."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from homeostat.cli import output
from homeostat.cli.options import connect, reads


@click.group()
def models() -> None:
    """List, show and register models."""


@models.command("list")
@reads
def list_(flags: dict[str, Any], as_json: bool) -> None:
    """Every model."""
    output.listing(
        connect(flags).get("/models"),
        [
            ("model", lambda m: m["name"]),
            ("newest", lambda m: m["newest"] or None),
            ("made", lambda m: output.when(m["created_at"])),
            ("description", lambda m: m["description"]),
        ],
        as_json=as_json,
        empty="no models yet: homeostat run, or homeostat models register",
    )


@models.command()
@click.argument("model", metavar="MODEL[@VERSION]")
@reads
def show(model: str, flags: dict[str, Any], as_json: bool) -> None:
    """A model and its versions; with @VERSION, what that version is made of."""
    connection = connect(flags)
    name, at, number = model.partition("@")
    if at:
        version = connection.get(f"/models/{name}/versions/{number}")
        manifest = connection.get(f"/packages/{version['package']}")
        if as_json:
            output.data({"version": version, "package": manifest})
        else:
            _version(version, manifest)
        return
    answer = connection.get(f"/models/{name}")
    versions = connection.get(f"/models/{name}/versions")
    output.listing(
        versions,
        [
            ("version", lambda v: v["number"]),
            ("state", lambda v: v["state"]),
            ("format", lambda v: v["format"]),
            ("made", lambda v: output.when(v["created_at"])),
            ("aliases", lambda v: v["aliases"]),
            ("missing", lambda v: v["missing"]),
            ("package", lambda v: output.short(v["package"])),
        ],
        as_json=as_json,
        empty="no versions yet",
        answer={"model": answer, "versions": versions},
    )


@models.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--sample", required=True, type=click.Path(path_type=Path), help="Rows it was trained on, with the label."
)
@click.option("--name", metavar="NAME", help="Name of the model; that of the file otherwise.")
@click.option("--label", metavar="COLUMN", help="The label's column in the sample; it is no input.")
@click.option("--threshold", type=float, default=0.5, show_default=True, help="Score that makes the answer positive.")
@click.option("--classes", metavar="A,B", help="Classes of an ONNX classifier, in the order of its scores.")
@click.option(
    "--trust", multiple=True, metavar="TYPE", help="A type beyond scikit-learn's own that a skops file may hold."
)
@reads
def register(
    file: Path,
    sample: Path,
    name: str | None,
    label: str | None,
    threshold: float,
    classes: str | None,
    trust: tuple[str, ...],
    flags: dict[str, Any],
    as_json: bool,
) -> None:
    """Register a skops or ONNX file as the next version of a model. A pickle is refused."""
    from homeostat.project.model_files import package_file

    made = package_file(
        file,
        sample,
        label=label,
        threshold=threshold,
        classes=None if classes is None else classes.split(","),
        trusted=frozenset(trust),
    )
    connection = connect(flags)
    from homeostat.project.uploads import upload

    version = upload(connection, made, name or file.stem)
    if as_json:
        output.data(version)
        return
    print(f"{version['model']}@{version['number']}")
    for lack in version["missing"]:
        output.talk(f"missing: {lack}")
    output.talk(f"next: homeostat deploy {version['model']}@{version['number']}")


def _version(version: dict[str, Any], manifest: dict[str, Any]) -> None:
    parity, cost, profile = manifest.get("parity"), manifest.get("cost"), manifest.get("profile")
    signature = manifest["signature"]
    output.facts(
        [
            ("version", f"{version['model']}@{version['number']}"),
            ("state", version["state"]),
            ("missing", version["missing"] or None),
            ("made", output.when(version["created_at"])),
            ("by", version["created_by"]),
            ("run", version.get("run_id")),
            ("dataset", version.get("dataset")),
            ("dataset version", output.short(version.get("dataset_version"))),
            ("package", version["package"]),
            ("estimator", manifest.get("estimator")),
            ("format", manifest["format"]),
            ("task", signature["task"]),
            ("classes", [str(c) for c in signature["classes"]] or None),
            ("threshold", signature.get("threshold")),
            ("inputs", [f"{c['name']} ({c['kind']})" for c in signature["inputs"]]),
            ("parity", parity and _parity(parity)),
            ("cost of one row", cost and f"{cost['rows_1']:.0f} us"),
        ]
    )
    if profile and profile.get("held_out_rows"):
        print("\nheld-out rows")
        output.facts(
            [
                ("  rows", profile["held_out_rows"]),
                ("  positives", profile["held_out_positives"] or None),
                (f"  {profile.get('metric')}", profile.get("metric_value")),
                ("  misses", profile.get("misses")),
                ("  false alarms", profile.get("false_alarms")),
                ("  loss", profile.get("loss")),
            ]
        )


def _parity(parity: dict[str, Any]) -> str:
    if parity["agrees"]:
        return f"agrees on {parity['rows']} rows (largest difference {parity['largest_difference']:.2g})"
    return f"not served as ONNX: {parity.get('cause')}; to fix it: {parity.get('fix')}"
