"""The one choke point that turns a package into something that predicts. Nothing else in Homeostat loads a model.

- An ONNX package is data: it runs in ONNX Runtime, on one thread, with telemetry off (this package's `__init__` sees to
  that before the library is loaded).
- A skops package is opened only when every type in it is trusted: by skops itself, by `trust.SKLEARN_TYPES`, or by the
  caller. Types are listed before anything is built; one unknown type refuses the whole package.
- A pickle is refused by name and by content. Nothing here unpickles, ever.

NumPy and ONNX Runtime are all that an ONNX package loads; scikit-learn, skops and Polars only come with a skops one.

The decision is taken on the float32 score: binary, `classes[1]` where float32(score) >= float32(threshold); more
classes, the first of those with the greatest score. `convert` compares decisions by the same rule.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnxruntime

from homeostat.foundation.errors import HomeostatError, Kind, entry
from homeostat.packages.package import MODEL_FILES, LocalObjects, Reader, read_files, read_manifest, refuse_pickle
from homeostat.packages.records import Manifest, NumericProfile, Signature
from homeostat.packages.trust import UNREADABLE, open_skops

WRONG_GRAPH = entry(
    "package.wrong_graph",
    Kind.INVALID,
    "the ONNX graph and the manifest's signature do not fit: {why}",
    "register the model again, so that both are made together",
)
REFUSED_INPUT = entry(
    "package.refused_input",
    Kind.INVALID,
    "the model refuses this input: {why}",
    "send values like those it was trained on; for unseen categories, train with handle_unknown='ignore'",
)
NULL_TEXT = "\ue000null"
"""What a null in a text column is inside an ONNX graph, which has no null for text (a private-use character)."""

_NUMPY = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(int64)": np.int64}
_STRING = "tensor(string)"
Columns = Mapping[str, Sequence[Any] | np.ndarray]
Score = Callable[[Columns, int], np.ndarray]


class Predictor(Protocol):
    """A loaded model. Thread-safe; keeps no reference to what it is given."""

    manifest: Manifest

    def predict(self, columns: Columns, n: int) -> dict[str, np.ndarray]:
        """Named columns of n values (null is None) -> "label" and "score" (float32 [n], or [n, k]), or "value" [n].

        The columns must fit the signature (`signature.Checker`). Raises `package.refused_input` when the model itself
        refuses a value, such as a category it was told to treat as an error.
        """
        ...

    def example(self, n: int = 1) -> dict[str, list[Any]]:
        """A block of n equal rows that the model takes: for warming up and for measuring."""
        ...


def load(
    objects: Reader | str | Path, digest: str, *, trusted: frozenset[str] = frozenset(), threads: int = 1
) -> Predictor:
    """The predictor of the package that `digest` names.

    `objects` is an object store, or the folder or address of one. `trusted` names types beyond `trust.SKLEARN_TYPES`
    that a skops package may hold. Raises the entries of this file, of `package` and of `trust`.
    """
    store = _store(objects) if isinstance(objects, str | Path) else objects
    manifest = read_manifest(store, digest)
    return predictor_of(manifest, read_files(store, manifest), trusted=trusted, threads=threads)


def predictor_of(
    manifest: Manifest, files: Mapping[str, bytes], *, trusted: frozenset[str] = frozenset(), threads: int = 1
) -> Predictor:
    """The predictor of a manifest and its files, before or without an object store."""
    name = MODEL_FILES[manifest.format]
    for each, data in files.items():
        refuse_pickle(each, data)
    if manifest.format == "onnx":
        return _Model(manifest, _onnx_score(manifest, files[name], threads))
    return _Model(manifest, _skops_score(manifest, files[name], trusted, threads))


def _store(address: str | Path) -> Reader:
    if "://" not in str(address):
        return LocalObjects(address)
    from homeostat.foundation.objects import Objects  # an object-store library, loaded only for a remote store

    return Objects(address)


class _Model:
    """A score function dressed as its signature says."""

    def __init__(self, manifest: Manifest, score: Score) -> None:
        signature = manifest.signature
        self.manifest = manifest
        self.predict = {True: self._regression, False: self._classification}[signature.task == "regression"]
        self._score = score
        self._classes = _class_array(signature)
        self._binary = len(signature.classes) == 2
        self._threshold = np.float32(0.5 if signature.threshold is None else signature.threshold)
        # one row: the decision without a NumPy operation
        self._labels = [self._classes[i : i + 1] for i in range(len(signature.classes))]

    predict: Callable[[Columns, int], dict[str, np.ndarray]]

    def _regression(self, columns: Columns, n: int) -> dict[str, np.ndarray]:
        return {"value": self._score(columns, n).reshape(n)}

    def _classification(self, columns: Columns, n: int) -> dict[str, np.ndarray]:
        scores = self._score(columns, n)
        if not self._binary:
            return {"label": self._classes[scores.argmax(axis=1)], "score": scores}
        score = scores[:, -1]  # [n, 1] holds the second class alone, [n, 2] both
        if n == 1:
            return {"label": self._labels[bool(score[0] >= self._threshold)], "score": score}
        return {"label": self._classes[(score >= self._threshold).view(np.int8)], "score": score}

    def example(self, n: int = 1) -> dict[str, list[Any]]:
        """A block of n equal rows that the model takes: the manifest's example, the profile's middle, else zeros."""
        if self.manifest.example:
            return {name: [value] * n for name, value in self.manifest.example.items()}
        plain: dict[str, Any] = {"float": 0.0, "int": 0, "bool": False, "string": ""}
        profiles = self.manifest.profile.columns if self.manifest.profile else {}
        block: dict[str, list[Any]] = {}
        for column in self.manifest.signature.inputs:
            value = plain[column.kind]
            profile = profiles.get(column.name)
            if isinstance(profile, NumericProfile) and profile.edges:
                value = type(value)(profile.edges[len(profile.edges) // 2])
            elif profile is not None and not isinstance(profile, NumericProfile) and profile.shares:
                value = max(profile.shares, key=profile.shares.__getitem__)
                value = value == "true" if column.kind == "bool" else value
            block[column.name] = [value] * n
        return block


def _class_array(signature: Signature) -> np.ndarray:
    """The classes, in a dtype whose `tolist()` gives them back as they are."""
    same = len({type(c) for c in signature.classes}) == 1
    return np.array(signature.classes, dtype=None if same else object)


def _onnx_score(manifest: Manifest, model: bytes, threads: int) -> Score:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # a refused input is an answer to its caller, not a line in our log
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises classes of its own that share no base
        raise UNREADABLE(field="model.onnx", name="model.onnx", format="ONNX", why=str(error)[:300]) from None
    names = [column.name for column in manifest.signature.inputs]
    inputs = {i.name: i.type for i in session.get_inputs()}
    if manifest.layout == "matrix":
        if list(inputs) != ["X"] or inputs["X"] not in _NUMPY:
            raise WRONG_GRAPH(field="layout", why=f"layout matrix takes one tensor X, the graph takes {inputs}")
        feed = _matrix_feed(names, _NUMPY[inputs["X"]])
    else:
        # an input the graph does not use is dropped by the converter
        if not set(inputs) <= set(names):
            raise WRONG_GRAPH(field="signature", why=f"the graph takes {', '.join(sorted(set(inputs) - set(names)))}")
        feed = _column_feed(inputs)
    wanted = [session.get_outputs()[0].name]
    # the session's inner object: its public wrapper adds about a fifth to the time of one row
    inner = getattr(session, "_sess", None)
    run: Callable[..., list[np.ndarray]] = session.run if inner is None else inner.run

    def score(columns: Columns, n: int) -> np.ndarray:
        try:
            return run(wanted, feed(columns, n), None)[0]
        except Exception as error:  # ONNX Runtime raises classes of its own that share no base
            raise _refused(error) from None

    return score


def _matrix_feed(names: list[str], dtype: Any) -> Callable[[Columns, int], dict[str, np.ndarray]]:
    pick = itemgetter(*names) if len(names) > 1 else (lambda columns: (columns[names[0]],))

    def feed(columns: Columns, n: int) -> dict[str, np.ndarray]:
        if n == 1:
            return {"X": np.array([[column[0] for column in pick(columns)]], dtype)}
        # None becomes NaN on the way to a float dtype
        return {"X": np.array(np.transpose([np.array(column, dtype) for column in pick(columns)]), order="C")}

    return feed


def _column_feed(inputs: dict[str, str]) -> Callable[[Columns, int], dict[str, np.ndarray]]:
    plan = [(name, None if kind == _STRING else _NUMPY[kind]) for name, kind in inputs.items()]
    array = np.array

    def feed(columns: Columns, n: int) -> dict[str, np.ndarray]:
        fed: dict[str, np.ndarray] = {}
        for name, dtype in plan:
            values = columns[name]
            if dtype is None:
                if None in values:
                    values = [NULL_TEXT if v is None else v for v in values]
                fed[name] = array(values, object).reshape(n, 1)
            else:
                fed[name] = array(values, dtype).reshape(n, 1)
        return fed

    return feed


def _refused(error: Exception) -> HomeostatError:
    """An error of the model as one of ours; a missing column is the caller's own mistake and says so itself."""
    return REFUSED_INPUT(field="inputs", why=f"{type(error).__name__}: {str(error).strip()[:300]}")


