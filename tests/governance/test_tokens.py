"""Tokens: kept as digests, narrowed, expiring, revocable; and what the inference plan is told of them."""

from __future__ import annotations

import base64
import hashlib
import sqlite3
from pathlib import Path

import pytest

from homeostat.foundation import events
from homeostat.foundation.clock import HOUR, DrivenClock
from homeostat.foundation.database import Database
from homeostat.foundation.errors import HomeostatError, Kind
from homeostat.governance import principals, tokens
from homeostat.governance.records import Token


@pytest.fixture
def ada(database: Database) -> str:
    with database.write(actor="service:test") as tx:
        principals.ensure(tx, "person:ada", "person", ("admin",))
        principals.ensure(tx, "service:shop", "service", ("caller", "replayer"), ("a", "b"))
    return "person:ada"


def issue(database: Database, principal: str, **limits: object) -> tuple[str, Token]:
    with database.write(actor="person:ada") as tx:
        return tokens.issue(tx, principal, "test", **limits)  # type: ignore[arg-type]


def test_the_secret_is_256_random_bits_and_is_kept_nowhere(database: Database, ada: str, tmp_path: Path) -> None:
    secret, token = issue(database, ada)
    assert secret.startswith("hs_")
    assert len(base64.urlsafe_b64decode(secret[3:] + "=")) == 32
    assert token.digest == hashlib.sha256(secret.encode()).hexdigest()
    assert issue(database, ada)[0] != secret
    database.close()
    for file in tmp_path.iterdir():
        assert secret.encode() not in file.read_bytes()


def test_it_resolves_to_its_principal(database: Database, ada: str, clock: DrivenClock) -> None:
    secret, token = issue(database, ada, scopes=["read"], projects=["a"], endpoints=["fraud"], ttl=HOUR)
    with database.read() as reader:
        principal, found = tokens.resolve(reader, secret, clock.now())
    assert principal.name == ada
    assert found == token
    assert (found.scopes, found.projects, found.endpoints) == (("read",), ("a",), ("fraud",))


def refused(database: Database, secret: str, now: int) -> str:
    with database.read() as reader, pytest.raises(HomeostatError) as raised:
        tokens.resolve(reader, secret, now)
    assert raised.value.kind is Kind.UNAUTHENTICATED
    return raised.value.code


def test_unknown_expired_revoked_and_disabled_are_refused(database: Database, ada: str, clock: DrivenClock) -> None:
    secret, token = issue(database, ada, ttl=HOUR)
    assert refused(database, "hs_wrong", clock.now()) == "tokens.unknown"
    assert refused(database, token.digest, clock.now()) == "tokens.unknown", "the digest is not the secret"
    assert refused(database, secret, clock.now() + HOUR) == "tokens.expired"
    with database.write(actor=ada) as tx:
        principals.disable(tx, ada)
    assert refused(database, secret, clock.now()) == "principals.disabled"
    with database.write(actor=ada) as tx:
        principals.ensure(tx, ada, "person", ("admin",))
        tokens.revoke(tx, token.id)
        assert tokens.revoke(tx, token.id).revoked_at == clock.now()
    assert refused(database, secret, clock.now()) == "tokens.revoked"


@pytest.mark.parametrize(
    ("limits", "field"),
    [
        ({"scopes": ["no.such"]}, "scopes"),
        ({"projects": ["../x"]}, "projects"),
        ({"endpoints": ["a/b"]}, "endpoints"),
        ({"ttl": 0}, "ttl"),
    ],
)
def test_bad_limits_are_refused_and_change_nothing(database: Database, ada: str, limits: object, field: str) -> None:
    with pytest.raises(HomeostatError) as raised:
        issue(database, ada, **limits)  # type: ignore[arg-type]
    assert raised.value.field == field
    with database.read() as reader:
        assert tokens.listing(reader) == []


def test_a_limited_token_cannot_make_a_wider_one(database: Database, ada: str, clock: DrivenClock) -> None:
    _, narrow = issue(database, ada, scopes=["admin", "read"], ttl=HOUR)
    for limits, field in (
        ({}, "scopes"),
        ({"scopes": ["deploy"]}, "scopes"),
    ):
        with pytest.raises(HomeostatError) as raised:
            issue(database, ada, issuer=narrow, **limits)
        assert (raised.value.code, raised.value.field) == ("access.wider_token", field)
    with pytest.raises(HomeostatError, match="principal"):
        issue(database, "service:shop", issuer=narrow, scopes=["read"])
    _, made = issue(database, ada, issuer=narrow, scopes=["read"])
    assert made.expires_at == clock.now() + HOUR, "it cannot outlive the token that made it"


def test_the_plan_is_told_of_tokens_that_may_predict(database: Database, ada: str, clock: DrivenClock) -> None:
    _, admin = issue(database, ada)
    _, shop = issue(database, "service:shop", projects=["b", "c"], endpoints=["fraud"], ttl=HOUR)
    issue(database, "service:shop", projects=["c"])  # not one of the principal's: grants nothing
    issue(database, ada, scopes=["read"])
    _, gone = issue(database, ada)
    with database.write(actor=ada) as tx:
        tokens.revoke(tx, gone.id)
    with database.read() as reader:
        grants = tokens.grants(reader, clock.now())
        later = tokens.grants(reader, clock.now() + HOUR)
    assert set(grants) == {admin.digest, shop.digest}
    assert (grants[admin.digest].projects, grants[admin.digest].replay) == (None, False)
    grant = grants[shop.digest]
    assert (grant.projects, grant.endpoints, grant.replay) == (("b",), ("fraud",), True)
    assert grant.until == clock.now() + HOUR
    assert set(later) == {admin.digest}


def test_issuing_and_revoking_are_told_without_the_secret(database: Database, ada: str) -> None:
    secret, token = issue(database, ada)
    with database.write(actor=ada) as tx:
        tokens.revoke(tx, token.id)
    with database.read() as reader:
        told = events.read_after(reader, kinds=["governance.token_issued", "governance.token_revoked"])
    assert [event.kind for event in told] == ["governance.token_issued", "governance.token_revoked"]
    assert all(event.subject == f"token/{token.id}" and event.actor == ada for event in told)
    assert secret not in str(told)


def test_principals_are_checked_and_told_of_once(database: Database) -> None:
    with database.write(actor="service:test") as tx:
        for _ in range(2):
            principals.ensure(tx, "agent:tuner", "agent", ("viewer", "caller"))
        principals.ensure(tx, "agent:tuner", "agent", ("viewer",), ("a",))
        told = events.read_after(tx, kinds=["governance.principal_changed"])
        assert [event.payload and event.payload["roles"] for event in told] == [["caller", "viewer"], ["viewer"]]
        for name, kind, roles in (
            ("ada", "person", ()),
            ("person:ada", "service", ()),
            ("person:../x", "person", ()),
            ("person:ada", "person", ("king",)),
            ("robot:ada", "robot", ()),
        ):
            with pytest.raises(HomeostatError):
                principals.ensure(tx, name, kind, roles)  # type: ignore[arg-type]
        assert [p.name for p in principals.listing(tx)] == ["agent:tuner"]


def test_rows_keep_the_digest_only(database: Database, ada: str, tmp_path: Path) -> None:
    secret, token = issue(database, ada)
    database.close()
    rows = sqlite3.connect(tmp_path / "homeostat.db")
    try:
        kept = rows.execute("SELECT * FROM tokens").fetchall()
    finally:
        rows.close()
    assert len(kept) == 1 and token.digest in kept[0] and secret not in kept[0]
