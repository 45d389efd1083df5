"""`python -m homeostat.inference`: one worker as a process of its own.

Prints a line to standard error when it is ready, and then only problems. It outlives whoever started it, so that
serving goes on while control restarts, unless `--parent-death` is given.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import sys
from pathlib import Path

# Control may nudge a worker that is still starting; it looks at the plan then anyway.
signal.signal(signal.SIGUSR1, signal.SIG_IGN)

from homeostat.foundation.errors import HomeostatError  # noqa: E402
from homeostat.inference.http import Limits  # noqa: E402
from homeostat.inference.segments import SIZE  # noqa: E402
from homeostat.inference.server import Options, run  # noqa: E402

_PR_SET_PDEATHSIG = 1


def main(arguments: list[str] | None = None) -> int:
    """Run a worker from command-line arguments; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m homeostat.inference", description="One inference worker.")
    parser.add_argument("--directory", type=Path, required=True, help="<home>/inference: plan.json, acks, segments")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8701, help="port to listen on; 0 takes a free one")
    parser.add_argument("--worker", default="0", help="name of this worker, unique in the directory")
    parser.add_argument("--objects", help="root of the object store, in place of the one the plan names")
    parser.add_argument("--allow-host", action="append", default=[], help="a further Host name to answer to")
    parser.add_argument("--share-port", action="store_true", help="let several workers listen on one port")
    parser.add_argument("--segment-size", type=int, default=SIZE, help="bytes of one prediction log segment")
    parser.add_argument("--body-limit", type=int, default=Limits().body, help="largest request body in bytes")
    parser.add_argument("--parent-death", action="store_true", help="end when the process that started this one ends")
    given = parser.parse_args(arguments)
    if given.parent_death:
        _die_with_parent()
    options = Options(
        directory=given.directory,
        host=given.host,
        port=given.port,
        worker=given.worker,
        objects=given.objects,
        allow_hosts=tuple(given.allow_host),
        share_port=given.share_port,
        segment_size=given.segment_size,
        limits=Limits(body=given.body_limit),
    )
    try:
        run(options)
    except HomeostatError as error:
        sys.stderr.write(f"error: {error}\nhint: {error.hint}\n")
        return error.kind.exit_code
    return 0


def _die_with_parent() -> None:
    """Ask the kernel for a SIGTERM when the parent dies; end at once if it already has."""
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        raise SystemExit(1)


if __name__ == "__main__":
    raise SystemExit(main())
