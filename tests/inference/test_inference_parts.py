"""The parts one by one: segments, hosts, batches, the follower's guard, and the ASGI adapter."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from conftest import EVERYTHING, TOKEN, Worker, fraud_body, tensor
from hypothesis import given
from hypothesis import strategies as st

from homeostat.foundation.clock import SystemClock
from homeostat.foundation.errors import HomeostatError
from homeostat.inference import routes, runtimes, wire
from homeostat.inference.access import Hosts
from homeostat.inference.asgi import InferenceApp
from homeostat.inference.following import Follower
from homeostat.inference.handler import Handler
from homeostat.inference.http import Limits
from homeostat.inference.infer import Job
from homeostat.inference.segments import SegmentWriter, seal_leftovers
from homeostat.inference.wire import Plan, Prediction

HEADERS = {b"host": b"localhost", b"authorization": f"Bearer {TOKEN}".encode()}
INFER = b"/v2/models/fraud/infer"


def handler_of(plan: Plan, log: SegmentWriter | None = None, load: Any = runtimes.load_package) -> Handler:
    handler = Handler(log)
    handler.table, failed = routes.build(plan, plan.objects, routes.EMPTY, load, print)
    assert failed == {}
    return handler


def record(number: int, text: str = "") -> Prediction:
    return Prediction(
        number.to_bytes(16, "big"), 1, 2, "e", "p", 1, "champion", 200, 5, 1, None, None,
        {"x": [text]}, {"value": [0.5]}, "user:a",
    )  # fmt: skip


# Segments


@given(st.lists(st.integers(0, 3000), max_size=30), st.integers(300, 4000))
def test_what_is_appended_is_read_back_in_order(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], size: int
) -> None:
    directory = tmp_path_factory.mktemp("segments")
    writer = SegmentWriter(directory, "w-1", size)
    written = [record(i, "x" * n) for i, n in enumerate(sizes)]
    for each in written:
        writer.append(wire.encode_prediction(each))

    def read() -> list[Prediction]:
        return [r for _, path, _ in wire.segments(directory) for _, r in wire.read_segment(path.read_bytes())]

    assert read() == written
    writer.seal()
    assert read() == written
    assert all(sealed for _, _, sealed in wire.segments(directory))


def test_a_torn_tail_is_cut_and_the_rest_kept(tmp_path: Path) -> None:
    for worker in ("0", "1"):
        writer = SegmentWriter(tmp_path, worker, 4096)
        for i in range(3):
            writer.append(wire.encode_prediction(record(i)))
    paths = {path.name.split("-")[0]: path for _, path, _ in wire.segments(tmp_path)}
    data = paths["0"].read_bytes()
    ends = [end for end, _ in wire.read_segment(data)]
    for torn in (
        data[: ends[2] - 1],  # cut short
        data[: ends[1]] + b"\x05\0\0\0" + b"\0" * 100,  # a length whose record is not there
        data[: ends[1]] + data[ends[1] : ends[2] - 2] + b"??" + b"\0" * 10,  # a record that is not what it was
    ):
        paths["0"].write_bytes(torn)
        assert seal_leftovers(tmp_path, "0") == 1
        sealed = paths["0"].with_suffix(".sealed")
        assert sealed.read_bytes() == data[: ends[1]]
        sealed.rename(paths["0"])
    for stub in (b"", b"HSEG", b"\0" * 20):
        paths["0"].write_bytes(stub)
        assert seal_leftovers(tmp_path, "0") == 1
        assert list(wire.read_segment(sealed.read_bytes())) == []
        sealed.rename(paths["0"])
    assert paths["1"].exists()  # another worker's is not touched


def test_no_room_is_told_and_comes_back(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    writer = SegmentWriter(gone, "0", 4096)
    with pytest.raises(HomeostatError, match="ENOENT"):
        writer.append(b"x")
    with pytest.raises(HomeostatError, match="ENOENT"):
        writer.append(b"x")
    assert (writer.failures, writer.written) == (2, 0)


# Hosts


@pytest.mark.parametrize(
    ("bound", "allowed", "host", "good"),
    [
        ("127.0.0.1", (), "localhost:8701", True),
        ("127.0.0.1", (), "LOCALHOST", True),
        ("127.0.0.1", (), "192.168.1.5", False),
        ("192.168.1.5", (), "192.168.1.5:8701", True),
        ("0.0.0.0", (), "192.168.1.5:8701", True),
        ("0.0.0.0", (), "[fe80::1]:8701", True),
        ("0.0.0.0", (), "rebound.example", False),
        ("0.0.0.0", ("models.example",), "Models.Example:443", True),
        ("127.0.0.1", (), "localhost, localhost", False),
    ],
)
def test_hosts(bound: str, allowed: tuple[str, ...], host: str, good: bool) -> None:
    hosts = Hosts(bound, allowed)
    for _ in range(2):  # the second time from memory
        if good:
            hosts.check({b"host": host.encode()})
        else:
            with pytest.raises(HomeostatError, match="Host header"):
                hosts.check({b"host": host.encode()})


# Batches


class Picky:
    """A predictor that raises on negative amounts and counts its calls."""

    def __init__(self, inner: runtimes.Predictor) -> None:
        self.manifest = inner.manifest
        self.example = inner.example
        self._inner = inner
        self.calls: list[int] = []

    def predict(self, columns: runtimes.Columns, n: int) -> dict[str, Any]:
        self.calls.append(n)
        if min(columns["amount"]) < 0:
            raise ArithmeticError("negative")
        return self._inner.predict(columns, n)


def test_requests_of_one_turn_are_predicted_together(make_plan: Callable[..., Plan]) -> None:
    made: list[Picky] = []

    def load(objects: str, digest: str) -> Picky:
        made.append(Picky(runtimes.load_package(objects, digest)))
        return made[-1]

    handler = handler_of(make_plan(fraud=[("champion", 1, "v1", 1.0)]), load=load)
    made[0].calls.clear()
    bodies = [fraud_body(rows, id=str(rows)) for rows in (1, 3, 600, 2)]
    bodies[1]["inputs"][0]["data"] = [5.0, 0.0, -0.0]

    def jobs() -> list[Job]:
        got = [handler.prepare(b"POST", INFER, HEADERS, json.dumps(body).encode(), 0) for body in bodies]
        return [job for job in got if isinstance(job, Job)]

    alone = [handler.complete([job])[0] for job in jobs()]
    made[0].calls.clear()
    together = handler.complete(jobs())
    assert made[0].calls == [4, 600, 2]  # a call holds at most 512 rows of several requests
    for a, b in zip(alone, together, strict=True):
        assert a.status == b.status == 200
        one, other = json.loads(a.body), json.loads(b.body)
        assert (one["id"], one["outputs"]) == (other["id"], other["outputs"])

    bodies[1]["inputs"][0]["data"] = [5.0, 0.0, -1.0]
    spoilt = handler.complete(jobs())
    assert [answer.status for answer in spoilt] == [200, 500, 200, 200]
    assert json.loads(spoilt[1].body)["code"] == "inference.model_failed"


# The follower


def test_open_access_is_not_taken_beyond_loopback(tmp_path: Path, make_plan: Callable[..., Plan]) -> None:
    plan = make_plan(more={"open_access": True, "anonymous": EVERYTHING})
    (tmp_path / "plan.json").write_bytes(msgspec.json.encode(plan))
    (tmp_path / "acks").mkdir()
    told: list[str] = []

    async def scene() -> int:
        handler = Handler()
        follower = Follower(
            handler, tmp_path, worker="0", port=1, loopback=False, objects=None, load=runtimes.load_package,
            clock=SystemClock(), warn=told.append,
        )  # fmt: skip
        following = asyncio.create_task(follower.run())
        while handler.table.epoch == 0:
            await asyncio.sleep(0.001)
        following.cancel()
        follower.close()
        return handler.handle(b"GET", b"/v2", {b"host": b"localhost"}, b"").status

    assert asyncio.run(scene()) == 401
    assert "loopback" in told[0]


# ASGI


async def through_asgi(
    app: InferenceApp, method: str, path: str, headers: dict[str, str], body: bytes
) -> tuple[int, dict[bytes, bytes], bytes]:
    """One request through the ASGI adapter, its body in two pieces."""
    pieces = [body[:10], body[10:]]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        piece = pieces.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "headers": [(k.lower().encode(), v.encode()) for k, v in headers.items()],
    }
    await app(scope, receive, send)
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]


def test_asgi_gives_the_same_answers(shared: Worker, make_plan: Callable[..., Plan]) -> None:
    shared.follow(make_plan())
    app = InferenceApp(handler_of(make_plan()))
    token = {"authorization": f"Bearer {TOKEN}"}
    mixed = {"inputs": [tensor("amount", [1.0]), tensor("kind", ["risky"], "BYTES")]}
    cases: list[tuple[str, str, dict[str, str], Any]] = [
        ("GET", "/v2/health/live", {}, None),
        ("HEAD", "/v2/health/live", {}, None),
        ("GET", "/v2/health/ready", {}, None),
        ("GET", "/v2", {}, None),
        ("GET", "/v2", token, None),
        ("GET", "/v2/models/fraud", token, None),
        ("GET", "/v2/models/%2e%2e", token, None),
        ("POST", "/v2/models/fraud/infer", token, fraud_body(3, id="same")),
        ("POST", "/v2/models/mixed/infer", token, mixed | {"id": "same"}),
        ("POST", "/v2/models/fraud/infer", token, {"inputs": [tensor("x", [1.0])]}),
        ("POST", "/v2/models/fraud/infer", token | {"origin": "http://evil.example"}, fraud_body()),
        ("POST", "/v2/models/nobody/infer", token, fraud_body()),
        ("DELETE", "/v2/models/fraud", token, None),
    ]
    for method, path, headers, body in cases:
        data = b"" if body is None else json.dumps(body).encode()
        connection = shared.connect()
        connection.request(method, path, data or None, {"host": "localhost", **headers})
        response = connection.getresponse()
        told = response.read()
        connection.close()
        status, got, answer = asyncio.run(through_asgi(app, method, path, {"host": "localhost", **headers}, data))
        assert status == response.status, (method, path)
        for name in ("content-type", "content-length", "www-authenticate", "allow"):
            assert got.get(name.encode(), b"").decode() == (response.getheader(name) or "")
        assert without_prediction(answer) == without_prediction(told)


def without_prediction(body: bytes) -> Any:
    told = json.loads(body) if body else None
    if isinstance(told, dict) and "parameters" in told:
        del told["parameters"]["prediction_id"]
    return told


def test_asgi_refuses_too_much_and_other_protocols(make_plan: Callable[..., Plan]) -> None:
    app = InferenceApp(handler_of(make_plan()), Limits(body=100))
    status, _, body = asyncio.run(through_asgi(app, "POST", "/v2", {"host": "localhost"}, b"x" * 101))
    assert status == 413 and b"100 bytes" in body

    async def nothing(*_: Any) -> Any:
        raise AssertionError

    with pytest.raises(ValueError, match="websocket"):
        asyncio.run(app({"type": "websocket"}, nothing, nothing))


def test_asgi_runs_shadows_after_the_answer(tmp_path: Path, make_plan: Callable[..., Plan]) -> None:
    plan = make_plan(fraud=[("champion", 1, "v1", 1.0), ("shadow", 2, "v2", 0.0)])
    app = InferenceApp(handler_of(plan, SegmentWriter(tmp_path, "0", 8192)))
    headers = {"host": "localhost", "authorization": f"Bearer {TOKEN}"}
    asyncio.run(through_asgi(app, "POST", INFER.decode(), headers, json.dumps(fraud_body()).encode()))
    (_, path, _), *_ = wire.segments(tmp_path)
    assert [r.arm for _, r in wire.read_segment(path.read_bytes())] == ["champion", "shadow"]
