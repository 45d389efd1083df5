"""The options that commands share: where the server is, which project, and whether to answer in JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from homeostat.foundation.settings import Settings
    from homeostat.project.connection import Connection

C = TypeVar("C", bound=Callable[..., Any])

_HOME = click.option("--home", metavar="DIR", help="Directory that holds all state.  [HOMEOSTAT_HOME]")
_SERVER = click.option("--server", metavar="URL", help="Address of a running control plane.  [HOMEOSTAT_SERVER]")
_PROJECT = click.option("--project", metavar="NAME", help="The project names belong to.  [HOMEOSTAT_PROJECT]")
_JSON = click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")


def served(command: C) -> C:
    """Options of a command that speaks to the server: its function takes `flags`, for `connect`."""

    def made(*args: Any, home: str | None, server: str | None, project: str | None, **kwargs: Any) -> Any:
        return command(*args, flags={"home": home, "server": server, "project": project}, **kwargs)

    made.__name__ = command.__name__
    made.__doc__ = command.__doc__
    made.__click_params__ = getattr(command, "__click_params__", [])  # type: ignore[attr-defined]
    return _HOME(_SERVER(_PROJECT(made)))  # type: ignore[return-value]


def reads(command: C) -> C:
    """As `served`, for a command that reads: it takes `as_json` too."""
    return _JSON(served(command))


def settings(flags: dict[str, Any]) -> Settings:
    """The settings, with these flags on top."""
    from homeostat.foundation.settings import load

    return load(flags)


def connect(flags: dict[str, Any]) -> Connection:
    """The server that the flags and settings name; an embedded one is started if none runs."""
    from homeostat.project.locate import open_connection

    return open_connection(settings(flags))
