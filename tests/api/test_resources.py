"""Resources end to end over HTTP: objects, models, runs, approvals, events, the live stream."""

from __future__ import annotations

import http.client
import json
import os
import tarfile
import time
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from homeostat.foundation import events
from homeostat.foundation.ids import digest_of
from homeostat.governance import approvals, decisions
from homeostat.governance.records import Decision
from homeostat.packages.package import write
from homeostat.packages.records import Column, Manifest, Signature
from homeostat.registry.events import ModelCreated

if TYPE_CHECKING:
    from conftest import Server


def test_objects_go_in_and_come_out_whole(shared: Server) -> None:
    data = os.urandom(3 << 20)
    digest = shared.ask("PUT", "/api/v1/objects", data, token="worker").json["digest"]
    assert digest == digest_of(data)
    answer = shared.ask("GET", f"/api/v1/objects/{digest}", token="operator")
    assert answer.body == data and answer.headers["content-disposition"] == "attachment"
    assert shared.ask("PUT", "/api/v1/objects", b"").json["digest"] == digest_of(b"")
    assert shared.ask("GET", f"/api/v1/objects/{digest_of(b'none')}").error["code"] == "objects.missing"
    assert shared.ask("GET", "/api/v1/objects/..%2f..%2fhomeostat.db").status in (400, 404)


def test_an_upload_that_breaks_off_leaves_nothing(shared: Server) -> None:
    root = shared.home.objects.root
    assert root is not None

    def incoming() -> list[Path]:
        return [path for path in (root / "incoming").glob("*") if path.is_file()]

    def wait_until(there: bool) -> None:
        deadline = time.monotonic() + 20
        while bool(incoming()) != there:
            assert time.monotonic() < deadline
            time.sleep(0.005)

    connection = shared.connect()
    connection.putrequest("PUT", "/api/v1/objects")
    connection.putheader("Authorization", f"Bearer {shared.secrets['admin']}")
    connection.putheader("Content-Length", "1000000")
    connection.endheaders()
    connection.send(b"x" * 1000)
    wait_until(there=True)
    connection.close()
    wait_until(there=False)
    assert shared.ask("GET", f"/api/v1/objects/{digest_of(b'x' * 1000)}").status == 404


def register(server: Server, key: str | None = None, **more: Any) -> Any:
    signature = Signature(inputs=(Column(name="amount", kind="float"),), task="classification", classes=(0, 1))
    manifest = Manifest(format="onnx", files={}, layout="matrix", signature=signature, dataset="transactions")
    digest, _ = write(server.home.objects, manifest, {"model.onnx": b"not a pickle"})
    headers = {"Idempotency-Key": key} if key else None
    return server.ask("POST", "/api/v1/models/fraud/versions", {"package": digest, **more}, headers=headers)


def test_a_package_becomes_a_version_once(server: Server) -> None:
    first = register(server, "k1", tags={"team": "risk"})
    assert first.status == 201, first.body
    version = first.json
    assert (version["number"], version["dataset"], version["created_by"]) == (1, "transactions", "person:admin")
    assert (version["state"], version["missing"]) == ("incomplete", ["profile"])
    assert register(server, "k1").json["number"] == 1
    assert register(server).json["number"] == 2
    assert server.ask("PUT", "/api/v1/models/fraud/aliases/champion", {"version": 2}).json["aliases"] == ["champion"]
    assert server.ask("GET", "/api/v1/models/fraud/aliases/champion").json["number"] == 2
    assert server.ask("DELETE", "/api/v1/models/fraud/aliases/champion").status == 204
    assert [v["number"] for v in server.ask("GET", "/api/v1/models/fraud/versions").json] == [2, 1]
    assert server.ask("GET", f"/api/v1/packages/{version['package']}").json["signature"]["task"] == "classification"
    described = server.ask("PUT", "/api/v1/models/fraud/versions/1", {"description": "the first"}).json
    assert described["description"] == "the first" and described["tags"] == {"team": "risk"}
    unknown = server.ask("POST", "/api/v1/models/fraud/versions", {"package": "0" * 64})
    assert unknown.status == 404


