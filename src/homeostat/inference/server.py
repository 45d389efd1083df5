"""One worker of the inference plane: its socket, its lock, its prediction log, its signals, its end.

SIGTERM and SIGINT drain: no new connections, open requests are answered, shadows finished, the segment sealed. SIGUSR1
looks at the plan at once. Nothing here needs control to be alive.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import resource
import signal
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path

import uvloop
from msgspec import Struct

from homeostat.foundation.clock import SystemClock
from homeostat.foundation.errors import Kind, entry
from homeostat.foundation.ids import check_name
from homeostat.inference.access import Hosts
from homeostat.inference.following import Follower
from homeostat.inference.handler import Handler
from homeostat.inference.http import Connection, Limits, Turn
from homeostat.inference.runtimes import Load, load_package
from homeostat.inference.segments import SIZE, SegmentWriter, seal_leftovers

PORT_TAKEN = entry(
    "inference.port_taken",
    Kind.CONFLICT,
    "cannot listen on {host}:{port}: {why}",
    "stop what listens there, or choose another port",
)
WORKER_RUNS = entry(
    "inference.worker_runs",
    Kind.CONFLICT,
    "worker {worker!r} of {directory} already runs",
    "use it, stop it first, or choose another worker name",
)


class Options(Struct, frozen=True, kw_only=True):
    """How to run one worker."""

    directory: Path
    host: str = "127.0.0.1"
    port: int = 8701
    worker: str = "0"
    objects: str | None = None  # root of the object store; None: the one the plan names
    allow_hosts: tuple[str, ...] = ()
    share_port: bool = False  # several workers on one port
    segment_size: int = SIZE
    limits: Limits = Limits()
    idle_drain_seconds: float = 0.5
    drain_seconds: float = 10.0


def warn(message: str) -> None:
    """One problem on standard error; whoever listened there may be gone."""
    with suppress(OSError, ValueError):
        sys.stderr.write(f"homeostat.inference: {message}\n")
        sys.stderr.flush()


def run(options: Options, load: Load = load_package) -> None:
    """Serve until told to stop. Raises `inference.port_taken` or `inference.worker_runs` before anything is changed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 65_536)), hard))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(options, load))


async def serve(options: Options, load: Load = load_package) -> None:
    """As `run`, inside a running loop."""
    check_name("worker", options.worker, field="worker")
    for name in ("acks", "segments"):
        (options.directory / name).mkdir(parents=True, exist_ok=True)
    lock = _hold(options)
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    clock = SystemClock()
    writer = SegmentWriter(options.directory / "segments", options.worker, options.segment_size)
    handler = Handler(writer, Hosts(options.host, options.allow_hosts), clock)
    turn = Turn(handler, options.limits, warn)
    listener = _listen(options)
    server = await loop.create_server(lambda: Connection(turn), sock=listener, backlog=1024)
    host, port = listener.getsockname()[:2]
    loopback = host.startswith("127.") or host == "::1"
    follower = Follower(
        handler, options.directory, worker=options.worker, port=port, loopback=loopback, objects=options.objects,
        load=load, clock=clock, warn=warn,
    )  # fmt: skip
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGUSR1, follower.nudge)
    seal_leftovers(writer.directory, options.worker)
    follower.acknowledge(0, {})
    following = asyncio.create_task(follower.run())
    warn(f"worker {options.worker} ready on http://{host}:{port} pid {os.getpid()}")
    try:
        await asyncio.wait({asyncio.ensure_future(stop.wait()), following}, return_when=asyncio.FIRST_COMPLETED)
        if following.done():
            following.result()
    finally:
        following.cancel()
        follower.close()
        server.close()
        await turn.drain(options.idle_drain_seconds, options.drain_seconds)
        writer.seal()
        os.close(lock)


def _hold(options: Options) -> int:
    """Take the worker's lock for the life of this process."""
    path = options.directory / "acks" / f"{options.worker}.lock"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    for _ in range(50):  # who only asks whether a worker lives holds the lock for an instant
        with suppress(BlockingIOError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return fd
        time.sleep(0.01)
    os.close(fd)
    raise WORKER_RUNS(field="worker", worker=options.worker, directory=str(options.directory))


def _listen(options: Options) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if options.share_port:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.setblocking(False)
        address = "127.0.0.1" if options.host == "localhost" else options.host
        listener.bind((address, options.port))
    except OSError as error:
        raise PORT_TAKEN(field="port", host=options.host, port=options.port, why=error.strerror or error) from None
    return listener
