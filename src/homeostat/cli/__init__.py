"""The command line: it translates what a person types into calls of the HTTP API, and decides nothing.

`root` holds the lazy group that knows every command by name and one line of help, and imports a command's file only
when it is asked for. Each other file is one group of commands; `output` is how they all speak: data on stdout, talk on
stderr, an error as `error:` and `hint:`, and the exit codes of the catalogue.
"""

from __future__ import annotations


def main() -> None:
    """The `homeostat` program."""
    from homeostat.cli.root import run

    run()
