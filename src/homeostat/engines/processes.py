"""The engine of `homeostat up`: each call in a process forked from a preloaded server of our own.

One thread of this engine owns the server: it starts it when a call comes, hands it at most `workers` calls at a time
while the others queue here, completes their futures, and lets it go after `idle_seconds` without calls. A worker that
dies gives its call the outcome "lost"; a server that dies loses the calls it was running, and the next one starts a
new server. This module is light: control imports it, and no heavy library with it.
"""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from concurrent.futures import Future
from pathlib import Path

import msgspec

from homeostat.engines.forkserver import PRELOADED, Options
from homeostat.engines.frames import Answer, Frames, Ready, Request, pack
from homeostat.pipelines.engine import CLOSED
from homeostat.pipelines.records import Call, Outcome

LOST = Outcome(state="lost")


class Processes:
    """Implements `pipelines.engine.Engine` with forked worker processes over the stores of `home`."""

    def __init__(
        self,
        home: Path,
        objects_url: str | None = None,
        workers: int = 2,
        idle_seconds: float = 30.0,
        preload: tuple[str, ...] = PRELOADED,
    ) -> None:
        self._home = home
        self._objects_url = objects_url or str(home / "objects")
        self._workers = max(1, workers)
        self._idle_seconds = idle_seconds
        self._preload = preload
        self._lock = threading.Lock()
        self._queue: deque[tuple[Call, Future[Outcome]]] = deque()
        self._running: dict[int, Future[Outcome]] = {}
        self._next_id = 0
        self._wanted = False  # a server was asked for before there is a call
        self._closed = False
        self._wake_in, self._wake_out = os.pipe()
        os.set_blocking(self._wake_out, False)
        self._thread: threading.Thread | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self.started_in = 0.0  # seconds the last server took to import everything

    @property
    def server_pid(self) -> int | None:
        """The fork server's process id while one runs."""
        server = self._server
        return None if server is None else server.pid

    def submit(self, call: Call) -> Future[Outcome]:
        """Start a call; see the contract in `pipelines.engine`."""
        future: Future[Outcome] = Future()
        with self._lock:
            if self._closed:
                raise CLOSED()
            self._queue.append((call, future))
            self._own()
        self._wake()
        return future

    def warm(self) -> None:
        """Start the server now, since calls are on their way; it goes again after its idle time if none come."""
        with self._lock:
            if self._closed or self._server is not None:
                return
            self._wanted = True
            self._own()
        self._wake()

    def close(self) -> None:
        """Kill the server and its workers; every call that has not ended completes as lost."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._wake()
        if self._thread is not None:
            self._thread.join()
        os.close(self._wake_in)
        os.close(self._wake_out)

    def _own(self) -> None:
        """See to the thread that starts servers and speaks with them; call it under the lock."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._own_servers, name="homeostat-engine", daemon=True)
            self._thread.start()

    def _wake(self) -> None:
        try:
            os.write(self._wake_out, b"!")
        except (BlockingIOError, OSError):
            pass  # already woken, or closed by now

    def _own_servers(self) -> None:
        while not self._closed:
            if self._queue or self._wanted:
                self._wanted = False
                self._with_server()
            else:
                select.select([self._wake_in], [], [])
                os.read(self._wake_in, 4096)
        self._lose([future for _, future in self._queue])

    def _with_server(self) -> None:
        """The life of one server, from its start to its end."""
        channel, theirs = socket.socketpair()
        with channel:
            try:
                with theirs:
                    self._server = self._start(theirs.fileno())
                self._converse(channel)
            except OSError as failure:  # no process to be had, no memory: the calls are lost, the engine is not
                print(f"homeostat: the worker server failed: {failure}", file=sys.stderr)
                self._give_up_one()
            finally:
                channel.close()  # its end tells an idle server to go
                self._end_server()
                with self._lock:
                    lost, self._running = list(self._running.values()), {}
                self._lose(lost)

    def _end_server(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            if self._closed or self._running:
                server.kill()
            server.wait()

    def _converse(self, channel: socket.socket) -> None:
        frames = Frames()
        ready = False
        idle_since = time.monotonic()
        while not self._closed:
            if ready:
                self._hand_over(channel)
            busy = bool(self._running) or not ready
            patience = None if busy else max(0.0, idle_since + self._idle_seconds - time.monotonic())
            readable, _, _ = select.select([channel.fileno(), self._wake_in], [], [], patience)
            if not readable and not self._queue:
                return
            if self._wake_in in readable:
                os.read(self._wake_in, 4096)
            if channel.fileno() in readable:
                try:
                    data = channel.recv(1 << 18)
                except ConnectionResetError:
                    data = b""
                if not data:
                    if not ready:
                        self._give_up_one()
                    return
                for body in frames.feed(data):
                    ready = self._on_answer(msgspec.msgpack.decode(body, type=Answer)) or ready
                idle_since = time.monotonic()

    def _give_up_one(self) -> None:
        """A server that dies while it starts costs a call each time, so that a broken installation shows itself."""
        with self._lock:
            if self._queue:
                self._running[-1] = self._queue.popleft()[1]

    def _hand_over(self, channel: socket.socket) -> None:
        while True:
            with self._lock:
                if not self._queue or len(self._running) >= self._workers:
                    return
                call, future = self._queue.popleft()
                self._next_id += 1
                self._running[self._next_id] = future
                request = Request(id=self._next_id, call=call)
            try:
                channel.sendall(pack(request))
            except (BrokenPipeError, ConnectionResetError):
                return  # the next read finds the end of the socket

    def _on_answer(self, answer: Answer) -> bool:
        if isinstance(answer, Ready):
            self.started_in = answer.seconds
            return True
        with self._lock:
            future = self._running.pop(answer.id)
        if answer.outcome:
            outcome = msgspec.msgpack.decode(answer.outcome, type=Outcome)
        else:
            outcome = LOST
        future.set_result(msgspec.structs.replace(outcome, log=answer.log))
        return False

    def _lose(self, futures: list[Future[Outcome]]) -> None:
        for future in futures:
            future.set_result(LOST)

    def _start(self, fd: int) -> subprocess.Popen[bytes]:
        options = Options(
            home=str(self._home), objects_url=self._objects_url, path=list(sys.path), preload=list(self._preload)
        )
        command = [sys.executable, "-P", "-m", "homeostat.engines.forkserver", str(fd)]
        command.append(msgspec.json.encode(options).decode())
        # A session of its own: a Ctrl-C in the terminal reaches control, which then decides about its workers.
        return subprocess.Popen(
            command,
            pass_fds=[fd],
            # A step that logs speaks to the control plane of this home, whatever folder it was started in.
            env={**worker_environment(self._workers), "HOMEOSTAT_HOME": str(self._home.resolve())},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )


def worker_environment(workers: int) -> dict[str, str]:
    """The variables a fork server is started with; what the user has set stays as it is.

    OpenMP gets the cores divided by the workers: with two threads on two busy cores, waiting by spinning made a
    histogram gradient boosting 40 times slower than with one. OpenBLAS starts its threads at import, which a server
    that forks must not have; ONNX Runtime sends telemetry unless told not to before it is imported.
    """
    share = max(1, len(os.sched_getaffinity(0)) // workers)
    wanted = {
        "OMP_NUM_THREADS": str(share),
        "OMP_WAIT_POLICY": "PASSIVE",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": str(share),
        "ORT_DISABLE_TELEMETRY": "1",
    }
    return {**wanted, **os.environ}
