"""What a project file says: datasets, steps, models, and how each model is gated, rolled out and responded to.

    import homeostat as hs

    sales = hs.dataset("sales", hs.files("data/*.csv"), key="id", time="at", label="returned", label_delay="3d",
                       checks=[hs.column("amount").between(0, 50_000)])

    @hs.model(sales, inputs=["amount", "hour"])
    def returns(X, y, *, trees: int = 100):
        return GradientBoostingClassifier(n_estimators=trees).fit(X, y)

Every word builds one of the frozen records that the domains define; nothing here touches a server or loads a frame.
The decorators give the function back as it was, so that it can be called and tested by itself.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, overload

import msgspec

from homeostat.control.records import Policy
from homeostat.data.records import Dataset, Rule, Source
from homeostat.delivery.records import CheckDefinition, Gate, RolloutDefinition
from homeostat.foundation.clock import MINUTE, parse_duration
from homeostat.foundation.errors import Kind, entry
from homeostat.foundation.ids import check_name
from homeostat.project.definitions import Function, ModelDeclaration, StepDeclaration, caller_folder, collector
from homeostat.project.gates import METRICS, REGRESSION_METRICS, champion, check_metric
from homeostat.project.responses import automatic
from homeostat.project.rollouts import canary

BAD_DECLARATION = entry(
    "project.bad_declaration", Kind.INVALID, "{what} must be {rule}, not {value!r}", "write it as {example}"
)
BAD_FUNCTION = entry(
    "project.bad_function", Kind.INVALID, "{kind} {name!r}: {rule}", "write it as: def {name}({example})"
)
NO_LABEL = entry(
    "project.no_label",
    Kind.INVALID,
    "model {model!r} learns from dataset {dataset!r}, which names no label",
    "add label='COLUMN' to hs.dataset({dataset!r}, ...)",
)
NOT_AN_INPUT = entry(
    "project.not_an_input",
    Kind.INVALID,
    "model {model!r} lists {column!r} as an input, which is the {what} of dataset {dataset!r}",
    "take it out of inputs=[...]",
)

F = TypeVar("F", bound=Function)
Task = Literal["classification", "regression"]


def files(pattern: str | Path) -> Source:
    """Rows from CSV or Parquet files: a path or a glob, relative to the folder of the project file."""
    if not isinstance(pattern, str | Path) or not str(pattern):
        raise BAD_DECLARATION(
            field="files", what="the pattern of hs.files()", rule="a path or a glob", value=pattern,
            example="hs.files('data/*.csv')",
        )  # fmt: skip
    return Source(pattern=str(pattern), base=str(caller_folder()))


def dataset(
    name: str,
    source: Source | str | Path,
    *,
    key: str | None = None,
    time: str | None = None,
    label: str | None = None,
    label_delay: str | int = 0,
    checks: Sequence[Rule] = (),
) -> Dataset:
    """Declare a dataset: where its rows come from and what must be true of them.

    `key` names the column that tells rows apart (labels find them by it), `time` the event-time column, `label` the
    column to learn. `label_delay` ('3d') is how long after its event a label becomes known: a row of the files that is
    younger counts as unlabelled. Raises a one-line error that names the argument, the rule and the fix.
    """
    check_name("dataset", name, field="dataset")
    if isinstance(source, str | Path):
        source = Source(pattern=str(source), base=str(caller_folder()))
    if not isinstance(source, Source):
        raise BAD_DECLARATION(
            field="source", what=f"the source of dataset {name!r}", rule="files", value=source,
            example="hs.files('data/*.csv')",
        )  # fmt: skip
    for argument, value in (("key", key), ("time", time), ("label", label)):
        if value is not None and (not isinstance(value, str) or not value):
            raise BAD_DECLARATION(
                field=argument, what=f"{argument} of dataset {name!r}", rule="the name of a column", value=value,
                example=f"{argument}='column'",
            )  # fmt: skip
    for rule in checks:
        if not isinstance(rule, Rule):
            raise BAD_DECLARATION(
                field="checks", what=f"each check of dataset {name!r}", rule="a check on a column", value=rule,
                example="hs.column('amount').between(0, 50_000)",
            )  # fmt: skip
    made = Dataset(
        name=name,
        source=source,
        key=key,
        time=time,
        label=label,
        label_delay=parse_duration(label_delay, field="label_delay"),
        rules=tuple(checks),
    )
    collector().add(made)
    return made


@overload
def step(function: F, /) -> F: ...
@overload
def step(*, cache: bool = True) -> Callable[[F], F]: ...
def step(function: Function | None = None, /, *, cache: bool = True) -> Any:
    """Declare a step: a function of frames that gives a frame. Its name is its node, its parameters are its edges.

    A parameter is the name of a dataset ('-' and '.' written as '_') or of another step; keyword-only arguments are its
    params. It runs in a worker and takes and gives polars frames (or JSON-like values, numpy arrays, bytes). The result
    is cached by code, inputs and params unless `cache=False`. A step may aggregate past rows only.
    """

    def declare(function: F) -> F:
        edges, params = _arguments(function, "step", "transactions, *, days: int = 7")
        if not edges:
            raise _bad_function(function, "step", "it takes no input", "transactions")
        collector().add(StepDeclaration(name=_name(function), inputs=tuple(edges), params=params, cache=cache))
        return function

    return declare if function is None else declare(function)


def model(
    data: Dataset | Function,
    *,
    name: str | None = None,
    inputs: Sequence[str] | None = None,
    task: Task = "classification",
    metric: str | None = None,
    threshold: float | Literal["f1"] | None = None,
    held_out: float | str = 0.25,
    gate: Sequence[CheckDefinition] | None = None,
    rollout: RolloutDefinition | None = None,
    respond: Policy | None = None,
    schedule: str | int | None = None,
) -> Callable[[F], F]:
    """Declare a model: a function `f(X, y, *, params) -> fitted estimator`.

    `data` is a dataset, or a step that makes a frame of one. X is a polars DataFrame of `inputs` (default: every column
    but key, time and label), y a numpy array; both hold the older rows only, since the newest ones (`held_out`: a
    share, or a duration such as '7d', cut where a monitoring window begins) measure the result. `metric` is what the
    gate and the monitors look at: 'balanced_accuracy', or 'mae' in regression, unless said. `threshold` is the score
    from which the answer is the positive class: a number; 'f1' for the best F1 on the held-out rows; by default 0.5
    when positives are 20% to 80% of the rows, else 'f1'. `gate` defaults to `[champion()]`, `rollout` to `canary()`,
    `respond` to `automatic()`. `schedule` ('7d') runs the pipeline that often. The endpoint has the model's name.
    """

    def declare(function: F) -> F:
        edges, params = _arguments(function, "model", "X, y, *, trees: int = 100")
        called = check_name("model", name or _name(function), field="model")
        if len(edges) != 2:
            raise _bad_function(function, "model", f"it takes {len(edges)} inputs, not X and y", "X, y, *, trees=100")
        source = _data(called, data)
        chosen = _metric(called, task, metric)
        unseen = held_out if not isinstance(held_out, str) else parse_duration(held_out, field="held_out")
        _check_choices(called, inputs, threshold, unseen)
        if isinstance(data, Dataset):
            _check_roles(called, data, inputs)
        policy = automatic() if respond is None else _of(Policy, respond, "respond", called, "hs.automatic()")
        repeat = None if schedule is None else parse_duration(schedule, field="schedule")
        checks = tuple(_of(CheckDefinition, c, "gate", called, "[hs.champion()]") for c in (gate or ()))
        collector().add(
            ModelDeclaration(
                name=called,
                function=_name(function),
                data=source,
                inputs=None if inputs is None else tuple(inputs),
                task=task,
                threshold=threshold,
                held_out=unseen,
                params=params,
                gate=Gate(name=called, metric=chosen, checks=checks if gate is not None else (champion(),)),
                rollout=canary()
                if rollout is None
                else _of(RolloutDefinition, rollout, "rollout", called, "hs.canary()"),
                policy=msgspec.structs.replace(policy, endpoint=called, pipeline=called, schedule=repeat),
                schedule=repeat,
            )
        )
        return function

    return declare


def _name(function: Function) -> str:
    return str(getattr(function, "__name__", ""))


def _bad_function(function: Function, kind: str, rule: str, example: str) -> Exception:
    return BAD_FUNCTION(field=_name(function), kind=kind, name=_name(function), rule=rule, example=example)


def _arguments(function: Function, kind: str, example: str) -> tuple[list[str], dict[str, Any]]:
    """The edges (plain parameters) and the params (keyword-only ones, with their defaults) of a declared function."""
    if not inspect.isfunction(function) or function.__name__ == "<lambda>":
        raise BAD_FUNCTION(
            field=kind, kind=kind, name=_name(function) or "f", rule="it is not a function of the file", example=example
        )
    edges: list[str] = []
    params: dict[str, Any] = {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise _bad_function(function, kind, f"it takes *{parameter.name}, so its inputs cannot be told", example)
        if parameter.kind is not parameter.KEYWORD_ONLY:
            edges.append(parameter.name)
            continue
        if parameter.default is parameter.empty:
            raise _bad_function(function, kind, f"its param {parameter.name!r} has no default", example)
        if not _plain(parameter.default):
            rule = f"the default of its param {parameter.name!r} is no number, text, true/false, None or list of these"
            raise _bad_function(function, kind, rule, example)
        params[parameter.name] = parameter.default
    return edges, params


def _plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(_plain(v) for v in value)
    return value is None or isinstance(value, str | int | float | bool)


def _data(model: str, data: Any) -> str:
    if isinstance(data, Dataset):
        if data.label is None:
            raise NO_LABEL(field="label", model=model, dataset=data.name)
        return data.name
    if inspect.isfunction(data) and _name(data) in collector().steps:
        return _name(data)
    raise BAD_DECLARATION(
        field="data", what=f"the data of model {model!r}", rule="a dataset or a step of this file", value=data,
        example="@hs.model(hs.dataset(...))",
    )  # fmt: skip


def _metric(model: str, task: Task, metric: str | None) -> str:
    if task not in ("classification", "regression"):
        raise BAD_DECLARATION(
            field="task", what=f"task of model {model!r}", rule="'classification' or 'regression'", value=task,
            example="task='regression'",
        )  # fmt: skip
    known = REGRESSION_METRICS if task == "regression" else METRICS - REGRESSION_METRICS
    return check_metric(metric or ("mae" if task == "regression" else "balanced_accuracy"), known)


def _check_choices(model: str, inputs: Any, threshold: Any, held_out: Any) -> None:
    given = [inputs] if isinstance(inputs, str) else inputs
    if given is not None and (isinstance(inputs, str) or not given or not all(isinstance(i, str) for i in given)):
        raise BAD_DECLARATION(
            field="inputs", what=f"inputs of model {model!r}", rule="a list of column names", value=inputs,
            example="inputs=['amount', 'hour']",
        )  # fmt: skip
    if given is not None and len(set(given)) < len(given):
        twice = next(i for i in given if list(given).count(i) > 1)
        raise BAD_DECLARATION(
            field="inputs", what=f"inputs of model {model!r}", rule="each column once", value=twice,
            example="inputs=['amount', 'hour']",
        )  # fmt: skip
    if threshold not in (None, "f1") and not (_number(threshold) and 0 < threshold < 1):
        raise BAD_DECLARATION(
            field="threshold", what=f"threshold of model {model!r}", rule="between 0 and 1, or 'f1'", value=threshold,
            example="threshold=0.5",
        )  # fmt: skip
    if not (_number(held_out) and (0.05 <= held_out <= 0.5 or held_out >= MINUTE)):
        raise BAD_DECLARATION(
            field="held_out", what=f"held_out of model {model!r}", rule="a share from 0.05 to 0.5, or a duration",
            value=held_out, example="held_out=0.25, or held_out='7d'",
        )  # fmt: skip


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_roles(model: str, data: Dataset, inputs: Sequence[str] | None) -> None:
    for what in ("label", "key", "time"):
        column = getattr(data, what)
        if inputs is not None and column is not None and column in inputs:
            raise NOT_AN_INPUT(field="inputs", model=model, column=column, what=what, dataset=data.name)


S = TypeVar("S")


def _of(kind: type[S], value: Any, what: str, model: str, example: str) -> S:
    if not isinstance(value, kind):
        raise BAD_DECLARATION(
            field=what, what=f"{what} of model {model!r}", rule=f"made by {example}", value=value,
            example=f"{what}={example}",
        )  # fmt: skip
    return value
