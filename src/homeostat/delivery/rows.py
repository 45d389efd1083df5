"""The rows that a gate judges on, and what champion and candidate make of them. Worker-side.

They are the newest labelled ones that neither version has learnt from, scored by the packages as they would be served.
A version that was registered by hand does not say until when it has learnt: it is judged on what happened after it was
registered. What keeps rows from being had is told in words, never made up.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from homeostat.data import training
from homeostat.data.records import Dataset
from homeostat.delivery.records import EvaluateJob, Verdict
from homeostat.foundation.errors import HomeostatError
from homeostat.foundation.stores import Stores
from homeostat.monitoring.performance import truth_of
from homeostat.packages import loader
from homeostat.packages.records import Manifest
from homeostat.pipelines import features

_NEWEST = 20_000


class Rows(msgspec.Struct):
    """What versions are judged on: truth, each version's score, and how many rows count as evidence."""

    truth: NDArray[Any]
    scores: dict[str, NDArray[Any]]
    thresholds: dict[str, float | None]  # each version decides at its own
    evidence: int  # positives in binary classification, else rows
    unit: str


class NoRows(msgspec.Struct):
    """Why there is nothing to judge on, and what follows from that."""

    verdict: Verdict
    words: str


def gather(job: EvaluateJob, stores: Stores, manifest: Manifest, champion: Manifest | None) -> Rows | NoRows:
    """The rows with the scores of both versions, or why there are none."""
    frame = _newest(job, stores, manifest, champion)
    if isinstance(frame, NoRows):
        return frame
    assert job.dataset is not None and job.dataset.label is not None
    inputs = {c.name for m in (manifest, champion) if m is not None for c in m.signature.inputs}
    lacking = sorted(inputs - set(frame.columns))
    if lacking:
        words = f"the labelled rows of dataset {job.dataset.name!r} lack the inputs {', '.join(lacking)}"
        hint = "train it in a pipeline over the dataset, or have the dataset's files carry them"
        return NoRows("not_enough_evidence", f"{words}: {hint}")
    truth, known = truth_of(manifest.signature, frame[job.dataset.label].to_list())
    frame, truth = frame.filter(pl.Series(known, dtype=pl.Boolean)), truth[known]
    rows = Rows(truth=truth, scores={}, thresholds={}, evidence=len(truth), unit="rows")
    if manifest.signature.task == "classification" and len(manifest.signature.classes) == 2:
        rows.unit, rows.evidence = "positives", int(min(truth.sum(), len(truth) - truth.sum()))
    for who, digest in (("candidate", job.package), ("champion", job.champion_package if champion else None)):
        if digest is None:
            continue
        try:
            rows.scores[who], rows.thresholds[who] = _scored(stores, digest, frame)
        except HomeostatError as error:
            if who == "candidate":
                return NoRows("refused", f"it cannot answer the dataset's own rows: {error}")
            return NoRows("inconclusive", f"the champion cannot answer the dataset's rows: {error}")
    return rows


def _newest(job: EvaluateJob, stores: Stores, manifest: Manifest, champion: Manifest | None) -> pl.DataFrame | NoRows:
    if job.dataset is None or job.dataset.label is None:
        return NoRows("not_enough_evidence", "the gate names no dataset with labels to judge on")
    if job.delta_version is None:
        return NoRows("not_enough_evidence", f"dataset {job.dataset.name!r} has no published version yet")
    learnt = manifest.fit_until if manifest.fit_until is not None else job.registered_at
    if learnt is None:
        words = "it does not say until when it has learnt, and what is replayed may lie before that"
        return NoRows("not_enough_evidence", f"{words}: train it in a pipeline over dataset {job.dataset.name!r}")
    if champion is not None and champion.fit_until is not None:
        learnt = max(learnt, champion.fit_until)
    since = max(learnt + 1, job.since or 0)

    def read(dataset: Dataset, delta_version: int) -> pl.DataFrame:
        if dataset.label is None:
            return training.table(stores, job.project, dataset, delta_version)
        return _labelled(job, stores, dataset, delta_version)

    if job.features is None:
        return _labelled(job, stores, job.dataset, job.delta_version, since=since).tail(_NEWEST)
    # the steps may look back, so they are given the older rows too, and what they make of those is left out
    made = features.make(job.features, read, stores)
    lacking = [column for column in ("event_at", job.dataset.label) if column not in made.columns]
    if lacking:
        return NoRows("not_enough_evidence", f"step {job.features.step!r} gives rows without {', '.join(lacking)}")
    made = made.filter(pl.col("event_at") >= since, pl.col(job.dataset.label).is_not_null())
    return made.sort("event_at").tail(_NEWEST)


def _labelled(
    job: EvaluateJob, stores: Stores, dataset: Dataset, delta_version: int, since: int | None = None
) -> pl.DataFrame:
    """Labelled rows as they were known; labels that name a prediction count through the endpoint's own log."""
    return training.rows(
        stores, job.project, dataset, delta_version, known_at=job.known_at, since=since, endpoints=(job.endpoint,)
    )


def _scored(stores: Stores, digest: str, frame: pl.DataFrame) -> tuple[NDArray[Any], float | None]:
    """What a package answers on every row, as it is served, and the threshold it decides at."""
    predictor = loader.load(stores.objects, digest)
    signature = predictor.manifest.signature
    if not len(frame):
        return np.empty(0), signature.threshold
    columns = {c.name: frame[c.name].to_list() for c in signature.inputs}
    output = "value" if signature.task == "regression" else "score"
    return np.asarray(predictor.predict(columns, len(frame))[output]), signature.threshold
