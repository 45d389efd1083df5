"""Following the plan: notice a new `plan.json`, make its route table in a thread, swap it in, say so.

The file is looked at every 50 ms (one stat) and at once when `nudge` is called. A plan that cannot be read changes
nothing. What control gets back is `acks/<worker>.json`, written after the swap.
"""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from homeostat.foundation.clock import Clock
from homeostat.inference.handler import Handler
from homeostat.inference.routes import Table, build
from homeostat.inference.runtimes import Load, import_loader
from homeostat.inference.wire import Ack, Plan

INTERVAL = 0.05  # seconds
_YOUNG = 20_000  # a turn of 32 requests holds some 1,500 containers; none of them is garbage yet

_decode_plan = msgspec.json.Decoder(Plan).decode


class Follower:
    """Keeps one handler's table at the newest plan in a directory. `run` is one task of the event loop."""

    def __init__(
        self,
        handler: Handler,
        directory: Path,
        *,
        worker: str,
        port: int,
        loopback: bool,
        objects: str | None,
        load: Load,
        clock: Clock,
        warn: Callable[[str], None],
    ) -> None:
        self._handler = handler
        self._directory = directory
        self._worker, self._port, self._loopback = worker, port, loopback
        self._objects, self._load, self._warn = objects, load, warn
        self._started = clock.now()
        self._seen: tuple[int, int, int] | None = None
        self._nudged = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="loader")

    def nudge(self) -> None:
        """Look now."""
        self._nudged.set()

    async def run(self) -> None:
        """Follow until cancelled."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, _prepare)
        while True:
            self._nudged.clear()
            stamp = self._stamp()
            if stamp is not None and stamp != self._seen:
                self._seen = stamp
                table, failed = await loop.run_in_executor(self._thread, self._read)
                old = self._handler.table.runtimes().keys()
                if table is not None:
                    self._handler.table = table  # the swap: every request from here on sees the new plan
                await loop.run_in_executor(self._thread, self.acknowledge, self._handler.table.epoch, failed)
                if table is not None and not old <= table.runtimes().keys():
                    del table
                    await loop.run_in_executor(self._thread, gc.collect)  # a dropped model may be a cycle, and large
                continue
            try:
                await asyncio.wait_for(self._nudged.wait(), INTERVAL)
            except TimeoutError:
                pass

    def close(self) -> None:
        """Give the thread back; what it is loading is dropped."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _stamp(self) -> tuple[int, int, int] | None:
        """What tells one file from the next; None while there is none."""
        try:
            found = os.stat(self._directory / "plan.json")  # noqa: PTH116 - twenty times a second
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino, found.st_size

    def _read(self) -> tuple[Table | None, dict[str, str]]:
        """The table of the plan that lies there now, and what failed; no table when the plan cannot be read."""
        try:
            plan = _decode_plan((self._directory / "plan.json").read_bytes())
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            self._warn(f"plan.json cannot be read, so the last plan stays: {error}")
            return None, {"plan": str(error)}
        refused: dict[str, str] = {}
        if plan.open_access and not self._loopback:
            refused["plan"] = "open access is taken only on a loopback address; tokens are asked for"
            self._warn(refused["plan"])
            plan = msgspec.structs.replace(plan, open_access=False)
        before: Table = self._handler.table
        table, failed = build(plan, self._objects or plan.objects, before, self._load, self._warn)
        return table, {**failed, **refused}

    def acknowledge(self, epoch: int, failed: dict[str, str]) -> None:
        """Write the ack whole."""
        ack = Ack(
            worker=self._worker, pid=os.getpid(), port=self._port, epoch=epoch, started=self._started, failed=failed
        )
        path = self._directory / "acks" / f"{self._worker}.json"
        fresh = path.with_suffix(".tmp")
        try:
            fresh.write_bytes(msgspec.json.encode(ack))
            fresh.rename(path)
        except OSError as error:
            self._warn(f"the acknowledgement of plan {epoch} cannot be written: {error}")


def _prepare() -> None:
    """Load what loading takes, then leave all of it out of garbage collection: it stays as long as the process."""
    import_loader()
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, 10, 10)
