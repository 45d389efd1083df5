"""Tokens and sessions over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from homeostat.foundation.clock import HOUR
from homeostat.governance import principals, tokens

if TYPE_CHECKING:
    from conftest import Answer, Server


def same_origin(server: Server) -> dict[str, str]:
    return {"Origin": f"http://127.0.0.1:{server.port}"}


def sign_in(server: Server, role: str = "admin") -> tuple[str, Answer]:
    """A session's cookie, and the answer that set it."""
    link = server.ask("POST", "/api/v1/sign-in-links", token=role)
    assert link.status == 201
    answer = server.ask("GET", link.json["path"], token=None)
    return answer.headers.get("set-cookie", "").partition(";")[0], answer


def test_a_link_signs_a_browser_in_once(shared: Server) -> None:
    link = shared.ask("POST", "/api/v1/sign-in-links", token="viewer").json["path"]
    answer = shared.ask("GET", link, token=None)
    assert (answer.status, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"homeostat_session_{shared.port}=hs_")
    assert "HttpOnly" in cookie and "SameSite=lax" in cookie and "Path=/" in cookie
    session = {"Cookie": cookie.partition(";")[0]}
    me = shared.ask("GET", "/api/v1/me", token=None, headers=session)
    assert (me.json["principal"]["name"], me.json["permissions"]) == ("person:viewer", ["read"])
    replayed = shared.ask("GET", link, token=None)
    page = shared.ask("GET", link, token=None, headers={"Accept": "text/html"})
    assert page.headers["content-type"].startswith("text/plain") and page.body.startswith(b"code: this sign-in link")
    assert (replayed.status, replayed.error["code"]) == (401, "sign_in.bad_link")
    assert "set-cookie" not in replayed.headers
    told = shared.ask("GET", "/api/v1/events?kind=governance.signed_in").json
    assert [(event["actor"], event["subject"]) for event in told] == [("person:viewer", "principal/person:viewer")]


@pytest.mark.parametrize("to", ["//evil.example", "https://evil.example", "/\\evil.example", "evil"])
def test_signing_in_never_leads_to_another_server(shared: Server, to: str) -> None:
    link = shared.ask("POST", "/api/v1/sign-in-links").json["path"]
    answer = shared.ask("GET", f"{link}&to={to}", token=None)
    assert (answer.status, answer.headers["location"]) == (303, "/")


def test_a_cookie_writes_only_from_a_page_of_this_server(shared: Server) -> None:
    cookie, _ = sign_in(shared, "approver")
    headers = {"Cookie": cookie}
    path, body = "/api/v1/approvals/none/answer", {"approve": True}
    assert shared.ask("POST", path, body, token=None, headers=headers).error["code"] == "api.cross_site"
    foreign = {**headers, "Sec-Fetch-Site": "cross-site"}
    assert shared.ask("POST", path, body, token=None, headers=foreign).error["code"] == "api.cross_site"
    foreign = {**headers, "Origin": "http://evil.example"}
    assert shared.ask("POST", path, body, token=None, headers=foreign).status == 403
    for own in (same_origin(shared), {"Sec-Fetch-Site": "same-origin"}):
        answer = shared.ask("POST", path, body, token=None, headers={**headers, **own})
        assert answer.error["code"] == "approvals.missing", "let through, to the question itself"
    assert shared.ask("GET", "/api/v1/models", token=None, headers=headers).status == 200


def test_signing_out_ends_the_session(shared: Server) -> None:
    cookie, _ = sign_in(shared)
    headers = {"Cookie": cookie, **same_origin(shared)}
    assert shared.ask("POST", "/api/v1/sign-out", token=None, headers=headers).status == 200
    assert shared.ask("GET", "/api/v1/me", token=None, headers=headers).error["code"] == "sign_in.no_session"


def test_a_session_runs_out(server: Server) -> None:
    cookie, _ = sign_in(server)
    server.home.clock.advance(12 * HOUR)  # type: ignore[attr-defined]
    answer = server.ask("GET", "/api/v1/me", token=None, headers={"Cookie": cookie})
    assert (answer.status, answer.error["code"]) == (401, "sign_in.no_session")


def test_only_an_administrator_makes_links_for_others(shared: Server) -> None:
    body = {"principal": "person:admin"}
    assert shared.ask("POST", "/api/v1/sign-in-links", body, token="viewer").error["code"] == "access.denied"
    assert shared.ask("POST", "/api/v1/sign-in-links", {"principal": "person:viewer"}).status == 201


