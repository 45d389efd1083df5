"""Principals and their tokens."""

from __future__ import annotations

import msgspec
from litestar import delete, get, post
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec import Struct

from homeostat.api.access import SIGNED_IN, Calling, needs
from homeostat.foundation.clock import parse_duration
from homeostat.governance import access, principals, tokens
from homeostat.governance.records import Principal, PrincipalKind, Role, Token

_TAGS = ["principals"]
_ADMIN = needs("admin", whole_home=True)


class NewPrincipal(Struct, frozen=True, kw_only=True):
    """A principal to make or change; `name` is "kind:short"."""

    name: str
    kind: PrincipalKind
    roles: tuple[Role, ...]
    projects: tuple[str, ...] | None = None


class NewToken(Struct, frozen=True, kw_only=True):
    """A token to make. `ttl` is a duration such as "30d", or microseconds; what is None narrows nothing."""

    label: str
    principal: str | None = None  # None: the caller
    scopes: tuple[str, ...] | None = None
    projects: tuple[str, ...] | None = None
    endpoints: tuple[str, ...] | None = None
    ttl: str | int | None = None


class IssuedToken(Struct, frozen=True, kw_only=True):
    """A token and its secret, which cannot be read again."""

    secret: str
    token: Token


class Self(Struct, frozen=True, kw_only=True):
    """Who the caller is, and what it may do in this project."""

    principal: Principal
    project: str
    permissions: tuple[str, ...]


@get("/me", opt=needs(SIGNED_IN), sync_to_thread=False, tags=_TAGS)
def me(caller: Calling) -> Self:
    """Who you are here."""
    mine = tuple(permission for permission in access.PERMISSIONS if caller.may(permission))
    return Self(principal=caller.principal, project=caller.project, permissions=mine)


@get("/principals", opt=_ADMIN, sync_to_thread=True, tags=_TAGS)
def listing(caller: Calling) -> list[Principal]:
    """Every principal of the home."""
    with caller.read() as reader:
        return principals.listing(reader)


@post("/principals", opt=_ADMIN, sync_to_thread=True, status_code=200, tags=_TAGS)
def ensure(caller: Calling, data: JSONBody[NewPrincipal]) -> Principal:
    """Make a principal, or give it these roles and projects."""
    _unlimited(caller)
    with caller.write() as tx:
        return principals.ensure(tx, data.name, data.kind, data.roles, data.projects)


@delete("/principals/{name:str}", opt=_ADMIN, sync_to_thread=True, status_code=200, tags=_TAGS)
def disable(caller: Calling, name: FromPath[str]) -> Principal:
    """Disable a principal: its tokens and sessions end with their next request."""
    _unlimited(caller)
    with caller.write() as tx:
        disabled = principals.disable(tx, name)
    caller.home.loop.nudge()
    return disabled


@get("/tokens", opt=_ADMIN, sync_to_thread=True, tags=_TAGS)
def listing_tokens(caller: Calling, principal: FromQuery[str | None] = None) -> list[Token]:
    """Every token of the home, without its secret."""
    with caller.read() as reader:
        return [msgspec.structs.replace(token, digest="") for token in tokens.listing(reader, principal)]


@post("/tokens", opt=_ADMIN, sync_to_thread=True, tags=_TAGS)
def issue(caller: Calling, data: JSONBody[NewToken]) -> IssuedToken:
    """Make a token. Its secret is in this answer and nowhere else. A limited token cannot make a wider one."""
    with caller.write() as tx:
        secret, token = tokens.issue(
            tx,
            data.principal or caller.name,
            data.label,
            scopes=data.scopes,
            projects=data.projects,
            endpoints=data.endpoints,
            ttl=None if data.ttl is None else parse_duration(data.ttl, field="ttl"),
            issuer=caller.token,
        )
    caller.home.loop.nudge()  # inference learns of it from the next plan
    return IssuedToken(secret=secret, token=msgspec.structs.replace(token, digest=""))


@delete("/tokens/{id:str}", opt=_ADMIN, sync_to_thread=True, status_code=200, tags=_TAGS)
def revoke(caller: Calling, id: FromPath[str]) -> Token:
    """Take a token back, for good."""
    with caller.write() as tx:
        revoked = tokens.revoke(tx, id)
    caller.home.loop.nudge()  # inference learns of it from the next plan
    return msgspec.structs.replace(revoked, digest="")


def _unlimited(caller: Calling) -> None:
    # Whoever may change roles may give itself any, so a limited token may not.
    bound = access.limits(caller.token)
    if bound:
        raise access.WIDER_TOKEN(field="authorization", limit=", ".join(bound))


ROUTES = [me, listing, ensure, disable, listing_tokens, issue, revoke]
