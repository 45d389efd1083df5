"""A model in a file, made into a package: skops and ONNX are taken, a pickle or joblib file never is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import polars as pl

from homeostat.foundation.errors import Kind, entry
from homeostat.packages import loader
from homeostat.packages.columns import Table
from homeostat.packages.package import MODEL_FILES, refuse_pickle
from homeostat.packages.records import Column, Manifest, Signature
from homeostat.packages.trust import open_skops
from homeostat.project.packaging import package_estimator, packaged, plain_labels, profile_of
from homeostat.project.predictions import BAD_FILE
from homeostat.project.uploads import Packaged

NOT_A_MODEL_FILE = entry(
    "project.not_a_model_file",
    Kind.INVALID,
    "{file} is neither an ONNX nor a skops file",
    "save the estimator with skops.io.dump(estimator, 'model.skops'), or register it from Python with hs.register",
)
NO_LABEL = entry(
    "project.no_label_in_sample",
    Kind.INVALID,
    "the sample has no column {label!r}",
    "name the label's column with --label; the sample has: {columns}",
)
BAD_GRAPH = entry("project.bad_graph", Kind.INVALID, "the ONNX graph of {file} {why}", "{fix}")

_FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE)


def package_file(
    file: Path,
    sample: Path,
    *,
    label: str | None = None,
    threshold: float = 0.5,
    classes: list[str] | None = None,
    trusted: frozenset[str] = frozenset(),
) -> Packaged:
    """The package of a model file and a sample (CSV or Parquet) of the rows it was trained on.

    The sample's columns but `label` are the model's inputs, in this order. Raises `package.pickle_refused` for a
    pickle, `package.untrusted_types` for a skops file that holds more than scikit-learn's own types.
    """
    if not file.is_file():
        raise BAD_FILE(field="file", file=file, why="there is no such file")
    data = file.read_bytes()
    refuse_pickle(file.name, data)
    frame = _read(sample)
    if label is not None and label not in frame.columns:
        raise NO_LABEL(field="--label", label=label, columns=", ".join(frame.columns))
    X = frame.drop(label) if label is not None else frame
    y = frame[label] if label is not None else None
    if file.suffix.lower() == ".onnx":
        return _onnx(data, file, X, y, threshold, classes)
    if data[:2] == b"PK":  # skops files are zip archives
        return package_estimator(open_skops(data, trusted), X, y, threshold=threshold, trusted=trusted)
    raise NOT_A_MODEL_FILE(field="file", file=file)


def _read(sample: Path) -> pl.DataFrame:
    if not sample.is_file():
        raise BAD_FILE(field="--sample", file=sample, why="there is no such file")
    try:
        if sample.suffix.lower() in (".parquet", ".pq"):
            return pl.read_parquet(sample)
        return pl.read_csv(sample, infer_schema_length=None)
    except (pl.exceptions.PolarsError, OSError) as why:
        raise BAD_FILE(field="--sample", file=sample, why=" ".join(str(why).split())[:200]) from None


def _onnx(
    data: bytes, file: Path, X: pl.DataFrame, y: pl.Series | None, threshold: float, classes: list[str] | None
) -> Packaged:
    """The graph as the platform serves it: one tensor "X" or one tensor a column in, the scores alone out."""
    try:
        model = onnx.load_from_string(data)
        onnx.checker.check_model(model)
    except Exception as why:  # protobuf and the checker raise many kinds for a file that is no graph
        said = " ".join(str(why).split())[:200]
        raise BAD_GRAPH(field="file", file=file.name, why=f"cannot be read: {said}", fix="export it again") from None
    table = Table(X)
    matrix = _settle_inputs(model, table, file)
    width, labelled = _settle_output(model, file)
    known = _classes(classes, y, width, labelled)
    signature = Signature(
        inputs=tuple(Column(name=n, kind=table.kinds[n], nullable=table.nulls(n) > 0) for n in table.names),
        task="classification" if known else "regression",
        classes=known,
        threshold=threshold if len(known) == 2 else None,
    )
    manifest = Manifest(
        format="onnx",
        files={},
        layout="matrix" if matrix else "columns",
        signature=signature,
        estimator=f"onnx graph by {model.producer_name or 'an unknown producer'}",
    )
    files = {MODEL_FILES["onnx"]: model.SerializeToString()}
    served = loader.predictor_of(manifest, files)
    profiled = profile_of(served, signature, table, None, None)
    manifest = Manifest(**{n: getattr(manifest, n) for n in manifest.__struct_fields__} | {"profile": profiled})
    return packaged(manifest, files, table, known_mistakes=False)


def _settle_inputs(model: Any, table: Table, file: Path) -> bool:
    """Name a single matrix input "X"; whether it is one. Else every column of the sample has an input of its name."""
    weights = {i.name for i in model.graph.initializer}
    inputs = [i for i in model.graph.input if i.name not in weights]
    if len(inputs) == 1 and inputs[0].name not in table.names:
        columns = inputs[0].type.tensor_type.shape.dim[-1].dim_value
        if columns and columns != len(table.names):
            why = f"takes {columns} columns, and the sample has {len(table.names)}"
            fix = "give a sample with exactly its inputs, in their order, and name the label with --label"
            raise BAD_GRAPH(field="--sample", file=file.name, why=why, fix=fix)
        _rename(model, inputs[0].name, "X")
        return True
    unknown = sorted({i.name for i in inputs} - set(table.names))
    if unknown:
        why = f"takes {', '.join(unknown)}, which the sample does not have"
        raise BAD_GRAPH(field="--sample", file=file.name, why=why, fix="give a sample with those columns")
    return False


def _rename(model: Any, old: str, new: str) -> None:
    for node in model.graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
    for given in model.graph.input:
        if given.name == old:
            given.name = new


def _settle_output(model: Any, file: Path) -> tuple[int | None, bool]:
    """Leave one output, the scores (or the value); how many columns it has, and whether there was a label beside it."""
    outputs = list(model.graph.output)
    if any(not o.type.HasField("tensor_type") for o in outputs):
        why = "gives its probabilities as a list of maps"
        raise BAD_GRAPH(field="file", file=file.name, why=why, fix="convert it with options={'zipmap': False}")
    floats = [o for o in outputs if o.type.tensor_type.elem_type in _FLOATS]
    if not floats:
        why = "gives no numbers, only labels"
        raise BAD_GRAPH(field="file", file=file.name, why=why, fix="export it with its probabilities")
    score = floats[-1] if len(outputs) > 1 else floats[0]
    del model.graph.output[:]
    model.graph.output.append(score)
    dims = score.type.tensor_type.shape.dim
    return (dims[-1].dim_value or None) if len(dims) > 1 else 1, len(outputs) > len(floats)


def _classes(
    named: list[str] | None, y: pl.Series | None, width: int | None, labelled: bool
) -> tuple[str | int | float | bool, ...]:
    """The classes in the order of the scores: named, as in the sample's labels, or counted; () in regression."""
    if named:
        return tuple(int(c) if c.lstrip("-").isdigit() else c for c in named)
    if not labelled and (width or 1) == 1:
        return ()
    seen = sorted(set(plain_labels(y))) if y is not None else []
    if seen and width in (None, 1, len(seen)):
        return tuple(seen)
    return tuple(range(width if width and width > 1 else 2))
