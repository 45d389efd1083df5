"""`homeostat run`: apply the project of this folder and run one of its pipelines to the end."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from homeostat.cli import output
from homeostat.cli.options import connect, reads, settings
from homeostat.foundation.errors import Kind, entry

if TYPE_CHECKING:
    from homeostat.project.connection import Connection
    from homeostat.project.definitions import Definitions

WHICH_PIPELINE = entry(
    "cli.which_pipeline", Kind.USAGE, "this project has {count} pipelines: {names}", "name one: homeostat run {first}"
)
NO_PIPELINE = entry(
    "cli.no_pipeline",
    Kind.NOT_FOUND,
    "this project has no pipeline {name!r}",
    "use one of: {names}",
)
BAD_PARAM = entry("cli.bad_param", Kind.USAGE, "{given!r} is not key=value", "write it as: -p trees=200")
UNKNOWN_PARAM = entry(
    "cli.unknown_param", Kind.USAGE, "pipeline {pipeline!r} has no param {name!r}", "use one of: {known}"
)

POLL_SECONDS = 0.2
MARKS = {"succeeded": "done", "cached": "cached", "failed": "failed", "skipped": "skipped", "running": "running"}


@click.command()
@click.argument("pipeline", required=False)
@click.option("-p", "--param", "given", multiple=True, metavar="KEY=VALUE", help="A param of the pipeline's functions.")
@click.option("--file", type=click.Path(path_type=Path), help="The project file; found by itself otherwise.")
@click.option("--apply-only", is_flag=True, help="Tell the server what the project declares, and run nothing.")
@click.option("--no-deploy", is_flag=True, help="Register what it makes, and ask for no deployment.")
@reads
def run(
    pipeline: str | None,
    given: tuple[str, ...],
    file: Path | None,
    apply_only: bool,
    no_deploy: bool,
    flags: dict[str, Any],
    as_json: bool,
) -> None:
    """Run a pipeline of this project: take in new data, train, register, and hold the version against its gate.

    Exits 1 when a step fails, 4 when the gate refuses the version, 5 when the gate has to wait for evidence.
    """
    params = params_of(given)
    from homeostat.project.load import find, load

    path = find(file or project_file(flags))
    definitions = load(path)
    chosen = None if apply_only and pipeline is None else choose(definitions, pipeline)
    if chosen is not None:
        check_params(definitions, chosen, params)
    connection = connect(flags)
    connection.put_object(path.read_bytes())
    connection.post("/definitions", definitions)
    if chosen is None or apply_only:
        output.talk(f"applied {path.name}: {describe(definitions)}")
        return
    context = {"deploy": False} if no_deploy else {}
    started = connection.post(f"/pipelines/{chosen}/runs", {"params": params, "context": context})
    sys.exit(conclude(connection, follow(connection, str(started["id"])), as_json, deploys=not no_deploy))


def conclude(connection: Connection, answer: dict[str, Any], as_json: bool, *, deploys: bool = True) -> int:
    """Tell what came of a pipeline run and of the deployment that follows it; gives the exit code."""
    result = run_of(answer).get("result") or {}
    deployment = evaluation = None
    if not as_json:
        report(answer, deploys=deploys)
    if deploys and run_of(answer)["state"] == "succeeded" and result.get("version") is not None:
        from homeostat.cli.deliver import code_of, follow_version, tell

        deployment, evaluation = follow_version(connection, str(result["model"]), int(result["version"]))
        if deployment is not None and not as_json:
            tell(deployment, evaluation)
    if as_json:
        output.data({**answer, "deployment": deployment, "evaluation": evaluation})
    if run_of(answer)["state"] != "succeeded":
        return 1
    return 0 if deployment is None else code_of(deployment)


def project_file(flags: dict[str, Any]) -> Path:
    """The setting `file`, relative to where it was set, else the folder this runs in."""
    resolved = settings(flags)
    origin = Path(resolved.origin["file"])
    base = origin.parent if origin.is_file() else Path.cwd()
    return base / resolved.file if resolved.file else Path.cwd()


def params_of(given: tuple[str, ...]) -> dict[str, Any]:
    """The params of `-p key=value`: a value that is JSON is taken as that, anything else as text."""
    params: dict[str, Any] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise BAD_PARAM(field="-p", given=text)
        try:
            params[key] = json.loads(value)
        except ValueError:
            params[key] = value
    return params


def choose(definitions: Definitions, pipeline: str | None) -> str:
    """The pipeline to run: the one that is named, else the only one."""
    names = [p.name for p in definitions.pipelines]
    if pipeline is not None:
        if pipeline not in names:
            raise NO_PIPELINE(field="pipeline", name=pipeline, names=", ".join(names) or "(it declares no model)")
        return pipeline
    if not names:
        raise NO_PIPELINE(field="pipeline", name="(any)", names="(it declares no model)")
    if len(names) > 1:
        raise WHICH_PIPELINE(field="pipeline", count=len(names), names=", ".join(names), first=names[0])
    return names[0]


def check_params(definitions: Definitions, pipeline: str, params: dict[str, Any]) -> None:
    """Refuse a param that no step of the pipeline has, before anything is started."""
    steps = next(p.steps for p in definitions.pipelines if p.name == pipeline)
    known = {name for step in steps for name in step.params}
    for name in params:
        if name not in known:
            listed = ", ".join(sorted(known)) or "(its functions take none)"
            raise UNKNOWN_PARAM(field="-p", pipeline=pipeline, name=name, known=listed)


def describe(definitions: Definitions) -> str:
    """What a project declares, in words."""
    datasets = ", ".join(d.name for d in definitions.datasets) or "none"
    models = ", ".join(p.name for p in definitions.pipelines) or "none"
    return f"datasets {datasets}; models {models}"


def follow(connection: Connection, run_id: str) -> dict[str, Any]:
    """Wait for a pipeline run to end, telling each step as it moves; gives the run with its steps."""
    import time

    told: dict[str, str] = {}
    while True:
        seen = connection.get(f"/pipeline-runs/{run_id}")
        for step in seen["steps"]:
            said = f"{step['state']}/{step['attempt']}"
            if told.get(step["step"]) != said and step["state"] in MARKS:
                told[step["step"]] = said
                again = f" (attempt {step['attempt']})" if step["attempt"] > 1 else ""
                took = f" in {_seconds(step)}" if step["state"] == "succeeded" else ""
                output.talk(f"  {MARKS[step['state']]:8} {step['step']}{again}{took}")
        if run_of(seen)["state"] != "running":
            return dict(seen)
        time.sleep(POLL_SECONDS)


def run_of(answer: dict[str, Any]) -> dict[str, Any]:
    """The run inside an answer that also holds its steps."""
    return dict(answer.get("run", answer))


def report(answer: dict[str, Any], *, deploys: bool) -> None:
    """What came of a pipeline run: on stdout what it made, on stderr what to do next."""
    finished = run_of(answer)
    if finished["state"] != "succeeded":
        failed = next((s for s in answer["steps"] if s["state"] == "failed"), None)
        what = f"step {failed['step']!r}: {failed['error']}" if failed else finished.get("error") or finished["state"]
        output.error(f"pipeline {finished['pipeline']!r} {finished['state']}: {what}",
                     f"homeostat pipelines resume {finished['id']}")  # fmt: skip
        return
    result = finished.get("result") or {}
    if result.get("version") is None:
        return
    model, version, metrics = result["model"], result["version"], result.get("metrics") or {}
    print(f"{model}@{version}", flush=True)
    shown = dict.fromkeys((result.get("metric"), "misses", "false_alarms", "threshold"))
    measured = ", ".join(f"{str(k).replace('_', ' ')} {output.number(metrics[k], 3)}" for k in shown if k in metrics)
    output.talk(f"on rows it has not seen: {measured}")
    for remark in result.get("remarks") or ():
        output.talk(f"note: {remark}")
    if not deploys:
        output.talk(f"next: homeostat deploy {model}@{version}")


def _seconds(step: dict[str, Any]) -> str:
    if step.get("finished_at") is None or step.get("started_at") is None:
        return "?"
    return f"{(step['finished_at'] - step['started_at']) / 1e6:.1f} s"
