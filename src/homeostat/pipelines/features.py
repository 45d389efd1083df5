"""The frame that a model was trained on, made again from newer rows by the steps between. Worker-side.

A gate judges on rows that came after training. Where steps of the project stand between the dataset and the training,
the same steps, with the code and the params of the run that trained the version, make the newer rows into what the
version takes. They are called here and now, on every row they may look back on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import polars as pl

from homeostat.data.records import Dataset
from homeostat.foundation.errors import HomeostatError, Kind, entry
from homeostat.foundation.stores import Stores
from homeostat.pipelines.records import Features
from homeostat.pipelines.steps import project_module, user_error

NO_FRAME = entry(
    "pipelines.no_frame",
    Kind.INVALID,
    "step {step!r} gave {what}, and rows to judge on are a frame",
    "return a polars frame from it",
)

Read = Callable[[Dataset, int], pl.DataFrame]


def make(features: Features, read: Read, stores: Stores) -> pl.DataFrame:
    """The frame of `features.step`; `read(dataset, delta_version)` gives the rows that the first steps take."""
    made: dict[str, Any] = {}
    by_name = {step.name: step for step in features.pipeline.steps}

    def value(name: str) -> Any:
        if name not in made:
            step = by_name[name]
            if not step.function.startswith("project:"):
                dataset = msgspec.convert(step.settings["dataset"], Dataset)
                made[name] = read(dataset, features.versions[dataset.name])
            else:
                inputs = {parameter: value(source) for parameter, source in step.inputs.items()}
                made[name] = _call(features, step.function.partition(":")[2], inputs, step.params, stores)
        return made[name]

    frame = value(features.step)
    if not isinstance(frame, pl.DataFrame):
        raise NO_FRAME(field=features.step, step=features.step, what=type(frame).__name__)
    return frame


def _call(features: Features, function: str, inputs: dict[str, Any], params: dict[str, Any], stores: Stores) -> Any:
    code, path = features.pipeline.code, features.pipeline.code_path
    assert code is not None and path is not None  # a pipeline with steps of a project has both
    known = {name: value for name, value in features.params.items() if name in params}
    try:
        made = getattr(project_module(code, path, stores), function)(**inputs, **{**params, **known})
    except HomeostatError:
        raise
    except Exception as failure:  # whatever the user's code raises is told as one line of the user's file
        raise user_error(failure, path, features.run) from failure
    return made.collect() if isinstance(made, pl.LazyFrame) else made
