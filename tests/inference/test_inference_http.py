"""HTTP as strangers speak it: in pieces, all at once, too much, too slowly, wrongly."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable

import pytest
from conftest import TOKEN, Raw, Worker, fraud_body, request_bytes

from homeostat.inference.handler import Handler
from homeostat.inference.http import Connection, Limits, Turn
from homeostat.inference.wire import Plan

Connect = Callable[[int], Raw]
LIVE = b"GET /v2/health/live HTTP/1.1\r\nhost: localhost\r\n\r\n"


@pytest.fixture
def port(shared: Worker, make_plan: Callable[..., Plan]) -> int:
    if not (shared.directory / "plan.json").exists():
        shared.follow(make_plan())
    return shared.port


def test_pipelined_requests_are_answered_in_order(port: int, raw: Connect) -> None:
    connection = raw(port)
    parts = []
    for i in range(40):
        parts += [
            request_bytes(fraud_body(id=f"n{i}")),
            LIVE,
            request_bytes(b"{"),
            request_bytes(fraud_body(2, id=f"m{i}")),
        ]
    connection.send(b"".join(parts))
    for i in range(40):
        assert json.loads(connection.answer()[2])["id"] == f"n{i}"
        assert connection.answer()[2] == b'{"live":true}'
        assert connection.answer()[0] == 400
        assert json.loads(connection.answer()[2])["id"] == f"m{i}"


def test_one_byte_at_a_time(port: int, raw: Connect) -> None:
    connection = raw(port)
    connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in request_bytes(fraud_body(id="slow")):
        connection.send(bytes([byte]))
    status, _, body = connection.answer()
    assert status == 200 and json.loads(body)["id"] == "slow"


def test_chunked_bodies(port: int, raw: Connect) -> None:
    connection = raw(port)
    data = json.dumps(fraud_body(id="chunks")).encode()
    head = f"POST /v2/models/fraud/infer HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {TOKEN}\r\n"
    connection.send(head.encode() + b"transfer-encoding: chunked\r\n\r\n")
    for start in range(0, len(data), 7):
        piece = data[start : start + 7]
        connection.send(b"%x\r\n%b\r\n" % (len(piece), piece))
    connection.send(b"0\r\n\r\n")
    assert json.loads(connection.answer()[2])["id"] == "chunks"
    connection.send(LIVE)
    assert connection.answer()[0] == 200


def test_head_old_clients_and_farewells(port: int, raw: Connect) -> None:
    connection = raw(port)
    connection.send(b"HEAD /v2/health/live HTTP/1.1\r\nhost: localhost\r\n\r\n" + LIVE)
    status, headers, _ = connection.answer(body=False)
    assert (status, headers["content-length"]) == (200, "13") and headers["date"].endswith("GMT")
    assert connection.answer()[2] == b'{"live":true}'
    connection.send(b"GET /v2/health/live HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n" + LIVE)
    assert connection.answer()[1]["connection"] == "close"
    assert connection.answer()[0] == 0
    connection = raw(port)
    connection.send(b"GET /v2/health/live HTTP/1.0\r\nhost: localhost\r\nconnection: keep-alive\r\n\r\n")
    assert connection.answer()[1]["connection"] == "keep-alive"
    connection.send(b"GET /v2/health/live HTTP/1.0\r\nhost: localhost\r\n\r\n")
    assert connection.answer()[1]["connection"] == "close"
    assert connection.answer()[0] == 0


def test_who_closes_his_side_gets_his_answers(port: int, raw: Connect) -> None:
    connection = raw(port)
    connection.send(LIVE + request_bytes(fraud_body(id="last")))
    connection.socket.shutdown(socket.SHUT_WR)
    assert connection.answer()[0] == 200
    assert json.loads(connection.answer()[2])["id"] == "last"
    assert connection.answer()[0] == 0


def test_expect_continue_and_upgrade(port: int, raw: Connect) -> None:
    connection = raw(port)
    whole = request_bytes(fraud_body(id="waits"), expect="100-continue")
    head, _, body = whole.partition(b"\r\n\r\n")
    connection.send(head + b"\r\n\r\n")
    assert connection.answer()[0] == 100
    connection.send(body)
    assert json.loads(connection.answer()[2])["id"] == "waits"
    connection.send(b"GET /v2/health/live HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n")
    status, headers, _ = connection.answer()
    assert (status, headers["connection"]) == (200, "close")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"GET /v2/health/live HTTP/9.9\r\n\r\n", 400),
        (b"GET /v2/health/live HTTP/1.1\r\nhost: a\r\nbad header\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"GET /v2/health/live HTTP/1.1\r\n\r\n", 403),
        (b"GET /v2/health/live HTTP/1.1\r\nhost: localhost\r\nhost: localhost\r\n\r\n", 403),
        (b"GET /v2/health/live HTTP/1.1\r\nhost: localhost\r\nx: " + b"y" * 40_000 + b"\r\n\r\n", 431),
        (b"GET /v2/health/live HTTP/1.1\r\nhost: localhost\r\nx: " + b"y" * 2_000_000, 431),
        (b"GET /" + b"y" * 2_000_000, 431),
        (b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 999999999999\r\n\r\n", 413),
    ],
)
def test_nonsense_is_refused_and_harms_nobody(port: int, raw: Connect, data: bytes, status: int) -> None:
    connection, other = raw(port), raw(port)
    connection.send(LIVE)
    assert connection.answer()[0] == 200
    try:
        connection.send(data)
    except ConnectionError:  # it may stop listening before the last of too much is sent
        assert status == 431
    else:
        got, headers, body = connection.answer()
        assert got == status, body
        assert "error" in json.loads(body)
        if status != 403:
            assert headers["connection"] == "close"
            assert connection.answer()[0] == 0
    other.send(LIVE)
    assert other.answer()[0] == 200


def test_bodies_have_a_limit(start_worker: Callable[..., Worker], make_plan: Callable[..., Plan], raw: Connect) -> None:
    worker = start_worker("--body-limit", "20000")
    worker.follow(make_plan())
    assert worker.infer(fraud_body(100))[0] == 200
    status, told = worker.infer(fraud_body(2000))
    assert status == 413 and "20000" in told["error"]
    connection = raw(worker.port)
    connection.send(b"POST / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n")
    for _ in range(3):
        connection.send(b"1f40\r\n" + b"x" * 0x1F40 + b"\r\n")
    assert connection.answer()[0] == 413


class Local:
    """The adapter in this process, with limits of the test's own."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.faults: list[str] = []

    async def __aenter__(self) -> Local:
        self.turn = Turn(Handler(), self.limits, self.faults.append)
        loop = asyncio.get_running_loop()
        self.server = await loop.create_server(lambda: Connection(self.turn), "127.0.0.1", 0)
        self.port: int = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()
        await self.turn.drain(0, 1)
        assert self.faults == []


