"""`homeostat config`: every setting, its value and where that came from."""

from __future__ import annotations

from typing import Any

import click

from homeostat.cli import output
from homeostat.cli.options import settings


@click.group()
def config() -> None:
    """Show every setting and where it came from."""


@config.command()
@click.option("--origin", is_flag=True, help="Also where each value came from.")
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
def show(origin: bool, as_json: bool) -> None:
    """Every setting as it is resolved here. A token is never shown."""
    from homeostat.foundation.settings import SETTINGS

    resolved = settings({})
    rows: list[dict[str, Any]] = []
    for setting in SETTINGS:
        value = getattr(resolved, setting.name)
        if setting.name == "token":
            value = "(set)" if value else ""
        shown = value if isinstance(value, bool | int | str) else str(value)
        rows.append(
            {"name": setting.name, "value": shown, "origin": resolved.origin[setting.name], "about": setting.about}
        )
    columns: list[tuple[str, Any]] = [("setting", lambda r: r["name"]), ("value", lambda r: r["value"])]
    columns.append(("from", lambda r: r["origin"]) if origin else ("what it is", lambda r: r["about"]))
    output.listing(rows, columns, as_json=as_json, empty="")
