"""Every route of the protocol and every way it says no, against a real process."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from conftest import EVERYTHING, TOKEN, Worker, fraud_body, tensor

from homeostat.inference.wire import Grant, Plan


@pytest.fixture
def worker(shared: Worker, make_plan: Callable[..., Plan]) -> Worker:
    """The module's worker, following the usual plan."""
    if not (shared.directory / "plan.json").exists():
        assert shared.ask("GET", "/v2/health/live")[0] == 200
        assert shared.ask("GET", "/v2/health/ready", authorization="") == (503, {"ready": False})
        tokens = {
            TOKEN: EVERYTHING,
            "replayer": Grant(principal="service:replay", endpoints=None, projects=("default",), replay=True),
            "price-only": Grant(principal="user:bob", endpoints=("price",), projects=("default",)),
            "elsewhere": Grant(principal="user:eve", endpoints=None, projects=("other",)),
            "late": Grant(principal="user:old", endpoints=None, projects=None, until=1),
            "soon": Grant(
                principal="user:new", endpoints=None, projects=None, until=time.time_ns() // 1000 + 3_600_000_000
            ),
        }
        assert shared.follow(make_plan(tokens=tokens)).failed == {}
    return shared


def error_of(answer: tuple[int, Any], status: int, *words: str) -> None:
    """The protocol's error form, naming what it should."""
    assert answer[0] == status, answer
    for word in (*words, "Fix: "):
        assert word in answer[1]["error"], answer


def test_health_needs_no_token(worker: Worker) -> None:
    assert worker.ask("GET", "/v2/health/live", authorization="") == (200, {"live": True})
    assert worker.ask("GET", "/v2/health/ready", authorization="") == (200, {"ready": True})


def test_server_metadata(worker: Worker) -> None:
    status, told = worker.ask("GET", "/v2")
    assert status == 200
    assert told["name"] == "homeostat" and told["extensions"] == []


def test_model_metadata(worker: Worker) -> None:
    status, told = worker.ask("GET", "/v2/models/fraud")
    assert status == 200
    assert told["versions"] == ["1"] and told["platform"] == "onnxruntime_onnx"
    assert told["inputs"][1] == {"name": "hour", "datatype": "INT64", "shape": [-1]}
    assert told["outputs"] == [
        {"name": "label", "datatype": "BYTES", "shape": [-1]},
        {"name": "score", "datatype": "FP64", "shape": [-1]},
    ]
    assert worker.ask("GET", "/v2/models/price/versions/7")[1]["outputs"][0]["name"] == "value"
    assert worker.ask("GET", "/v2/models/fraud/ready") == (200, {"name": "fraud", "ready": True})
    assert worker.ask("GET", "/v2/models/fraud/versions/1/ready")[0] == 200


def test_infer_answers_in_the_protocols_form(worker: Worker) -> None:
    status, told = worker.infer(fraud_body(id="mine"))
    assert status == 200
    prediction = told["parameters"]["prediction_id"]
    assert len(prediction) == 32
    assert told == {
        "model_name": "fraud",
        "model_version": "1",
        "id": "mine",
        "parameters": {"prediction_id": prediction, "arm": "champion"},
        "outputs": [
            {"name": "label", "datatype": "BYTES", "shape": [1], "data": ["yes"]},
            {"name": "score", "datatype": "FP64", "shape": [1], "data": [pytest.approx(0.85195, abs=1e-4)]},
        ],
    }
    assert worker.infer(fraud_body())[1]["id"] != "mine"


def test_infer_by_version_query_and_odd_spelling(worker: Worker) -> None:
    assert worker.ask("POST", "/v2/models/fraud/versions/1/infer", fraud_body())[0] == 200
    assert worker.ask("POST", "/v2/models/%66raud/infer?x=1", fraud_body())[0] == 200
    assert worker.infer(fraud_body(), homeostat_project="default")[0] == 200


@pytest.mark.parametrize(
    "inputs",
    [
        [{"name": "any", "shape": [2, 3], "datatype": "FP64", "data": [1, 2, 3, 4, 5, 6]}],
        [{"name": "any", "shape": [2, 3], "datatype": "FP32", "data": [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]}],
        [
            {"name": "amount", "shape": [2, 1], "datatype": "FP64", "data": [[1], [4.0]]},
            {"name": "hour", "shape": [2], "datatype": "UINT8", "data": [2, 5]},
            {"name": "age", "shape": [2, 1], "datatype": "INT16", "data": [3, 6]},
        ],
    ],
    ids=["flat matrix", "nested matrix", "columns"],
)
def test_every_way_to_send_two_rows(worker: Worker, inputs: list[Any]) -> None:
    status, told = worker.infer({"inputs": inputs})
    assert status == 200, told
    assert told["outputs"][1]["data"] == [pytest.approx(0.99753, abs=1e-4), pytest.approx(1.0, abs=1e-4)]
    record = worker.predictions()[-1]
    assert record.inputs == {"amount": [1.0, 4.0], "hour": [2, 5], "age": [3.0, 6.0]}
    assert [type(v) for column in record.inputs.values() for v in column] == [float, float, int, int, float, float]


