"""A fitted estimator into the files of a package: ONNX when it provably agrees, else skops with the cause said.

Forms are tried from the cheapest to serve to the most exact, and the first that agrees on every probe is taken (see
`probes` and `parity`). Runs where the estimator lives, in a training worker or a person's own process; needs the
[sklearn] extra.
"""

from __future__ import annotations

import platform
import time
from collections import Counter
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

import numpy as np
import skops.io
from msgspec import Struct, structs
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline

from homeostat.foundation.errors import HomeostatError, Kind, entry
from homeostat.packages import graph, parity, trees
from homeostat.packages.columns import Table
from homeostat.packages.loader import Predictor, predictor_of
from homeostat.packages.package import MODEL_FILES
from homeostat.packages.probes import probes
from homeostat.packages.records import Cost, Manifest, Parity, ReferenceProfile, Signature, Task
from homeostat.packages.signature import infer
from homeostat.packages.trust import untrusted_types

CANNOT_SERVE = entry(
    "package.cannot_serve",
    Kind.REFUSED,
    "the model is not ONNX ({why}), and as it is it holds types that are not trusted: {types}",
    "build it from scikit-learn's own parts, or name the types in `trusted` here and where it is loaded",
)

_LIBRARIES = ("scikit-learn", "skl2onnx", "onnx", "onnxruntime", "numpy", "skops")


class Conversion(Struct, frozen=True, kw_only=True):
    """What became of an estimator: the files and every fact about them.

    `refusal` says, when the format is skops, why it is not ONNX and what to do; `warnings` are remarks on a model that
    did convert.
    """

    files: dict[str, bytes]
    format: Literal["onnx", "skops"]
    layout: Literal["matrix", "columns"]
    signature: Signature
    parity: Parity
    cost: Cost
    estimator: str
    environment: dict[str, str]
    example: dict[str, str | int | float | bool | None]
    warnings: tuple[str, ...] = ()
    refusal: str | None = None

    def manifest(
        self,
        *,
        profile: ReferenceProfile | None = None,
        dataset: str | None = None,
        dataset_version: str | None = None,
        run_id: str | None = None,
        code_digest: str | None = None,
    ) -> Manifest:
        """The manifest to hand to `package.write`, which fills in the files."""
        return Manifest(
            format=self.format,
            files={},
            layout=self.layout,
            signature=self.signature,
            profile=profile,
            estimator=self.estimator,
            dataset=dataset,
            dataset_version=dataset_version,
            run_id=run_id,
            code_digest=code_digest,
            environment=self.environment,
            parity=self.parity,
            cost=self.cost,
            example=self.example,
        )


def convert(
    estimator: Any,
    X: Any,
    y: Any = None,
    *,
    task: Task | None = None,
    threshold: float = 0.5,
    trusted: frozenset[str] = frozenset(),
) -> Conversion:
    """Convert a fitted scikit-learn estimator or pipeline, with a sample `X` of what it is asked about.

    `X` is a Polars or pandas frame or a NumPy array of two dimensions, as the estimator was fitted on; a few hundred
    rows or more make a fair comparison. `y` is not needed and not kept. `trusted` names types that the skops form may
    hold beyond scikit-learn's own. Raises the entries of `signature` and `columns`, and `package.cannot_serve` when
    neither form may be served.
    """
    table = Table(X)
    signature = infer(table, estimator, task=task, threshold=threshold)
    reference = parity.Reference(estimator, signature, probes(table, signature, _thresholds(estimator, table)))
    found = _as_onnx(estimator, table, signature, reference)
    if isinstance(found, Conversion):
        return found
    return _as_skops(estimator, signature, reference, found, trusted)


def _as_onnx(estimator: Any, table: Table, signature: Signature, reference: parity.Reference) -> Conversion | Parity:
    """The first ONNX form that agrees; else the best report of one that does not, with cause and fix."""
    best: Parity | None = None
    failure: str | None = None
    for layout, number in _forms(estimator, signature):
        manifest = Manifest(format="onnx", files={}, layout=layout, signature=signature)
        try:
            files = {MODEL_FILES["onnx"]: graph.build(estimator, signature, layout, number)}
            served = predictor_of(manifest, files)
        except Exception as error:  # skl2onnx raises anything on what it does not know; the reason is kept
            failure = failure or f"skl2onnx cannot write it: {_first_line(error)}"
            continue
        report = parity.compare(served, signature, reference)
        if report.agrees:
            return Conversion(
                files=files,
                format="onnx",
                layout=layout,
                signature=signature,
                parity=report,
                cost=_cost(served, table),
                estimator=_name(estimator),
                environment=_environment(),
                example=_example(table),
                warnings=_remarks(estimator, table, best),
            )
        if best is None or report.largest_difference < best.largest_difference:
            best = report
    cause, fix = parity.explain(estimator, table, (best.cause if best else None) or failure)
    if best is None:
        tolerance = parity.TOLERANCE[signature.task]
        best = Parity(rows=0, agrees=False, largest_difference=0.0, decisions_flipped=0, tolerance=tolerance)
    return structs.replace(best, cause=cause, fix=fix)


