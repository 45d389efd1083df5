"""`homeostat doctor`: look for what is wrong on this machine, without changing anything."""

from __future__ import annotations

import os
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Literal

import click

from homeostat.cli import output
from homeostat.cli.options import settings

if TYPE_CHECKING:
    from homeostat.foundation.settings import Settings

Finding = tuple[Literal["ok", "note", "wrong"], str, str]  # how it is, what was found, what to do

_LEAST_FREE = 1 << 30


@click.command()
@click.option("--home", metavar="DIR", help="Directory that holds all state.  [HOMEOSTAT_HOME]")
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
def doctor(home: str | None, as_json: bool) -> None:
    """Look for what is wrong on this machine. Exits 1 when something is."""
    resolved = settings({"home": home})
    found = [*_libraries(), *_home(resolved), *_server(resolved)]
    if as_json:
        output.data([{"state": state, "found": what, "fix": fix} for state, what, fix in found])
    else:
        for state, what, fix in found:
            print(f"{state:5}  {what}{f'  ->  {fix}' if fix else ''}")
    if any(state == "wrong" for state, _, _ in found):
        sys.exit(1)


def _libraries() -> list[Finding]:
    found: list[Finding] = [("ok", f"Python {sys.version.split()[0]}", "")]
    for name in ("polars", "deltalake", "onnxruntime"):
        try:
            found.append(("ok", f"{name} {version(name)}", ""))
        except PackageNotFoundError:
            found.append(("wrong", f"{name} is not installed", "install homeostat again"))
    try:
        found.append(("ok", f"scikit-learn {version('scikit-learn')}", ""))
    except PackageNotFoundError:
        found.append(
            ("note", "scikit-learn is not installed, so none can be trained here", "install homeostat[sklearn]")
        )
    return found


def _home(resolved: Settings) -> list[Finding]:
    home = resolved.home
    if not home.exists():
        return [("note", f"no home at {home} yet", "it is made by the first command that needs it")]
    if not os.access(home, os.W_OK):
        return [("wrong", f"the home {home} cannot be written to", "run as its owner, or set HOMEOSTAT_HOME")]
    found: list[Finding] = [("ok", f"home {home}", "")]
    free = shutil.disk_usage(home).free
    if free < _LEAST_FREE:
        found.append(("wrong", f"{free >> 20} MB free beside the home", "make room"))
    token = home / "token"
    if token.exists() and token.stat().st_mode & 0o077:
        found.append(("wrong", "the token in the home can be read by others", f"chmod 600 {token}"))
    return found


def _server(resolved: Settings) -> list[Finding]:
    from homeostat.foundation.errors import HomeostatError
    from homeostat.project.connection import Connection
    from homeostat.project.locate import read_lock, read_token

    held = read_lock(resolved.home)
    address = resolved.server or (str(held["address"]) if held else "")
    if not address:
        return [("note", "no server holds this home", "start one with: homeostat up")]
    try:
        connection = Connection(address, resolved.token or read_token(resolved.home), resolved.project, timeout=5)
        connection.get("/status")
    except HomeostatError as error:
        return [("wrong", str(error), error.hint)]
    return [("ok", f"control plane at {address}", "")]
