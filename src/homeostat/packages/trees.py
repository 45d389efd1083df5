"""Tree ensembles of scikit-learn as one ONNX node, bit for bit: the nodes are written here, not by skl2onnx.

skl2onnx 1.20 stores thresholds and leaves of these models in float32, drops where a missing value goes in forests, and
fails on histogram gradient boosting. Here thresholds, leaves and sums stay in float64 (TreeEnsembleRegressor of
ai.onnx.ml 3 with double tensors), so a model branches exactly as scikit-learn does:

- decision trees, forests, extra trees and gradient boosting compare float32(x) with a float64 threshold;
- histogram gradient boosting compares the float64 x;
- a missing value goes the way that the node says.

The answer itself is float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier, ExtraTreeRegressor

Link = Literal["identity", "sigmoid", "softmax", "exp"]
_SINGLE = (DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier, ExtraTreeRegressor)
_FORESTS = (RandomForestClassifier, RandomForestRegressor, ExtraTreesClassifier, ExtraTreesRegressor)
_BOOSTED = (GradientBoostingClassifier, GradientBoostingRegressor)
_HISTOGRAM = (HistGradientBoostingClassifier, HistGradientBoostingRegressor)


class CannotWrite(Exception):
    """An ensemble with a part that has no exact form here; the text says which."""


@dataclass(frozen=True)
class Tree:
    """One tree as arrays over its nodes; `weights` is [nodes, targets] and only read at leaves."""

    feature: np.ndarray
    threshold: np.ndarray
    left: np.ndarray
    right: np.ndarray
    leaf: np.ndarray
    missing_left: np.ndarray
    weights: np.ndarray
    target: int = 0  # where a weight of one column is added


@dataclass(frozen=True)
class Ensemble:
    """What an ensemble computes: link(base + sum or mean of the leaves reached)."""

    trees: list[Tree]
    targets: int
    base: np.ndarray
    mean: bool
    link: Link
    rounds_input: bool  # the input is rounded to float32 before it is compared


def is_ensemble(estimator: Any) -> bool:
    """Whether `read` knows this estimator (by its exact class: a subclass may predict in another way)."""
    return type(estimator) in (*_SINGLE, *_FORESTS, *_BOOSTED, *_HISTOGRAM)


def read(estimator: Any) -> Ensemble:
    """A fitted estimator's trees. Raises `CannotWrite` for what has no exact form.

    Binary classification has one target, the probability of the second class (or its log-odds, under a sigmoid).
    """
    if type(estimator) in _HISTOGRAM:
        return _read_histogram(estimator)
    if getattr(estimator, "n_outputs_", 1) != 1:
        raise CannotWrite("several targets at once")
    if type(estimator) in _BOOSTED:
        return _read_boosted(estimator)
    members = [estimator] if type(estimator) in _SINGLE else list(estimator.estimators_)
    trees = [_from_sklearn(member.tree_, hasattr(estimator, "classes_")) for member in members]
    targets = trees[0].weights.shape[1]
    return Ensemble(trees, targets, np.zeros(targets), mean=True, link="identity", rounds_input=True)


def _from_sklearn(tree: Any, is_classifier: bool, *, scale: float = 1.0, target: int = 0) -> Tree:
    leaf = tree.children_left < 0
    weights = tree.value[:, 0, :]
    if is_classifier:
        totals = weights.sum(axis=1, keepdims=True)
        # since 1.3 the values are shares already; dividing them again would only add rounding
        weights = weights if np.allclose(totals, 1, rtol=0, atol=1e-9) else weights / totals
        weights = weights[:, 1:] if weights.shape[1] == 2 else weights
    missing = getattr(tree, "missing_go_to_left", np.zeros(len(leaf)))
    return Tree(
        np.where(leaf, 0, tree.feature),
        np.where(leaf, 0.0, tree.threshold),
        np.where(leaf, 0, tree.children_left),
        np.where(leaf, 0, tree.children_right),
        leaf,
        np.asarray(missing),
        weights * scale,
        target,
    )


def _read_boosted(model: Any) -> Ensemble:
    if not (model.init_ == "zero" or isinstance(model.init_, DummyClassifier | DummyRegressor)):
        raise CannotWrite("init= is an estimator of its own")
    width = model.estimators_.shape[1]
    base = np.asarray(model._raw_predict_init(np.zeros((1, model.n_features_in_), np.float32)), np.float64).ravel()
    link: Link = "identity"
    factor = 1.0
    if isinstance(model, GradientBoostingClassifier):
        link = "sigmoid" if width == 1 else "softmax"
        factor = 2.0 if model.loss == "exponential" else 1.0  # P = expit(2 raw), Friedman 2001
    trees = [
        _from_sklearn(member.tree_, False, scale=model.learning_rate * factor, target=k)
        for stage in model.estimators_
        for k, member in enumerate(stage)
    ]
    return Ensemble(trees, width, base * factor, mean=False, link=link, rounds_input=True)


def _read_histogram(model: Any) -> Ensemble:
    if model.is_categorical_ is not None and np.any(model.is_categorical_):
        raise CannotWrite("categorical_features= has no exact form in ONNX")
    width = model.n_trees_per_iteration_
    trees = []
    for stage in model._predictors:
        for k, predictor in enumerate(stage):
            nodes = predictor.nodes
            leaf = nodes["is_leaf"].astype(bool)
            threshold = np.where(leaf, 0.0, nodes["num_threshold"])
            trees.append(
                Tree(
                    np.where(leaf, 0, nodes["feature_idx"]),
                    # a split on missing against the rest has an infinite threshold, which every number is below
                    np.where(np.isinf(threshold), np.finfo(np.float64).max, threshold),
                    np.where(leaf, 0, nodes["left"]),
                    np.where(leaf, 0, nodes["right"]),
                    leaf,
                    nodes["missing_go_to_left"],
                    nodes["value"].reshape(-1, 1),
                    k,
                )
            )
    base = np.asarray(model._baseline_prediction, np.float64).ravel()
    if isinstance(model, HistGradientBoostingClassifier):
        link: Link = "sigmoid" if width == 1 else "softmax"
    else:
        name = type(model._loss.link).__name__
        if name not in ("IdentityLink", "LogLink"):
            raise CannotWrite(f"loss {model.loss!r} has the link {name}")
        link = "identity" if name == "IdentityLink" else "exp"
    return Ensemble(trees, width, base, mean=False, link=link, rounds_input=False)


def nodes_of(ensemble: Ensemble, source: str, source_type: int, output: str) -> list[NodeProto]:
    """ONNX nodes from the matrix `source` (of TensorProto type `source_type`) to `output`, float32 [n, targets]."""
    nodes = []
    if ensemble.rounds_input and source_type != TensorProto.FLOAT:
        nodes.append(helper.make_node("Cast", [source], ["trees/rounded"], to=TensorProto.FLOAT))
        source, source_type = "trees/rounded", TensorProto.FLOAT
    if source_type != TensorProto.DOUBLE:
        nodes.append(helper.make_node("Cast", [source], ["trees/features"], to=TensorProto.DOUBLE))
        source = "trees/features"
    last = {"identity": None, "sigmoid": "Sigmoid", "softmax": "Softmax", "exp": "Exp"}[ensemble.link]
    raw = "trees/raw" if last else output
    nodes.append(
        helper.make_node(
            "TreeEnsembleRegressor", [source], [raw], domain="ai.onnx.ml", name="trees", **_attributes(ensemble)
        )
    )
    if last:
        nodes.append(helper.make_node(last, [raw], [output]))  # a Softmax is over the last axis by itself
    return nodes


def _attributes(ensemble: Ensemble) -> dict[str, Any]:
    """The attributes of a TreeEnsembleRegressor node; node numbers start at 0 in every tree."""
    trees = ensemble.trees
    leaves = [np.nonzero(tree.leaf)[0] for tree in trees]
    widths = [tree.weights.shape[1] for tree in trees]
    whole = [np.arange(len(tree.leaf)) for tree in trees]

    def joined(parts: list[np.ndarray]) -> list[int]:
        joined_list: list[int] = np.concatenate(parts).astype(np.int64).tolist()
        return joined_list

    def doubles(name: str, parts: list[np.ndarray]) -> TensorProto:
        return numpy_helper.from_array(np.concatenate(parts).astype(np.float64), name)

    numbered = list(zip(trees, leaves, widths, strict=True))
    return {
        "n_targets": ensemble.targets,
        "aggregate_function": "AVERAGE" if ensemble.mean else "SUM",
        "post_transform": "NONE",
        "base_values_as_tensor": numpy_helper.from_array(ensemble.base.astype(np.float64), "base"),
        "nodes_treeids": joined([np.full(len(ids), k) for k, ids in enumerate(whole)]),
        "nodes_nodeids": joined(whole),
        "nodes_featureids": joined([tree.feature for tree in trees]),
        "nodes_values_as_tensor": doubles("thresholds", [tree.threshold for tree in trees]),
        "nodes_truenodeids": joined([tree.left for tree in trees]),
        "nodes_falsenodeids": joined([tree.right for tree in trees]),
        "nodes_missing_value_tracks_true": joined([tree.missing_left for tree in trees]),
        "nodes_modes": [b"LEAF" if leaf else b"BRANCH_LEQ" for tree in trees for leaf in tree.leaf.tolist()],
        "target_treeids": joined([np.full(len(ids) * w, k) for k, (_, ids, w) in enumerate(numbered)]),
        "target_nodeids": joined([np.repeat(ids, w) for _, ids, w in numbered]),
        "target_ids": joined([np.tile(np.arange(w) + t.target, len(ids)) for t, ids, w in numbered]),
        "target_weights_as_tensor": doubles("leaves", [t.weights[ids].ravel() for t, ids, _ in numbered]),
    }


def thresholds_of(ensemble: Ensemble) -> dict[int, np.ndarray]:
    """The distinct split thresholds of each feature index."""
    feature = np.concatenate([tree.feature[~tree.leaf] for tree in ensemble.trees])
    threshold = np.concatenate([tree.threshold[~tree.leaf] for tree in ensemble.trees])
    return {int(f): np.unique(threshold[feature == f]) for f in np.unique(feature)}
