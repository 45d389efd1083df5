"""Runs one step in a worker: loads the function, its inputs, calls it, stores what it made. Worker-side only.

A function of the project's file is taken from the snapshot the run was defined with, executed under its original path,
so that a traceback, `__file__` and imports beside it are what the user knows. An error in it is told as one line that
points into that file.
"""

from __future__ import annotations

import importlib
import linecache
import sys
import threading
import traceback
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

from homeostat.foundation.errors import HomeostatError, Kind, entry
from homeostat.foundation.stores import Stores
from homeostat.pipelines import outputs
from homeostat.pipelines.records import StepContext, StepJob, StepResult

STEP_ERROR = entry(
    "pipelines.step_error",
    Kind.FAILED,
    "{file}, line {line}: {what}",
    "mend that line and resume: homeostat pipelines resume {run}; the whole traceback is in the step's log",
)
NO_FUNCTION = entry(
    "pipelines.no_function",
    Kind.INVALID,
    "{file} has no function {function!r}",
    "define it there, or run the pipeline again with the file as it is now",
)

MODULE = "homeostat_project"
LARGEST_VALUE = 64 * 1024

_loading = threading.Lock()
_loaded: dict[tuple[str, str], types.ModuleType] = {}


def run_step(job: StepJob, stores: Stores) -> StepResult:
    """Run one step and store its output. Doing it twice gives the same objects, so a lost worker costs only time."""
    inputs = {name: outputs.take(stores.objects, output) for name, output in job.inputs.items()}
    if job.function.startswith("project:"):
        value = _of_project(job, inputs, stores)
    else:
        value = _of_platform(job, inputs, stores)
    output = outputs.put(stores.objects, job.step, value)
    small = output.kind == "json" and stores.objects.size(output.digest) <= LARGEST_VALUE
    seen = outputs.plain(job.step, value) if small else None
    return StepResult(output=output, value=seen if isinstance(seen, dict) else None)


def project_module(code: str, code_path: str, stores: Stores) -> types.ModuleType:
    """The project's file as it was (`code`, an object), executed once a process under its original path.

    For platform steps that call a function of the project: the training step. Raises `pipelines.step_error`.
    """
    with _loading:
        module = _loaded.get((code, code_path))
        if module is None:
            module = _execute(stores.objects.get_bytes(code), Path(code_path))
            _loaded[code, code_path] = module
    return module


def user_error(failure: Exception, code_path: str, run: str) -> HomeostatError:
    """`failure` of a function of the project as one line that points into its file; the traceback goes to the log."""
    traceback.print_exception(failure)
    path = Path(code_path)
    line: int | None = None
    if isinstance(failure, SyntaxError) and failure.filename == str(path):
        line = failure.lineno
    for frame in traceback.extract_tb(failure.__traceback__):
        if frame.filename == str(path):
            line = frame.lineno
    said = failure.msg if isinstance(failure, SyntaxError) else str(failure)
    what = f"{type(failure).__name__}: {' '.join(said.split())}".rstrip(": ")
    return STEP_ERROR(file=path.name, line=line or "?", what=what[:500], run=run)


def _of_project(job: StepJob, inputs: dict[str, Any], stores: Stores) -> Any:
    assert job.code is not None and job.code_path is not None  # definitions.check saw to it
    name = job.function.partition(":")[2]
    try:
        function = getattr(project_module(job.code, job.code_path, stores), name, None)
        if not callable(function):
            raise NO_FUNCTION(field="function", file=Path(job.code_path).name, function=name)
        return function(**inputs, **job.params)
    except HomeostatError:
        raise
    except Exception as failure:  # whatever the user's code raises is told as one line of the user's file
        raise user_error(failure, job.code_path, job.pipeline_run_id) from failure


def _of_platform(job: StepJob, inputs: dict[str, Any], stores: Stores) -> Any:
    module, _, qualname = job.function.partition(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), qualname)
    return function(context_of(job, stores), **inputs)


def context_of(job: StepJob, stores: Stores | None, inputs: dict[str, Any] | None = None) -> StepContext:
    """What the function of a platform step is told."""
    shared = {name: getattr(job, name) for name in StepJob.__struct_fields__ if name not in ("function", "inputs")}
    return StepContext(**shared, inputs=inputs or {}, worker_stores=stores)


def _execute(source: bytes, path: Path) -> types.ModuleType:
    module = types.ModuleType(MODULE)
    module.__file__ = str(path)
    sys.modules[MODULE] = module
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    text = source.decode("utf-8", "replace")
    linecache.cache[str(path)] = (len(source), None, text.splitlines(keepends=True), str(path))
    exec(compile(source, str(path), "exec"), module.__dict__)
    return module