def _forms(estimator: Any, signature: Signature) -> list[tuple[graph.Layout, graph.Number]]:
    """The forms to try. One matrix is the cheapest to feed; only text needs a tensor of its own for each column.

    Histogram boosting compares float64 values, so it is served in float64 at once: same cost, and exact.
    """
    exact_first = type(graph.final_of(estimator)).__name__.startswith("HistGradientBoosting")
    numbers: tuple[graph.Number, ...] = ("float64", "float32") if exact_first else ("float32", "float64")
    layouts: tuple[graph.Layout, ...] = ("matrix", "columns")
    if any(c.kind == "string" for c in signature.inputs):
        layouts = ("columns",)
    return [(layout, number) for layout in layouts for number in numbers]


def _remarks(estimator: Any, table: Table, before: Parity | None) -> tuple[str, ...]:
    if before is None:
        return ()
    cause, fix = parity.explain(estimator, table, before.cause)
    return (f"served in float64, because in float32 it differs: {cause}; to serve it in float32, {fix}",)


def _as_skops(
    estimator: Any, signature: Signature, reference: parity.Reference, why: Parity, trusted: frozenset[str]
) -> Conversion:
    """The estimator itself, opened through the same loader as when it is served, with its cost measured."""
    manifest = Manifest(format="skops", files={}, layout="columns", signature=signature)
    data: bytes = skops.io.dumps(estimator)
    unknown = untrusted_types(data, trusted)
    if unknown:
        raise CANNOT_SERVE(field="estimator", why=why.cause, types=", ".join(unknown))
    files = {MODEL_FILES["skops"]: data}
    served = predictor_of(manifest, files, trusted=trusted)
    check = parity.compare(served, signature, reference)
    cost = _cost(served, reference.probes.known)
    refusal = f"not ONNX: {why.cause}. To fix it: {why.fix}. Served by scikit-learn: {cost.rows_1:.0f} us for one row."
    remarks: tuple[str, ...] = ()
    if not check.agrees:
        remarks = (f"served by scikit-learn it differs by {check.largest_difference:.2g}: {check.cause or 'rounding'}",)
    return Conversion(
        files=files,
        format="skops",
        layout="columns",
        signature=signature,
        parity=why,
        cost=cost,
        estimator=_name(estimator),
        environment=_environment(),
        example=_example(reference.probes.known),
        warnings=remarks,
        refusal=refusal,
    )


def _thresholds(estimator: Any, table: Table) -> dict[str, np.ndarray]:
    """Split points of a tree ensemble, by column: those of columns that reach it as they are, or through scalers."""
    model = graph.unwrapped(estimator)
    steps = [step for _, step in graph.steps_of(model)] if isinstance(model, Pipeline) else [model]
    before, final = steps[:-1], steps[-1]
    if not trees.is_ensemble(final):
        return {}
    try:
        found = trees.thresholds_of(trees.read(final))
    except trees.CannotWrite:
        return {}
    if len(before) == 1 and isinstance(before[0], ColumnTransformer):
        reached = [name.split("__")[-1] for name in before[0].get_feature_names_out()]
        return {reached[k]: v for k, v in found.items() if table.kinds.get(reached[k]) in ("float", "int")}
    width = len(table.names)
    if final.n_features_in_ != width or not all(isinstance(step, parity.SCALERS) for step in before):
        return {}
    return {table.names[k]: _raw(before, k, width, values) for k, values in found.items()}


def _raw(scalers: list[Any], column: int, width: int, values: np.ndarray) -> np.ndarray:
    """What a column held before scalers made `values` of it."""
    block = np.zeros((len(values), width))
    block[:, column] = values
    for scaler in reversed(scalers):
        block = np.asarray(scaler.inverse_transform(block), np.float64)
    return block[:, column]


def _cost(served: Predictor, table: Table) -> Cost:
    """The best of several timings of one call of 1, 64 and 1024 rows of the sample, in microseconds."""
    times = []
    for rows, most in ((1, 200), (64, 20), (1024, 3)):
        block = parity.columns_of(table.take(np.arange(rows) % table.rows))
        best, calls = float("inf"), 1
        deadline = time.perf_counter() + 0.08
        while (started := time.perf_counter()) < deadline:
            for _ in range(calls):
                served.predict(block, rows)
            best = min(best, (time.perf_counter() - started) / calls)
            calls = max(1, min(most, int(0.01 / best)))
        times.append(round(best * 1e6, 2))
    return Cost(rows_1=times[0], rows_64=times[1], rows_1024=times[2])


def _example(table: Table) -> dict[str, str | int | float | bool | None]:
    """A row of each column's own usual value: the most frequent of text and bools, the middle one of numbers.

    It is no row of the sample, so that a package tells of no one person.
    """
    row: dict[str, str | int | float | bool | None] = {}
    for name in table.names:
        values = [v for v in table.values(name) if v is not None and v == v]
        if table.kinds[name] in ("string", "bool"):
            row[name] = min(Counter(values).items(), key=lambda item: (-item[1], item[0]))[0] if values else None
        else:
            row[name] = sorted(values)[len(values) // 2] if values else None
    return row


def _name(estimator: Any) -> str:
    """The public name of an estimator's class; of a pipeline, its steps joined by arrows."""
    model = graph.unwrapped(estimator)
    if hasattr(model, "steps"):
        return " > ".join(_name(step) for _, step in graph.steps_of(model))
    module = ".".join(part for part in type(model).__module__.split(".") if not part.startswith("_"))
    return f"{module}.{type(model).__name__}"


def _environment() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for library in _LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found


def _first_line(error: Exception) -> str:
    text = error.message if isinstance(error, HomeostatError) else str(error)
    first = text.strip().splitlines()[0] if text.strip() else ""
    return f"{type(error).__name__}: {first[:200]}"
