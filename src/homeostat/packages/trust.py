"""What a skops file may hold, and whether what it holds is sound. The loader opens skops files through here only.

skops rebuilds objects from a list of types instead of running a program as a pickle does; a type that nobody trusts
refuses the whole file before anything is built. Trees are rebuilt as arrays that compiled code follows without looking
whether an index lies inside, so they are checked here before anything predicts with them.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import numpy as np

from homeostat.foundation.errors import Kind, entry

UNTRUSTED = entry(
    "package.untrusted_types",
    Kind.REFUSED,
    "the model holds types that are not trusted: {types}",
    "build it from scikit-learn's own parts; if you know these types and the model's author, pass them in `trusted`",
)
UNREADABLE = entry(
    "package.unreadable",
    Kind.INVALID,
    "file {name!r} is not a readable {format} model: {why}",
    "register the model again from the fitted estimator",
)
NEEDS_SKLEARN = entry(
    "package.needs_sklearn",
    Kind.UNAVAILABLE,
    "this package is served by scikit-learn, and {module} is not installed here",
    "install homeostat[sklearn], or make the model convert to ONNX (its parity report names the cause)",
)


SKLEARN_TYPES: frozenset[str] = frozenset(
    {
        "numpy.dtype",
        "sklearn.tree._tree.Tree",
        "sklearn.utils._bunch.Bunch",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        # how histogram boosting with categorical_features= checks its own input
        "functools.partial",
        "sklearn.utils.validation.check_array",
    }
)
"""What scikit-learn's estimators hold beyond what skops trusts by itself. A partial's function must be trusted too."""


def untrusted_types(model: bytes, trusted: frozenset[str] = frozenset()) -> list[str]:
    """The types in a skops file that nothing here trusts. Opens nothing but the file's own list of types."""
    try:
        with zipfile.ZipFile(BytesIO(model)) as archive:
            archive.getinfo("schema.json")
    except (zipfile.BadZipFile, KeyError) as error:
        raise UNREADABLE(field="model.skops", name="model.skops", format="skops", why=str(error)[:200]) from None
    try:
        import skops.io
    except ImportError as error:
        raise NEEDS_SKLEARN(field="format", module=error.name or "skops") from None
    found: list[str] = skops.io.get_untrusted_types(data=model)
    return sorted(set(found) - SKLEARN_TYPES - trusted)


def open_skops(model: bytes, trusted: frozenset[str] = frozenset()) -> Any:
    """The estimator in a skops file. Raises `package.untrusted_types` or `package.unreadable`."""
    unknown = untrusted_types(model, trusted)
    if unknown:
        raise UNTRUSTED(field="model.skops", types=", ".join(unknown))
    import skops.io

    allowed = set(skops.io.get_untrusted_types(data=model)) & (SKLEARN_TYPES | trusted)
    try:
        estimator = skops.io.loads(model, trusted=sorted(allowed))
        for part in _inside(estimator, set()):
            _check_trees(part)
    except Exception as error:  # a damaged file fails anywhere in skops or in a type's own constructor
        raise UNREADABLE(field="model.skops", name="model.skops", format="skops", why=str(error)[:300]) from None
    return estimator


def _inside(value: Any, seen: set[int]) -> Iterator[Any]:
    """Every object with attributes of its own inside an estimator."""
    if id(value) in seen or isinstance(value, str | bytes | int | float | bool | None):
        return
    seen.add(id(value))
    if isinstance(value, np.ndarray):
        children = list(value.ravel()) if value.dtype == object else []
    elif isinstance(value, dict):
        children = list(value.values())
    elif isinstance(value, list | tuple | set):
        children = list(value)
    else:
        children = list(getattr(value, "__dict__", {}).values())
        yield value
    for child in children:
        yield from _inside(child, seen)


def _check_trees(part: Any) -> None:
    """Raise ValueError when a tree leads out of its own arrays or in a circle."""
    tree = getattr(part, "tree_", None)
    if tree is not None and hasattr(tree, "children_left"):
        inner = tree.children_left >= 0
        _check_nodes(tree.children_left, tree.children_right, tree.feature, inner, part.n_features_in_)
    for stage in getattr(part, "_predictors", ()):
        for predictor in stage:
            nodes = predictor.nodes
            inner = nodes["is_leaf"] == 0
            _check_nodes(nodes["left"], nodes["right"], nodes["feature_idx"], inner, part.n_features_in_)
            sets = nodes["bitset_idx"][inner & (nodes["is_categorical"] != 0)]
            if len(sets) and int(sets.max()) >= len(predictor.raw_left_cat_bitsets):
                raise ValueError("a tree names a set of categories that is not there")


def _check_nodes(left: np.ndarray, right: np.ndarray, feature: np.ndarray, inner: np.ndarray, width: int) -> None:
    """Children come after their parent (every builder of scikit-learn numbers them so) and features exist."""
    own = np.arange(len(left))[inner]
    for child in (left[inner].astype(np.int64), right[inner].astype(np.int64)):
        if ((child <= own) | (child >= len(left))).any():
            raise ValueError("a tree's node leads out of the tree")
    used = feature[inner].astype(np.int64)
    if ((used < 0) | (used >= width)).any():
        raise ValueError("a tree asks for a column that is not there")