def test_strings_regression_and_chosen_outputs(worker: Worker) -> None:
    body = {
        "inputs": [tensor("amount", [1.0, 1.0]), tensor("kind", ["risky", "né"], "BYTES")],
        "outputs": [{"name": "label"}],
    }
    status, told = worker.infer(body, "mixed")
    assert status == 200 and told["outputs"] == [{"name": "label", "datatype": "INT64", "shape": [2], "data": [1, 1]}]
    status, told = worker.infer({"inputs": [tensor("amount", [1.5]), tensor("hour", [2], "INT32")]}, "price")
    assert status == 200 and told["outputs"][0]["data"] == [13.5]


def test_nulls_where_they_are_allowed(worker: Worker) -> None:
    body = fraud_body()
    body["inputs"][2]["data"] = [None]
    status, told = worker.infer(body)
    assert status == 200 and told["outputs"][1]["data"] == [None]  # this model has no answer for it
    assert worker.predictions()[-1].inputs["age"] == [None]


def changed(index: int, **fields: Any) -> dict[str, Any]:
    body = fraud_body()
    body["inputs"][index] |= fields
    return body


def without(index: int) -> dict[str, Any]:
    body = fraud_body()
    del body["inputs"][index]
    return body


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", ("body", "JSON")),
        (b'{"inputs": [', ("body", "JSON")),
        (
            b'{"inputs": [{"name": "amount", "shape": [1], "datatype": "FP64", "data": [NaN]}]}',
            ("body", "JSON", "null"),
        ),
        (b"\xff\xfe", ("body", "JSON")),
        (b'{"inputs": [{"data": ' + b"[" * 100_000, ("body", "JSON", "nested")),
        (b"[]", ("Expected `object`",)),
        (b"{}", ("inputs",)),
        ({"inputs": []}, ("inputs", "amount, hour, age")),
        ({"inputs": [{"name": 3}]}, ("inputs[0].name", "Expected `str`")),
        (changed(0, data="x"), ("inputs[0].data",)),
        (changed(0, name="amuont"), ("inputs.amuont", "amount, hour, age")),
        (without(1), ("missing: hour",)),
        ({"inputs": fraud_body()["inputs"] + [tensor("age", [1.0])]}, ("inputs.age", "twice")),
        (changed(0, datatype="FP8"), ("inputs.amount", "FP8", "FP64")),
        (changed(1, datatype="FP64"), ("inputs.hour", "FP64", "INT64")),
        (changed(0, datatype="BYTES"), ("inputs.amount", "BYTES")),
        (changed(0, data=["x"]), ("inputs.amount", "row 0", "'x'", "a number")),
        (changed(0, data=[True]), ("inputs.amount", "True")),
        (changed(1, data=[1.5]), ("inputs.hour", "1.5", "a whole number")),
        (changed(0, data=[None]), ("inputs.amount", "null")),
        (changed(0, data=[1e39]), ("inputs.amount", "3.4")),
        (changed(0, data=[10**400]), ("inputs.amount",)),
        (
            b'{"inputs": [{"name": "amount", "shape": [1], "datatype": "FP64", "data": [1e999]}]}',
            ("inputs[0].data[0]",),
        ),
        (changed(1, datatype="INT8", data=[128]), ("inputs.hour", "-128 .. 127", "INT8")),
        (changed(1, data=[2**63]), ("inputs.hour", "INT64")),
        (changed(1, datatype="UINT8", data=[-1]), ("inputs.hour", "0 .. 255")),
        (changed(0, shape=[2]), ("inputs.amount", "shape [2]")),
        (changed(0, shape=[0], data=[]), ("inputs.amount", "shape")),
        (changed(0, shape=[]), ("inputs.amount", "shape")),
        (changed(0, shape=[-1]), ("inputs.amount", "shape")),
        (changed(0, shape=[1, 1, 1]), ("inputs.amount", "shape")),
        (changed(1, shape=[2], data=[1, 2]), ("inputs.hour", "shape [2]", "shape [1]")),
        (changed(0, shape=[1, 1], data=[[1.0, 2.0]]), ("inputs.amount",)),
        ({"inputs": [{"name": "m", "shape": [2, 3], "datatype": "FP64", "data": [1.0]}]}, ("inputs.m", "[n, 3]")),
        ({"inputs": [{"name": "m", "shape": [1, 3], "datatype": "BYTES", "data": ["a", "b", "c"]}]}, ("inputs.m",)),
        (
            {"inputs": [{"name": "m", "shape": [1, 3], "datatype": "FP64", "data": [1.0, 1.5, 1.0]}]},
            ("inputs.hour", "1.5"),
        ),
        ({"inputs": [{"name": "m", "shape": [1, 3], "datatype": "FP64", "data": [1.0, 1.0, 1e39]}]}, ("inputs.age",)),
        (fraud_body(outputs=[{"name": "loss"}]), ("outputs", "'loss'", "label, score")),
        (fraud_body(id="x" * 300), ("id",)),
        (fraud_body(parameters={"evnt_at": 1}), ("parameters", "evnt_at")),
        (fraud_body(parameters={"key": 1.5}), ("parameters.key",)),
        (fraud_body(parameters={"key": "x" * 600}), ("parameters.key", "512")),
        (fraud_body(parameters={"key": 2**64}), ("parameters.key", "64 bits")),
        (fraud_body(parameters={"key": "a", "keys": ["a"]}), ("parameters.key", "both")),
        (fraud_body(parameters={"keys": ["a", "b"]}), ("parameters.keys", "2 keys for 1 rows")),
        (fraud_body(2, parameters={"subject": "a"}), ("parameters.subjects", "1 subjects for 2 rows")),
    ],
)
def test_a_mistake_is_a_clear_400_and_written_without_rows(worker: Worker, body: Any, words: tuple[str, ...]) -> None:
    before = len(worker.predictions())
    error_of(worker.infer(body), 400, *words)
    records = worker.predictions()[before:]
    assert [(r.status, r.rows, r.inputs, r.outputs) for r in records] == [(400, 0, {}, {})]
    assert worker.infer(fraud_body())[0] == 200


