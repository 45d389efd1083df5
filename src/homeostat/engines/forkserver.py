"""The fork server: a process that has imported everything heavy and forks one worker for each call.

Importing polars, deltalake and scikit-learn costs seconds; forking a process that has them costs milliseconds. That is
safe only while the server has started none of their thread pools (rayon, tokio, OpenMP), so it imports and never calls
them; each worker starts its own pools. The server reads requests from one socket and never blocks on a worker.

Nobody outlives whom they work for: the socket's end tells the server that control is gone, and PR_SET_PDEATHSIG kills
the workers with the server. Run as `python -m homeostat.engines.forkserver FD OPTIONS` by `engines.processes`.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import importlib.util
import io
import os
import selectors
import signal
import socket
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import msgspec
from msgspec import Struct

from homeostat.engines.frames import Ended, Frames, Ready, Request, pack
from homeostat.pipelines.records import Call

# What workers use, in the order of need; what is not installed is left out.
PRELOADED = (
    "numpy",
    "polars",
    "deltalake",
    "obstore",
    "onnxruntime",
    "sklearn.ensemble",
    "sklearn.linear_model",
    "sklearn.pipeline",
    "sklearn.compose",
    "sklearn.preprocessing",
    "skl2onnx",
    "skops.io",
    "homeostat.engines.calls",
    "homeostat.pipelines.steps",
    "homeostat.data.ingest",
    "homeostat.data.label_table",
    "homeostat.data.training",
    "homeostat.serving.intake_table",
    "homeostat.monitoring.observe",
    "homeostat.delivery.evaluate",
    "homeostat.delivery.evidence",
    "homeostat.project.training",
)

_LOG_HEAD = 32 * 1024
_LOG_TAIL = 224 * 1024
_PR_SET_PDEATHSIG = 1


class Options(Struct, frozen=True, kw_only=True):
    """What the server is started with."""

    home: str
    objects_url: str
    path: list[str]  # sys.path of control, so that workers import what it can
    preload: list[str]


class _Log:
    """Console output, bounded: its beginning and its end are kept, what lies between is counted."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._tail = bytearray()
        self._dropped = 0

    def write(self, data: bytes) -> None:
        room = _LOG_HEAD - len(self._head)
        self._head += data[:room] if room > 0 else b""
        self._tail += data[max(room, 0) :]
        if len(self._tail) > 2 * _LOG_TAIL:
            self._trim()

    def text(self) -> str:
        self._trim()
        gap = f"\n... {self._dropped} bytes left out ...\n".encode() if self._dropped else b""
        return bytes(self._head + gap + self._tail).decode("utf-8", "replace")

    def _trim(self) -> None:
        extra = len(self._tail) - _LOG_TAIL
        if extra > 0:
            self._dropped += extra
            del self._tail[:extra]


class _Worker:
    """One forked process and the two pipes it speaks on."""

    def __init__(self, request_id: int, pid: int, result_fd: int, log_fd: int) -> None:
        self.request_id = request_id
        self.pid = pid
        self.pid_fd = os.pidfd_open(pid)
        self.result_fd = result_fd
        self.log_fd = log_fd
        self.result = bytearray()
        self.log = _Log()

    def fds(self) -> tuple[int, int, int]:
        return self.pid_fd, self.result_fd, self.log_fd

    def drain(self, fd: int) -> bool:
        """Read what is there without waiting; False once the pipe is at its end."""
        while True:
            try:
                data = os.read(fd, 1 << 16)
            except BlockingIOError:
                return True
            if not data:
                return False
            if fd == self.result_fd:
                self.result += data
            else:
                self.log.write(data)


