"""Endpoints, incidents and pipelines over HTTP: what a person does to them, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from homeostat.foundation import events
from homeostat.foundation.ids import digest_of
from homeostat.monitoring import incidents
from homeostat.registry import versions
from homeostat.serving import endpoints

if TYPE_CHECKING:
    from conftest import Server


@pytest.fixture
def fraud(server: Server) -> Server:
    """A server with an endpoint "fraud", a complete version 1 and an incomplete version 2."""
    with server.write() as tx:
        versions.register(tx, "fraud", digest_of(b"one"))
        versions.register(tx, "fraud", digest_of(b"two"), missing=["profile"])
        endpoints.create(tx, "fraud", "fraud")
    return server


def test_an_endpoint_is_paused_and_resumed_with_the_reason(fraud: Server) -> None:
    paused = fraud.ask("POST", "/api/v1/endpoints/fraud/pause", {"reason": "holiday"}, token="operator")
    assert (paused.status, paused.json["paused"]) == (200, True)
    assert fraud.ask("POST", "/api/v1/endpoints/fraud/resume", token="operator").json["paused"] is False
    with fraud.home.database.read() as reader:
        told = events.read_after(reader, subject="endpoint/fraud", kinds=["serving.endpoint_paused"])
    assert [(event.actor, event.reason) for event in told] == [("person:operator", "holiday")]


def test_a_deployment_is_asked_for_once_for_each_key(fraud: Server) -> None:
    path, key = "/api/v1/endpoints/fraud/deployments", {"Idempotency-Key": "ci-7"}
    first = fraud.ask("POST", path, {"version": 1, "reason": "first"}, token="operator", headers=key)
    assert (first.status, first.json["state"], first.json["requested_by"]) == (201, "gating", "person:operator")
    again = fraud.ask("POST", path, {"version": 1}, token="operator", headers=key)
    assert again.json["id"] == first.json["id"]
    assert [d["id"] for d in fraud.ask("GET", path, token="viewer").json] == [first.json["id"]]
    assert fraud.ask("GET", f"/api/v1/deployments/{first.json['id']}").json["reason"] == "first"


def test_what_cannot_be_deployed_or_rolled_back_is_refused(fraud: Server) -> None:
    path = "/api/v1/endpoints/fraud/deployments"
    before = fraud.newest_event()
    for body, status in (({"version": 2}, 409), ({"version": 9}, 404), ({"version": "1"}, 400), ({"versoin": 1}, 400)):
        assert fraud.ask("POST", path, body).status == status, body
    assert fraud.ask("POST", "/api/v1/endpoints/fraud/rollback", {"reason": "x"}).status == 409
    assert fraud.ask("POST", "/api/v1/endpoints/none/pause").error["code"] == "serving.no_endpoint"
    assert fraud.ask("POST", "/api/v1/pipelines/none/runs", {"params": {}}).status == 404
    assert fraud.newest_event() == before


def test_an_incident_is_dismissed_by_a_person(fraud: Server) -> None:
    with fraud.write("service:loop") as tx:
        raised = incidents.raise_(
            tx, "fraud", "fraud", 1, "drift", event_at=5, change_at=None, summary="amount moved", evidence={}
        )
    assert [i["id"] for i in fraud.ask("GET", "/api/v1/incidents?state=open&endpoint=fraud").json] == [raised.id]
    answer = fraud.ask("POST", f"/api/v1/incidents/{raised.id}/dismiss", {"reason": "a sale"}, token="operator")
    assert (answer.json["state"], answer.json["resolution"]) == ("dismissed", "a sale")


def test_definitions_are_applied_whole_or_not_at_all(fraud: Server) -> None:
    good = {"name": "tx", "source": {"pattern": "*.csv"}}
    bad = {"datasets": [good, {"name": "../x", "source": {"pattern": "*.csv"}}]}
    assert fraud.ask("POST", "/api/v1/definitions", bad, token="operator").error["code"] == "name.invalid"
    assert fraud.ask("GET", "/api/v1/datasets").json == []
    applied = fraud.ask("POST", "/api/v1/definitions", {"datasets": [good], "policies": []}, token="operator")
    assert [d["name"] for d in applied.json["datasets"]] == ["tx"]
    unknown = fraud.ask("POST", "/api/v1/definitions", {"datasets": [{**good, "lable": "y"}]})
    assert (unknown.status, unknown.error["field"]) == (400, "datasets[0].lable")
