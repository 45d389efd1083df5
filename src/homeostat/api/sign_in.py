"""How a browser signs in: a one-time link, spent for a session cookie."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

from litestar import Request, get, post
from litestar.datastructures import Cookie
from litestar.params import FromQuery, JSONBody, QueryParameter
from litestar.response import Redirect, Response
from msgspec import Struct

from homeostat.api.access import PUBLIC, SIGNED_IN, Calling, cookie_name, needs
from homeostat.foundation.clock import SECOND
from homeostat.governance import sign_in

_TAGS = ["sign-in"]


class LinkFor(Struct, frozen=True, kw_only=True):
    """Whom the link signs in; None: the caller."""

    principal: str | None = None


class Link(Struct, frozen=True, kw_only=True):
    """A one-time link, good for ten minutes: `url` where the server knows its own address, and the bare `code`."""

    code: str
    path: str
    url: str | None = None


@post("/sign-in-links", opt=needs("read"), sync_to_thread=True, tags=_TAGS)
def link(caller: Calling, data: JSONBody[LinkFor | None] = None) -> Link:
    """Make a link that signs a browser in: the caller, or with the permission admin anybody."""
    principal = (data.principal if data else None) or caller.name
    if principal != caller.name:
        caller.require("admin")
    with caller.write() as tx:
        code = sign_in.issue(tx, principal, issuer=caller.token)
    path, address = f"/sign-in?code={code}", caller.home.address
    return Link(code=code, path=path, url=f"{address}{path}" if address else None)


@get("/sign-in", opt=needs(PUBLIC), sync_to_thread=True, include_in_schema=False)
def enter(
    request: Request[Any, Any, Any],
    code: Annotated[str, QueryParameter(max_length=200)],
    to: FromQuery[str] = "/",
) -> Redirect:
    """Spend the link's code for a session cookie, and go on to the screens."""
    home = request.app.state.home
    with home.database.read() as reader:
        principal = sign_in.whose(reader, code, home.clock.now())
    with home.database.write(actor=principal) as tx:
        secret = sign_in.redeem(tx, code)
    local = to.startswith("/") and not to.startswith(("//", "/\\"))  # never on to another server
    answer = Redirect(quote(to, safe="/?&=%#~.-_") if local else "/", status_code=303)
    answer.set_cookie(_cookie(request, secret, sign_in.SESSION_LIFETIME // SECOND))
    answer.headers["Cache-Control"] = "no-store"
    answer.headers["Referrer-Policy"] = "no-referrer"
    return answer


@post("/sign-out", opt=needs(SIGNED_IN), sync_to_thread=True, status_code=200, tags=_TAGS)
def leave(caller: Calling, request: Request[Any, Any, Any]) -> Response[dict[str, bool]]:
    """End this browser's session."""
    secret = request.cookies.get(cookie_name(request), "")
    with caller.write() as tx:
        sign_in.sign_out(tx, secret)
    answer = Response({"signed_out": True})
    answer.set_cookie(_cookie(request, "", 0))
    return answer


def _cookie(request: Request[Any, Any, Any], value: str, max_age: int) -> Cookie:
    return Cookie(
        key=cookie_name(request),
        value=value,
        max_age=max_age,
        path="/",
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https",
    )


API_ROUTES = [link, leave]
ROUTES = [enter]
