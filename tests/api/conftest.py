"""A real control plane's HTTP border: the ASGI application on uvicorn, on a loopback port, over real stores."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn

from homeostat.api import application
from homeostat.foundation.clock import DrivenClock
from homeostat.foundation.database import Database, metadata
from homeostat.foundation.objects import Objects
from homeostat.governance import principals, tokens
from homeostat.governance.records import Role


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
    """A running border and the home under it."""

    home: Any
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
    ) -> Answer:
        """One request; `token` is a role's name or a secret; `body` is sent as JSON unless it is bytes."""
        sent = {"Host": f"127.0.0.1:{self.port}", **(headers or {})}
        if token is not None:
            sent.setdefault("Authorization", f"Bearer {self.secrets.get(token, token)}")
        raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body=raw, headers=sent)
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def write(self, actor: str = "service:test", project: str = "default") -> Any:
        return self.home.database.write(actor=actor, project=project)


def make_home(folder: Path, *, auth: bool = True) -> Any:
    """What the application uses of an `app.Homeostat`."""
    clock = DrivenClock(1_700_000_000_000_000)
    database = Database(f"sqlite:///{folder / 'homeostat.db'}", clock)
    metadata.create_all(database.engine)
    settings = SimpleNamespace(host="127.0.0.1", port=0, auth=auth, home=folder)
    return SimpleNamespace(settings=settings, clock=clock, database=database, objects=Objects(folder / "objects"))


@pytest.fixture
def bare_home(tmp_path: Path) -> Iterator[Any]:
    """A home without a server."""
    home = make_home(tmp_path)
    yield home
    home.database.close()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start servers; each has a token for one principal of each role, by the role's name."""
    running: list[tuple[uvicorn.Server, threading.Thread, Any]] = []

    def start(*, auth: bool = True) -> Server:
        folder = tmp_path / f"home{len(running)}"
        folder.mkdir()
        home = make_home(folder, auth=auth)
        app = application.create(home)
        listener = socket.create_server(("127.0.0.1", 0))
        config = uvicorn.Config(app, log_level="warning", lifespan="on", access_log=False, timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        running.append((server, thread, home))
        made = Server(home=home, app=app, port=listener.getsockname()[1])
        roles: tuple[Role, ...] = ("viewer", "caller", "operator", "approver", "admin", "worker", "replayer")
        with made.write() as tx:
            for role in roles:
                principals.ensure(tx, f"person:{role}", "person", (role,))
                made.secrets[role], _ = tokens.issue(tx, f"person:{role}", "test")
        return made

    yield start
    for server, thread, home in running:
        home.stopping = True
        server.should_exit = True
        thread.join(10)
        home.database.close()


@pytest.fixture
def server(serve: Callable[..., Server]) -> Server:
    return serve()
