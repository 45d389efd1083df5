"""What durability costs: one step, a map of a hundred, and a hundred cached ones.

Each step is a plain function; its row, its output and its events are durable (fsync) before the next one begins. The
goals of docs/design are for the local engine (in process); the same on forked workers is printed beside it, with what
a fork costs by itself. Times are wall seconds of the best of three, since the machine is shared.
"""

from __future__ import annotations

import importlib.util
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from homeostat.engines.local import Local
from homeostat.engines.processes import Processes
from homeostat.foundation.clock import SystemClock
from homeostat.foundation.database import Database, metadata
from homeostat.foundation.objects import Objects
from homeostat.pipelines import definitions
from homeostat.pipelines.engine import Engine
from homeostat.pipelines.graph import pipeline_of
from homeostat.pipelines.runner import Runner
from homeostat.testing.engines import ended, make

WIDTH = 100

CHAIN = "def s0(*, seed: int = 0):\n    return seed\n" + "".join(
    f"def s{n}(s{n - 1}, *, seed: int = 0):\n    return s{n - 1} + 1\n" for n in range(1, WIDTH)
)
MAP = (
    "def start(*, seed: int = 0):\n    return seed\n"
    + "".join(f"def part{n}(start):\n    return start + {n}\n" for n in range(WIDTH))
    + f"def joined({', '.join(f'part{n}' for n in range(WIDTH))}):\n    return {{'sum': part0 + part{WIDTH - 1}}}\n"
)


class Bench:
    """A home in a folder, with one engine."""

    def __init__(self, folder: Path, engine: Callable[[Path], Engine]) -> None:
        self.folder = folder
        home = folder / "home"
        home.mkdir(parents=True)
        self.objects = Objects(home / "objects")
        self.database = Database(f"sqlite:///{home / 'homeostat.db'}", SystemClock())
        metadata.create_all(self.database.engine)
        self.engine = engine(home)
        self.runner = Runner(self.database, self.engine, self.objects, SystemClock(), {})

    def define(self, name: str, source: str) -> int:
        """Define a pipeline of every function of `source`; returns how many there are."""
        path = self.folder / f"{name}.py"
        path.write_text(source)
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        functions = [value for key, value in vars(module).items() if not key.startswith("_")]
        with self.database.write(actor="bench") as tx:
            definitions.define(tx, pipeline_of(name, functions, self.objects))
        return len(functions)

    def run(self, name: str, seed: int) -> float:
        """Seconds that one run takes."""
        began = time.perf_counter()
        started = self.runner.start(name, {"seed": seed}, trigger="bench", actor="bench")
        run = self.runner.wait(started.id, 600)
        assert run.state == "succeeded", run.error
        return time.perf_counter() - began

    def close(self) -> None:
        self.runner.close()
        self.engine.close()
        self.database.close()


def measure(name: str, engine: Callable[[Path], Engine], rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), engine)
        try:
            count = bench.define("chain", CHAIN)
            bench.define("map", MAP)
            bench.run("chain", -1)
            chain = min(bench.run("chain", seed) for seed in range(rounds))
            cached = min(bench.run("chain", 0) for _ in range(3))
            mapped = min(bench.run("map", seed) for seed in range(rounds))
            print(f"{name:10} durable step {1000 * chain / count:7.2f} ms   {WIDTH}-way map {mapped:6.3f} s   ", end="")
            print(f"cached re-run of {count} steps {cached:6.3f} s")
        finally:
            bench.close()


def measure_fork() -> None:
    with tempfile.TemporaryDirectory() as folder:
        engine = Processes(Path(folder))
        began = time.perf_counter()
        ended(engine.submit(make("echo")))
        cold = time.perf_counter() - began
        times = []
        for _ in range(50):
            began = time.perf_counter()
            ended(engine.submit(make("echo")))
            times.append(1000 * (time.perf_counter() - began))
        status = Path(f"/proc/{engine.server_pid}/smaps_rollup").read_text()
        pss = int(next(line for line in status.splitlines() if line.startswith("Pss:")).split()[1]) / 1000
        engine.close()
        median = statistics.median(times)
        print(f"fork to result {median:.1f} ms (best {min(times):.1f})   server {pss:.0f} MB, cold start {cold:.2f} s")


if __name__ == "__main__":
    measure("local", lambda home: Local(home, workers=1), 3)
    measure("processes", lambda home: Processes(home, workers=2), 1)
    measure_fork()
