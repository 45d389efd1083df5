"""Single-row inference over REST on one worker, token check and prediction log on, beside its own hello-world.

The model is scikit-learn's GradientBoostingClassifier (100 trees, depth 3, 20 columns), packaged as homeostat packages
it. The worker is pinned to core 0 and wrk to core 1. Each round measures, one after another, `/v2/health/live` (the
same process with nothing to do), a request of 20 named columns, and a request of one [1, 20] tensor; the ratio of a
round is taken within it, so that whoever else uses the machine disturbs both alike. Afterwards the records in the
segments are counted against the requests the worker says it answered.

    python benches/inference/single_row.py [--seconds 5] [--rounds 3] [--connections 1 32]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
from sklearn.ensemble import GradientBoostingClassifier

from homeostat.foundation.objects import Objects
from homeostat.inference import wire
from homeostat.packages import package
from homeostat.packages.convert import convert

TOKEN = "bench-token-0123456789abcdef0123456789abcdef"
COLUMNS = [f"column_{i}" for i in range(20)]
RESULTS = Path(__file__).parents[1] / "results"


def make_package(objects: Path) -> tuple[str, dict[str, Any]]:
    """Train, convert and write the model; its digest and what is said of it in the result."""
    chance = np.random.default_rng(0)
    X = pl.DataFrame({name: chance.normal(size=5000) for name in COLUMNS})
    y = (X["column_0"] * X["column_1"] + X["column_2"] + chance.normal(size=5000) > 0).cast(int).to_numpy()
    model = GradientBoostingClassifier(n_estimators=100, max_depth=3, random_state=0).fit(X, y)
    conversion = convert(model, X, y)
    digest, manifest = package.write(Objects(objects), conversion.manifest(), conversion.files)
    return digest, {
        "estimator": "GradientBoostingClassifier(100 trees, depth 3, 20 columns)",
        "format": manifest.format,
    }


def start_worker(home: Path, core: int) -> subprocess.Popen[bytes]:
    """A worker pinned to `core`, ready to be asked."""
    command = [sys.executable, "-m", "homeostat.inference", "--directory", str(home), "--port", "0"]
    worker = subprocess.Popen(["taskset", "-c", str(core), *command], stderr=subprocess.PIPE)
    assert worker.stderr is not None
    line = worker.stderr.readline().decode()
    if " ready on " not in line:
        raise SystemExit(f"the worker did not start: {line}")
    return worker


def follow(home: Path, digest: str, objects: Path) -> int:
    """Give the worker its plan; the port it listens on."""
    arm = wire.Arm(name="champion", role="champion", version=1, package=digest, share=1.0)
    endpoint = wire.EndpointPlan(endpoint_id="bench", project="default", name="fraud", model="fraud", arms=(arm,))
    grant = wire.Grant(principal="service:bench", endpoints=("fraud",), projects=("default",))
    tokens = {hashlib.sha256(TOKEN.encode()).hexdigest(): grant}
    plan = wire.Plan(epoch=1, objects=str(objects), endpoints=(endpoint,), tokens=tokens)
    (home / "plan.tmp").write_bytes(msgspec.json.encode(plan))
    (home / "plan.tmp").rename(home / "plan.json")
    while True:
        ack = msgspec.json.decode((home / "acks" / "0.json").read_bytes(), type=wire.Ack)
        if ack.epoch == 1:
            if ack.failed:
                raise SystemExit(f"the package was not loaded: {ack.failed}")
            return ack.port
        time.sleep(0.01)


def bodies() -> dict[str, bytes]:
    """One row as 20 named columns, and as one tensor."""
    row = [round(float(v), 4) for v in np.random.default_rng(1).normal(size=20)]
    named = [{"name": n, "shape": [1], "datatype": "FP64", "data": [v]} for n, v in zip(COLUMNS, row, strict=True)]
    tensor = [{"name": "row", "shape": [1, 20], "datatype": "FP64", "data": row}]
    return {
        "20 named columns": json.dumps({"inputs": named}).encode(),
        "one tensor": json.dumps({"inputs": tensor}).encode(),
    }


def cpu_seconds(pid: int) -> float:
    """CPU time a process has used: what it costs, whoever else is on the core."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wrk(core: int, port: int, pid: int, connections: int, seconds: int, script: Path | None) -> dict[str, float]:
    """One burst: requests a second, p50 and p99 in ms, the worker's CPU time a request, and failures."""
    before = cpu_seconds(pid)
    path = "/v2/health/live" if script is None else "/v2/models/fraud/infer"
    command = ["taskset", "-c", str(core), "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency"]
    if script is not None:
        command += ["-s", str(script)]
    told = subprocess.run(
        [*command, f"http://127.0.0.1:{port}{path}"], capture_output=True, text=True, check=True
    ).stdout
    unit = {"us": 1e-3, "ms": 1.0, "s": 1e3}

    def percentile(which: str) -> float:
        found = re.search(rf"{which}%\s+([\d.]+)(us|ms|s)", told)
        return float(found[1]) * unit[found[2]] if found else float("nan")

    spent = cpu_seconds(pid) - before
    done = re.search(r"(\d+) requests in", told)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", told)
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", told)
    broken = re.search(r"Socket errors: (.*)", told)
    return {
        "rate": float(rate[1]) if rate else 0.0,
        "cpu_us": spent * 1e6 / max(int(done[1]) if done else 0, 1),
        "p50_ms": percentile("50"),
        "p99_ms": percentile("99"),
        "failed": (int(bad[1]) if bad else 0) + (1 if broken else 0),
    }


