"""Named places where a test kills a process with SIGKILL: `passing("gate.saved")` between two durable steps.

"Acknowledged means durable: kill -9 at any state change loses nothing acknowledged and repeats nothing done" is a
promise about exact moments, between a worker's append and control's commit, between rows and the plan that follows
them. tests/loop kills there. It starts a server with `HOMEOSTAT_TEST_KILL_DIR` in its environment and arms a point by a
file of its name in that directory; the process that takes the file away (so only one ever does) dies at once. A file
that holds a process id has that process killed instead.

Not a setting: without the variable a call returns after one comparison, and no flag, file or request can set it.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

_FOLDER = os.environ.get("HOMEOSTAT_TEST_KILL_DIR")


def passing(point: str) -> None:
    """Die here if a test has armed `point`."""
    if _FOLDER is not None:
        _die_if_armed(Path(_FOLDER) / point)


def _die_if_armed(armed: Path) -> None:
    try:
        whom = armed.read_text()
        armed.unlink()
    except FileNotFoundError:
        return  # not armed, or another process was here first
    with suppress(ProcessLookupError):
        os.kill(int(whom) if whom else os.getpid(), signal.SIGKILL)
