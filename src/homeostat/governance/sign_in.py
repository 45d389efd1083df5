"""How a browser becomes a principal: a one-time link, good for ten minutes, and the twelve-hour session it opens.

Link and session are secrets of the same make as API tokens and kept the same way, as digests. A link is spent by the
write that opens its session, so of two browsers with one link only one gets in.
"""

from __future__ import annotations

import sqlalchemy as sa

from homeostat.foundation import events
from homeostat.foundation.clock import HOUR, MINUTE
from homeostat.foundation.database import Reader, Transaction
from homeostat.foundation.errors import Kind, entry
from homeostat.governance import access, principals, tables
from homeostat.governance.events import SignedIn, SignedOut, SignInLinkIssued
from homeostat.governance.records import Principal, Token
from homeostat.governance.tokens import DISABLED, digest_of_secret, new_secret

SESSION_COOKIE = "homeostat_session"
LINK_LIFETIME = 10 * MINUTE
SESSION_LIFETIME = 12 * HOUR

BAD_LINK = entry(
    "sign_in.bad_link",
    Kind.UNAUTHENTICATED,
    "this sign-in link is not known, was used already or is older than ten minutes",
    "make a new one with: homeostat up, or POST /api/v1/sign-in-links",
)
NO_SESSION = entry(
    "sign_in.no_session",
    Kind.UNAUTHENTICATED,
    "the session is not known, has ended or is older than twelve hours",
    "sign in again with a new link",
)


def cookie_name(host: str) -> str:
    """The session cookie's name for a Host header. It holds the port: browsers share cookies between a host's ports."""
    port = host.rpartition(":")[2]
    return f"{SESSION_COOKIE}_{port}" if port.isdigit() else SESSION_COOKIE


def issue(tx: Transaction, principal: str, *, issuer: Token | None = None) -> str:
    """Make a one-time code that signs `principal` in, within ten minutes.

    `issuer` is the token of whoever asks. A session has all of its principal's rights, so a token with limits cannot
    ask for one, and the session ends with the token at the latest.
    """
    bound = access.limits(issuer)
    if bound:
        raise access.WIDER_TOKEN(field="principal", limit=", ".join(bound))
    found = principals.get(tx, principal)
    if found.disabled:
        raise DISABLED(field="principal", name=principal)
    code = new_secret()
    tx.execute(
        sa.insert(tables.sign_in_links).values(
            digest=digest_of_secret(code),
            project=tx.project,
            principal=principal,
            created_at=tx.at,
            expires_at=tx.at + LINK_LIFETIME,
            session_until=None if issuer is None else issuer.expires_at,
        )
    )
    told = SignInLinkIssued(subject=f"principal/{principal}", principal=principal, expires_at=tx.at + LINK_LIFETIME)
    events.emit(tx, told)
    return code


def whose(reader: Reader, code: str, now: int) -> str:
    """The principal that the code would sign in at wall time `now`, or `sign_in.bad_link`; spends nothing."""
    table = tables.sign_in_links
    query = sa.select(table.c.principal).where(*_fresh(code, now))
    name = reader.execute(query).scalar()
    if name is None:
        raise BAD_LINK(field="code")
    return str(name)


def redeem(tx: Transaction, code: str) -> str:
    """Spend the code and open a session; returns the session's secret. A second try raises `sign_in.bad_link`."""
    table = tables.sign_in_links
    digest = digest_of_secret(code)
    if tx.execute(sa.update(table).where(*_fresh(code, tx.at)).values(used_at=tx.at)).rowcount != 1:
        raise BAD_LINK(field="code")
    link = tx.execute(sa.select(table).where(table.c.digest == digest)).mappings().one()
    principal = principals.get(tx, link["principal"])
    if principal.disabled:
        raise DISABLED(field="code", name=principal.name)
    until = min(tx.at + SESSION_LIFETIME, link["session_until"] or tx.at + SESSION_LIFETIME)
    secret = new_secret()
    tx.execute(
        sa.insert(tables.sessions).values(
            digest=digest_of_secret(secret),
            project=tx.project,
            principal=principal.name,
            created_at=tx.at,
            expires_at=until,
        )
    )
    events.emit(tx, SignedIn(subject=f"principal/{principal.name}", principal=principal.name, until=until))
    return secret


def session(reader: Reader, secret: str, now: int) -> Principal:
    """Who is signed in by this session at wall time `now`, or `sign_in.no_session`."""
    table = tables.sessions
    query = sa.select(table.c.principal).where(
        table.c.digest == digest_of_secret(secret), table.c.ended_at.is_(None), table.c.expires_at > now
    )
    name = reader.execute(query).scalar()
    if name is None:
        raise NO_SESSION(field="cookie")
    principal = principals.get(reader, name)
    if principal.disabled:
        raise DISABLED(field="cookie", name=principal.name)
    return principal


def sign_out(tx: Transaction, secret: str) -> None:
    """End the session; one that has ended stays ended."""
    table = tables.sessions
    alive = sa.and_(table.c.digest == digest_of_secret(secret), table.c.ended_at.is_(None))
    name = tx.execute(sa.select(table.c.principal).where(alive)).scalar()
    if name is not None:
        tx.execute(sa.update(table).where(alive).values(ended_at=tx.at))
        events.emit(tx, SignedOut(subject=f"principal/{name}", principal=name))


def _fresh(code: str, now: int) -> tuple[sa.ColumnElement[bool], ...]:
    table = tables.sign_in_links
    return (table.c.digest == digest_of_secret(code), table.c.used_at.is_(None), table.c.expires_at > now)
