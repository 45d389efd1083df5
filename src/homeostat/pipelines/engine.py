"""The plug point "engine": where calls run.

Contract. `submit` may be called from any thread and returns at once; the future completes on a thread of the engine.
A call runs in a process of its own kind, never in the caller's interpreter state. Calls are at-least-once: an engine
never repeats one by itself, but after `lost` the caller may, so functions are idempotent. `close` ends running calls;
their futures complete as `lost`. Errors of the function arrive in the outcome; `submit` raises only when closed.
"""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any, Protocol, TypeVar

import msgspec
from msgspec import Struct

from homeostat.foundation.errors import Kind, entry, from_dict
from homeostat.pipelines.records import Call, Outcome

LOST = entry(
    "engine.worker_lost",
    Kind.UNAVAILABLE,
    "the worker running {label!r} died without a word",
    "it is tried again by itself; look at the machine's memory if this repeats",
)
CLOSED = entry("engine.closed", Kind.UNAVAILABLE, "the engine is closed and takes no calls", "start Homeostat again")

TRIES = 3  # workers that may die under one call

T = TypeVar("T", bound=Struct)


class Engine(Protocol):
    """Runs calls in workers."""

    def submit(self, call: Call) -> Future[Outcome]:
        """Start a call; see the module's contract."""
        ...

    def close(self) -> None:
        """Stop every worker."""
        ...


def call(engine: Engine, function: str, job: Any, answer: type[T], *, label: str = "") -> T:
    """Run `function(job, stores)` in a worker, wait, and decode its answer; its error is raised here as there.

    A worker that dies is followed by another, `TRIES` in all, since every function is idempotent; then
    `engine.worker_lost` is raised.
    """
    made = Call(function=function, payload=msgspec.msgpack.encode(job), label=label or function)
    for _ in range(TRIES):
        outcome = engine.submit(made).result()
        if outcome.state == "succeeded":
            return msgspec.msgpack.decode(outcome.result, type=answer)
        if outcome.state == "failed":
            raise from_dict(outcome.error or {})
    raise LOST(label=made.label)
