"""What the border refuses: foreign hosts and pages, malformed bodies, wrong types, unknown fields; and what it says."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Server

HEALTH = "/health"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost:x", ""])
def test_a_foreign_host_is_refused_on_every_route(shared: Server, host: str) -> None:
    for path in (HEALTH, "/api/v1/models"):
        answer = shared.ask("GET", path, headers={"Host": host})
        assert answer.status in (400, 403), host
        if host:
            assert answer.error["code"] == "inference.foreign_host"


def test_loopback_names_are_taken(shared: Server) -> None:
    for host in ("localhost", "127.0.0.1", "[::1]"):
        assert shared.ask("GET", HEALTH, headers={"Host": f"{host}:{shared.port}"}).status == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", "https://localhost"])
def test_a_foreign_page_is_refused_even_with_a_token(shared: Server, origin: str) -> None:
    before = shared.newest_event()
    answer = shared.ask("PUT", "/api/v1/models/m/aliases/a", {"version": 1}, headers={"Origin": origin})
    assert (answer.status, answer.error["code"]) == (403, "inference.foreign_origin")
    assert shared.newest_event() == before


def test_no_page_of_another_site_is_ever_allowed_to_read(shared: Server) -> None:
    answer = shared.ask("GET", HEALTH, headers={"Origin": f"http://127.0.0.1:{shared.port}"})
    assert answer.status == 200
    assert not any(name.startswith("access-control") for name in answer.headers)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"


DATASET = {"name": "transactions", "source": {"pattern": "*.csv"}}


@pytest.mark.parametrize(
    ("body", "field", "word"),
    [
        (b"{", "body", "truncated"),
        (b"", "body", "none"),
        (b"\xff\xfe", "body", ""),
        (b"[]", "body", "object"),
        (b'"x"', "body", "object"),
        (b"NaN", "body", ""),
        (b"[" * 100_000, "body", ""),
        ({"source": {}}, "name", "missing"),
        ({**DATASET, "name": 1}, "name", "str"),
        ({**DATASET, "nmae": "x"}, "nmae", "not known"),
        ({**DATASET, "source": {"pattern": "x", "patern": "y"}}, "source.patern", "not known"),
        ({**DATASET, "rules": [{"kind": "between", "lo": 1}]}, "rules[0].lo", "not known"),
        ({**DATASET, "rules": [{"kind": "nearly"}]}, "rules[0].kind", "nearly"),
        ({**DATASET, "label_delay": "3"}, "label_delay", "int"),
        ({**DATASET, "label_delay": True}, "label_delay", "int"),
        ({**DATASET, "label_delay": 2**70}, "label_delay", ""),
        ({**DATASET, "name": "../../etc/passwd"}, "name", "not allowed"),
        ({**DATASET, "name": "a" * 129}, "name", "not allowed"),
    ],
)
def test_a_bad_body_names_the_field_and_changes_nothing(shared: Server, body: Any, field: str, word: str) -> None:
    before = shared.newest_event()
    answer = shared.ask("POST", "/api/v1/datasets", body)
    assert (answer.status, answer.error["field"]) == (400, field), answer.body
    assert word in answer.error["message"] and answer.error["hint"]
    assert shared.newest_event() == before
    assert shared.ask("GET", "/api/v1/datasets").json == []


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/api/v1/events?after=x", "after"),
        ("/api/v1/events?after=-1", "after"),
        ("/api/v1/events?limit=0", "limit"),
        ("/api/v1/events?limit=1001", "limit"),
        ("/api/v1/decisions?state=nearly", "state"),
        ("/api/v1/models?project=../x", "project"),
    ],
)
def test_a_bad_parameter_is_named(shared: Server, path: str, field: str) -> None:
    answer = shared.ask("GET", path)
    assert (answer.status, answer.error["field"]) == (400, field), answer.body


def test_what_is_not_there_is_said_in_the_catalogues_words(shared: Server) -> None:
    missing = shared.ask("GET", "/api/v1/nothing")
    assert (missing.status, missing.error["code"]) == (404, "api.no_route")
    wrong = shared.ask("PATCH", "/api/v1/models")
    assert (wrong.status, wrong.error["code"]) == (405, "api.wrong_method")
    model = shared.ask("GET", "/api/v1/models/..%2f..%2fetc")
    assert model.status == 404
    assert shared.ask("GET", "/api/v1/models/none").error["code"] == "models.missing"


def test_a_body_too_large_is_refused(shared: Server) -> None:
    connection = shared.connect()
    connection.putrequest("POST", "/api/v1/datasets")
    connection.putheader("Authorization", f"Bearer {shared.secrets['admin']}")
    connection.putheader("Content-Length", str(65 << 20))
    connection.endheaders()
    response = connection.getresponse()
    assert (response.status, json.loads(response.read())["error"]["code"]) == (413, "api.too_large")
    connection.close()


def test_a_failure_inside_says_nothing_of_the_inside(shared: Server, caplog: pytest.LogCaptureFixture) -> None:
    shared.home.loop.busy = lambda: 1 / 0  # type: ignore[method-assign,assignment,return-value]
    try:
        answer = shared.ask("GET", "/api/v1/status")
    finally:
        del shared.home.loop.busy  # type: ignore[method-assign]
    assert (answer.status, answer.error["code"]) == (500, "internal")
    assert b"Traceback" not in answer.body and b"/" not in answer.error["message"].encode()
    assert "ZeroDivisionError" in caplog.text
