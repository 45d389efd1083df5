"""A real control plane's HTTP border: the ASGI application on uvicorn, on a loopback port, over a real home."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from homeostat.api import application
from homeostat.app import Homeostat
from homeostat.foundation.clock import DrivenClock
from homeostat.foundation.settings import load
from homeostat.governance import principals, tokens
from homeostat.governance.records import Role

ROLES: tuple[Role, ...] = ("viewer", "caller", "operator", "approver", "admin", "worker", "replayer")


@dataclass
class Answer:
    """One HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        return dict(self.json["error"])


@dataclass
class Server:
    """A running border and the home under it; `secrets` has a token of one principal of each role."""

    home: Homeostat
    app: Any
    port: int
    secrets: dict[str, str] = field(default_factory=dict)

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = "admin",
        headers: dict[str, str] | None = None,
        on: http.client.HTTPConnection | None = None,
    ) -> Answer:
        """One request; `token` is a role's name or a secret; `body` is sent as JSON unless it is bytes."""
        sent = {"Host": f"127.0.0.1:{self.port}", **(headers or {})}
        if token is not None:
            sent.setdefault("Authorization", f"Bearer {self.secrets.get(token, token)}")
        raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        connection = on or self.connect()
        try:
            connection.request(method, path, body=raw, headers=sent)
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            if on is None:
                connection.close()

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)

    def write(self, actor: str = "service:test", project: str = "default") -> Any:
        return self.home.database.write(actor=actor, project=project)

    def newest_event(self) -> int:
        """The sequence number of the newest event: unchanged means that nothing was changed."""
        return int(self.ask("GET", "/api/v1/events?newest_first=true&limit=1").json[0]["seq"])


def open_home(folder: Path, *, auth: bool = True) -> Homeostat:
    """A home whose loop and inference are not started, with a clock that stands still."""
    flags = {"home": str(folder), "port": 0, "inference_port": 0, "auth": auth}
    return Homeostat.open(load(flags, env={}, cwd=folder), clock=DrivenClock(1_700_000_000_000_000))


@contextmanager
def serving(folder: Path, *, auth: bool = True) -> Iterator[Server]:
    home = open_home(folder, auth=auth)
    app = application.create(home)
    listener = socket.create_server(("127.0.0.1", 0))
    runs = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="on", access_log=False))
    thread = threading.Thread(target=runs.run, args=([listener],), daemon=True)
    thread.start()
    made = Server(home=home, app=app, port=listener.getsockname()[1])
    with made.write() as tx:
        for role in ROLES:
            principals.ensure(tx, f"person:{role}", "person", (role,))
            made.secrets[role], _ = tokens.issue(tx, f"person:{role}", "test")
    try:
        yield made
    finally:
        home.stopping = True
        runs.should_exit = True
        thread.join(20)
        home.close()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts servers of their own for one test."""
    with ExitStack() as stack:

        def start(*, auth: bool = True) -> Server:
            return stack.enter_context(serving(tmp_path, auth=auth))

        yield start


@pytest.fixture
def server(serve: Callable[..., Server]) -> Server:
    """A server of its own for one test."""
    return serve()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for the tests of a file: for those that change nothing, or only what is theirs."""
    with serving(tmp_path_factory.mktemp("home")) as made:
        yield made


@pytest.fixture
def bare_home(tmp_path: Path) -> Iterator[Homeostat]:
    """A home without a server."""
    home = open_home(tmp_path)
    yield home
    home.close()
