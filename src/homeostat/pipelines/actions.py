"""Steps that control itself takes ("control:name"): short acts on rows, on a thread of the control process.

An action gets a `StepContext` with its decoded inputs and returns a JSON-like value. It runs outside of any
transaction and opens its own; like every step it may be asked twice, and `context.step_run_id` is then the same.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from homeostat.foundation.errors import INTERNAL, HomeostatError, Kind, entry
from homeostat.foundation.objects import Objects
from homeostat.pipelines.records import Outcome, Output, StepContext, StepJob, StepResult

NO_ACTION = entry(
    "pipelines.no_action",
    Kind.INVALID,
    "step {step!r} asks control for {action!r}, which it does not do",
    "use one of: {known}",
)

Action = Callable[[StepContext], Any]


def perform(actions: Mapping[str, Action], job: StepJob, objects: Objects) -> Outcome:
    """Run the action of `job` and store what it returns. Never raises for what the action does."""
    started = time.perf_counter()
    try:
        name = job.function.partition(":")[2]
        if name not in actions:
            raise NO_ACTION(field="function", step=job.step, action=name, known=", ".join(actions) or "(none)")
        value = msgspec.to_builtins(actions[name](_context(job, objects)))
        digest = objects.put_bytes(msgspec.json.encode(value))
    except HomeostatError as error:
        return Outcome(state="failed", error=error.as_dict(), seconds=time.perf_counter() - started)
    except Exception as failure:  # an action that fails fails its step, not the control process
        said = INTERNAL(what=f"{type(failure).__name__}: {failure}").as_dict()
        detail = "".join(traceback.format_exception(failure))
        return Outcome(state="failed", error={**said, "detail": detail}, seconds=time.perf_counter() - started)
    result = StepResult(output=Output(digest=digest, kind="json"), value=value if isinstance(value, dict) else None)
    return Outcome(state="succeeded", result=msgspec.msgpack.encode(result), seconds=time.perf_counter() - started)


def _context(job: StepJob, objects: Objects) -> StepContext:
    shared = {name: getattr(job, name) for name in StepJob.__struct_fields__ if name not in ("function", "inputs")}
    return StepContext(**shared, inputs={name: _input(objects, output) for name, output in job.inputs.items()})


def _input(objects: Objects, output: Output) -> Any:
    if output.kind == "json":
        return msgspec.json.decode(objects.get_bytes(output.digest))
    return {"digest": output.digest, "kind": output.kind}