def test_no_route_no_model_no_method(worker: Worker) -> None:
    error_of(worker.ask("GET", "/"), 404, "'/'")
    error_of(worker.ask("GET", "/v2/health/other", authorization=""), 404, "/v2/health")
    error_of(worker.ask("GET", "/v2/models/fraud/nothing"), 404)
    error_of(worker.ask("GET", "/v2/models/nobody"), 404, "'nobody'", "fraud")
    error_of(worker.ask("GET", "/v2/models/fraud/versions/9"), 404, "'9'", "use one of: 1")
    error_of(worker.ask("POST", "/v2/models/fraud/versions/01/infer", fraud_body()), 404, "'01'")
    error_of(worker.ask("GET", "/v2/models/fraud/versions/" + "9" * 30), 404)
    error_of(worker.ask("GET", "/v2/models/fraud/infer"), 405, "GET", "POST")
    error_of(worker.ask("DELETE", "/v2"), 405, "DELETE")


@pytest.mark.parametrize("name", ["..", "..%2f..%2fetc", "%2e%2e", "a%00b", "a%2fb", "%ff", "-x", "a" * 200])
def test_names_cannot_leave_their_place(worker: Worker, name: str) -> None:
    for tail in ("", "/infer", "/ready"):
        status, told = worker.ask(
            "POST" if tail == "/infer" else "GET",
            f"/v2/models/{name}{tail}",
            fraud_body() if tail == "/infer" else None,
        )
        assert status in (400, 404), told
        assert "error" in told


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v2"),
        ("GET", "/v2/models/fraud"),
        ("GET", "/v2/models/fraud/versions/1"),
        ("GET", "/v2/models/fraud/ready"),
        ("GET", "/v2/models/nobody"),
        ("POST", "/v2/models/fraud/infer"),
        ("POST", "/v2/models/fraud/versions/1/infer"),
        ("POST", "/v2/models/nobody/infer"),
        ("GET", "/metrics"),
        ("GET", "/nothing"),
    ],
)
def test_every_route_but_health_asks_for_a_token(worker: Worker, method: str, path: str) -> None:
    body = fraud_body() if method == "POST" else None
    for header in ("", "Bearer", "Bearer wrong", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}, Bearer x", "Bearer late"):
        error_of(worker.ask(method, path, body, authorization=header), 401, "authorization")


def test_the_challenge_and_odd_spellings_of_bearer(worker: Worker) -> None:
    connection = worker.connect()
    connection.request("GET", "/v2")
    assert connection.getresponse().getheader("www-authenticate") == "Bearer"
    connection.close()
    for header in (f"bearer {TOKEN}", f"BEARER  {TOKEN} ", "Bearer soon"):
        assert worker.infer(fraud_body(), authorization=header)[0] == 200