def test_slow_and_silent_clients_are_let_go() -> None:
    async def scene() -> None:
        async with Local(Limits(request_seconds=1, idle_seconds=1)) as local:
            slow, slow_out = await asyncio.open_connection("127.0.0.1", local.port)
            silent, silent_out = await asyncio.open_connection("127.0.0.1", local.port)
            slow_out.write(LIVE[:20])
            told, nothing = await asyncio.gather(slow.read(), silent.read())
            assert told.startswith(b"HTTP/1.1 408 ") and b"not whole within 1 s" in told
            assert nothing == b""
            slow_out.close()
            silent_out.close()

    asyncio.run(scene())


def test_who_does_not_read_is_not_read_from_and_let_go() -> None:
    async def scene() -> None:
        async with Local(Limits(write_seconds=1, idle_seconds=60)) as local:
            loop = asyncio.get_running_loop()
            client = socket.socket()
            client.setblocking(False)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            await loop.sock_connect(client, ("127.0.0.1", local.port))
            with pytest.raises(ConnectionError):
                while True:  # ends because the server gives the connection up
                    await loop.sock_sendall(client, LIVE * 1000)
            client.close()

    asyncio.run(scene())


def test_too_many_connections() -> None:
    async def scene() -> None:
        async with Local(Limits(connections=1)) as local:
            first, first_out = await asyncio.open_connection("127.0.0.1", local.port)
            first_out.write(LIVE)
            assert (await first.readline()).startswith(b"HTTP/1.1 200 ")
            second, second_out = await asyncio.open_connection("127.0.0.1", local.port)
            assert (await second.readline()).startswith(b"HTTP/1.1 503 ")
            first_out.close()
            second_out.close()

    asyncio.run(scene())
