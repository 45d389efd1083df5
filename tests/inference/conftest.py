"""Real packages, real plans, and a real inference process to talk to."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import homeostat.packages.telemetry  # noqa: F401  (must come before onnxruntime)
from homeostat.foundation.ids import digest_of
from homeostat.inference import wire
from homeostat.inference.wire import Ack, Arm, EndpointPlan, Grant, Plan
from homeostat.packages import package
from homeostat.packages.records import Column, Manifest, Signature

TOKEN = "a-token-that-may-all"


class Store:
    """A local object store, as small as can be."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put_bytes(self, data: bytes) -> str:
        digest = digest_of(data)
        path = self.path_of(digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return digest

    def get_bytes(self, digest: str) -> bytes:
        return self.path_of(digest).read_bytes()

    def path_of(self, digest: str) -> Path:
        return self.root / digest[:2] / digest


def _linear(names: list[str], bias: float, binary: bool) -> bytes:
    """X[n, k] -> sigmoid(sum(x) + bias), or the sum itself."""
    weights = numpy_helper.from_array(np.ones((len(names), 1), np.float32), "w")
    shift = numpy_helper.from_array(np.array([bias], np.float32), "b")
    nodes = [helper.make_node("MatMul", ["X", "w"], ["z"]), helper.make_node("Add", ["z", "b"], ["y"])]
    if binary:
        nodes.append(helper.make_node("Sigmoid", ["y"], ["score"]))
    out = "score" if binary else "y"
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, len(names)])],
        [helper.make_tensor_value_info(out, TensorProto.FLOAT, [None, 1])],
        [weights, shift],
    )
    return _bytes(graph)


def _mixed() -> bytes:
    """amount (float) and kind (string, "risky" counts 2) -> sigmoid."""
    nodes = [
        helper.make_node(
            "LabelEncoder",
            ["kind"],
            ["k"],
            domain="ai.onnx.ml",
            keys_strings=["risky"],
            values_floats=[2.0],
            default_float=0.0,
        ),
        helper.make_node("Add", ["amount", "k"], ["z"]),
        helper.make_node("Sigmoid", ["z"], ["score"]),
    ]
    graph = helper.make_graph(
        nodes,
        "mixed",
        [
            helper.make_tensor_value_info("amount", TensorProto.FLOAT, [None, 1]),
            helper.make_tensor_value_info("kind", TensorProto.STRING, [None, 1]),
        ],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, [None, 1])],
    )
    return _bytes(graph)


def _bytes(graph: Any) -> bytes:
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    model: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()
    return model


NUMBERS = (
    Column(name="amount", kind="float"),
    Column(name="hour", kind="int"),
    Column(name="age", kind="float", nullable=True),
)
MIXED = (Column(name="amount", kind="float"), Column(name="kind", kind="string"))


