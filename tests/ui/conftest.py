"""A furnished home behind the real border and the real screens, on a loopback port."""

from __future__ import annotations

import gzip
import http.client
import re
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

import pytest
import uvicorn
from furnished import furnish

from homeostat.api import application
from homeostat.app import Homeostat
from homeostat.foundation.clock import HOUR, DrivenClock
from homeostat.foundation.settings import load
from homeostat.governance import principals, sign_in
from homeostat.governance.records import Role
from homeostat.ui.screens import error_page, handlers

PAGE = "text/html,application/xhtml+xml"


@dataclass
class Answer:
    """One HTTP answer; `text` is unpacked."""

    status: int
    headers: dict[str, str]
    sent: int  # bytes of the body as transferred
    text: str

    @property
    def title(self) -> str:
        """The page's heading, tags taken out."""
        found = re.search(r"<h1>(.*?)</h1>", self.text, re.DOTALL)
        return re.sub(r"<[^>]*>", "", found[1]).strip() if found else ""


@dataclass
class Site:
    """Screens over a home; `ask` is a browser that is signed in as a principal of the role."""

    home: Homeostat
    port: int
    ids: dict[str, str] = field(default_factory=dict)
    cookies: dict[str, str] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def sign_in(self, role: Role, *, kind: str = "person") -> str:
        """The Cookie header of a session of `person:ROLE`."""
        if role not in self.cookies:
            with self.home.database.write(actor="service:test") as tx:
                principals.ensure(tx, f"person:{role}", "person", (role,))
                secret = sign_in.redeem(tx, sign_in.issue(tx, f"person:{role}"))
            self.cookies[role] = f"homeostat_session_{self.port}={secret}"
        return self.cookies[role]

    def ask(
        self,
        path: str,
        *,
        form: dict[str, str] | None = None,
        role: Role | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """GET a page, or POST a form as a page of this server does."""
        sent = {"Host": f"127.0.0.1:{self.port}", "Accept": PAGE, "Accept-Encoding": "gzip"}
        body = None
        if form is not None:
            body = urlencode(form)
            sent |= {"Content-Type": "application/x-www-form-urlencoded", "Origin": self.address}
        if role is not None:
            sent["Cookie"] = self.sign_in(role)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("GET" if form is None else "POST", path, body=body, headers=sent | (headers or {}))
            response = connection.getresponse()
            raw = response.read()
            told = {k.lower(): v for k, v in response.getheaders()}
            text = gzip.decompress(raw) if told.get("content-encoding") == "gzip" else raw
            return Answer(response.status, told, len(raw), text.decode())
        finally:
            connection.close()

    def pages(self) -> dict[str, str]:
        """The address of every kind of page."""
        ids = self.ids
        return {
            "home": "/",
            "datasets": "/datasets",
            "dataset": "/datasets/transactions?version=5",
            "a dataset without versions": "/datasets/stores",
            "pipelines": "/pipelines",
            "pipeline run": f"/pipeline-runs/{ids['pipeline_run']}",
            "runs": "/runs?order_by=metrics.loss%20desc",
            "run": f"/runs/{ids['run']}",
            "models": "/models",
            "model": "/models/fraud",
            "version": "/models/fraud/1",
            "endpoints": "/endpoints",
            "endpoint": "/endpoints/fraud",
            "an endpoint without a version": "/endpoints/churn",
            "deployment": f"/deployments/{ids['deployment']}",
            "refused deployment": f"/deployments/{ids['refused']}",
            "evaluation": f"/evaluations/{ids['evaluation']}",
            "incidents": "/incidents",
            "incident": f"/incidents/{ids['incident']}",
            "approvals": "/approvals",
            "decisions": "/decisions",
            "decision": f"/decisions/{ids['decision']}",
            "audit": "/audit?verify=true",
        }


def open_home(folder: Path) -> Homeostat:
    """A home whose loop and inference are not started, with a clock that stands still."""
    flags = {"home": str(folder), "port": 0, "inference_port": 0}
    return Homeostat.open(load(flags, env={}, cwd=folder), clock=DrivenClock(1_795_000_000_000_000 + 3 * HOUR))


@contextmanager
def serving(folder: Path, ids: dict[str, str]) -> Iterator[Site]:
    """Screens on a loopback port, over the home in `folder`."""
    home = open_home(folder)
    app = application.create(home, handlers(home), error_page)
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="on", access_log=False))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        yield Site(home=home, port=listener.getsockname()[1], ids=ids)
    finally:
        home.stopping = True
        server.should_exit = True
        thread.join(20)
        home.close()


@pytest.fixture(scope="session")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A closed home with something in every room, to be copied, and the ids of what is in it."""
    folder = tmp_path_factory.mktemp("furnished")
    clock = DrivenClock(1_795_000_000_000_000)
    flags = {"home": str(folder), "port": 0, "inference_port": 0}
    home = Homeostat.open(load(flags, env={}, cwd=folder), clock=clock)
    ids = furnish(home)
    home.close()
    return folder, ids


@pytest.fixture(scope="module")
def site(furnished: tuple[Path, dict[str, str]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One furnished site for a file's tests: for those that change nothing, or only what is theirs."""
    folder = tmp_path_factory.mktemp("site") / "home"
    shutil.copytree(furnished[0], folder)
    with serving(folder, furnished[1]) as made:
        yield made


@pytest.fixture
def own_site(furnished: tuple[Path, dict[str, str]], tmp_path: Path) -> Iterator[Site]:
    """A furnished site of its own, for a test that changes things."""
    shutil.copytree(furnished[0], tmp_path / "home")
    with serving(tmp_path / "home", furnished[1]) as made:
        yield made


@pytest.fixture
def empty_site(tmp_path: Path) -> Iterator[Site]:
    """A site over a home in which nothing has happened."""
    with serving(tmp_path, {}) as made:
        yield made