def test_a_run_is_tracked(shared: Server) -> None:
    body = {"experiment": "fraud", "name": "first", "params": {"trees": 100}, "tags": {"who": "ada"}}
    run = shared.ask("POST", "/api/v1/runs", body, token="worker").json
    path = f"/api/v1/runs/{run['id']}"
    points = [{"key": "loss/val", "value": value, "at": 1, "step": step} for step, value in enumerate((0.5, 0.25))]
    assert shared.ask("POST", f"{path}/metrics", {"metrics": points}, token="worker").status == 200
    assert [p["value"] for p in shared.ask("GET", f"{path}/metrics/loss/val").json] == [0.5, 0.25]
    digest = shared.ask("PUT", "/api/v1/objects", b"plot").json["digest"]
    artifact = shared.ask("POST", f"{path}/artifacts", {"path": "plots/roc.txt", "digest": digest}).json
    assert (artifact["size"], artifact["digest"]) == (4, digest)
    assert shared.ask("POST", f"{path}/artifacts", {"path": "../x", "digest": digest}).status == 400
    assert shared.ask("POST", f"{path}/params", {"params": {"trees": 200}}).status == 409
    finished = shared.ask("POST", f"{path}/finish").json
    assert (finished["state"], finished["params"], finished["metrics"]) == (
        "FINISHED",
        {"trees": "100"},
        {"loss/val": 0.25},
    )
    assert [r["id"] for r in shared.ask("GET", "/api/v1/runs?experiment=fraud").json] == [run["id"]]


def test_an_approval_is_answered_by_a_person_once(server: Server) -> None:
    with server.write("service:loop") as tx:
        decision = decisions.record(
            tx,
            Decision(
                id="",
                at=0,
                event_at=None,
                subject="endpoint/fraud",
                decider="service:loop",
                rule="performance",
                verdict="retrain",
                summary="Misses doubled.",
            ),
        )
        asked = approvals.ask(tx, decision, "Retrain?")
    path = f"/api/v1/approvals/{asked.id}/answer"
    assert [a["id"] for a in server.ask("GET", "/api/v1/approvals?state=waiting", token="viewer").json] == [asked.id]
    assert server.ask("POST", path, {"approve": True}, token="operator").error["code"] == "access.denied"
    answer = server.ask("POST", path, {"approve": True, "reason": "seen"}, token="approver")
    assert (answer.json["state"], answer.json["answered_by"]) == ("approved", "person:approver")
    again = server.ask("POST", path, {"approve": False}, token="approver")
    assert (again.status, again.error["code"]) == (409, "approvals.answered")
    assert server.ask("GET", f"/api/v1/decisions/{decision.id}").json["state"] == "approved"


def test_tampering_is_found_over_http(server: Server) -> None:
    assert server.ask("POST", "/api/v1/audit/verify", token="viewer").json["intact"] is True
    with server.home.database.engine.connect() as connection, connection.begin():
        connection.execute(sa.update(events.events).where(events.events.c.seq == 2).values(actor="person:eve"))
    found = server.ask("POST", "/api/v1/audit/verify", token="viewer").json
    assert (found["intact"], found["first_bad"]) == (False, 2) and found["why"]


def test_a_label_with_an_event_time_needs_replay(shared: Server) -> None:
    body = {"labels": [{"value": 1, "key": "k", "event_at": 5}]}
    answer = shared.ask("POST", "/api/v1/datasets/none/labels", body, token="operator")
    assert (answer.status, answer.error["code"]) == (403, "access.denied")
    answer = shared.ask("POST", "/api/v1/datasets/none/labels", body, token="replayer")
    assert answer.status == 404, "let through, to the dataset that is not there"


def test_a_dataset_is_defined_ingested_and_labelled(server: Server, tmp_path: Path) -> None:
    (tmp_path / "day.csv").write_text("id,amount\n1,2.5\n2,3.5\n")
    body = {"name": "tx", "source": {"pattern": "day.csv", "base": str(tmp_path)}, "key": "id"}
    assert server.ask("POST", "/api/v1/datasets", body, token="operator").json["name"] == "tx"
    made = server.ask("POST", "/api/v1/datasets/tx/ingest", token="operator").json
    assert (made["version"]["number"], made["version"]["rows"], made["refused"]) == (1, 2, None), made
    assert server.ask("POST", "/api/v1/datasets/tx/ingest").json["version"] is None
    assert [v["number"] for v in server.ask("GET", "/api/v1/datasets/tx/versions").json] == [1]


def lines_of(response: http.client.HTTPResponse, until: str) -> list[str]:
    """The lines of a stream up to the one that begins with `until`."""
    found: list[str] = []
    while not found or not found[-1].startswith(until):
        line = response.readline()
        assert line, "the stream ended"
        found.append(line.decode().rstrip("\n"))
    return found


