"""API tokens: 256 random bits, shown once, kept as their sha256. A token narrows its principal, never widens it.

A secret with 256 bits of entropy cannot be guessed or searched for, so a plain digest is as good as a slow hash and
costs microseconds. The token is found by its digest: how long that takes says nothing about any other secret.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable
from typing import NamedTuple

import sqlalchemy as sa
from msgspec import structs

from homeostat.foundation import events
from homeostat.foundation.database import Reader, Transaction
from homeostat.foundation.errors import Kind, entry
from homeostat.foundation.ids import check_name, new_id
from homeostat.governance import access, principals, tables
from homeostat.governance.events import TokenIssued, TokenRevoked
from homeostat.governance.records import Principal, Token
from homeostat.inference.wire import Grant

UNKNOWN = entry("tokens.unknown", Kind.UNAUTHENTICATED, "the token is not known here", "check that it was copied whole")
EXPIRED = entry(
    "tokens.expired", Kind.UNAUTHENTICATED, "the token {label!r} has expired", "ask for a new one of the same scope"
)
REVOKED = entry("tokens.revoked", Kind.UNAUTHENTICATED, "the token {label!r} was revoked", "ask for a new one")
DISABLED = entry(
    "principals.disabled",
    Kind.UNAUTHENTICATED,
    "the principal {name!r} is disabled",
    "an administrator can enable it again",
)
MISSING = entry("tokens.missing", Kind.NOT_FOUND, "there is no token {id!r}", "list them with: GET /api/v1/tokens")
BAD_SCOPE = entry("tokens.bad_scope", Kind.INVALID, "{scope!r} is not a permission", "use some of: {known}")
BAD_LIFETIME = entry(
    "tokens.bad_lifetime", Kind.INVALID, "a token must live longer than {ttl} microseconds", "give it a positive 'ttl'"
)
BAD_LABEL = entry("tokens.bad_label", Kind.INVALID, "a token's label is 1 to 200 characters", "say what it is for")

PREFIX = "hs_"


def new_secret() -> str:
    """A fresh secret: "hs_" and 256 random bits in URL-safe base64."""
    return PREFIX + base64.urlsafe_b64encode(secrets.token_bytes(32)).rstrip(b"=").decode()


def digest_of_secret(secret: str) -> str:
    """The sha256 of a secret in hex: what is stored in its place, and what the inference plan knows it by."""
    return hashlib.sha256(secret.encode()).hexdigest()


def issue(
    tx: Transaction,
    principal: str,
    label: str,
    *,
    scopes: Iterable[str] | None = None,
    projects: Iterable[str] | None = None,
    endpoints: Iterable[str] | None = None,
    ttl: int | None = None,
    issuer: Token | None = None,
) -> tuple[str, Token]:
    """Make a token for `principal` and return its secret, which cannot be read again, and its record.

    `scopes`, `projects` and `endpoints` narrow it (None: no limit of its own); `ttl` is in microseconds of wall time.
    `issuer` is the token of whoever asks: what it limits, the new one must limit as much, and it cannot outlive it.
    """
    principals.get(tx, principal)
    narrowed = _Limits(_listed(scopes), _listed(projects), _listed(endpoints))
    _check(label, narrowed, ttl)
    expires_at = None if ttl is None else tx.at + ttl
    if issuer is not None:
        _check_narrower(issuer, principal, narrowed)
        expires_at = min((at for at in (expires_at, issuer.expires_at) if at is not None), default=None)
    secret = new_secret()
    token = Token(
        id=new_id(),
        principal=principal,
        label=label,
        digest=digest_of_secret(secret),
        scopes=narrowed.scopes,
        projects=narrowed.projects,
        endpoints=narrowed.endpoints,
        created_at=tx.at,
        expires_at=expires_at,
    )
    values = structs.asdict(token)
    for name in ("scopes", "projects", "endpoints"):
        values[name] = principals.column_of(values[name])
    tx.execute(sa.insert(tables.tokens).values(project=tx.project, **values))
    told = TokenIssued(
        subject=f"token/{token.id}",
        token=token.id,
        principal=principal,
        label=label,
        scopes=token.scopes,
        projects=token.projects,
        endpoints=token.endpoints,
        expires_at=expires_at,
    )
    events.emit(tx, told)
    return secret, token


def resolve(reader: Reader, secret: str, now: int) -> tuple[Principal, Token]:
    """Who bears `secret` at wall time `now`, and by which token; raises an UNAUTHENTICATED entry otherwise."""
    digest = digest_of_secret(secret)
    row = reader.execute(sa.select(tables.tokens).where(tables.tokens.c.digest == digest)).mappings().first()
    if row is None or not hmac.compare_digest(row["digest"], digest):
        raise UNKNOWN(field="authorization")
    token = _token(row)
    if token.revoked_at is not None:
        raise REVOKED(field="authorization", label=token.label)
    if token.expires_at is not None and now >= token.expires_at:
        raise EXPIRED(field="authorization", label=token.label)
    principal = principals.get(reader, token.principal)
    if principal.disabled:
        raise DISABLED(field="authorization", name=principal.name)
    return principal, token


def revoke(tx: Transaction, id: str) -> Token:
    """Take a token back, for good. Doing it twice changes nothing."""
    found = get(tx, id)
    if found.revoked_at is not None:
        return found
    tx.execute(sa.update(tables.tokens).where(tables.tokens.c.id == id).values(revoked_at=tx.at))
    events.emit(tx, TokenRevoked(subject=f"token/{id}", token=id, principal=found.principal))
    return get(tx, id)


def get(reader: Reader, id: str) -> Token:
    """The token's record, or `tokens.missing`."""
    row = reader.execute(sa.select(tables.tokens).where(tables.tokens.c.id == id)).mappings().first()
    if row is None:
        raise MISSING(field="token", id=id[:64])
    return _token(row)