def script_of(directory: Path, name: str, body: bytes) -> Path:
    """wrk's script: one constant request."""
    path = directory / f"{name.replace(' ', '_')}.lua"
    path.write_text(
        'wrk.method = "POST"\n'
        f"wrk.body = [==[{body.decode()}]==]\n"
        'wrk.headers["content-type"] = "application/json"\n'
        f'wrk.headers["authorization"] = "Bearer {TOKEN}"\n'
    )
    return path


def check_log(home: Path, port: int) -> dict[str, int]:
    """How many requests the worker answered, and how many records its segments hold."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers={"authorization": f"Bearer {TOKEN}"})
    with urllib.request.urlopen(request) as response:
        text = response.read().decode()
    answered = sum(int(n) for n in re.findall(r"requests_total\{[^}]*\} (\d+)", text))
    records = size = 0
    for _, path, _ in wire.segments(home / "segments"):
        data = path.read_bytes()
        end = 0
        for end, _ in wire.read_segment(data):  # noqa: B007 - the last offset is wanted too
            records += 1
        size += end
    return {"answered": answered, "records": records, "bytes": size}


def measure(
    port: int, pid: int, connections: list[int], rounds: int, seconds: int, scripts: dict[str, Path | None]
) -> list[dict[str, Any]]:
    """A row for each case and number of connections: medians over the rounds, ratios within them."""
    rows: list[dict[str, Any]] = []
    for count in connections:
        bursts: dict[str, list[dict[str, float]]] = {name: [] for name in scripts}
        for _ in range(rounds):
            for name, script in scripts.items():
                bursts[name].append(wrk(1, port, pid, count, seconds, script))
        hello = [burst["rate"] for burst in bursts["hello-world"]]
        for name, each in bursts.items():
            row: dict[str, Any] = {"case": name, "connections": count}
            for key in ("rate", "cpu_us", "p50_ms", "p99_ms"):
                row[key] = statistics.median(burst[key] for burst in each)
            row["best_rate"] = max(burst["rate"] for burst in each)
            row["failed"] = sum(burst["failed"] for burst in each)
            row["of_hello_world"] = statistics.median(b["rate"] / h for b, h in zip(each, hello, strict=True))
            rows.append(row)
            print(
                f"{name:>18} {count:>4} connections  {row['rate']:>9,.0f}/s (best {row['best_rate']:>9,.0f})"
                f"  CPU {row['cpu_us']:.1f} us  p50 {row['p50_ms']:.3f} ms  p99 {row['p99_ms']:.3f} ms"
                f"  {row['of_hello_world']:.2f} of hello-world"
                f"  {row['failed']:.0f} failed",
                flush=True,
            )
    return rows


def main() -> None:
    """Run it all; the table goes to standard output and the figures to benches/results/."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=5, help="length of a burst")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 32])
    given = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="homeostat-bench-"))
    home = root / "inference"
    worker = None
    try:
        digest, model = make_package(root / "objects")
        worker = start_worker(home, 0)
        port = follow(home, digest, root / "objects")
        worker_pid = json.loads((home / "acks" / "0.json").read_bytes())["pid"]
        scripts: dict[str, Path | None] = {"hello-world": None}
        scripts |= {name: script_of(root, name, body) for name, body in bodies().items()}
        print(f"load average before: {os.getloadavg()[0]:.2f} on {os.cpu_count()} cores")
        rows = measure(port, worker_pid, given.connections, given.rounds, given.seconds, scripts)
        log = check_log(home, port)
        print(f"prediction log: {log['records']} records for {log['answered']} answered requests, {log['bytes']} bytes")
        names = ("homeostat", "msgspec", "uvloop", "httptools", "numpy", "onnxruntime", "scikit-learn")
        result = {
            "bench": "inference/single_row",
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "model": model,
            "rows": rows,
            "log": log,
            "load_average": os.getloadavg()[0],
            "cores": os.cpu_count(),
            "versions": {"python": platform.python_version(), **{name: version(name) for name in names}},
        }
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "inference_single_row.json").write_text(json.dumps(result, indent=1) + "\n")
        if log["records"] != log["answered"]:
            raise SystemExit("a request was answered without a record")
    finally:
        if worker is not None:
            worker.send_signal(signal.SIGTERM)
            worker.wait(15)
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
