"""What a model package says of itself: signature, reference profile, parity, cost, origin.

A package is a set of files (objects, by digest) and one `Manifest` that names them. The manifest's canonical bytes are
an object too, and their digest is the package's identity: nothing about a package can change without becoming another.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Kind = Literal["float", "int", "bool", "string"]
Task = Literal["classification", "regression"]


class Column(Struct, frozen=True, kw_only=True):
    """One named input: its kind, and whether a null is allowed there."""

    name: str
    kind: Kind
    nullable: bool = False


class Signature(Struct, frozen=True, kw_only=True):
    """What a model takes and gives.

    Classification gives `label` (the decision at the threshold) and `score` (binary: probability of `classes[1]`;
    more classes: one probability a class, shape [n, k]). Regression gives `value`.
    """

    inputs: tuple[Column, ...]
    task: Task
    classes: tuple[str | int | float | bool, ...] = ()
    threshold: float | None = None  # binary classification: label is classes[1] where score >= threshold


class NumericProfile(Struct, frozen=True, kw_only=True, tag_field="column", tag="numeric"):
    """A numeric column at training: `edges` are its reference quantiles (at most 63 inner edges, ties removed, so at
    most 64 bins, open at both ends); `shares` is the share of non-null rows in each bin (len(edges) + 1)."""

    edges: tuple[float, ...]
    shares: tuple[float, ...]
    nulls: float
    low: float
    high: float
    mean: float
    deviation: float


class CategoryProfile(Struct, frozen=True, kw_only=True, tag_field="column", tag="category"):
    """A categorical column at training: the share of non-null rows of each value; rarer values share `other`."""

    shares: dict[str, float]
    other: float
    nulls: float


class ReferenceProfile(Struct, frozen=True, kw_only=True):
    """What a version's inputs and scores looked like at training, and how well it did on rows it had not seen.

    `held_out_*` come from the time-ordered hold-out: `misses` is the share of positives the version called negative,
    `false_alarms` the share of negatives it called positive (binary classification, at the deployed threshold);
    `loss` is the mean of the bounded loss in [0, 1] (see monitoring.performance), with `loss_scale` the error that
    counts as 1 in regression.
    """

    rows: int
    columns: dict[str, NumericProfile | CategoryProfile]
    score: NumericProfile
    held_out_rows: int = 0
    held_out_positives: int = 0
    misses: float | None = None
    false_alarms: float | None = None
    loss: float | None = None
    loss_scale: float | None = None
    metric: str | None = None
    metric_value: float | None = None
    metric_low: float | None = None  # healthy band of the metric over one monitoring window
    metric_high: float | None = None
    drift: dict[str, float] = {}  # column, or "score": how far the reference's own windows lie from the whole of it
    drift_windows: int = 0  # how many such windows there were (see monitoring.drift and monitoring.reference)


class Parity(Struct, frozen=True, kw_only=True):
    """How far the served form agrees with the estimator it was made from, on `rows` rows of ties, nulls and the rest.

    With `agrees` false it tells of the ONNX form that was refused (`rows` is 0 when none could be written), with the
    cause and the fix; the package then holds the estimator itself.
    """

    rows: int
    agrees: bool
    largest_difference: float
    decisions_flipped: int
    tolerance: float
    cause: str | None = None
    fix: str | None = None


class Cost(Struct, frozen=True, kw_only=True):
    """Measured time of one call, in microseconds, by number of rows."""

    rows_1: float
    rows_64: float
    rows_1024: float


class Manifest(Struct, frozen=True, kw_only=True):
    """Everything a package says of itself; its digest names the package."""

    format: Literal["onnx", "skops"]
    files: dict[str, str]  # name in the package -> object digest, such as {"model.onnx": "ab12..."}
    layout: Literal["matrix", "columns"]  # one float tensor "X" of all inputs, or one tensor for each column
    signature: Signature
    profile: ReferenceProfile | None = None
    estimator: str = ""  # such as "sklearn.ensemble.GradientBoostingClassifier"
    dataset: str | None = None
    dataset_version: str | None = None  # content digest of the training dataset version
    fit_until: int | None = None  # newest event time the version has learnt from; gates judge on later rows
    run_id: str | None = None
    code_digest: str | None = None
    environment: dict[str, str] = {}  # library -> version, and "python"
    parity: Parity | None = None
    cost: Cost | None = None
    example: dict[str, str | int | float | bool | None] = {}  # one row it takes: each column's usual value at training
