"""Who may ask what of the inference process: tokens by digest, host names, origins. Deny by default.

A token is 256 random bits, so the lookup of its sha256 in the plan tells nothing of other tokens by its timing, and a
plain digest is enough. Host and Origin are checked because a browser on this machine can be made to call a loopback
address: a name that was rebound to it arrives as a foreign Host, a script of another site as a foreign Origin.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable, Mapping

from homeostat.foundation.errors import Kind, entry
from homeostat.inference.wire import Grant, Plan

NO_TOKEN = entry(
    "inference.no_token",
    Kind.UNAUTHENTICATED,
    "the request carries no token",
    "send the header 'Authorization: Bearer <token>'; make a token with: homeostat tokens issue LABEL",
)
BAD_TOKEN = entry(
    "inference.bad_token",
    Kind.UNAUTHENTICATED,
    "the token is not known here",
    "check the token; if it was made a moment ago, try again",
)
EXPIRED_TOKEN = entry(
    "inference.expired_token", Kind.UNAUTHENTICATED, "the token has expired", "ask for a new token of the same scope"
)
NOT_GRANTED = entry(
    "inference.not_granted",
    Kind.DENIED,
    "the token does not let {principal!r} use endpoint {endpoint!r} of project {project!r}",
    "ask for a token whose scope covers this endpoint, or name the project in the header 'Homeostat-Project'",
)
NO_REPLAY = entry(
    "inference.no_replay",
    Kind.DENIED,
    "{principal!r} may not set event_at: only a principal with replay may say when a prediction happened",
    "leave event_at out, or use a token that grants replay",
)
FOREIGN_HOST = entry(
    "inference.foreign_host",
    Kind.DENIED,
    "the Host header {host!r} is not a name of this server",
    "call it by its address, or let it listen on this name: homeostat up --host NAME",
)
FOREIGN_ORIGIN = entry(
    "inference.foreign_origin",
    Kind.DENIED,
    "a page of origin {origin!r} may not call this server",
    "call it from a page of the same host, or from a program",
)

_REMEMBERED = 1024  # host names and tokens whose verdict is kept


class Tokens:
    """The grants of one plan. Immutable but for a memo of tokens already seen; used by one event loop."""

    def __init__(self, plan: Plan) -> None:
        self._grants = plan.tokens
        self._anonymous = plan.anonymous if plan.open_access else None
        self._seen: dict[bytes, Grant] = {}  # Authorization value -> grant; known tokens only

    def grant(self, authorization: bytes | None, now: int) -> Grant:
        """The grant of the bearer; `now` is wall time in microseconds. Raises an UNAUTHENTICATED entry."""
        if authorization is None:
            if self._anonymous is None:
                raise NO_TOKEN(field="authorization")
            return self._anonymous
        found = self._seen.get(authorization)
        if found is None:
            found = self._look_up(authorization)
        if found.until is not None and now >= found.until:
            raise EXPIRED_TOKEN(field="authorization")
        return found

    def _look_up(self, authorization: bytes) -> Grant:
        scheme, _, token = authorization.partition(b" ")
        token = token.strip()
        if scheme.lower() != b"bearer" or not token:
            raise NO_TOKEN(field="authorization")
        found = self._grants.get(hashlib.sha256(token).hexdigest())
        if found is None:
            raise BAD_TOKEN(field="authorization")
        if len(self._seen) < _REMEMBERED and len(authorization) < 256:
            self._seen[authorization] = found
        return found


def covers(grant: Grant, project: str, endpoint: str) -> bool:
    """Whether `grant` lets its bearer use `endpoint` of `project`."""
    return (grant.projects is None or project in grant.projects) and (
        grant.endpoints is None or endpoint in grant.endpoints
    )


class Hosts:
    """The names this server answers to: loopback names, the address it is bound to, and configured ones.

    Bound to every address ("0.0.0.0", "::") it takes any IP literal: a rebound name is never a literal.
    """

    def __init__(self, bound: str = "127.0.0.1", allowed: Iterable[str] = ()) -> None:
        self._names = {"localhost", "127.0.0.1", "::1", *(name.lower().strip("[]") for name in (bound, *allowed))}
        self._any_literal = bound in ("0.0.0.0", "::", "")
        self._verdicts: dict[bytes, bool] = {}

    def check(self, headers: Mapping[bytes, bytes]) -> None:
        """Raise a DENIED entry when Host is foreign or Origin is not of the same host."""
        host = headers.get(b"host", b"")
        known = self._verdicts.get(host)
        if known is None:
            known = self._judge(host.decode("latin-1").lower())
            if len(self._verdicts) < _REMEMBERED and len(host) < 256:
                self._verdicts[host] = known
        if not known:
            raise FOREIGN_HOST(field="host", host=host.decode("latin-1")[:120])
        origin = headers.get(b"origin")
        if origin is not None and origin.partition(b"://")[2].lower() != host.lower():
            raise FOREIGN_ORIGIN(field="origin", origin=origin.decode("latin-1")[:120])

    def _judge(self, host: str) -> bool:
        name, port = host, ""
        if host.startswith("["):
            name, _, port = host[1:].partition("]")
            port = port.removeprefix(":")
        elif host.count(":") == 1:
            name, _, port = host.partition(":")
        if port and not port.isdigit():
            return False
        if name in self._names:
            return True
        if not self._any_literal:
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True
