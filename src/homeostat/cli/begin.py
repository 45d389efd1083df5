"""`homeostat init` and `homeostat demo`: what a newcomer types first."""

from __future__ import annotations

import sys
from pathlib import Path

import click


@click.command()
@click.argument("directory", default=".", metavar="[DIR]", type=click.Path(path_type=Path, file_okay=False))
def init(directory: Path) -> None:
    """Write a small project that runs as it is: five files at most, none of them overwritten."""
    from homeostat.cli import output
    from homeostat.project.template import write

    for path in write(directory):
        output.talk(f"wrote {path}")
    where = "" if directory == Path() else f"cd {directory} && "
    output.talk("")
    output.talk("Next:")
    output.talk(f"  {where}homeostat up        # in another terminal: the control and inference planes")
    output.talk(f"  {where}homeostat run       # take the data in, train, hold it against its gate, serve it")


@click.command()
@click.option("--keep", is_flag=True, help="Leave the screens up afterwards.")
@click.option("--seed", default=7, show_default=True, help="Seed of the world it runs on.")
@click.option("--home", metavar="DIR", help="Where to keep its state; a temporary directory by default.")
def demo(keep: bool, seed: int, home: str | None) -> None:
    """Show the whole loop in about a minute, against the real processes."""
    from importlib import import_module

    # By name: the demo brings polars and numpy, which no other command of this file needs.
    story = import_module("homeostat.project.demo.story")
    sys.exit(story.main(keep=keep, seed=seed, home=None if home is None else Path(home)))
