"""An estimator as an ONNX graph that ends in one output: `score` or `value`.

Tree ensembles are written by `trees`; what stands before them in a pipeline, and every other estimator, by skl2onnx.
The label is not an output: the loader takes the decision from the score.
"""

from __future__ import annotations

import copy
import warnings
from typing import Any, Literal

import numpy as np
from onnx import GraphProto, ModelProto, TensorProto, helper
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import VotingClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder

from homeostat.packages import imputing, trees
from homeostat.packages.loader import NULL_TEXT
from homeostat.packages.records import Signature

Layout = Literal["matrix", "columns"]
Number = Literal["float32", "float64"]
_OPSETS = {"": 19, "ai.onnx.ml": 3}  # 19 compares text
_IR_VERSION = 9
_TENSOR = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE}


def unwrapped(estimator: Any) -> Any:
    """The estimator that does the predicting: the best one of a search, a pipeline of one step as that step."""
    while True:
        if hasattr(estimator, "best_estimator_"):
            estimator = estimator.best_estimator_
        elif isinstance(estimator, Pipeline) and len(steps_of(estimator)) == 1:
            estimator = steps_of(estimator)[0][1]
        else:
            return estimator


def steps_of(pipeline: Pipeline) -> list[tuple[str, Any]]:
    """A pipeline's steps without those that do nothing."""
    return [(name, step) for name, step in pipeline.steps if step is not None and step != "passthrough"]


def final_of(estimator: Any) -> Any:
    """The last step of a pipeline, however deep; else the estimator itself."""
    estimator = unwrapped(estimator)
    return final_of(steps_of(estimator)[-1][1]) if isinstance(estimator, Pipeline) else estimator


def build(estimator: Any, signature: Signature, layout: Layout, number: Number) -> bytes:
    """The ONNX model as bytes. Raises whatever skl2onnx raises, or `trees.CannotWrite`, for what it cannot write."""
    names = [c.name for c in signature.inputs]
    model = unwrapped(estimator)
    output = _free_name("value" if signature.task == "regression" else "score", names)
    if trees.is_ensemble(model) and layout == "matrix":
        graph = _matrix_ensemble(model, len(names), number, output)
    elif isinstance(model, Pipeline) and trees.is_ensemble(steps_of(model)[-1][1]):
        steps = steps_of(model)
        before = steps[0][1] if len(steps) == 2 else Pipeline(steps[:-1])
        graph = _with_ensemble(_converted(before, signature, layout, number), steps[-1][1], output)
    else:
        graph = _converted(model, signature, layout, number)
        _keep_one_output(graph, graph.output[-1].name, output)
    _prune(graph)
    opsets = [helper.make_opsetid(domain, version) for domain, version in _OPSETS.items()]
    whole: ModelProto = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)
    whole.producer_name = "homeostat"
    data: bytes = whole.SerializeToString(deterministic=True)
    return data


def _matrix_ensemble(model: Any, width: int, number: Number, output: str) -> GraphProto:
    ensemble = trees.read(model)
    return helper.make_graph(
        trees.nodes_of(ensemble, "X", _TENSOR[number], output),
        "homeostat",
        [helper.make_tensor_value_info("X", _TENSOR[number], [None, width])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, [None, ensemble.targets])],
    )


def _with_ensemble(graph: GraphProto, model: Any, output: str) -> GraphProto:
    ensemble = trees.read(model)
    features = graph.output[0]
    graph.node.extend(trees.nodes_of(ensemble, features.name, features.type.tensor_type.elem_type, output))
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, [None, ensemble.targets]))
    return graph


