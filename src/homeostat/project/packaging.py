"""An estimator or a model file that exists already, made into a package in the caller's own process.

Its reference profile comes from the rows given. Without rows the model has not seen (`held_out`) its mistakes are not
known, and none are made up: the version then says what it lacks.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import numpy as np

from homeostat.foundation.errors import Kind, entry
from homeostat.foundation.ids import digest_of
from homeostat.monitoring import reference
from homeostat.packages import loader
from homeostat.packages.columns import Table
from homeostat.packages.convert import convert
from homeostat.packages.package import refuse_pickle
from homeostat.packages.parity import columns_of
from homeostat.packages.profile import profile
from homeostat.packages.records import Manifest, ReferenceProfile, Signature
from homeostat.project.gates import METRICS, REGRESSION_METRICS, check_metric
from homeostat.project.uploads import NO_HELD_OUT, NO_PIPELINE, Packaged

ROWS_DIFFER = entry(
    "project.rows_differ",
    Kind.INVALID,
    "X has {rows} rows and y has {labels}",
    "give one label for each row",
)

Task = Literal["classification", "regression"]


def package_estimator(
    estimator: Any,
    X: Any,
    y: Any = None,
    *,
    task: Task | None = None,
    threshold: float = 0.5,
    held_out: tuple[Any, Any] | None = None,
    metric: str | None = None,
    trusted: frozenset[str] = frozenset(),
) -> Packaged:
    """The package of a fitted estimator and the rows it was fitted on (Polars, pandas or NumPy)."""
    table = Table(X)
    if y is not None and len(y) != table.rows:
        raise ROWS_DIFFER(field="y", rows=table.rows, labels=len(y))
    made = convert(estimator, X, y, task=task, threshold=threshold, trusted=trusted)
    served = loader.predictor_of(made.manifest(), made.files, trusted=trusted)
    profiled = profile_of(served, made.signature, table, held_out, metric)
    return packaged(
        made.manifest(profile=profiled),
        made.files,
        table,
        known_mistakes=held_out is not None,
        remarks=(*made.warnings, *((made.refusal,) if made.refusal else ())),
    )


def packaged(
    manifest: Manifest,
    files: dict[str, bytes],
    table: Table,
    *,
    known_mistakes: bool,
    remarks: tuple[str, ...] = (),
) -> Packaged:
    """The manifest completed with the digests of its files, an example row, and what the version lacks."""
    for name, data in files.items():
        refuse_pickle(name, data)
    complete = msgspec.structs.replace(manifest, files={name: digest_of(data) for name, data in files.items()})
    missing = (NO_PIPELINE,) if known_mistakes else (NO_HELD_OUT, NO_PIPELINE)
    example = columns_of(table.take([0]))
    return Packaged(manifest=complete, files=files, missing=missing, remarks=remarks, example=example)


def profile_of(
    served: loader.Predictor,
    signature: Signature,
    table: Table,
    held_out: tuple[Any, Any] | None,
    metric: str | None,
) -> ReferenceProfile:
    """The profile of the rows, with the scores (and mistakes) of the held-out ones where there are any."""
    output = "value" if signature.task == "regression" else "score"
    if held_out is None:
        return profile(table.X, served.predict(columns_of(table), table.rows)[output], signature)
    unseen = Table(held_out[0])
    labels = plain_labels(held_out[1])
    if len(labels) != unseen.rows:
        raise ROWS_DIFFER(field="held_out", rows=unseen.rows, labels=len(labels))
    known = REGRESSION_METRICS if signature.task == "regression" else METRICS - REGRESSION_METRICS
    chosen = check_metric(metric or ("mae" if signature.task == "regression" else "balanced_accuracy"), known)
    score = served.predict(columns_of(unseen), unseen.rows)[output]
    return reference.complete(
        profile(table.X, score, signature),
        signature,
        labels=labels,
        score=np.asarray(score, dtype=np.float64),
        # The rows come without times: they are taken as one window, in the order they are in.
        event_at=np.arange(unseen.rows, dtype=np.int64),
        window=unseen.rows,
        metric=chosen,
    )


def plain_labels(y: Any) -> list[Any]:
    """Labels of any array or column as plain Python values."""
    values = y.to_list() if hasattr(y, "to_list") else y.tolist() if hasattr(y, "tolist") else list(y)
    return [v.item() if hasattr(v, "item") else v for v in values]