def _skops_score(manifest: Manifest, model: bytes, trusted: frozenset[str], threads: int) -> Score:
    estimator = open_skops(model, trusted)
    import threadpoolctl

    table = _table_maker(manifest.signature, framed=hasattr(estimator, "feature_names_in_"))
    predict = estimator.predict if manifest.signature.task == "regression" else estimator.predict_proba

    # threads gain nothing on one block of rows and cost milliseconds on a busy machine; setting one costs 25 us
    pools = threadpoolctl.ThreadpoolController()

    def score(columns: Columns, n: int) -> np.ndarray:
        try:
            # scores are float32 in every format, so that a decision does not hang on which one serves
            with pools.limit(limits=threads):
                return np.asarray(predict(table(columns)), np.float32).reshape(n, -1)
        except Exception as error:  # whatever an estimator raises on a value it does not take
            raise _refused(error) from None

    return score


def _table_maker(signature: Signature, *, framed: bool) -> Callable[[Columns], Any]:
    """Columns as the estimator was fitted on them: a Polars frame when it knows names, else an array."""
    names = [c.name for c in signature.inputs]
    if not framed:
        dtype = object if any(c.kind == "string" for c in signature.inputs) else np.float64
        return lambda columns: np.array([list(columns[name]) for name in names], dtype=dtype).T
    import polars

    kinds = {"float": polars.Float64, "int": polars.Int64, "bool": polars.Boolean, "string": polars.String}
    schema = {c.name: kinds[c.kind]() for c in signature.inputs}
    return lambda columns: polars.DataFrame({name: columns[name] for name in names}, schema=schema)
