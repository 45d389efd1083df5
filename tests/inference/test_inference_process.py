"""The process: plans and swaps under load, what a kill leaves behind, living without control, what it imports."""

from __future__ import annotations

import fcntl
import json
import os
import resource
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from conftest import EVERYTHING, Raw, Worker, fraud_body, request_bytes, tensor

from homeostat.inference import wire
from homeostat.inference.wire import Plan

Start = Callable[..., Worker]
Make = Callable[..., Plan]
Connect = Callable[[int], Raw]
ONE = [("champion", 1, "v1", 1.0)]


def burst(raw: Raw, bodies: list[Any]) -> list[dict[str, Any]]:
    """Send all at once, read the answers; every one must be a 200."""
    raw.send(b"".join(map(request_bytes, bodies)))
    answers = []
    for _ in bodies:
        status, _, body = raw.answer()
        assert status == 200, body
        answers.append(json.loads(body))
    return answers


class Load:
    """Clients that ask all the time, each on a connection of its own, and keep what they were told."""

    def __init__(self, port: int, clients: int = 3) -> None:
        self.port = port
        self.answers: list[tuple[int, dict[str, Any]]] = []
        self.broken = 0
        self._stop = threading.Event()
        self._enough = threading.Semaphore(0)
        self._threads = [threading.Thread(target=self._ask, args=(n,)) for n in range(clients)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def wait(self, answers: int) -> None:
        """Until so many more answers are in."""
        for _ in range(answers):
            assert self._enough.acquire(timeout=30)

    def _ask(self, number: int) -> None:
        connection = Raw(self.port)
        sent = 0
        try:
            while not self._stop.is_set():
                connection.send(request_bytes(fraud_body(parameters={"key": f"{number}/{sent}"})))
                status, _, body = connection.answer()
                if status == 0:
                    self.broken += 1
                    return
                self.answers.append((status, json.loads(body)))
                sent += 1
                self._enough.release()
        except (ConnectionError, ValueError):
            self.broken += 1
        finally:
            connection.close()


def test_a_swap_under_load_fails_no_request(start_worker: Start, make_plan: Make) -> None:
    worker = start_worker()
    worker.follow(make_plan(1, fraud=ONE))
    with Load(worker.port) as load:
        for epoch in range(2, 14):
            load.wait(20)
            version = 1 + epoch % 2
            assert worker.follow(make_plan(epoch, fraud=[("champion", version, f"v{version}", 1.0)])).failed == {}
            assert worker.infer(fraud_body())[1]["model_version"] == str(version)
        load.wait(20)
    assert load.broken == 0
    assert {status for status, _ in load.answers} == {200}
    scores = {"1": 0.85195, "2": 0.67918}
    for _, told in load.answers:  # no answer mixes one version's name with the other's model
        assert abs(told["outputs"][1]["data"][0] - scores[told["model_version"]]) < 1e-4
    assert {told["model_version"] for _, told in load.answers} == {"1", "2"}


def test_a_killed_worker_loses_no_answered_request(start_worker: Start, make_plan: Make) -> None:
    worker = start_worker("--segment-size", "8192")
    worker.follow(make_plan(1, fraud=ONE))
    with Load(worker.port) as load:
        load.wait(300)
        worker.process.kill()
        worker.process.wait()
    answered = {told["parameters"]["prediction_id"] for status, told in load.answers if status == 200}
    assert len(answered) >= 300
    left = wire.segments(worker.directory / "segments")
    assert [sealed for _, _, sealed in left].count(False) == 1 and len(left) > 3
    written = {record.request.hex(): record for record in worker.predictions()}
    assert answered <= set(written)
    assert all(written[each].rows == 1 and written[each].keys for each in answered)

    worker.stop()
    worker.start()  # the one that comes back seals what was left, and goes on
    assert worker.wait_ack(lambda ack: ack.epoch == 1).failed == {}
    assert worker.infer(fraud_body())[0] == 200
    after = wire.segments(worker.directory / "segments")
    assert [stem for stem, _, _ in after[: len(left)]] == [stem for stem, _, _ in left]
    assert all(sealed for _, _, sealed in after[: len(left)])
    assert len(worker.predictions()) == len(written) + 1


def test_a_drain_answers_what_is_open_and_seals(start_worker: Start, make_plan: Make, raw: Connect) -> None:
    worker = start_worker()
    worker.follow(make_plan(1, fraud=[*ONE, ("shadow", 2, "v2", 0.0)]))
    half, idle = raw(worker.port), raw(worker.port)
    assert len(burst(idle, [fraud_body()] * 20)) == 20
    whole = request_bytes(fraud_body(id="open"))
    half.send(whole[:-5])
    assert worker.infer(fraud_body())[0] == 200
    worker.process.terminate()
    assert idle.answer()[0] == 0  # closed after a moment
    half.send(whole[-5:])
    status, headers, body = half.answer()
    assert status == 200 and json.loads(body)["id"] == "open" and headers["connection"] == "close"
    assert worker.stop() == 0
    listed = wire.segments(worker.directory / "segments")
    assert [sealed for _, _, sealed in listed] == [True]
    records = worker.predictions()
    assert Counter(record.arm for record in records) == {"champion": 22, "shadow": 22}
    data = listed[0][1].read_bytes()
    assert list(wire.read_segment(data))[-1][0] == len(data)


def test_shadows_are_written_under_the_same_request(start_worker: Start, make_plan: Make, raw: Connect) -> None:
    worker = start_worker()
    arms = [*ONE, ("shadow", 2, "v2", 0.0)]
    worker.follow(make_plan(1, fraud=arms, mixed=[("champion", 1, "mixed", 1.0), ("shadow", 2, "v2", 0.0)]))
    told = burst(raw(worker.port), [fraud_body(2, parameters={"keys": [i, None]}) for i in range(50)])
    body = {"inputs": [tensor("amount", [1.0]), tensor("kind", ["x"], "BYTES")]}
    assert worker.infer(body, "mixed")[0] == 200  # its shadow wants columns that were not sent
    assert worker.ask("POST", "/v2/models/fraud/versions/2/infer", fraud_body())[1]["parameters"]["arm"] == "direct"
    worker.stop()
    records = worker.predictions()
    shadows = {r.request.hex(): r for r in records if r.arm == "shadow" and r.endpoint == "id-fraud"}
    assert len(shadows) == 50
    for answer in told:
        shadow = shadows[answer["parameters"]["prediction_id"]]
        champion = next(r for r in records if r.request == shadow.request and r.arm == "champion")
        assert (shadow.version, shadow.status, champion.version) == (2, 200, 1)
        assert (shadow.inputs, shadow.keys, shadow.rows) == (champion.inputs, champion.keys, 2)
        assert shadow.event_at == champion.event_at
        assert shadow.outputs["score"][0] < champion.outputs["score"][0]
    failed = [r for r in records if r.arm == "shadow" and r.endpoint == "id-mixed"]
    assert [(r.status, r.rows, r.version) for r in failed] == [(500, 0, 2)]
    assert Counter(r.arm for r in records) == {"champion": 51, "shadow": 51, "direct": 1}


def test_traffic_follows_the_shares_and_keys_stay(start_worker: Start, make_plan: Make, raw: Connect) -> None:
    worker = start_worker()

    def arms(share: float) -> list[tuple[str, int, str, float]]:
        return [("champion", 1, "v1", 1 - share), ("canary", 2, "v2", share), ("previous", 3, "v1", 0.0)]

    worker.follow(make_plan(1, fraud=arms(0.2)))
    connection = raw(worker.port)
    chance = Counter(t["parameters"]["arm"] for t in burst(connection, [fraud_body()] * 2000))
    # 2,000 fair draws at 0.2: six standard deviations are 107
    assert 293 < chance["canary"] < 507 and set(chance) == {"champion", "canary"}

    keyed = [fraud_body(parameters={"key": f"k{i}"}) for i in range(500)]
    first = [t["parameters"]["arm"] for t in burst(connection, keyed)]
    assert first == [t["parameters"]["arm"] for t in burst(connection, keyed)]
    worker.follow(make_plan(2, fraud=arms(0.6)))
    later = [t["parameters"]["arm"] for t in burst(connection, keyed)]
    assert all(b == "canary" for a, b in zip(first, later, strict=True) if a == "canary")
    assert 234 < later.count("canary") < 366
    assert worker.ask("POST", "/v2/models/fraud/versions/3/infer", fraud_body())[1]["parameters"]["arm"] == "direct"
    assert worker.ask("POST", "/v2/models/fraud/versions/2/infer", fraud_body())[1]["parameters"]["arm"] == "canary"
    assert worker.ask("GET", "/v2/models/fraud")[1]["versions"] == ["1", "2", "3"]


def test_a_package_that_does_not_load_takes_no_traffic(start_worker: Start, make_plan: Make, raw: Connect) -> None:
    worker = start_worker()
    missing = "0" * 64
    ack = worker.follow(make_plan(1, fraud=[("champion", 1, missing, 1.0)], price=[("champion", 7, "price", 1.0)]))
    assert set(ack.failed) == {"fraud/1"} and missing in ack.failed["fraud/1"]
    status, told = worker.infer(fraud_body())
    assert status == 503 and "no model" in told["error"]
    assert worker.ask("GET", "/v2/models/fraud/ready") == (503, {"name": "fraud", "ready": False})
    assert worker.ask("GET", "/v2/models/price/ready")[0] == 200

    ack = worker.follow(make_plan(2, fraud=[("champion", 1, "v1", 0.5), ("canary", 2, "broken", 0.5)]))
    assert set(ack.failed) == {"fraud/2"}
    told_all = burst(raw(worker.port), [fraud_body()] * 50)
    assert {t["model_version"] for t in told_all} == {"1"}

    ack = worker.follow(make_plan(3, fraud=[("champion", 2, "broken", 1.0)]))
    assert set(ack.failed) == {"fraud/2"} and ack.epoch == 3
    assert worker.infer(fraud_body())[1]["model_version"] == "1"  # goes on as it was
    assert worker.follow(make_plan(4, fraud=[("champion", 2, "v2", 1.0)])).failed == {}
    assert worker.infer(fraud_body())[1]["model_version"] == "2"


def test_a_plan_that_cannot_be_read_changes_nothing(start_worker: Start, make_plan: Make) -> None:
    worker = start_worker()
    worker.follow(make_plan(1, fraud=ONE))
    for bad in (b"", b"{", b'{"epoch": "x"}', b"\xff"):
        (worker.directory / "plan.tmp").write_bytes(bad)
        (worker.directory / "plan.tmp").rename(worker.directory / "plan.json")
        ack = worker.wait_ack(lambda ack: "plan" in ack.failed)
        assert ack.epoch == 1
        assert worker.infer(fraud_body())[0] == 200
        assert worker.follow(make_plan(1, fraud=ONE)).epoch == 1
        worker.wait_ack(lambda ack: not ack.failed)


def test_open_access(start_worker: Start, make_plan: Make) -> None:
    worker = start_worker()
    anonymous = {"open_access": True, "anonymous": EVERYTHING}
    worker.follow(make_plan(1, more=anonymous))
    assert worker.infer(fraud_body(), authorization="")[0] == 200
    assert worker.infer(fraud_body(), authorization="Bearer wrong")[0] == 401
    worker.follow(make_plan(2))
    assert worker.infer(fraud_body(), authorization="")[0] == 401


def test_a_full_disk_is_a_503_and_passes(start_worker: Start, make_plan: Make, raw: Connect) -> None:
    worker = start_worker("--segment-size", "8192")
    worker.follow(make_plan(1, fraud=ONE))
    pid = worker.process.pid
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
    connection = raw(worker.port)
    statuses: list[int] = []
    while statuses.count(503) < 20:  # until the segment that is there is full
        connection.send(request_bytes(fraud_body()))
        status, _, body = connection.answer()
        statuses.append(status)
        assert status in (200, 503), body
    assert b"prediction log" in body and b"EFBIG" in body
    assert statuses == sorted(statuses)
    assert worker.ask("GET", "/v2/health/live")[0] == 200
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    while worker.infer(fraud_body())[0] == 503:
        pass
    records = worker.predictions()
    assert len(records) == statuses.count(200) + 1
    metrics = worker.ask("GET", "/metrics")[1].decode()
    assert float(metrics.split("\nhomeostat_inference_log_failures_total ")[1].split("\n")[0]) >= 20


def spawn_from_another_process(directory: Path, *arguments: str) -> tuple[subprocess.Popen[bytes], int, int]:
    """A worker started by a process of its own, as control would: (that process, worker's pid, worker's port)."""
    command = [sys.executable, "-m", "homeostat.inference", "--directory", str(directory), "--port", "0", *arguments]
    log = directory.parent / "log"
    code = (
        "import subprocess, sys, time\n"
        f"subprocess.Popen({command!r}, stderr=open({str(log)!r}, 'wb'), start_new_session=True)\n"
        "time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code])
    path = directory / "acks" / "0.json"
    while not path.exists():
        assert parent.poll() is None
    ack = json.loads(path.read_bytes())
    return parent, ack["pid"], ack["port"]


def wait_gone(directory: Path) -> None:
    """Until the worker's lock is free."""
    with (directory / "acks" / "0.lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)


def test_it_outlives_who_started_it(tmp_path: Path, raw: Connect) -> None:
    directory = tmp_path / "inference"
    directory.mkdir()
    parent, pid, port = spawn_from_another_process(directory)
    try:
        parent.kill()
        parent.wait()
        connection = raw(port)
        connection.send(b"GET /v2/health/live HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert connection.answer()[0] == 200
        second = subprocess.run(
            [sys.executable, "-m", "homeostat.inference", "--directory", str(directory), "--port", "0"],
            capture_output=True,
            text=True,
        )
        assert second.returncode == 1 and "already runs" in second.stderr and "hint:" in second.stderr
    finally:
        os.kill(pid, signal.SIGTERM)
    wait_gone(directory)


def test_it_dies_with_its_parent_when_told_to(tmp_path: Path) -> None:
    directory = tmp_path / "inference"
    directory.mkdir()
    parent, pid, _ = spawn_from_another_process(directory, "--parent-death")
    parent.kill()
    parent.wait()
    wait_gone(directory)
    with suppress(psutil.NoSuchProcess):
        psutil.Process(pid).wait(30)


def test_a_taken_port_is_told(start_worker: Start, tmp_path: Path) -> None:
    worker = start_worker()
    other = [
        sys.executable,
        "-m",
        "homeostat.inference",
        "--directory",
        str(tmp_path / "b"),
        "--port",
        str(worker.port),
    ]
    done = subprocess.run(other, capture_output=True, text=True)
    assert done.returncode == 1 and str(worker.port) in done.stderr and done.stderr.startswith("error: ")


def test_what_it_imports_and_weighs(start_worker: Start, make_plan: Make, tmp_path: Path) -> None:
    worker = start_worker()
    worker.follow(make_plan(1))
    for _ in range(20):
        assert worker.infer(fraud_body())[0] == 200
    assert psutil.Process(worker.process.pid).memory_info().rss < 120e6

    (tmp_path / "plan.json").write_bytes((worker.directory / "plan.json").read_bytes())
    code = f"""
import json, sys, pathlib, msgspec
import homeostat.inference.__main__
from homeostat.inference import routes, runtimes, wire
from homeostat.inference.handler import Handler
plan = msgspec.json.decode(pathlib.Path({str(tmp_path / "plan.json")!r}).read_bytes(), type=wire.Plan)
handler = Handler()
handler.table, failed = routes.build(plan, plan.objects, routes.EMPTY, runtimes.load_package, print)
assert not failed, failed
body = {json.dumps(fraud_body()).encode()!r}
headers = {{b"host": b"localhost", b"authorization": b"Bearer a-token-that-may-all"}}
assert handler.handle(b"POST", b"/v2/models/fraud/infer", headers, body).status == 200
print(json.dumps(sorted(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    modules = json.loads(done.stdout)
    for heavy in ("sqlalchemy", "polars", "litestar", "sklearn", "deltalake", "obstore", "pandas", "scipy", "pyarrow"):
        assert heavy not in modules
    allowed = ("homeostat.inference", "homeostat.packages")
    light = {f"homeostat.foundation{tail}" for tail in ("", ".ids", ".clock", ".errors", ".settings")}
    ours = [m for m in modules if m.startswith("homeostat.") and not m.startswith(allowed)]
    assert set(ours) <= light


def test_the_packages_are_opened_once(
    start_worker: Start, make_plan: Make, objects: Path, packages: dict[str, str]
) -> None:
    worker = start_worker()
    worker.follow(make_plan(1, fraud=ONE))
    path = objects / packages["v1"][:2] / packages["v1"]
    hidden = path.with_suffix(".hidden")
    path.rename(hidden)
    try:
        assert worker.follow(make_plan(2, fraud=ONE, again=ONE)).failed == {}
        assert worker.infer(fraud_body(), "again")[0] == 200
    finally:
        hidden.rename(path)
