"""`homeostat status` and `homeostat incidents`: how it is doing, and what is not as it should be."""

from __future__ import annotations

from typing import Any

import click

from homeostat.cli import output
from homeostat.cli.options import connect, reads


@click.command()
@reads
def status(flags: dict[str, Any], as_json: bool) -> None:
    """What is served, how it is doing, and what waits for a person."""
    connection = connect(flags)
    answer = connection.get("/status")
    endpoints = connection.get("/endpoints")
    incidents = [i for i in connection.get("/incidents") if i["state"] in ("open", "acting")]
    approvals = connection.get("/approvals", state="waiting")
    if as_json:
        output.data({**answer, "endpoints": endpoints, "incidents": incidents, "approvals": approvals})
        return
    from homeostat.cli.endpoints import describe
    from homeostat.project.locate import ends_with_us

    output.facts(
        [("control", connection.address), ("inference", answer.get("inference")), ("home", answer.get("home"))]
    )
    if ends_with_us(connection):
        output.talk("no server was running: this one ends with this command; to keep one: homeostat up")
    print()
    for endpoint in endpoints:
        open_ones = [i for i in incidents if i["endpoint"] == endpoint["name"]]
        health = "; ".join(i["summary"] for i in open_ones) or "no open incident"
        print(f"{describe(endpoint)}; {health}")
    if not endpoints:
        output.talk("no endpoints yet: homeostat deploy MODEL makes one")
    for approval in approvals:
        print(f"waits for you: {approval['question']} (homeostat decisions approve {approval['decision_id']})")


@click.command()
@click.option("--endpoint", metavar="NAME", help="Only the incidents of this endpoint.")
@click.option(
    "--state", type=click.Choice(["open", "acting", "resolved", "dismissed"]), help="Only those in this state."
)
@reads
def incidents(endpoint: str | None, state: str | None, flags: dict[str, Any], as_json: bool) -> None:
    """What was found wrong, the newest first."""
    rows = connect(flags).get("/incidents", endpoint=endpoint, state=state)
    output.listing(
        rows,
        [
            ("incident", lambda i: i["id"]),
            ("endpoint", lambda i: f"{i['endpoint']}@{i['version']}"),
            ("cause", lambda i: i["cause"]),
            ("state", lambda i: i["state"]),
            ("noticed (event time)", lambda i: output.when(i["event_at"])),
            ("began (event time)", lambda i: output.when(i.get("change_at"))),
            ("what", lambda i: i["summary"]),
        ],
        as_json=as_json,
        empty="no incidents",
    )
