"""`homeostat decisions`: what was decided, why, and answering what waits for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from homeostat.cli import output
from homeostat.cli.options import connect, reads
from homeostat.foundation.errors import Kind, entry

if TYPE_CHECKING:
    from homeostat.project.connection import Connection

NOTHING_WAITS = entry(
    "cli.nothing_waits", Kind.NOT_FOUND, "nothing waits for an answer under {id!r}", "see: homeostat decisions list"
)


@click.group()
def decisions() -> None:
    """List, explain, approve and reject decisions."""


@decisions.command("list")
@click.option("--subject", metavar="endpoint/NAME", help="Only decisions about this.")
@click.option("--state", metavar="STATE", help="Only decisions in this state, such as waiting.")
@reads
def list_(subject: str | None, state: str | None, flags: dict[str, Any], as_json: bool) -> None:
    """The ledger, the newest first."""
    output.listing(
        connect(flags).get("/decisions", subject=subject, state=state),
        [
            ("decision", lambda d: d["id"]),
            ("at (event time)", lambda d: output.when(d.get("event_at") or d["at"])),
            ("about", lambda d: d["subject"]),
            ("verdict", lambda d: d["verdict"].replace("_", " ")),
            ("state", lambda d: d["state"]),
            ("why", lambda d: d["summary"]),
        ],
        as_json=as_json,
        empty="nothing was decided yet",
    )


@decisions.command()
@click.argument("decision_id", metavar="ID")
@click.option("--why", is_flag=True, help="The rule, everything it looked at, and how to undo it.")
@reads
def show(decision_id: str, why: bool, flags: dict[str, Any], as_json: bool) -> None:
    """One decision."""
    decision = connect(flags).get(f"/decisions/{decision_id}")
    if as_json:
        output.data(decision)
        return
    print(decision["summary"])
    print()
    output.facts(
        [
            ("decision", decision["id"]),
            ("about", decision["subject"]),
            ("verdict", decision["verdict"].replace("_", " ")),
            ("state", decision["state"]),
            ("by", decision["decider"]),
            ("recorded", output.when(decision["at"])),
            ("event time", output.when(decision.get("event_at"))),
            ("outcome", decision.get("outcome")),
        ]
    )
    if not why:
        output.talk(f"\nthe whole of it: homeostat decisions show {decision_id} --why")
        return
    print()
    output.facts([("rule", decision["rule"]), ("because of", decision.get("trigger")), ("undo", decision.get("undo"))])
    if decision["inputs"]:
        print("\nlooked at")
        output.facts((f"  {name}", _flat(value)) for name, value in sorted(decision["inputs"].items()))


@decisions.command()
@click.argument("decision_id", metavar="ID")
@click.option("--reason", default="", help="Why; it is kept with the decision.")
@reads
def approve(decision_id: str, reason: str, flags: dict[str, Any], as_json: bool) -> None:
    """Let a decision that waits be carried out."""
    _answer(decision_id, True, reason, flags, as_json)


@decisions.command()
@click.argument("decision_id", metavar="ID")
@click.option("--reason", default="", help="Why; it is kept with the decision.")
@reads
def reject(decision_id: str, reason: str, flags: dict[str, Any], as_json: bool) -> None:
    """Turn down a decision that waits."""
    _answer(decision_id, False, reason, flags, as_json)


def _answer(given: str, approved: bool, reason: str, flags: dict[str, Any], as_json: bool) -> None:
    connection = connect(flags)
    approval = _waiting(connection, given)
    body = {"approve": approved, "reason": reason or None}
    answer = connection.post(f"/approvals/{approval['id']}/answer", body)
    if as_json:
        output.data(answer)
    else:
        print(f"{'approved' if approved else 'rejected'}: {approval['question']}")


def _waiting(connection: Connection, given: str) -> dict[str, Any]:
    """The waiting approval of that decision (or that id itself)."""
    for approval in connection.get("/approvals", state="waiting"):
        if given in (approval["id"], approval["decision_id"]):
            return dict(approval)
    raise NOTHING_WAITS(field="ID", id=given)


def _flat(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {_flat(v)}" for k, v in value.items())
    if isinstance(value, float):
        return output.number(value)
    return ", ".join(map(_flat, value)) if isinstance(value, list) else str(value)
