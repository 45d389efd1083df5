"""Who is calling, and may they: one guard before every handler.

A route declares what it needs in its `opt`: `opt=needs("data.write")`. The guard checks Host and Origin, finds out who
calls (a Bearer token, else the session cookie of a browser, else, under --no-auth, whoever reaches the loopback
address) and asks `governance.access`. Handlers take the answer as the dependency `caller`.

A browser sends its cookie also with requests that another site's page made it send. So a request that changes
something on the strength of a cookie must prove that it comes from a page of this very server (Origin, else
Sec-Fetch-Site); a token in a header is proof enough, since no page can add it without being told it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import anyio.to_thread
from litestar import Litestar, Request
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency
from litestar.handlers.base import BaseRouteHandler
from litestar.routes import HTTPRoute

from homeostat.foundation.database import Reader, Transaction
from homeostat.foundation.errors import Kind, entry
from homeostat.foundation.ids import check_name
from homeostat.governance import access, sign_in, tokens
from homeostat.governance.access import PUBLIC as PUBLIC
from homeostat.governance.access import SIGNED_IN as SIGNED_IN
from homeostat.governance.access import needs as needs
from homeostat.governance.records import Principal, Token
from homeostat.inference.access import Hosts

if TYPE_CHECKING:
    from homeostat.app import Homeostat

NO_TOKEN = entry(
    "api.no_token",
    Kind.UNAUTHENTICATED,
    "the request carries no token",
    "send the header 'Authorization: Bearer <token>'; make a token with: homeostat tokens issue LABEL",
)
CROSS_SITE = entry(
    "api.cross_site",
    Kind.DENIED,
    "a request signed in by a cookie may change something only from a page of this server",
    "send it from a page of the same host, or with a token",
)
UNDECLARED = entry(
    "api.undeclared_route",
    Kind.DENIED,
    "{method} {path} does not say what permission it needs",
    "declare it in the route's opt: opt=needs('read')",
)
WHOLE_HOME = entry(
    "api.whole_home",
    Kind.DENIED,
    "{principal!r} is bound to some projects, and this concerns the whole home",
    "ask an administrator who is bound to no project",
)

ANONYMOUS = Principal(name="person:anonymous", kind="person", roles=("admin", "replayer"))

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class Caller:
    """Who is calling, by which token (None: a session), in which project."""

    def __init__(self, home: Homeostat, principal: Principal, token: Token | None, project: str) -> None:
        self.home = home
        self.principal = principal
        self.token = token
        self.project = project

    @property
    def name(self) -> str:
        """The principal's name: the actor of what the caller does."""
        return self.principal.name

    def may(self, permission: str, endpoint: str | None = None) -> bool:
        """Whether the caller has the permission in its project."""
        return access.permitted(self.principal, self.token, permission, self.project, endpoint)

    def require(self, *permissions: str, endpoint: str | None = None) -> None:
        """Raise `access.denied` unless the caller has one of the permissions."""
        if not any(self.may(permission, endpoint) for permission in permissions):
            asked = " or ".join(permissions)
            raise access.DENIED(field="authorization", principal=self.name, permission=asked, project=self.project)

    def read(self) -> AbstractContextManager[Reader]:
        """A view of the caller's project."""
        return self.home.database.read(self.project)

    def write(self, reason: str | None = None) -> AbstractContextManager[Transaction]:
        """A transaction in the caller's name and project."""
        return self.home.database.write(actor=self.name, project=self.project, reason=reason)


Calling = NamedDependency[Caller]


def caller_of(request: Request[Any, Any, Any]) -> Caller:
    """The caller that the guard found; the dependency `caller`."""
    caller: Caller = request.state.caller
    return caller


async def guard(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Let the request through to `handler`, or raise why not."""
    home, hosts = connection.app.state.home, connection.app.state.hosts
    hosts.check({name: value for name, value in connection.scope["headers"] if name in (b"host", b"origin")})
    permissions = handler.opt.get("permission")
    if not permissions:
        raise UNDECLARED(method=_method(connection), path=connection.url.path[:200])
    if PUBLIC in permissions:
        return
    caller = await anyio.to_thread.run_sync(authenticate, home, connection)
    if SIGNED_IN not in permissions:
        caller.require(*permissions, endpoint=connection.path_params.get("endpoint"))
    if handler.opt.get("whole_home") and not access.everywhere(caller.principal, caller.token):
        raise WHOLE_HOME(field="authorization", principal=caller.name)
    connection.state.caller = caller


def authenticate(home: Homeostat, connection: ASGIConnection[Any, Any, Any, Any]) -> Caller:
    """Who is calling; raises an UNAUTHENTICATED entry, or `api.cross_site`. Reads the database: not for the loop."""
    asked = connection.headers.get("homeostat-project") or connection.query_params.get("project") or "default"
    project = check_name("project", asked, field="project")
    authorization = connection.headers.get("authorization")
    cookie = connection.cookies.get(cookie_name(connection))
    if authorization is not None:
        scheme, _, secret = authorization.partition(" ")
        if scheme.lower() != "bearer" or not secret.strip():
            raise NO_TOKEN(field="authorization")
        with home.database.read(project) as reader:
            principal, token = tokens.resolve(reader, secret.strip(), home.clock.now())
        return Caller(home, principal, token, project)
    if cookie:
        if _method(connection) not in _SAFE and not _same_origin(connection):
            raise CROSS_SITE(field="origin")
        with home.database.read(project) as reader:
            return Caller(home, sign_in.session(reader, cookie, home.clock.now()), None, project)
    if not home.settings.auth:
        return Caller(home, ANONYMOUS, None, project)
    raise NO_TOKEN(field="authorization")


def cookie_name(connection: ASGIConnection[Any, Any, Any, Any]) -> str:
    """The session cookie's name on this address."""
    return sign_in.cookie_name(connection.headers.get("host", ""))


def hosts_of(home: Homeostat) -> Hosts:
    """The names this server answers to."""
    return Hosts(home.settings.host)


def check_routes(app: Litestar) -> None:
    """Raise `api.undeclared_route` if some handler does not say what it needs."""
    for route in app.routes:
        handlers: Sequence[Any] = route.route_handlers if isinstance(route, HTTPRoute) else [route.route_handler]
        for handler in handlers:
            methods = getattr(handler, "http_methods", {"ASGI"})
            automatic = methods == {"OPTIONS"}  # Litestar's own answer, which the guard refuses
            if not handler.opt.get("permission") and not automatic:
                raise UNDECLARED(method="/".join(methods), path=route.path)


def _method(connection: ASGIConnection[Any, Any, Any, Any]) -> str:
    return str(connection.scope.get("method", "WEBSOCKET"))


def _same_origin(connection: ASGIConnection[Any, Any, Any, Any]) -> bool:
    # The guard has refused a foreign Origin already, so one that is there is our own.
    return "origin" in connection.headers or connection.headers.get("sec-fetch-site") == "same-origin"
