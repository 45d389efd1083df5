"""What a project file declared, put together: a pipeline for every model, and the records that go with it.

A model's pipeline reads: `ingest` takes in what is new (one for each dataset it rests on), `rows_<dataset>` reads a
dataset as a frame where a step asks for one, then the file's own steps, then `train` (a tracked run), then `register`.
"""

from __future__ import annotations

from typing import Any

import msgspec

from homeostat.data.records import Dataset
from homeostat.foundation.errors import Kind, entry
from homeostat.pipelines.records import Pipeline, Step
from homeostat.project.definitions import Collector, Definitions, ModelDeclaration

UNKNOWN_EDGE = entry(
    "project.unknown_edge",
    Kind.INVALID,
    "step {step!r} takes {parameter!r}, which is neither a dataset nor a step of this project",
    "name the parameter after one of: {known}",
)
RESERVED_NODE = entry(
    "project.reserved_node",
    Kind.INVALID,
    "the step {name!r} has a name that every pipeline uses for a step of its own",
    "give the function another name",
)
GOES_ROUND = entry(
    "project.goes_round", Kind.INVALID, "the steps go round in a circle: {path}", "break the circle at one of them"
)
SEVERAL_LABELS = entry(
    "project.several_labels",
    Kind.INVALID,
    "model {model!r} rests on {count} datasets with a label: {datasets}",
    "take label=... out of those that are not what it learns",
)
NO_LABELLED_DATASET = entry(
    "project.no_labelled_dataset",
    Kind.INVALID,
    "model {model!r} rests on no dataset that names a label",
    "add label='COLUMN' to one of its datasets",
)

RESERVED = ("ingest", "train", "register")


def assemble(collected: Collector, *, code: str | None, code_path: str | None, code_digest: str) -> Definitions:
    """The definitions of everything `collected`.

    `code` is the object of the file's source, `code_digest` covers everything its functions are made of (for the cache
    of their results). Raises a one-line error for an edge to nowhere, a circle, a reserved name, or no label.
    """
    for name in collected.steps:
        if name in RESERVED or name.startswith(("ingest_", "rows_")):
            raise RESERVED_NODE(field="step", name=name)
    pipelines = []
    policies = []
    for model in collected.models.values():
        graph = _Graph(collected, model, code_digest)
        dataset = graph.labelled()
        pipelines.append(
            Pipeline(
                name=model.name,
                steps=graph.steps(dataset),
                code=code,
                code_path=code_path,
                model=model.name,
            )
        )
        policies.append(
            msgspec.structs.replace(model.policy, dataset=dataset.name, label_delay=dataset.label_delay),
        )
    models = collected.models.values()
    return Definitions(
        datasets=tuple(collected.datasets.values()),
        pipelines=tuple(pipelines),
        gates=tuple(msgspec.structs.replace(m.gate, dataset=p.dataset) for m, p in zip(models, policies, strict=True)),
        rollouts={m.name: m.rollout for m in models},
        policies=tuple(policies),
        code=code,
        code_path=code_path,
    )


class _Graph:
    """The part of a project that one model rests on."""

    def __init__(self, collected: Collector, model: ModelDeclaration, code_digest: str) -> None:
        self.collected = collected
        self.model = model
        self.code_digest = code_digest
        self.by_parameter = {name.replace("-", "_").replace(".", "_"): d for name, d in collected.datasets.items()}
        self.datasets: dict[str, Dataset] = {}
        self.user_steps: dict[str, Step] = {}
        self._walk(model.data, ())

    def _walk(self, node: str, path: tuple[str, ...]) -> None:
        if node in path:
            raise GOES_ROUND(field="step", path=" -> ".join((*path[path.index(node) :], node)))
        if node not in self.collected.steps:
            self.datasets[node] = self.collected.datasets[node]
            return
        declared = self.collected.steps[node]
        inputs: dict[str, str] = {}
        for parameter in declared.inputs:
            source = self._source(node, parameter)
            self._walk(source, (*path, node))
            inputs[parameter] = source if source in self.collected.steps else f"rows_{source}"
        if node not in self.user_steps:
            self.user_steps[node] = Step(
                name=node,
                function=f"project:{node}",
                inputs=inputs,
                params=declared.params,
                code_digest=self.code_digest,
                cache=declared.cache,
            )

    def _source(self, step: str, parameter: str) -> str:
        if parameter in self.collected.steps:
            return parameter
        if parameter in self.by_parameter:
            return self.by_parameter[parameter].name
        known = ", ".join([*self.by_parameter, *(s for s in self.collected.steps if s != step)])
        raise UNKNOWN_EDGE(field=parameter, step=step, parameter=parameter, known=known or "(nothing is declared)")

    def labelled(self) -> Dataset:
        """The one dataset among those it rests on that names a label: what the model learns."""
        found = [d for d in self.datasets.values() if d.label is not None]
        if not found:
            raise NO_LABELLED_DATASET(field="label", model=self.model.name)
        if len(found) > 1:
            names = ", ".join(d.name for d in found)
            raise SEVERAL_LABELS(field="label", model=self.model.name, count=len(found), datasets=names)
        return found[0]

    def steps(self, labelled: Dataset) -> tuple[Step, ...]:
        """Every step of the pipeline, in an order in which they can run."""
        ingests = {name: "ingest" if len(self.datasets) == 1 else f"ingest_{name}" for name in self.datasets}
        steps = [
            Step(name=step, function="control:ingest", cache=False, settings={"dataset": name})
            for name, step in ingests.items()
        ]
        if self.user_steps:
            steps += [
                Step(
                    name=f"rows_{name}",
                    function="homeostat.project.training:rows",
                    inputs={"ingested": step},
                    settings={"dataset": msgspec.to_builtins(self.datasets[name])},
                )
                for name, step in ingests.items()
            ]
        steps += self.user_steps.values()
        inputs = {"ingested": ingests[labelled.name]}
        if self.user_steps:
            inputs["frame"] = self.model.data
        steps.append(self._train(labelled, inputs))
        steps.append(
            Step(
                name="register",
                function="control:register",
                inputs={"trained": "train"},
                cache=False,
                settings={"model": self.model.name, "dataset": labelled.name},
            )
        )
        return tuple(steps)

    def _train(self, labelled: Dataset, inputs: dict[str, str]) -> Step:
        model = self.model
        settings: dict[str, Any] = {
            "tracked": True,
            "experiment": model.name,
            "model": model.name,
            "function": model.function,
            "dataset": msgspec.to_builtins(labelled),
            "inputs": None if model.inputs is None else list(model.inputs),
            "task": model.task,
            "metric": model.gate.metric,
            "threshold": model.threshold,
            "held_out": model.held_out,
            "window": model.policy.window,
            "learn_from": model.policy.learn_from,
        }
        return Step(
            name="train",
            function="homeostat.project.training:train",
            inputs=inputs,
            params=model.params,
            code_digest=self.code_digest,
            settings=settings,
        )