def test_scopes(worker: Worker) -> None:
    price = {"inputs": [tensor("amount", [1.0]), tensor("hour", [1], "INT64")]}
    assert worker.infer(price, "price", authorization="Bearer price-only")[0] == 200
    before = len(worker.predictions())
    for header in ("Bearer price-only", "Bearer elsewhere"):
        error_of(worker.infer(fraud_body(), authorization=header), 403, "'fraud'", "'default'")
        error_of(worker.ask("GET", "/v2/models/fraud", authorization=header), 403)
    # whether an endpoint exists is not told to who may not use it
    error_of(worker.ask("GET", "/v2/models/nobody", authorization="Bearer price-only"), 403)
    error_of(worker.infer(fraud_body(), homeostat_project="other"), 404, "'other'")
    assert len(worker.predictions()) == before
    metrics = worker.ask("GET", "/metrics", authorization="Bearer price-only")[1].decode()
    assert 'endpoint="price"' in metrics and 'endpoint="fraud"' not in metrics


def test_event_time_is_for_who_may_replay(worker: Worker) -> None:
    for value in (1_700_000_000_000_000, "2023-11-14T22:13:20Z"):
        assert worker.infer(fraud_body(parameters={"event_at": value}), authorization="Bearer replayer")[0] == 200
        record = worker.predictions()[-1]
        assert record.event_at == 1_700_000_000_000_000 and record.principal == "service:replay"
        assert record.recorded_at > record.event_at
    error_of(worker.infer(fraud_body(parameters={"event_at": 5})), 403, "parameters.event_at", "user:ann", "replay")
    for value in ("yesterday", 2**70):
        body = fraud_body(parameters={"event_at": value})
        error_of(worker.infer(body, authorization="Bearer replayer"), 400, "parameters.event_at")


def test_what_is_written_beside_a_prediction(worker: Worker) -> None:
    parameters = {"keys": ["a", 5], "subjects": ["ann", None]}
    told = worker.infer(fraud_body(2, parameters=parameters, id="mine"))[1]
    record = worker.predictions()[-1]
    assert record.request.hex() == told["parameters"]["prediction_id"]
    assert (record.keys, record.subjects, record.caller_id) == (["a", 5], ["ann", None], "mine")
    assert (record.endpoint, record.project, record.version, record.arm) == ("id-fraud", "default", 1, "champion")
    assert record.event_at == record.recorded_at and record.latency > 0 and record.rows == 2
    assert record.outputs == {"label": ["yes", "yes"], "score": told["outputs"][1]["data"]}
    worker.infer(fraud_body(parameters={"key": "k", "subject": 7}))
    record = worker.predictions()[-1]
    assert (record.keys, record.subjects) == (["k"], [7])


def test_foreign_hosts_and_origins_are_refused(worker: Worker) -> None:
    host = f"127.0.0.1:{worker.port}"
    for good in ({"Host": "localhost"}, {"Host": "[::1]:80"}, {"Host": host, "Origin": f"http://{host}"}):
        assert worker.ask("GET", "/v2/health/live", **good)[0] == 200, good
    for bad in ("evil.example", "127.0.0.1.evil.example", "localhost:x", "10.0.0.1", ""):
        assert worker.ask("GET", "/v2/health/live", Host=bad or "_")[0] == 403, bad
    for origin in ("http://evil.example", "null", f"http://127.0.0.1:{worker.port + 1}"):
        error_of(worker.infer(fraud_body(), Host=host, Origin=origin), 403, "origin")


def test_encodings_that_are_not_taken(worker: Worker) -> None:
    error_of(worker.infer(fraud_body(), content_encoding="gzip"), 400, "gzip")
    error_of(worker.infer(fraud_body(), Inference_Header_Content_Length="10"), 400, "binary")


def test_metrics_count(worker: Worker) -> None:
    def count() -> float:
        text = worker.ask("GET", "/metrics")[1].decode()
        line = 'homeostat_inference_requests_total{project="default",endpoint="fraud",status="200"} '
        return float(text.split(line)[1].split("\n")[0])

    before = count()
    for _ in range(3):
        worker.infer(fraud_body())
    assert count() == before + 3
    text = worker.ask("GET", "/metrics")[1].decode()
    assert "homeostat_inference_plan_epoch 1\n" in text
    assert 'latency_seconds_bucket{project="default",endpoint="fraud",le="+Inf"}' in text


def test_errors_are_json_in_every_case(worker: Worker) -> None:
    connection = worker.connect()
    connection.request("GET", "/v2/models/nobody", headers={"authorization": f"Bearer {TOKEN}"})
    response = connection.getresponse()
    told = json.loads(response.read())
    connection.close()
    assert response.getheader("content-type") == "application/json"
    assert set(told) == {"error", "code"} and told["code"] == "inference.unknown_endpoint"
