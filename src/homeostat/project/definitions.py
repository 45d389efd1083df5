"""Everything one project file declares, as the control plane takes it; and what gathers it while the file runs.

An endpoint has the name of its model. Gates are found by their name, rollouts by their key, policies by their
`endpoint`: all three are the endpoint's name.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct

from homeostat.control.records import Policy
from homeostat.data.records import Dataset
from homeostat.delivery.records import Gate, RolloutDefinition
from homeostat.foundation.errors import Kind, entry
from homeostat.pipelines.records import Pipeline

TWO_OF_ONE_NAME = entry(
    "project.two_of_one_name",
    Kind.INVALID,
    "{name!r} is declared twice in this project: first as a {first}, then as a {second}",
    "give one of them another name",
)

Function = Callable[..., Any]


class Definitions(Struct, frozen=True, kw_only=True):
    """One project as its file defines it: the body of `POST /api/v1/definitions`. `code` is the source's object."""

    datasets: tuple[Dataset, ...] = ()
    pipelines: tuple[Pipeline, ...] = ()
    gates: tuple[Gate, ...] = ()  # named by endpoint
    rollouts: dict[str, RolloutDefinition] = {}  # by endpoint
    policies: tuple[Policy, ...] = ()
    code: str | None = None  # digest of the project file's source
    code_path: str | None = None  # where it lay


class ModelDeclaration(Struct, frozen=True, kw_only=True):
    """What `@hs.model` says: a training function and the settings around it. `data` names a dataset or a step."""

    name: str
    function: str
    data: str
    inputs: tuple[str, ...] | None
    task: Literal["classification", "regression"]
    threshold: float | Literal["f1"] | None
    held_out: float
    params: dict[str, Any]
    gate: Gate
    rollout: RolloutDefinition
    policy: Policy
    schedule: int | None = None


class StepDeclaration(Struct, frozen=True, kw_only=True):
    """What `@hs.step` says: a function of frames; `inputs` maps its parameters to datasets or steps of that name."""

    name: str
    inputs: tuple[str, ...]
    params: dict[str, Any]
    cache: bool = True


class Collector:
    """Gathers declarations while a project file runs. Strict about names; `lenient` lets a notebook say it again."""

    def __init__(self, folder: Path | None = None, *, lenient: bool = False) -> None:
        self.folder = folder
        self.lenient = lenient
        self.datasets: dict[str, Dataset] = {}
        self.steps: dict[str, StepDeclaration] = {}
        self.models: dict[str, ModelDeclaration] = {}

    def add(self, what: Dataset | StepDeclaration | ModelDeclaration) -> None:
        """Take a declaration in; two datasets, or two nodes (steps and models), of one name are an error."""
        if isinstance(what, Dataset):
            self._unique("dataset", what.name, {"dataset": self.datasets})
            self.datasets[what.name] = what
            return
        kind = "model" if isinstance(what, ModelDeclaration) else "step"
        self._unique(kind, what.name, {"step": self.steps, "model": self.models})
        if isinstance(what, ModelDeclaration):
            self.models[what.name] = what
        else:
            self.steps[what.name] = what

    def _unique(self, kind: str, name: str, known: dict[str, dict[str, Any]]) -> None:
        for first, names in known.items():
            if name in names:
                if not self.lenient:
                    raise TWO_OF_ONE_NAME(field=kind, name=name, first=first, second=kind)
                del names[name]


_loose = Collector(lenient=True)  # where a notebook's or a worker's declarations go
_current: ContextVar[Collector | None] = ContextVar("homeostat_collector", default=None)


def collector() -> Collector:
    """The collector of the file being loaded, else the process's own lenient one."""
    return _current.get() or _loose


@contextmanager
def collecting(into: Collector) -> Iterator[Collector]:
    """Send the declarations made in this block to `into`."""
    mark = _current.set(into)
    try:
        yield into
    finally:
        _current.reset(mark)


def caller_folder(depth: int = 2) -> Path:
    """The folder of the file that declares: that of the loaded project, else of the calling module, else the cwd."""
    folder = collector().folder
    if folder is not None:
        return folder
    frame = inspect.currentframe()
    for _ in range(depth):
        frame = frame.f_back if frame else None
    file = frame.f_globals.get("__file__") if frame else None
    return Path(file).resolve().parent if file else Path.cwd()
