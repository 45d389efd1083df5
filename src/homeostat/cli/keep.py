"""`homeostat export`, `backup`, `restore` and `migrate`: keeping what there is, and a way out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from homeostat.cli import output
from homeostat.cli.options import connect, reads, settings
from homeostat.foundation.errors import Kind, entry

NOT_EMPTY = entry(
    "cli.not_empty",
    Kind.CONFLICT,
    "{path} is there already and is not empty",
    "name a new place, or move that one away",
)


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
@reads
def export(directory: Path, flags: dict[str, Any], as_json: bool) -> None:
    """Write packages, runs, decisions and events as plain files into DIRECTORY."""
    import tarfile
    import tempfile

    if directory.exists() and any(directory.iterdir()):
        raise NOT_EMPTY(field="directory", path=directory)
    connection = connect(flags)
    with tempfile.TemporaryFile() as archive:
        for chunk in connection.stream("/export"):
            archive.write(chunk)
        archive.seek(0)
        directory.mkdir(parents=True, exist_ok=True)
        with tarfile.open(fileobj=archive) as tar:
            tar.extractall(directory, filter="data")
    files = sum(1 for p in directory.rglob("*") if p.is_file())
    if as_json:
        output.data({"directory": str(directory), "files": files})
    else:
        print(f"{files} files in {directory}")


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@reads
def backup(path: Path, flags: dict[str, Any], as_json: bool) -> None:
    """Copy the home to PATH while it runs."""
    answer = connect(flags).post("/backup", {"path": str(path.resolve())})
    if as_json:
        output.data(answer)
    else:
        print(f"backed up to {path}")


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--home", metavar="DIR", help="The home to make; it must not be there yet.")
def restore(path: Path, home: str | None) -> None:
    """Make a home from the backup at PATH. No server may run on it."""
    from homeostat.app import restore as restore_home

    resolved = settings({"home": home})
    if resolved.home.exists() and any(resolved.home.iterdir()):
        raise NOT_EMPTY(field="--home", path=resolved.home)
    restore_home(path.resolve(), resolved)
    print(f"restored to {resolved.home}")


@click.command()
@click.option("--home", metavar="DIR", help="Directory that holds all state.  [HOMEOSTAT_HOME]")
def migrate(home: str | None) -> None:
    """Bring the database of a home up to this version, after a backup of it. No server may run on it."""
    from homeostat.app import migrate as migrate_home

    resolved = settings({"home": home})
    output.talk(f"migrating {resolved.home}")
    print(migrate_home(resolved))
