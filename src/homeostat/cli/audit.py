"""`homeostat audit`: prove that the record was not changed after it was written."""

from __future__ import annotations

import sys
from typing import Any

import click

from homeostat.cli import output
from homeostat.cli.options import connect, reads


@click.group()
def audit() -> None:
    """Prove that the record was not changed."""


@audit.command()
@reads
def verify(flags: dict[str, Any], as_json: bool) -> None:
    """Recompute the seal of every event, first to last. Exits 1 and names the row when one was tampered with."""
    answer = connect(flags).post("/audit/verify")
    if as_json:
        output.data(answer)
    if not answer.get("intact", answer.get("ok", False)):
        where = answer.get("broken_at", answer.get("seq"))
        why = answer.get("why") or answer.get("reason") or "its seal does not fit its content"
        output.error(f"the record is broken at event {where}: {why}", "restore the home from a backup made before that")
        sys.exit(1)
    if not as_json:
        print(f"intact: {answer.get('events', answer.get('checked'))} events, head {output.short(answer.get('head'))}")
