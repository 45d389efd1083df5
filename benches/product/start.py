"""How long `--help` and `up` take, and what an idle Homeostat weighs. Whole processes, five runs each, the median.

Memory is the proportional set size of every process that `up` leaves running (shared pages counted once).
"""

from __future__ import annotations

import json
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

RUNS = 5
RESULTS = Path(__file__).parents[1] / "results" / "product_start.json"
GOALS = {"help_s": 0.2, "control_s": 1.5, "up_s": 2.5, "idle_mb": 300}


def help_seconds() -> float:
    """Wall time of `homeostat --help`."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "homeostat.cli", "--help"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def up() -> dict[str, float]:
    """Wall time until control answers and until everything is up, and the idle memory two seconds later."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "homeostat.cli", "up", "--json", "--home", folder]
        command += ["--port", "0", "--inference-port", "0"]
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            control = _control_answers(Path(folder), began)
            assert process.stdout is not None
            process.stdout.readline()
            whole = time.perf_counter() - began
            time.sleep(2)
            inference = json.loads((Path(folder) / "inference" / "acks" / "0.json").read_text())["pid"]
            memory = sum(proportional_set_size(pid) for pid in {process.pid, inference})
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)
            if process.stdout is not None:
                process.stdout.close()
    return {"control_s": control, "up_s": whole, "idle_mb": memory}


def _control_answers(home: Path, began: float) -> float:
    import http.client

    while time.perf_counter() - began < 30:
        try:
            address = json.loads((home / "lock").read_text())["address"].removeprefix("http://")
            connection = http.client.HTTPConnection(address, timeout=5)
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                connection.close()
                return time.perf_counter() - began
        except (OSError, ValueError, KeyError):
            time.sleep(0.005)
    raise SystemExit("control did not answer within 30 s")


def proportional_set_size(pid: int) -> float:
    """Megabytes that the process accounts for."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def main() -> None:
    """Measure, print and keep."""
    found: dict[str, list[float]] = {"help_s": [help_seconds() for _ in range(RUNS)]}
    for _ in range(RUNS):
        for name, value in up().items():
            found.setdefault(name, []).append(value)
    report: dict[str, Any] = {"python": platform.python_version(), "runs": found, "goals": GOALS}
    for name, values in found.items():
        print(f"{name:<12} median {statistics.median(values):8.3f}   goal under {GOALS[name]}")
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
