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


def test_every_route_is_refused_without_a_token(server: Server) -> None:
    before = events(server)
    for method, path, _ in routes(server.app):
        answer = server.ask(method, path, {}, token=None)
        if (method, path) in PUBLIC:
            assert answer.status != 401 or answer.error["code"] == "sign_in.bad_link"
        elif method == "OPTIONS":
            assert answer.status in (401, 403)
        else:
            assert (answer.status, answer.error["code"]) == (401, "api.no_token"), (method, path)
            assert answer.headers["www-authenticate"] == "Bearer"
    assert events(server) == before


def test_every_route_is_refused_with_an_unknown_token(server: Server) -> None:
    for method, path, _ in routes(server.app):
        if (method, path) not in PUBLIC and method != "OPTIONS":
            assert server.ask(method, path, {}, token="hs_unknown").error["code"] == "tokens.unknown", (method, path)


@pytest.mark.parametrize("role", sorted(ROLES))
def test_every_route_asks_for_its_permission(server: Server, role: str) -> None:
    """A role without a route's permission gets 403 whatever it sends; one with it never gets `access.denied`."""
    before = events(server)
    for method, path, handler in routes(server.app):
        if (method, path) in PUBLIC or method == "OPTIONS" or path.endswith("/stream"):
            continue
        needed = handler.opt["permission"]
        allowed = access.SIGNED_IN in needed or bool(set(needed) & ROLES[role])  # type: ignore[index]
        if allowed and method != "GET":
            continue  # its own tests do it; here nothing may change
        answer = server.ask(method, path, {}, token=role)
        denied = answer.status == 403 and answer.error["code"] == "access.denied"
        assert denied != allowed, (role, method, path, answer.status, answer.body[:200])
    assert events(server) == before


def test_every_handler_declares_known_permissions(server: Server) -> None:
    for method, path, handler in routes(server.app):
        if method != "OPTIONS":
            for permission in handler.opt["permission"]:
                assert permission in PERMISSIONS or permission in (access.PUBLIC, access.SIGNED_IN), (method, path)
            if access.PUBLIC in handler.opt["permission"]:
                assert (method, path) in PUBLIC


def test_a_route_that_declares_nothing_is_refused_at_the_start(bare_home: Any) -> None:
    @get("/open", sync_to_thread=False)
    def forgotten() -> None: ...

    with pytest.raises(HomeostatError) as raised:
        application.create(bare_home, [forgotten])
    assert raised.value.code == "api.undeclared_route" and "/open" in raised.value.message


def test_a_wrong_permission_is_refused_where_it_is_written() -> None:
    with pytest.raises(ValueError, match=r"no\.such"):
        access.needs("no.such")


def test_the_openapi_description_holds_every_route(server: Server) -> None:
    answer = server.ask("GET", "/api/v1/openapi.json", token="viewer")
    assert answer.json["openapi"].startswith("3.1")
    told = {(method.upper(), path) for path, item in answer.json["paths"].items() for method in item}
    for route in server.app.routes:
        for handler in route.route_handlers:
            if handler.resolve_include_in_schema() and route.path.startswith("/api/v1/"):
                path = re.sub(r":(str|int|path)", "", route.path)
                assert {(m, path) for m in handler.http_methods} <= told
    for item in answer.json["paths"].values():
        for operation in item.values():
            assert operation["description"], operation["operationId"]


def test_control_loads_no_heavy_library() -> None:
    code = (
        "import sys, homeostat.api.application\n"
        "heavy = {'polars', 'numpy', 'sklearn', 'deltalake', 'onnxruntime', 'pandas', 'pyarrow', 'alembic'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def events(server: Server) -> int:
    answer = server.ask("GET", "/api/v1/events?newest_first=true&limit=1")
    return int(answer.json[0]["seq"])