def test_the_live_stream_goes_on_from_where_it_broke(server: Server) -> None:
    start = server.newest_event()
    headers = {"Authorization": f"Bearer {server.secrets['viewer']}"}
    connection = server.connect()
    connection.request("GET", "/api/v1/events/stream", headers=headers)
    response = connection.getresponse()
    assert response.getheader("content-type", "").startswith("text/event-stream")
    lines_of(response, "retry")
    register(server)
    assert f"id: {start + 1}" in lines_of(response, "event: registry.model_created")
    lines_of(response, "event: registry.version_registered")
    connection.close()
    connection = server.connect()
    connection.request("GET", "/api/v1/events/stream", headers={**headers, "Last-Event-ID": str(start + 1)})
    again = lines_of(connection.getresponse(), "data")
    assert f"id: {start + 2}" in again and "event: registry.version_registered" in again
    connection.close()
    wrong = server.ask("GET", "/api/v1/events/stream", headers={"Last-Event-ID": "x"})
    assert (wrong.status, wrong.error["field"]) == (400, "Last-Event-ID")


def test_the_stream_catches_up_with_everything(server: Server) -> None:
    with server.write() as tx:
        for n in range(1200):
            events.emit(tx, ModelCreated(subject=f"model/m{n}", model=f"m{n}"))
    connection = server.connect()
    headers = {"Authorization": f"Bearer {server.secrets['viewer']}"}
    connection.request("GET", "/api/v1/events/stream?after=0&kind=registry.model_created", headers=headers)
    told = lines_of(connection.getresponse(), f"id: {server.newest_event()}")
    assert sum(line.startswith("event: ") for line in told) == 1199, "the last one's name follows its id"
    connection.close()


def test_a_stream_does_not_keep_the_server_from_ending(server: Server) -> None:
    connection = server.connect()
    headers = {"Authorization": f"Bearer {server.secrets['viewer']}"}
    connection.request("GET", "/api/v1/events/stream", headers=headers)
    response = connection.getresponse()
    lines_of(response, "retry")
    server.home.stopping = True
    assert response.read().strip() == b""
    connection.close()


def test_metrics_and_status(shared: Server) -> None:
    assert b"homeostat_events" in shared.ask("GET", "/metrics", token="viewer").body
    status = shared.ask("GET", "/api/v1/status", token="viewer").json
    assert status["home"] == str(shared.home.settings.home) and status["inference"].startswith("http://")
    assert shared.ask("GET", "/api/v1/definitions", token="viewer").json["policies"] == []


def test_the_way_out_is_plain_files(server: Server, tmp_path: Path) -> None:
    register(server, tags={"team": "risk"})
    run = server.ask("POST", "/api/v1/runs", {"experiment": "e"}).json
    digest = server.ask("PUT", "/api/v1/objects", b"plot").json["digest"]
    server.ask("POST", f"/api/v1/runs/{run['id']}/artifacts", {"path": "plots/roc.txt", "digest": digest})
    points = [{"key": "loss/val", "value": 0.5, "at": 1}]
    server.ask("POST", f"/api/v1/runs/{run['id']}/metrics", {"metrics": points})
    answer = server.ask("GET", "/api/v1/export")
    assert answer.headers["content-type"] == "application/x-tar"
    with tarfile.open(fileobj=BytesIO(answer.body)) as tar:
        tar.extractall(tmp_path / "out", filter="data")
    root = tmp_path / "out" / "default"
    assert (root / "models/fraud/1/package/model.onnx").read_bytes() == b"not a pickle"
    assert json.loads((root / "models/fraud/1/version.json").read_text())["tags"] == {"team": "risk"}
    assert (root / f"runs/{run['id']}/artifacts/plots/roc.txt").read_bytes() == b"plot"
    assert json.loads((root / f"runs/{run['id']}/metrics.jsonl").read_text())["value"] == 0.5
    told = [json.loads(line) for line in (root / "events.jsonl").read_text().splitlines()]
    assert told[-1]["kind"].startswith("tracking.") and all(event["hash"] for event in told)
    assert server.ask("GET", "/api/v1/export", token="operator").status == 403


def test_a_backup_is_made_while_it_runs(server: Server, tmp_path_factory: pytest.TempPathFactory) -> None:
    register(server)
    target = tmp_path_factory.mktemp("elsewhere") / "backup"
    answer = server.ask("POST", "/api/v1/backup", {"path": str(target)})
    assert answer.status == 200 and (target / "homeostat.db").is_file()
    again = server.ask("POST", "/api/v1/backup", {"path": str(target)})
    assert (again.status, again.error["field"]) == (409, "path")
    relative = server.ask("POST", "/api/v1/backup", {"path": "backup"})
    assert (relative.status, relative.error["code"]) == (400, "keep.relative_path")
