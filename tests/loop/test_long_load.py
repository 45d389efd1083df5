"""A minute of load on inference while its plan changes and control is killed: no request fails, memory stays flat."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
from driver import DATATYPES, HISTORY, Driver

from homeostat.project.connection import Connection
from homeostat.project.demo import transactions as world

SECONDS = 60
WARM = 15  # seconds before memory counts
KILL_EVERY = 3  # plan swaps between two deaths of control
GROWTH = 1.15  # of the resident set, from the middle third to the last

LUA = """
wrk.method = "POST"
wrk.headers["Authorization"] = "Bearer {token}"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{body}'
"""


class Memory(threading.Thread):
    """The resident set of a process, once a second."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.process = psutil.Process(pid)
        self.readings: list[int] = []
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(1.0):
            self.readings.append(self.process.memory_info().rss)


def request_of(driver: Driver) -> str:
    """One row of the world as a request without an event time: wall time, as live traffic has it."""
    frame = world.as_requested(driver.days[HISTORY])
    kinds = {name: DATATYPES[type(frame[name].dtype)] for name in world.INPUTS}
    row = frame.row(0, named=True)
    inputs = [{"name": n, "shape": [1], "datatype": kinds[n], "data": [row[n]]} for n in world.INPUTS]
    return msgspec.json.encode({"inputs": inputs}).decode()


def champion(control: Connection) -> int:
    arms = control.get("/endpoints/fraud")["arms"]
    return int(next(arm["version"] for arm in arms if arm["name"] == "champion"))


def swap(driver: Driver, version: int) -> None:
    """Put the other version under the endpoint: through the gate, or by going back."""
    if version == 1:
        driver.ask(lambda control: champion(control) == 1 or control.post("/endpoints/fraud/rollback", {"reason": "x"}))
    else:
        key = f"swap-{time.monotonic_ns()}"
        body = {"version": version, "model": "fraud"}
        driver.ask(lambda control: control.post("/endpoints/fraud/deployments", body, key=key))
    deadline = time.monotonic() + 60
    while driver.ask(champion) != version and time.monotonic() < deadline:
        time.sleep(0.1)
    assert driver.ask(champion) == version


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("wrk") is None, reason="needs wrk")
def test_no_request_fails_and_memory_is_flat(tmp_path: Path, found: list[str]) -> None:
    driver = Driver(
        tmp_path, changes=[("hs.canary(share=0.4, margin=0.16, min_rows=80, latency_budget_ms=5000)", "hs.direct()")]
    )
    driver.open()
    try:
        driver.run({})
        driver.run({"trees": 40})
        assert driver.ask(champion) == 2
        driver.ask(lambda control: control.post("/endpoints/fraud/pause", {"reason": "only the load test acts"}))
        figures = under_load(driver, tmp_path)
    finally:
        driver.close()
    found.append("long load: " + ", ".join(f"{name} {value}" for name, value in figures.items()))
    assert figures["failed"] == 0
    assert figures["swaps"] >= 4 and figures["control killed"] >= 1
    assert figures["memory growth"] <= GROWTH


def under_load(driver: Driver, folder: Path) -> dict[str, Any]:
    """wrk for a minute; swaps and deaths meanwhile; what came of it."""
    script = folder / "load.lua"
    script.write_text(LUA.format(token=driver.server.connection.token, body=request_of(driver)))
    memory = Memory(driver.server.inference_pid)
    memory.start()
    command = ["wrk", "-t1", "-c4", f"-d{SECONDS}s", "--latency", "-s", str(script)]
    wrk = subprocess.Popen(
        [*command, f"{driver.server.inference}/v2/models/fraud/infer"], stdout=subprocess.PIPE, text=True
    )
    swaps = 0
    version = 2
    while wrk.poll() is None:
        version = 1 if version == 2 else 2
        swap(driver, version)
        swaps += 1
        if swaps % KILL_EVERY == 0:
            driver.server.kill()
            driver.server.revive()
    said = wrk.communicate()[0]
    memory.over.set()
    memory.join()
    return figures_of(said, memory.readings, swaps, driver.server.deaths)


def figures_of(said: str, readings: list[int], swaps: int, deaths: int) -> dict[str, Any]:
    """Read wrk's words and the memory's readings."""
    requests = re.search(r"(\d+) requests in", said)
    assert requests, said
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", said)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
    late = re.search(r"99%\s+(\S+)", said)
    warm = readings[WARM:]
    half = len(warm) // 2
    early, later = sum(warm[:half]) / half, sum(warm[half:]) / (len(warm) - half)
    return {
        "requests": int(requests[1]),
        "failed": int(refused[1] if refused else 0) + sum(map(int, broken.groups() if broken else ())),
        "a second": float(rate[1]) if rate else 0.0,
        "p99": late[1] if late else "?",
        "swaps": swaps,
        "control killed": deaths,
        "MiB": round(readings[-1] / 2**20),
        "memory growth": round(later / early, 3),
    }
