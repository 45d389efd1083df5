"""`homeostat up`: the control and inference planes, until told to stop."""

from __future__ import annotations

from typing import Any

import click


@click.command()
@click.option("--home", metavar="DIR", help="Directory that holds all state.  [HOMEOSTAT_HOME]")
@click.option("--host", metavar="H", help="Address the control plane listens on.")
@click.option("--port", type=int, metavar="N", help="Port of the control plane; 0 takes a free one.")
@click.option("--inference-port", type=int, metavar="N", help="Port of the inference plane; 0 takes a free one.")
@click.option("--no-auth", is_flag=True, help="Ask nobody for a token; taken only on a loopback address.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON line with the addresses when ready.")
@click.option("--embedded", is_flag=True, hidden=True, help="Serve one client: print JSON, end with --parent-fd.")
@click.option("--parent-fd", type=int, hidden=True, help="A pipe whose end of file means that the parent is gone.")
def up(no_auth: bool, as_json: bool, embedded: bool, parent_fd: int | None, **flags: Any) -> None:
    """Start the control and inference planes. State lives in the home; Ctrl-C stops them."""
    from homeostat.cli.options import settings
    from homeostat.cli.serving import serve

    if no_auth:
        flags["auth"] = False
    serve(settings(flags), parent_fd=parent_fd, as_json=as_json or embedded)