@pytest.fixture(scope="session")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of an object store."""
    return tmp_path_factory.mktemp("objects")


@pytest.fixture(scope="session")
def packages(objects: Path) -> dict[str, str]:
    """Packages by a short name: v1 and v2 (fraud, bias 0 and -1), price (regression), mixed (strings), v1_other."""
    store = Store(objects)
    fraud = Signature(inputs=NUMBERS, task="classification", classes=("no", "yes"), threshold=0.5)

    def put(signature: Signature, layout: Any, model: bytes, **more: Any) -> str:
        manifest = Manifest(format="onnx", files={}, layout=layout, signature=signature, **more)
        return package.write(store, manifest, {"model.onnx": model})[0]

    names = [c.name for c in NUMBERS]
    broken = store.put_bytes(b"{}")
    return {
        "v1": put(fraud, "matrix", _linear(names, 0.0, True)),
        "v2": put(fraud, "matrix", _linear(names, -1.0, True)),
        "price": put(Signature(inputs=NUMBERS[:2], task="regression"), "matrix", _linear(names[:2], 10.0, False)),
        "mixed": put(
            Signature(inputs=MIXED, task="classification", classes=(0, 1), threshold=0.5), "columns", _mixed()
        ),
        "broken": broken,
    }


def digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


EVERYTHING = Grant(principal="user:ann", endpoints=None, projects=None)


@pytest.fixture
def make_plan(objects: Path, packages: dict[str, str]) -> Callable[..., Plan]:
    """make_plan(epoch, fraud=[("champion", 1, "v1", 1.0), ...], ...): each keyword is an endpoint with its arms."""

    def make(
        epoch: int = 1, tokens: dict[str, Grant] | None = None, more: dict[str, Any] | None = None, **endpoints: Any
    ) -> Plan:
        if not endpoints:
            endpoints = {
                "fraud": [("champion", 1, "v1", 1.0)],
                "price": [("champion", 7, "price", 1.0)],
                "mixed": [("champion", 3, "mixed", 1.0)],
            }
        listed = tuple(
            EndpointPlan(
                endpoint_id=f"id-{name}",
                project="default",
                name=name,
                model=name,
                arms=tuple(
                    Arm(
                        name=arm,
                        role={"canary": "challenger"}.get(arm, arm),  # type: ignore[arg-type]
                        version=version,
                        package=packages.get(which, which),
                        share=share,
                    )
                    for arm, version, which, share in arms
                ),
            )
            for name, arms in endpoints.items()
        )
        granted = {TOKEN: EVERYTHING} if tokens is None else tokens
        return Plan(
            epoch=epoch,
            objects=str(objects),
            endpoints=listed,
            tokens={digest(t): g for t, g in granted.items()},
            **(more or {}),
        )

    return make


def tensor(name: str, data: list[Any], datatype: str = "FP64") -> dict[str, Any]:
    return {"name": name, "shape": [len(data)], "datatype": datatype, "data": data}


def fraud_body(rows: int = 1, **more: Any) -> dict[str, Any]:
    """A good request for the fraud endpoint."""
    inputs = [tensor("amount", [0.5] * rows), tensor("hour", [1] * rows, "INT64"), tensor("age", [0.25] * rows)]
    return {"inputs": inputs, **more}


class Worker:
    """A real inference process on a free port."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        self.directory = directory
        self.arguments = arguments
        directory.mkdir(parents=True, exist_ok=True)
        self.start()

    def start(self) -> None:
        """Start it and wait until it says where it listens."""
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "homeostat.inference",
                "--directory",
                str(self.directory),
                "--port",
                "0",
                *self.arguments,
            ],
            stderr=subprocess.PIPE,
        )
        assert self.process.stderr is not None
        line = self.process.stderr.readline().decode()
        if " ready on " not in line:
            raise AssertionError(line + self.process.stderr.read().decode())
        self.port = int(line.split("://")[1].split()[0].rsplit(":", 1)[1])

    def follow(self, plan: Plan, *, expect: int | None = None) -> Ack:
        """Write a plan as control does, and wait for its acknowledgement."""
        fresh = self.directory / "plan.tmp"
        fresh.write_bytes(msgspec.json.encode(plan))
        fresh.rename(self.directory / "plan.json")
        os.kill(self.process.pid, signal.SIGUSR1)
        return self.wait_ack(lambda ack: ack.epoch == (plan.epoch if expect is None else expect))

    def wait_ack(self, good: Callable[[Ack], bool]) -> Ack:
        """The acknowledgement once `good` says so."""
        path = self.directory / "acks" / "0.json"
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if path.exists():
                ack = msgspec.json.decode(path.read_bytes(), type=Ack)
                if ack.pid == self.process.pid and good(ack):
                    return ack
            assert self.process.poll() is None, "the worker is gone"
            time.sleep(0.005)
        raise AssertionError("no such acknowledgement")

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """One request on a connection of its own: status and decoded body (bytes when it is no JSON)."""
        connection = self.connect()
        try:
            connection.request(method, path, None if body is None else payload(body), sent(headers))
            response = connection.getresponse()
            data = response.read()
            kind = response.getheader("content-type", "")
            return response.status, json.loads(data) if kind == "application/json" else data
        finally:
            connection.close()

    def infer(self, body: Any, endpoint: str = "fraud", **headers: str) -> tuple[int, Any]:
        return self.ask("POST", f"/v2/models/{endpoint}/infer", body, **headers)

    def predictions(self) -> list[wire.Prediction]:
        """All records in its segments, oldest first."""
        return [
            record
            for _, path, _ in wire.segments(self.directory / "segments")
            for _, record in wire.read_segment(path.read_bytes())
        ]

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it by its pid; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(30)
        assert self.process.stderr is not None
        self.process.stderr.close()
        return code


def payload(body: Any) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body).encode()


def sent(headers: dict[str, str]) -> dict[str, str]:
    """Headers with the token, unless they say otherwise; '_' stands for '-'."""
    named = {"authorization": f"Bearer {TOKEN}", **{k.replace("_", "-"): v for k, v in headers.items()}}
    return {k: v for k, v in named.items() if v}


@pytest.fixture
def start_worker(tmp_path: Path) -> Iterator[Callable[..., Worker]]:
    """start_worker(*arguments) -> a Worker, ended after the test."""
    started: list[Worker] = []

    def start(*arguments: str) -> Worker:
        started.append(Worker(tmp_path / "inference", *arguments))
        return started[-1]

    yield start
    for worker in started:
        worker.stop(signal.SIGKILL)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """One worker for the tests of a module that only ask."""
    worker = Worker(tmp_path_factory.mktemp("home") / "inference")
    yield worker
    worker.stop()


class Raw:
    """A connection on which bytes are sent as they are, and answers read one by one."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._stream = self.socket.makefile("rb")

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def answer(self, *, body: bool = True) -> tuple[int, dict[str, str], bytes]:
        """Status, headers (lower case) and body of the next answer; status 0 when the server has closed."""
        line = self._stream.readline()
        if not line:
            return 0, {}, b""
        headers: dict[str, str] = {}
        while (header := self._stream.readline().strip()) != b"":
            name, _, value = header.decode().partition(":")
            headers[name.lower()] = value.strip()
        length = int(headers.get("content-length", "0")) if body else 0
        return int(line.split()[1]), headers, self._stream.read(length)

    def close(self) -> None:
        self._stream.close()
        self.socket.close()


def request_bytes(body: Any, path: str = "/v2/models/fraud/infer", **headers: str) -> bytes:
    """One POST as it goes over the wire."""
    data = payload(body)
    named = {"host": "127.0.0.1", "content-length": str(len(data)), **sent(headers)}
    head = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + data


@pytest.fixture
def raw() -> Iterator[Callable[[int], Raw]]:
    """raw(port) -> a connection, closed after the test."""
    opened: list[Raw] = []

    def connect(port: int) -> Raw:
        opened.append(Raw(port))
        return opened[-1]

    yield connect
    for connection in opened:
        connection.close()
