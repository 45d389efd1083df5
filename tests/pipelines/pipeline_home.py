"""A home with a database, objects and a runner; and a project file whose functions leave a trace of each call."""

from __future__ import annotations

import importlib.util
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

from homeostat.engines.local import Local
from homeostat.foundation.clock import SystemClock
from homeostat.foundation.database import Database, metadata
from homeostat.foundation.objects import Objects
from homeostat.pipelines import definitions, runs, tables  # noqa: F401
from homeostat.pipelines.engine import Engine
from homeostat.pipelines.graph import pipeline_of
from homeostat.pipelines.records import Pipeline, PipelineRun, StepRun
from homeostat.pipelines.runner import Runner

FLOW = '''
"""A project file."""
from pathlib import Path

TRACE = Path(__file__).with_name("trace")


def called(name):
    with TRACE.open("a") as trace:
        trace.write(name + "\\n")


def numbers(*, count: int = 4):
    called("numbers")
    return list(range(count))


def doubled(numbers):
    called("doubled")
    return [2 * number for number in numbers]


def squared(numbers):
    called("squared")
    return [number * number for number in numbers]


def total(doubled, squared, *, scale: float = 1.0):
    called("total")
    return {"total": scale * (sum(doubled) + sum(squared))}
'''


class Home:
    """One home: what a control process has of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "home"
        self.path.mkdir(exist_ok=True)
        self.objects = Objects(self.path / "objects")
        self.actions: dict[str, Callable[..., Any]] = {}
        self._closing: list[Callable[[], None]] = []
        self.open()

    def open(self, engine: Engine | None = None) -> None:
        """Start a control of this home: database, engine, runner."""
        self.database = Database(f"sqlite:///{self.path / 'homeostat.db'}", SystemClock())
        metadata.create_all(self.database.engine)
        self.engine = engine or Local(self.path, workers=2)
        self.runner = Runner(self.database, self.engine, self.objects, SystemClock(), self.actions)
        self._closing = [self.runner.close, self.engine.close, self.database.close]

    def close(self) -> None:
        """Stop it, in the order `up` does."""
        for end in self._closing:
            end()

    def flow(self, source: str = FLOW) -> types.ModuleType:
        """The project file, imported."""
        path = self.folder / "flow.py"
        path.write_text(source)
        spec = importlib.util.spec_from_file_location("flow", path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    def define(self, *names: str, source: str = FLOW) -> Pipeline:
        """Define the pipeline "flow" of these functions of the project file."""
        module = self.flow(source)
        pipeline = pipeline_of("flow", [getattr(module, name) for name in names], self.objects)
        self.keep(pipeline)
        return pipeline

    def keep(self, pipeline: Pipeline) -> None:
        """Define a pipeline."""
        with self.database.write(actor="person:ada") as tx:
            definitions.define(tx, pipeline)

    def run(self, name: str = "flow", **fields: Any) -> PipelineRun:
        """Start a run and wait for its end."""
        started = self.runner.start(name, fields.pop("params", {}), trigger="person", actor="person:ada", **fields)
        return self.runner.wait(started.id, 60)

    def steps(self, run: PipelineRun) -> dict[str, StepRun]:
        """The step runs of a run, by name."""
        with self.database.read() as reader:
            return {step.step: step for step in runs.steps(reader, run.id)}

    def states(self, run: PipelineRun) -> dict[str, str]:
        """The state of each step."""
        return {name: step.state for name, step in self.steps(run).items()}

    def trace(self) -> list[str]:
        """The calls that functions of the project file have left."""
        path = self.folder / "trace"
        return path.read_text().split() if path.exists() else []
