"""The engine of tests and notebooks: calls run on threads of the caller's own process.

A worker cannot be lost here except by `close`, what a call prints goes where the caller prints (`log` stays empty),
and calls that carry environment variables run one at a time, since a process has only one environment.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from homeostat.engines.calls import perform
from homeostat.foundation.stores import Stores
from homeostat.pipelines.engine import CLOSED
from homeostat.pipelines.records import Call, Outcome

_environment = threading.Lock()


class Local:
    """Implements `pipelines.engine.Engine` with `workers` threads over the stores of `home`."""

    def __init__(self, home: Path, objects_url: str | None = None, workers: int = 1) -> None:
        self.stores = Stores.at(home, objects_url)
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="homeostat-step")
        self._lock = threading.Lock()
        self._open: set[Future[Outcome]] = set()
        self._closed = False

    def submit(self, call: Call) -> Future[Outcome]:
        """Start a call; see the contract in `pipelines.engine`."""
        future: Future[Outcome] = Future()
        with self._lock:
            if self._closed:
                raise CLOSED()
            self._open.add(future)
            self._threads.submit(self._run, call, future)
        return future

    def close(self) -> None:
        """Take no more calls. What has not ended completes as lost; a running thread ends by itself, unheard."""
        with self._lock:
            self._closed = True
            lost, self._open = self._open, set()
        self._threads.shutdown(wait=False, cancel_futures=True)
        for future in lost:
            future.set_result(Outcome(state="lost"))

    def _run(self, call: Call, future: Future[Outcome]) -> None:
        with self._lock:
            if future not in self._open:
                return
        with _variables(call.env):
            outcome = perform(call, self.stores)
        with self._lock:
            heard = future in self._open
            self._open.discard(future)
        if heard:
            future.set_result(outcome)


@contextmanager
def _variables(env: dict[str, str]) -> Iterator[None]:
    if not env:
        yield
        return
    with _environment:
        before = {name: os.environ.get(name) for name in env}
        os.environ.update(env)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
