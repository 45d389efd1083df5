"""`homeostat deploy`, `rollback`, `pause` and `resume`: what may reach an endpoint, and who acts on it."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import click

from homeostat.cli import output
from homeostat.cli.options import connect, reads
from homeostat.foundation.errors import HomeostatError, Kind

if TYPE_CHECKING:
    from homeostat.project.connection import Connection

REFUSED, WAITING = 4, 5
POLL_SECONDS = 0.2
MOVING = ("gating", "rolling_out")


@click.command()
@click.argument("model", metavar="MODEL[@VERSION]")
@click.option("--endpoint", metavar="NAME", help="The endpoint; it has the model's name otherwise.")
@click.option("--reason", default="", help="Why; it is kept with the decision.")
@click.option("--whole", is_flag=True, help="Wait for the rollout too, not for the gate alone. It needs traffic.")
@reads
def deploy(model: str, endpoint: str | None, reason: str, whole: bool, flags: dict[str, Any], as_json: bool) -> None:
    """Hold a version against its gate and roll it out. Exits 4 when the gate refuses it, 5 when it has to wait."""
    connection = connect(flags)
    name, _, number = model.partition("@")
    version = int(number) if number.isdigit() else _resolve(connection, name, number)
    target = endpoint or name
    body: dict[str, Any] = {"version": version, "reason": reason or None}
    if target != name:
        body["model"] = name
    asked = connection.post(f"/endpoints/{target}/deployments", body)
    settled = follow(connection, str(asked["id"]), whole=whole)
    evaluation = evaluation_of(connection, settled)
    if as_json:
        output.data({"deployment": settled, "evaluation": evaluation})
    else:
        tell(settled, evaluation)
    sys.exit(code_of(settled))


def follow(connection: Connection, deployment_id: str, *, whole: bool = False) -> dict[str, Any]:
    """Wait until the gate has spoken (with `whole`: until the rollout has ended) and give the deployment."""
    told = ""
    while True:
        seen = connection.get(f"/deployments/{deployment_id}")
        said = f"{seen['state'].replace('_', ' ')}{': ' + seen['stage'] if seen.get('stage') else ''}"
        if said != told:
            told = said
            output.talk(f"  {said}")
        if seen["state"] not in (MOVING if whole else MOVING[:1]):
            return dict(seen)
        time.sleep(POLL_SECONDS)


def follow_version(
    connection: Connection, endpoint: str, version: int, *, within: float = 20.0
) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """The deployment that the loop asks for when a run made `version`, once the gate has spoken; and its evaluation."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        try:
            listed = connection.get(f"/endpoints/{endpoint}/deployments")
        except HomeostatError as error:
            if error.kind is not Kind.NOT_FOUND:
                raise
            listed = []  # the endpoint is made with its first deployment
        found = next((d for d in listed if d["version"] == version), None)
        if found is not None:
            settled = follow(connection, str(found["id"]))
            return settled, evaluation_of(connection, settled)
        time.sleep(POLL_SECONDS)
    output.talk(f"no deployment was asked for yet; see: homeostat endpoints show {endpoint}")
    return None, None


def evaluation_of(connection: Connection, deployment: dict[str, Any]) -> dict[str, Any] | None:
    """What the gate said, where it has."""
    if not deployment.get("evaluation_id"):
        return None
    return dict(connection.get(f"/evaluations/{deployment['evaluation_id']}"))


def code_of(deployment: dict[str, Any]) -> int:
    """The exit code of a deployment's state."""
    state = deployment["state"]
    if state in ("refused", "rolled_back"):
        return REFUSED
    return WAITING if state == "waiting" else int(state == "failed")


def tell(deployment: dict[str, Any], evaluation: dict[str, Any] | None) -> None:
    """The verdict and the evidence for it."""
    what = f"{deployment['model']}@{deployment['version']} on endpoint {deployment['endpoint']}"
    if evaluation is not None:
        output.table(
            ["check", "verdict", "evidence"],
            [[c["check"], c["verdict"].replace("_", " "), c["summary"]] for c in evaluation["checks"]],
        )
    state = deployment["state"]
    summary = deployment.get("summary") or state.replace("_", " ")
    if code_of(deployment) == 0:
        output.talk(f"{what}: {summary}")
    elif state == "waiting":
        output.error(f"{what} waits: {summary}", "it goes on by itself when there is enough; see: homeostat status")
    else:
        output.error(f"{what}: {summary}", f"homeostat decisions list --subject endpoint/{deployment['endpoint']}")


@click.command()
@click.argument("endpoint")
@click.option("--reason", default="", help="Why; it is kept with the decision.")
@reads
def rollback(endpoint: str, reason: str, flags: dict[str, Any], as_json: bool) -> None:
    """Put the previous version back at once."""
    _act(endpoint, "rollback", reason, flags, as_json)


@click.command()
@click.argument("endpoint")
@click.option("--reason", default="", help="Why; it is kept with the event.")
@reads
def pause(endpoint: str, reason: str, flags: dict[str, Any], as_json: bool) -> None:
    """Stop all automatic action for an endpoint. It goes on answering."""
    _act(endpoint, "pause", reason, flags, as_json)


@click.command()
@click.argument("endpoint")
@click.option("--reason", default="", help="Why; it is kept with the event.")
@reads
def resume(endpoint: str, reason: str, flags: dict[str, Any], as_json: bool) -> None:
    """Let the loop act for an endpoint again."""
    _act(endpoint, "resume", reason, flags, as_json)


def _act(endpoint: str, act: str, reason: str, flags: dict[str, Any], as_json: bool) -> None:
    from homeostat.cli.endpoints import describe

    connection = connect(flags)
    answer = connection.post(f"/endpoints/{endpoint}/{act}", {"reason": reason or None})
    if as_json:
        output.data(answer)
        return
    print(describe(connection.get(f"/endpoints/{endpoint}")))


def _resolve(connection: Connection, model: str, given: str) -> int:
    """The number of `model@alias`, or the newest version where nothing is said."""
    versions = connection.get(f"/models/{model}/versions")
    if not given:
        return int(connection.get(f"/models/{model}")["newest"])
    found = next((v for v in versions if given in v["aliases"]), None)
    if found is None:
        known = ", ".join(str(v["number"]) for v in versions)
        raise click.UsageError(f"model {model!r} has no version or alias {given!r}; it has: {known}")
    return int(found["number"])