def _converted(model: Any, signature: Signature, layout: Layout, number: Number) -> GraphProto:
    tensor = FloatTensorType if number == "float32" else DoubleTensorType
    model = _portable(model, [c.name for c in signature.inputs] if layout == "matrix" else None)
    if layout == "matrix":
        types = [("X", tensor([None, len(signature.inputs)]))]
    else:
        types = [(c.name, (StringTensorType if c.kind == "string" else tensor)([None, 1])) for c in signature.inputs]
    final = final_of(model)
    options = {id(final): {"zipmap": False}} if hasattr(final, "predict_proba") else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # parity is judged on numbers, not on the converter's remarks
        converted = convert_sklearn(
            model,
            initial_types=types,
            target_opset=_OPSETS,
            options=options,
            custom_shape_calculators=imputing.SHAPES,
            custom_conversion_functions=imputing.WRITERS,
        )
    graph: GraphProto = converted.graph
    return graph


def _keep_one_output(graph: GraphProto, name: str, output: str) -> None:
    """Make `name` the graph's only output, called `output`."""
    kept = next(o for o in graph.output if o.name == name)
    renamed = {output: f"inner/{output}", name: output}  # the converter may have used the name inside
    for node in graph.node:
        node.input[:] = [renamed.get(i, i) for i in node.input]
        node.output[:] = [renamed.get(o, o) for o in node.output]
    kept.name = output
    kept_copy = copy.deepcopy(kept)
    del graph.output[:]
    graph.output.append(kept_copy)


def _prune(graph: GraphProto) -> None:
    """Drop nodes and initializers that the output does not need, such as those that made the label."""
    needed = {o.name for o in graph.output}
    kept = []
    for node in reversed(graph.node):  # nodes stand in order of computation
        if needed & set(node.output):
            kept.append(node)
            needed |= set(node.input)
    kept.reverse()
    del graph.node[:]
    graph.node.extend(kept)
    initializers = [i for i in graph.initializer if i.name in needed]
    del graph.initializer[:]
    graph.initializer.extend(initializers)


def _free_name(name: str, taken: list[str]) -> str:
    while name in taken:
        name += "_"
    return name


def _portable(model: Any, matrix_names: list[str] | None) -> Any:
    """A copy of a fitted estimator that skl2onnx understands.

    Null categories of text columns become the text the loader feeds for a null; columns chosen by name become
    positions when all inputs are one matrix.
    """
    model = copy.deepcopy(model)
    for part in parts_of(model):
        if isinstance(part, OneHotEncoder | OrdinalEncoder):
            part.categories_ = [_without_nulls(c) for c in part.categories_]
        if isinstance(part, ColumnTransformer) and matrix_names is not None:
            part.transformers_ = [
                (name, step, _positions(columns, matrix_names)) for name, step, columns in part.transformers_
            ]
        if isinstance(part, VotingClassifier):
            part.flatten_transform = False  # of transform() only, but skl2onnx asks for it
    return model


def parts_of(model: Any) -> list[Any]:
    """An estimator and the fitted estimators inside it."""
    found = [model]
    inside: list[Any] = []
    if isinstance(model, Pipeline):
        inside = [step for _, step in steps_of(model)]
    elif isinstance(model, ColumnTransformer):
        inside = [step for _, step, _ in model.transformers_ if not isinstance(step, str)]
    elif hasattr(model, "estimators_"):
        inside = list(np.ravel(np.asarray(model.estimators_, dtype=object)))
    elif hasattr(model, "transformer_list"):
        inside = [step for _, step in model.transformer_list if not isinstance(step, str)]
    for part in inside:
        found.extend(parts_of(part))
    return found


def _positions(columns: Any, names: list[str]) -> Any:
    if isinstance(columns, str):
        return [names.index(columns)]
    if isinstance(columns, slice) or callable(columns):
        return columns
    chosen = list(columns)
    if chosen and isinstance(chosen[0], bool | np.bool_):
        return [i for i, keep in enumerate(chosen) if keep]
    return [names.index(c) if isinstance(c, str) else int(c) for c in chosen]


def _without_nulls(categories: np.ndarray) -> np.ndarray:
    if categories.dtype.kind not in "OUT":
        return categories
    return np.array([NULL_TEXT if c is None or c != c else c for c in categories], dtype=object)