class Server:
    """Forks a worker for each request; `perform` turns a call into an encoded Outcome inside the worker."""

    def __init__(self, channel: socket.socket, perform: Callable[[Call], bytes]) -> None:
        self._channel = channel
        self._perform = perform
        self._frames = Frames()
        self._out = bytearray()
        self._selector = selectors.DefaultSelector()
        self._workers: dict[int, _Worker] = {}

    def serve(self, first: bytes) -> None:
        """Work until control closes the socket or dies, then take the workers along."""
        self._channel.setblocking(False)
        self._selector.register(self._channel, selectors.EVENT_READ)
        self._send(first)
        open_ = True
        while open_:
            for key, events in self._selector.select():
                if key.fileobj is self._channel:
                    open_ = self._on_channel(events) and open_
                else:
                    self._on_worker(key.fd, key.data)
        for worker in self._workers.values():
            _kill_group(worker.pid)

    def _on_channel(self, events: int) -> bool:
        try:
            if events & selectors.EVENT_WRITE:
                self._send(b"")
            if events & selectors.EVENT_READ:
                data = self._channel.recv(1 << 18)
                if not data:
                    return False
                for body in self._frames.feed(data):
                    self._fork(msgspec.msgpack.decode(body, type=Request))
        except BlockingIOError:
            return True
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def _on_worker(self, fd: int, worker: _Worker) -> None:
        if worker.pid not in self._workers:
            return  # ended by an earlier event of the same round
        if fd != worker.pid_fd:
            if not worker.drain(fd):
                self._selector.unregister(fd)
            return
        _kill_group(worker.pid)  # whatever it started, while its pid is still its own
        os.waitpid(worker.pid, 0)
        worker.drain(worker.result_fd)
        worker.drain(worker.log_fd)
        del self._workers[worker.pid]
        for owned in worker.fds():
            if owned in self._selector.get_map():
                self._selector.unregister(owned)
            os.close(owned)
        whole = Frames().feed(bytes(worker.result))
        self._send(pack(Ended(id=worker.request_id, outcome=whole[0] if whole else b"", log=worker.log.text())))

    def _send(self, data: bytes) -> None:
        """Never waits: what the socket does not take now goes when it can, so control may send while we do."""
        self._out += data
        try:
            sent = self._channel.send(self._out) if self._out else 0
            del self._out[:sent]
        except BlockingIOError:
            pass
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._out else 0)
        self._selector.modify(self._channel, events)

    def _fork(self, request: Request) -> None:
        result_in, result_out = os.pipe()
        log_in, log_out = os.pipe()
        server = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._become_worker(request.call, server, result_out, log_out)
        os.close(result_out)
        os.close(log_out)
        worker = _Worker(request.id, pid, result_in, log_in)
        self._workers[pid] = worker
        for fd in worker.fds():
            os.set_blocking(fd, False)
            self._selector.register(fd, selectors.EVENT_READ, worker)

    def _become_worker(self, call: Call, server: int, result_out: int, log_out: int) -> None:
        """The worker's whole life; it never returns into the server's loop."""
        status = 1
        try:
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != server:
                os._exit(1)  # the server died before the line above took hold
            os.setpgid(0, 0)
            for worker in self._workers.values():
                for fd in worker.fds():
                    os.close(fd)
            self._selector.close()
            self._channel.close()
            os.dup2(log_out, 1)
            os.dup2(log_out, 2)
            os.close(log_out)
            if isinstance(sys.stdout, io.TextIOWrapper):
                sys.stdout.reconfigure(line_buffering=True)  # what was printed before a kill is in the log
            os.environ.update(call.env)
            numpy_random = sys.modules.get("numpy.random")
            if numpy_random is not None:
                numpy_random.seed()  # else every worker would draw the same numbers from numpy's global generator
            encoded = self._perform(call)
            sys.stdout.flush()
            sys.stderr.flush()
            with os.fdopen(result_out, "wb") as pipe:
                pipe.write(len(encoded).to_bytes(4, "big") + encoded)
            status = 0
        finally:
            os._exit(status)


def _kill_group(pid: int) -> None:
    for kill in (os.killpg, os.kill):  # the group is the worker's own once it has called setpgid
        try:
            kill(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass


def preload(names: list[str]) -> None:
    """Import each module that is installed; a missing optional library is no error, a broken one is."""
    for name in names:
        if importlib.util.find_spec(name.partition(".")[0]) is None:
            continue
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as missing:
            if missing.name is None or not name.startswith(missing.name):
                raise
    gc.collect()
    gc.freeze()  # the collector then leaves the shared pages alone in every worker


def main() -> None:
    """Entry point: argv is the socket's file descriptor and the options as JSON."""
    started = time.perf_counter()
    channel = socket.socket(fileno=int(sys.argv[1]))
    options = msgspec.json.decode(sys.argv[2], type=Options)
    sys.path[:] = options.path
    # Only threads that survive a fork by their own at-fork handlers (jemalloc's) are running when we fork.
    warnings.filterwarnings("ignore", message=".*use of fork\\(\\) may lead to deadlocks", category=DeprecationWarning)
    preload(options.preload)

    def perform_call(call: Call) -> bytes:
        from homeostat.engines.calls import perform
        from homeostat.foundation.stores import Stores

        return msgspec.msgpack.encode(perform(call, Stores.at(Path(options.home), options.objects_url)))

    Server(channel, perform_call).serve(pack(Ready(seconds=time.perf_counter() - started)))


if __name__ == "__main__":
    main()
