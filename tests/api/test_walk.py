"""Deny by default: every route there is, asked without a token, with a wrong one, and with a role too small."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from litestar import get
from litestar.routes import HTTPRoute

from homeostat.api import access, application
from homeostat.foundation.errors import HomeostatError
from homeostat.governance.access import PERMISSIONS, ROLES

if TYPE_CHECKING:
    from conftest import Server

    from homeostat.app import Homeostat

PUBLIC = {("GET", "/health"), ("GET", "/version"), ("GET", "/sign-in")}


def routes(app: Any) -> list[tuple[str, str, Any]]:
    """(method, path with values for its parameters, handler) of every route of the application."""
    found = []
    for route in app.routes:
        assert isinstance(route, HTTPRoute)
        path = re.sub(r"\{[^}]*:int\}", "1", re.sub(r"\{[^}]*:(str|path)\}", "x", route.path))
        for handler in route.route_handlers:
            found += [(method, path, handler) for method in sorted(handler.http_methods)]
    return found


def test_every_route_is_refused_without_a_token(shared: Server) -> None:
    before = shared.newest_event()
    connection = shared.connect()
    for method, path, _ in routes(shared.app):
        answer = shared.ask(method, path, {}, token=None, on=connection)
        if (method, path) in PUBLIC:
            assert answer.status != 401
        elif method == "OPTIONS":
            assert answer.status in (401, 403)
        else:
            assert (answer.status, answer.error["code"]) == (401, "api.no_token"), (method, path)
            assert answer.headers["www-authenticate"] == "Bearer"
    connection.close()
    assert shared.newest_event() == before


def test_every_route_is_refused_with_an_unknown_token(shared: Server) -> None:
    connection = shared.connect()
    for method, path, _ in routes(shared.app):
        if (method, path) not in PUBLIC and method != "OPTIONS":
            answer = shared.ask(method, path, {}, token="hs_unknown", on=connection)
            assert answer.error["code"] == "tokens.unknown", (method, path)
    connection.close()


@pytest.mark.parametrize("role", sorted(ROLES))
def test_every_route_asks_for_its_permission(shared: Server, role: str) -> None:
    """A role without a route's permission is denied whatever it sends; one with it never is."""
    before = shared.newest_event()
    connection = shared.connect()
    for method, path, handler in routes(shared.app):
        if (method, path) in PUBLIC or method == "OPTIONS" or path.endswith(("/stream", "/loop", "/export")):
            continue
        needed = handler.opt["permission"]
        allowed = access.SIGNED_IN in needed or bool(set(needed) & ROLES[role])  # type: ignore[index]
        if allowed and method != "GET":
            continue  # its own tests do it; here nothing may change
        answer = shared.ask(method, path, {}, token=role, on=connection)
        denied = answer.status == 403 and answer.error["code"] == "access.denied"
        assert denied != allowed, (role, method, path, answer.status, answer.body[:200])
    connection.close()
    assert shared.newest_event() == before


def test_every_handler_declares_known_permissions(shared: Server) -> None:
    for method, path, handler in routes(shared.app):
        if method != "OPTIONS":
            for permission in handler.opt["permission"]:
                assert permission in PERMISSIONS or permission in (access.PUBLIC, access.SIGNED_IN), (method, path)
            if access.PUBLIC in handler.opt["permission"]:
                assert (method, path) in PUBLIC


def test_a_route_that_declares_nothing_is_refused_at_the_start(bare_home: Homeostat) -> None:
    @get("/open", sync_to_thread=False)
    def forgotten() -> None: ...

    with pytest.raises(HomeostatError) as raised:
        application.create(bare_home, [forgotten])
    assert raised.value.code == "api.undeclared_route" and "/open" in raised.value.message


def test_a_wrong_permission_is_refused_where_it_is_written() -> None:
    with pytest.raises(ValueError, match=r"no\.such"):
        access.needs("no.such")


def test_the_openapi_description_holds_every_route(shared: Server) -> None:
    answer = shared.ask("GET", "/api/v1/openapi.json", token="viewer")
    assert answer.json["openapi"].startswith("3.1")
    told = {(method.upper(), path) for path, item in answer.json["paths"].items() for method in item}
    for route in shared.app.routes:
        for handler in route.route_handlers:
            if handler.resolve_include_in_schema() and route.path.startswith("/api/v1/"):
                path = re.sub(r":(str|int|path)", "", route.path)
                assert {(m, path) for m in handler.http_methods} <= told
    for item in answer.json["paths"].values():
        for operation in item.values():
            assert operation["description"], operation["operationId"]


def test_control_loads_no_heavy_library() -> None:
    code = (
        "import sys, homeostat.api.application, homeostat.app\n"
        "heavy = {'polars', 'numpy', 'sklearn', 'deltalake', 'onnxruntime', 'pandas', 'pyarrow', 'alembic'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