def test_expired_and_revoked_tokens_are_refused_at_once(server: Server) -> None:
    made = server.ask("POST", "/api/v1/tokens", {"label": "ci", "ttl": "1h", "scopes": ["read"]}).json
    assert made["token"]["digest"] == ""
    secret = made["secret"]
    assert server.ask("GET", "/api/v1/models", token=secret).status == 200
    server.home.clock.advance(HOUR)  # type: ignore[attr-defined]
    assert server.ask("GET", "/api/v1/models", token=secret).error["code"] == "tokens.expired"
    made = server.ask("POST", "/api/v1/tokens", {"label": "ci"}).json
    assert server.ask("DELETE", f"/api/v1/tokens/{made['token']['id']}").json["revoked_at"]
    assert server.ask("GET", "/api/v1/models", token=made["secret"]).error["code"] == "tokens.revoked"
    assert made["secret"] not in server.ask("GET", "/api/v1/tokens").body.decode()


@pytest.mark.parametrize(
    ("limits", "path", "project", "status"),
    [
        ({"scopes": ["read"]}, "/api/v1/models", "default", 200),
        ({"scopes": ["read"]}, "/api/v1/principals", "default", 403),
        ({"projects": ["a"]}, "/api/v1/models", "a", 200),
        ({"projects": ["a"]}, "/api/v1/models", "default", 403),
        ({"projects": ["a"]}, "/api/v1/principals", "a", 403),
        ({"endpoints": ["fraud"]}, "/api/v1/endpoints/fraud", "default", 404),
        ({"endpoints": ["fraud"]}, "/api/v1/endpoints/other", "default", 403),
        ({"endpoints": ["fraud"]}, "/api/v1/models", "default", 403),
    ],
)
def test_a_token_narrows_its_principal(
    shared: Server, limits: dict[str, Any], path: str, project: str, status: int
) -> None:
    with shared.write() as tx:
        secret, _ = tokens.issue(tx, "person:admin", "narrow", **limits)
    for way in ({"Homeostat-Project": project}, None):
        asked = path if way else f"{path}?project={project}"
        assert shared.ask("GET", asked, token=secret, headers=way).status == status


def test_a_limited_token_cannot_raise_itself(shared: Server) -> None:
    with shared.write() as tx:
        secret, _ = tokens.issue(tx, "person:admin", "narrow", scopes=["admin", "read"])
    before = shared.newest_event()
    raising: list[tuple[str, Any]] = [
        ("/api/v1/tokens", {"label": "all"}),
        ("/api/v1/tokens", {"label": "more", "scopes": ["deploy"]}),
        ("/api/v1/tokens", {"label": "other", "principal": "person:operator", "scopes": ["read"]}),
        ("/api/v1/sign-in-links", None),
        ("/api/v1/principals", {"name": "person:eve", "kind": "person", "roles": ["admin"]}),
    ]
    for path, body in raising:
        answer = shared.ask("POST", path, body, token=secret)
        assert (answer.status, answer.error["code"]) == (403, "access.wider_token"), path
    assert shared.newest_event() == before


def test_a_disabled_principal_is_out(server: Server) -> None:
    answer = server.ask("DELETE", "/api/v1/principals/person:viewer")
    assert answer.json["disabled"] is True
    assert server.ask("GET", "/api/v1/models", token="viewer").error["code"] == "principals.disabled"


def test_projects_are_kept_apart(shared: Server) -> None:
    with shared.write() as tx:
        principals.ensure(tx, "person:a", "person", ("operator",), ("a",))
        secret, _ = tokens.issue(tx, "person:a", "test")
    inside = {"Homeostat-Project": "a"}
    dataset = {"name": "mine", "source": {"pattern": "*.csv"}}
    assert shared.ask("POST", "/api/v1/datasets", dataset, token=secret, headers=inside).status == 200
    assert shared.ask("POST", "/api/v1/datasets", dataset, token=secret).status == 403
    assert [d["name"] for d in shared.ask("GET", "/api/v1/datasets?project=a").json] == ["mine"]
    assert shared.ask("GET", "/api/v1/datasets").json == []


@pytest.mark.parametrize("authorization", ["Basic eDp5", "Bearer", "Bearer ", "hs_x", ""])
def test_another_scheme_is_no_token(shared: Server, authorization: str) -> None:
    answer = shared.ask("GET", "/api/v1/models", token=None, headers={"Authorization": authorization})
    assert (answer.status, answer.error["code"]) == (401, "api.no_token")


def test_no_auth_lets_the_loopback_caller_in_and_no_foreign_page(serve: Callable[..., Server]) -> None:
    server = serve(auth=False)
    assert server.ask("GET", "/api/v1/me", token=None).json["principal"]["name"] == "person:anonymous"
    dataset = {"name": "d", "source": {"pattern": "*.csv"}}
    assert server.ask("POST", "/api/v1/datasets", dataset, token=None).status == 200
    foreign = {"Origin": "http://evil.example"}
    assert server.ask("POST", "/api/v1/datasets", dataset, token=None, headers=foreign).status == 403
    assert server.ask("GET", "/api/v1/me", token="hs_wrong").status == 401, "a wrong token is not no token"
