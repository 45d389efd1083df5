"""Does it load and answer, in the real inference process, within its latency budget? Worker-side.

A process of its own is started with a plan that holds this version alone, on a free loopback port. Three bursts of
single-row requests are timed and the best counts, since a busy machine only ever makes an answer late. When even the
best misses the budget while a burst of hello-world beside it misses it too, or the process did not come up in time, the
machine is to blame: inconclusive. A burst ends early once its 99th percentile is sure to miss the budget.
"""

from __future__ import annotations

import http.client
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec

from homeostat.delivery.records import CheckDefinition, CheckResult
from homeostat.foundation.objects import Objects
from homeostat.inference.wire import Ack, Arm, EndpointPlan, Grant, Plan
from homeostat.packages.records import CategoryProfile, Column, Manifest, NumericProfile

_HOST = "127.0.0.1"  # wherever the plane listens: this process is ours alone, and asks nobody for a token
_BURSTS = 3
_REQUESTS = 150
_ABOVE = 3  # a burst's 99th percentile is its third-longest answer
_START_SECONDS = 20.0


def check(
    definition: CheckDefinition, objects: Objects, package: str, manifest: Manifest, endpoint: str
) -> CheckResult:
    """Start the inference process on this package, time it, and say what was found."""
    budget = (definition.p99_ms or 50.0) * 1000
    with tempfile.TemporaryDirectory(prefix="homeostat-gate-") as folder:
        directory = Path(folder)
        _write_plan(directory, objects, package, endpoint)
        process = _start(directory)
        try:
            ack = _await_plan(directory, process)
            if ack is None and process.poll() is None:
                words = f"the inference process did not come up with it within {_START_SECONDS:g} s"
                return CheckResult(check="loads", verdict="inconclusive", summary=words)
            if ack is None:
                return _refused(f"the inference process dies of it: {_last_words(directory)}", {})
            if ack.failed:
                return _refused(f"it does not load: {next(iter(ack.failed.values()))}", {})
            return _time(ack.port, endpoint, manifest, budget)
        except (OSError, http.client.HTTPException) as gone:
            if process.poll() is None:
                words = f"the inference process stopped answering: {gone or type(gone).__name__}"
            else:
                words = f"the inference process dies when it answers: {_last_words(directory)}"
            return _refused(words, {})
        finally:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _last_words(directory: Path) -> str:
    lines = (directory / "log").read_text(errors="replace").strip().splitlines()
    return lines[-1][:300] if lines else "it said nothing"


def _time(port: int, endpoint: str, manifest: Manifest, budget: float) -> CheckResult:
    body = msgspec.json.encode(example_request(manifest))
    path = f"/v2/models/{endpoint}/infer"
    connection = http.client.HTTPConnection(_HOST, port, timeout=30)
    bursts: list[float] = []
    hello: list[float] = []
    try:
        status, answer = _ask(connection, "POST", path, body)
        if status != 200:
            return _refused(f"it does not answer a row like those it was trained on: {answer.decode()[:200]}", {})
        for _ in range(_BURSTS):
            hello.append(_burst(connection, "GET", "/v2/health/live", None, budget))
            bursts.append(_burst(connection, "POST", path, body, budget))
    finally:
        connection.close()
    best = min(bursts)
    evidence = {"p99_us": bursts, "hello_p99_us": hello, "budget_us": budget, "requests": _REQUESTS}
    words = f"p99 {best / 1000:.2f} ms in the inference process, budget {budget / 1000:g} ms"
    if best <= budget:
        return CheckResult(check="loads", verdict="passed", summary=words, evidence=evidence)
    if min(hello) > budget:
        words = f"{words}; hello-world took {min(hello) / 1000:.2f} ms beside it: the machine is too busy to tell"
        return CheckResult(check="loads", verdict="inconclusive", summary=words, evidence=evidence)
    return _refused(words, evidence)


def example_request(manifest: Manifest) -> dict[str, Any]:
    """A one-row request: the row that the package keeps for this, else one whose values are typical of its profile."""
    return {"inputs": [_tensor(column, manifest) for column in manifest.signature.inputs]}


def _tensor(column: Column, manifest: Manifest) -> dict[str, Any]:
    datatype = {"float": "FP64", "int": "INT64", "bool": "BOOL", "string": "BYTES"}[column.kind]
    value = manifest.example[column.name] if column.name in manifest.example else _typical(column, manifest)
    return {"name": column.name, "shape": [1], "datatype": datatype, "data": [value]}


def _typical(column: Column, manifest: Manifest) -> Any:
    seen = manifest.profile.columns.get(column.name) if manifest.profile else None
    value: Any = {"float": 0.5, "int": 1, "bool": True, "string": "a"}[column.kind]
    if isinstance(seen, NumericProfile):
        value = seen.mean if column.kind == "float" else round(seen.mean)
    elif isinstance(seen, CategoryProfile) and seen.shares and column.kind == "string":
        value = max(seen.shares, key=lambda v: seen.shares[v])
    return bool(value) if column.kind == "bool" else value


def _burst(connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None, budget: float) -> float:
    """The 99th percentile over one burst, in microseconds; of one that ended early, what it is at least."""
    took: list[float] = []
    late = 0
    while len(took) < _REQUESTS and late < _ABOVE:
        begun = time.perf_counter()
        _ask(connection, method, path, body)
        took.append((time.perf_counter() - begun) * 1e6)
        late += took[-1] > budget
    return sorted(took)[-_ABOVE]


def _ask(connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
    connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
    response = connection.getresponse()
    return response.status, response.read()


def _write_plan(directory: Path, objects: Objects, package: str, endpoint: str) -> None:
    arm = Arm(name="champion", role="champion", version=1, package=package, share=1.0)
    plan = Plan(
        epoch=1,
        objects=str(objects.root),
        endpoints=(
            EndpointPlan(endpoint_id=endpoint, project="default", name=endpoint, model=endpoint, arms=(arm,), log=True),
        ),
        tokens={},
        open_access=True,
        anonymous=Grant(principal="service:gate", endpoints=None, projects=None),
    )
    for name in ("acks", "segments"):
        (directory / name).mkdir()
    (directory / "plan.json").write_bytes(msgspec.json.encode(plan))


def _start(directory: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "homeostat.inference", "--directory", str(directory), "--host", _HOST]
    command += ["--port", "0", "--worker", "gate", "--parent-death"]
    with (directory / "log").open("wb") as log:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def _await_plan(directory: Path, process: subprocess.Popen[bytes]) -> Ack | None:
    deadline = time.monotonic() + _START_SECONDS
    path = directory / "acks" / "gate.json"
    while time.monotonic() < deadline and process.poll() is None:
        try:
            ack = msgspec.json.decode(path.read_bytes(), type=Ack)
        except (FileNotFoundError, msgspec.DecodeError):
            ack = None
        if ack is not None and (ack.epoch == 1 or ack.failed):
            return ack
        time.sleep(0.01)
    return None


def _refused(words: str, evidence: dict[str, Any]) -> CheckResult:
    return CheckResult(check="loads", verdict="refused", summary=words, evidence=evidence)
