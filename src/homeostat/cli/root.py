"""The root of the command line: every command with its line of help, each loaded when it is asked for.

Errors are translated here, once: a `HomeostatError` becomes `error:` and `hint:` on stderr and the exit code of its
kind; anything else is a fault of ours and says so, with the traceback under `--debug`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click

from homeostat.foundation.errors import HomeostatError

INTERRUPTED = 130


class LazyGroup(click.Group):
    """A group that knows its commands by name, place and line of help, and imports one only to run it."""

    def __init__(self, *args: Any, lazy: Mapping[str, tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lazy = lazy  # name -> ("module:attribute", line of help)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every command, in the order of the lifecycle."""
        return list(self.lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command."""
        if cmd_name not in self.lazy:
            return None
        module, _, attribute = self.lazy[cmd_name][0].partition(":")
        found = getattr(import_module(f"homeostat.cli.{module}"), attribute)
        assert isinstance(found, click.Command)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with the nearest names when there is no such command."""
        if args and args[0] not in self.lazy and not args[0].startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(args[0], self.lazy, n=2) or ["--help"]
            raise click.UsageError(f"there is no command {args[0]!r}; did you mean: homeostat {' or '.join(near)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The listing of `--help`, without importing any of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in self.lazy.items()])


COMMANDS: dict[str, tuple[str, str]] = {
    "init": ("begin:init", "Write a small project that runs as it is."),
    "demo": ("begin:demo", "Show the whole loop in about a minute."),
    "up": ("up:up", "Start the control and inference planes."),
    "run": ("run:run", "Run a pipeline of this project."),
    "pipelines": ("pipelines:pipelines", "List, show and resume pipelines."),
    "runs": ("runs:runs", "List and show tracked runs."),
    "data": ("data:data", "Take in, check and look at datasets."),
    "models": ("models:models", "List, show and register models."),
    "deploy": ("deliver:deploy", "Hold a version against its gate and roll it out."),
    "rollback": ("deliver:rollback", "Put the previous version back."),
    "pause": ("deliver:pause", "Stop all automatic action for an endpoint."),
    "resume": ("deliver:resume", "Let the loop act for an endpoint again."),
    "endpoints": ("endpoints:endpoints", "List and show endpoints."),
    "predict": ("endpoints:predict", "Ask an endpoint about the rows of a file."),
    "label": ("data:label", "Tell what turned out to be true."),
    "status": ("loop:status", "What is served, and how it is doing."),
    "incidents": ("loop:incidents", "What is not as it should be."),
    "decisions": ("decisions:decisions", "List, explain, approve and reject decisions."),
    "audit": ("audit:audit", "Prove that the record was not changed."),
    "export": ("keep:export", "Write everything out as plain files."),
    "backup": ("keep:backup", "Copy the home while it runs."),
    "restore": ("keep:restore", "Make a home from a backup."),
    "migrate": ("keep:migrate", "Bring the database of a home up to this version."),
    "tokens": ("tokens:tokens", "Issue, list and revoke API tokens."),
    "sign-in": ("tokens:sign_in", "Print a one-time link for the browser."),
    "doctor": ("doctor:doctor", "Look for what is wrong on this machine."),
    "config": ("config:config", "Show every setting and where it came from."),
}


@click.group(cls=LazyGroup, lazy=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show the whole traceback of a failure.")
@click.version_option(package_name="homeostat", message="%(version)s")
def root(debug: bool) -> None:
    """Homeostat keeps machine-learning models healthy in production."""


def run(args: list[str] | None = None) -> None:
    """Run the program and exit with the code of its outcome."""
    given = sys.argv[1:] if args is None else args
    debug = "--debug" in given or bool(os.environ.get("HOMEOSTAT_DEBUG"))
    # --debug is understood wherever it stands, since it is added to a command line that just failed.
    given = [a for a in given if a != "--debug"]
    sys.exit(_guarded(given, debug))


def _guarded(args: list[str], debug: bool) -> int:
    from homeostat.cli import output

    try:
        code = root.main(args, prog_name="homeostat", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except HomeostatError as error:
        if debug:
            raise
        output.error(str(error), error.hint)
        return error.kind.exit_code
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "homeostat"
        output.error(error.format_message(), f"{command} --help")
        return 2
    except click.ClickException as error:
        output.error(error.format_message(), "homeostat --help")
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        output.talk("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115  (whoever read us is gone, as with `| head`)
        return 0
    except Exception as error:  # the last border: a fault of ours is one line too, and says how to see the rest
        if debug:
            raise
        output.error(f"something failed inside Homeostat: {type(error).__name__}: {error}", "run it again with --debug")
        return 1
