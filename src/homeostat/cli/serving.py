"""The control process: wire a Homeostat, listen, say where, and end cleanly.

Inference outlives a control plane that dies, and is adopted by the next; a control plane that is told to stop takes it
along, unless `keep_inference` says otherwise.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
from typing import Any

import uvicorn

from homeostat.api.application import create
from homeostat.app import LOCAL_USER, LOOPBACK, Homeostat
from homeostat.foundation.errors import HomeostatError, Kind, entry
from homeostat.foundation.settings import Settings
from homeostat.governance import sign_in
from homeostat.ui.screens import error_page, handlers

PORT_TAKEN = entry(
    "serve.port_taken",
    Kind.CONFLICT,
    "port {port} on {host} is taken",
    "choose another with --port, or 0 for a free one",
)


def serve(settings: Settings, *, parent_fd: int | None = None, as_json: bool = False) -> None:
    """Run until SIGINT, SIGTERM, or the end of file on `parent_fd`."""
    listening = _listen(settings.host, settings.port)
    home = Homeostat.open(settings, bound_to_parent=parent_fd is not None)
    try:
        address = f"http://{settings.host}:{listening.getsockname()[1]}"
        home.address = address
        app = create(home, extra_handlers=handlers(home), error_page=error_page)
        server = _Server(uvicorn.Config(app, log_level="warning", lifespan="on", access_log=False))
        server.on_ready = lambda: _get_ready(server, home, address, as_json)
        server.on_stop = lambda: setattr(home, "stopping", True)
        if parent_fd is not None:
            _stop_with_parent(server, parent_fd)
        # uvicorn, once it has ended, raises again the signal that ended it, for whoever handled it before: without a
        # handler of our own that would kill us here, and inference would be left behind.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: setattr(server, "should_exit", True))
        server.run(sockets=[listening])
        if server.failure is not None:
            raise server.failure
    finally:
        home.close()


class _Server(uvicorn.Server):
    """uvicorn, that says when it listens."""

    on_ready: Any = None
    on_stop: Any = None
    failure: HomeostatError | None = None  # why it ended without having been ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.on_ready is not None:
            threading.Thread(target=self.on_ready, name="ready", daemon=True).start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self.on_stop is not None:
            self.on_stop()  # live streams end by themselves, or the server would wait for them for ever
        await super().shutdown(sockets)


def _get_ready(server: _Server, home: Homeostat, address: str, as_json: bool) -> None:
    try:
        _ready(home, address, as_json)
    except HomeostatError as error:
        server.failure, server.should_exit = error, True


def _ready(home: Homeostat, address: str, as_json: bool) -> None:
    home.announce(address)
    home.start()
    home.announce(address)
    inference = home.plane.supervisor.address
    if as_json:
        told = {"address": address, "inference": inference, "pid": os.getpid(), "home": str(home.settings.home)}
        print(json.dumps(told), flush=True)
        return
    print(f"Homeostat is up.\n  screens    {_sign_in_link(home, address)}\n  inference  {inference}/v2", flush=True)
    print(f"  home       {home.settings.home}\nCtrl-C stops it.", file=sys.stderr, flush=True)


def _sign_in_link(home: Homeostat, address: str) -> str:
    if not home.settings.auth:
        return address
    with home.database.write(actor="service:control") as tx:
        code = sign_in.issue(tx, LOCAL_USER)
    return f"{address}/sign-in?code={code}"


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError:
        listening.close()
        raise PORT_TAKEN(field="port", port=port, host=host) from None
    return listening


def _stop_with_parent(server: uvicorn.Server, fd: int) -> None:
    """End when the parent's pipe closes, however it died."""

    def watch() -> None:
        while os.read(fd, 64):
            pass
        server.should_exit = True
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


__all__ = ["LOOPBACK", "serve"]
