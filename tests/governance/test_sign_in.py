"""The one-time link and the session it opens."""

from __future__ import annotations

import pytest

from homeostat.foundation import events
from homeostat.foundation.clock import HOUR, MINUTE, DrivenClock
from homeostat.foundation.database import Database
from homeostat.foundation.errors import HomeostatError
from homeostat.governance import principals, sign_in, tokens


@pytest.fixture(autouse=True)
def ada(database: Database) -> None:
    with database.write(actor="service:test") as tx:
        principals.ensure(tx, "person:ada", "person", ("admin",))


def link(database: Database) -> str:
    with database.write(actor="person:ada") as tx:
        return sign_in.issue(tx, "person:ada")


def redeem(database: Database, code: str) -> str:
    with database.write(actor="person:ada") as tx:
        return sign_in.redeem(tx, code)


def test_a_link_opens_one_session(database: Database, clock: DrivenClock) -> None:
    code = link(database)
    secret = redeem(database, code)
    with database.read() as reader:
        assert sign_in.session(reader, secret, clock.now()).name == "person:ada"
        kinds = [event.kind for event in events.read_after(reader)]
    assert kinds[-2:] == ["governance.sign_in_link_issued", "governance.signed_in"]
    with pytest.raises(HomeostatError) as raised:
        redeem(database, code)
    assert raised.value.code == "sign_in.bad_link", "a link works once"


def test_a_link_lives_ten_minutes(database: Database, clock: DrivenClock) -> None:
    code = link(database)
    clock.advance(10 * MINUTE)
    with pytest.raises(HomeostatError):
        redeem(database, code)


def test_a_session_lives_twelve_hours_or_until_signed_out(database: Database, clock: DrivenClock) -> None:
    first, second = redeem(database, link(database)), redeem(database, link(database))
    with database.write(actor="person:ada") as tx:
        sign_in.sign_out(tx, first)
        sign_in.sign_out(tx, first)
    with database.read() as reader:
        with pytest.raises(HomeostatError):
            sign_in.session(reader, first, clock.now())
        assert sign_in.session(reader, second, clock.now() + 12 * HOUR - 1)
        with pytest.raises(HomeostatError):
            sign_in.session(reader, second, clock.now() + 12 * HOUR)


def test_secrets_do_not_stand_in_for_one_another(database: Database, clock: DrivenClock) -> None:
    code = link(database)
    with database.write(actor="person:ada") as tx:
        token, _ = tokens.issue(tx, "person:ada", "test")
    with database.read() as reader:
        for secret in (code, token, ""):
            with pytest.raises(HomeostatError):
                sign_in.session(reader, secret, clock.now())


def test_a_disabled_principal_is_out_at_once(database: Database, clock: DrivenClock) -> None:
    code, secret = link(database), redeem(database, link(database))
    with database.write(actor="service:test") as tx:
        principals.disable(tx, "person:ada")
    with database.read() as reader, pytest.raises(HomeostatError) as raised:
        sign_in.session(reader, secret, clock.now())
    assert raised.value.code == "principals.disabled"
    with pytest.raises(HomeostatError):
        redeem(database, code)


def test_a_limited_token_cannot_ask_for_a_session(database: Database, clock: DrivenClock) -> None:
    with database.write(actor="person:ada") as tx:
        _, narrow = tokens.issue(tx, "person:ada", "narrow", scopes=["admin"])
        _, short = tokens.issue(tx, "person:ada", "short", ttl=HOUR)
        with pytest.raises(HomeostatError) as raised:
            sign_in.issue(tx, "person:ada", issuer=narrow)
        assert raised.value.code == "access.wider_token"
        code = sign_in.issue(tx, "person:ada", issuer=short)
    secret = redeem(database, code)
    with database.read() as reader, pytest.raises(HomeostatError):
        sign_in.session(reader, secret, clock.now() + HOUR)