def listing(reader: Reader, principal: str | None = None) -> list[Token]:
    """Every token of the home, or of one principal, oldest first; revoked and expired ones too."""
    query = sa.select(tables.tokens).order_by(tables.tokens.c.id)
    if principal is not None:
        query = query.where(tables.tokens.c.principal == principal)
    return [_token(row) for row in reader.execute(query).mappings()]


def grants(reader: Reader, now: int) -> dict[str, Grant]:
    """What the inference plan must know: the digest of each token that may predict at `now`, and what it grants."""
    everyone = {p.name: p for p in principals.listing(reader)}
    found: dict[str, Grant] = {}
    live = sa.select(tables.tokens).where(
        tables.tokens.c.revoked_at.is_(None),
        sa.or_(tables.tokens.c.expires_at.is_(None), tables.tokens.c.expires_at > now),
    )
    for row in reader.execute(live).mappings():
        token = _token(row)
        principal = everyone.get(token.principal)
        grant = None if principal is None else grant_of(principal, token)
        if grant is not None:
            found[token.digest] = grant
    return found


def grant_of(principal: Principal, token: Token | None) -> Grant | None:
    """What the bearer may ask of the inference process, or None when that is nothing."""
    mine, narrowed = principal.projects, None if token is None else token.projects
    projects = mine if narrowed is None else tuple(p for p in narrowed if mine is None or p in mine)
    endpoints = None if token is None else token.endpoints
    # Any project and endpoint of the bearer's own stands for all of them: rights do not differ between them.
    project = "default" if projects is None else next(iter(projects), None)
    endpoint = None if endpoints is None else next(iter(endpoints), None)
    if project is None or not access.permitted(principal, token, "predict", project, endpoint):
        return None
    return Grant(
        principal=principal.name,
        endpoints=endpoints,
        projects=projects,
        replay=access.permitted(principal, token, "replay", project, endpoint),
        until=None if token is None else token.expires_at,
    )


class _Limits(NamedTuple):
    scopes: tuple[str, ...] | None
    projects: tuple[str, ...] | None
    endpoints: tuple[str, ...] | None


def _listed(names: Iterable[str] | None) -> tuple[str, ...] | None:
    return None if names is None else tuple(dict.fromkeys(names))


def _check(label: str, limits: _Limits, ttl: int | None) -> None:
    if not 1 <= len(label) <= 200:
        raise BAD_LABEL(field="label")
    if ttl is not None and ttl <= 0:
        raise BAD_LIFETIME(field="ttl", ttl=ttl)
    for scope in limits.scopes or ():
        if scope not in access.PERMISSIONS:
            raise BAD_SCOPE(field="scopes", scope=scope, known=", ".join(access.PERMISSIONS))
    for project in limits.projects or ():
        check_name("project", project, field="projects")
    for endpoint in limits.endpoints or ():
        check_name("endpoint", endpoint, field="endpoints")


def _check_narrower(issuer: Token, principal: str, limits: _Limits) -> None:
    bound = access.limits(issuer)
    if bound and principal != issuer.principal:
        raise access.WIDER_TOKEN(field="principal", limit=", ".join(bound))
    for name in bound:
        asked = getattr(limits, name)
        if asked is None or not set(asked) <= set(getattr(issuer, name)):
            raise access.WIDER_TOKEN(field=name, limit=name)


def _token(row: sa.RowMapping) -> Token:
    return Token(
        id=row["id"],
        principal=row["principal"],
        label=row["label"],
        digest=row["digest"],
        scopes=principals.names_of(row["scopes"]),
        projects=principals.names_of(row["projects"]),
        endpoints=principals.names_of(row["endpoints"]),
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
    )
