"""The worker half of a rollout: what the prediction log and the labels say of champion and candidate."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from homeostat.data import label_table
from homeostat.delivery.records import ArmReading, EvidenceJob, EvidenceResult, PairedReading
from homeostat.foundation.killpoints import passing
from homeostat.foundation.stores import Stores
from homeostat.monitoring.performance import bounded_loss, truth_of
from homeostat.packages import package
from homeostat.packages.records import Manifest


def read(job: EvidenceJob, stores: Stores) -> EvidenceResult:
    """Per arm: requests, errors, slow answers, positives called, score moments; paired with the shadow where asked."""
    table = f"{job.project}/predictions/{job.endpoint}"
    if not stores.tables.exists(table):
        return EvidenceResult(arms=())
    log = (
        stores.tables.scan(table)
        .filter(pl.col("recorded_at") >= job.since_recorded, pl.col("event_at") >= job.since)
        .filter(pl.col("version").is_in([job.champion, job.candidate]))
        .collect()
    )
    manifests = {
        job.champion: package.read_manifest(stores.objects, job.champion_package),
        job.candidate: package.read_manifest(stores.objects, job.candidate_package),
    }
    arms = tuple(
        _arm(log.filter(pl.col("version") == version), name, version, manifest, job.latency_budget)
        for name, (version, manifest) in zip(("champion", "candidate"), manifests.items(), strict=False)
    )
    paired = _paired(log, job, stores, manifests[job.candidate]) if job.paired else None
    passing("evidence.read")
    return EvidenceResult(arms=arms, paired=paired)


def _arm(log: pl.DataFrame, name: str, version: int, manifest: Manifest, budget: int) -> ArmReading:
    requests = log.unique("request")
    rows = log.filter(pl.col("row") >= 0, pl.col("status") == 200)
    score = _score(rows)
    called = 0
    threshold = manifest.signature.threshold
    if threshold is not None and len(score):
        called = int((score >= threshold).sum())
    latency = requests["latency"].to_numpy()
    return ArmReading(
        arm=name,
        version=version,
        requests=len(requests),
        rows=len(rows),
        errors=int((requests["status"] >= 500).sum()),
        slow=int((latency > budget).sum()),
        called=called,
        mean=float(score.mean()) if len(score) else 0.0,
        deviation=float(score.std()) if len(score) else 0.0,
        p99=float(np.quantile(latency, 0.99)) if len(latency) else None,
    )


def _score(rows: pl.DataFrame) -> NDArray[Any]:
    for column in ("out.score", "out.value"):
        if column in rows.columns:
            return rows[column].drop_nulls().to_numpy()
    return np.empty(0)


def _paired(log: pl.DataFrame, job: EvidenceJob, stores: Stores, manifest: Manifest) -> PairedReading:
    """Rows that both the champion answered and the shadow computed, joined with what turned out to be true."""
    good = log.filter(pl.col("row") >= 0, pl.col("status") == 200)
    shadow = good.filter(pl.col("arm") == "shadow", pl.col("version") == job.candidate)
    answered = good.filter(pl.col("arm") != "shadow", pl.col("version") == job.champion)
    both = answered.join(shadow, on="prediction_id", suffix=".shadow")
    if not len(both):
        return PairedReading()
    output = "out.label" if "out.label" in both.columns else "out.value"
    disagreements = int((both[output] != both[f"{output}.shadow"]).sum())
    labelled = _with_truth(both, job, stores)
    if not len(labelled):
        return PairedReading(rows=len(both), disagreements=disagreements)
    difference = _losses(labelled, manifest, ".shadow") - _losses(labelled, manifest, "")
    spread = float(difference.std(ddof=1)) if len(difference) > 1 else float("inf")
    return PairedReading(
        rows=len(both),
        disagreements=disagreements,
        labelled=len(difference),
        loss_difference=float(difference.mean()),
        half_width=1.96 * spread / len(difference) ** 0.5,
    )


def _with_truth(both: pl.DataFrame, job: EvidenceJob, stores: Stores) -> pl.DataFrame:
    if job.dataset is None:
        return both.clear()
    labels = label_table.known(stores, job.project, job.dataset, None)
    by_key = labels.filter(pl.col("key").is_not_null()).select("key", pl.col("value").alias("truth"))
    by_id = labels.filter(pl.col("prediction_id").is_not_null()).select(
        "prediction_id", pl.col("value").alias("truth_by_id")
    )
    joined = both.join(by_key, on="key", how="left").join(by_id, on="prediction_id", how="left")
    return joined.with_columns(pl.coalesce("truth_by_id", "truth").alias("truth")).drop_nulls("truth")


def _losses(labelled: pl.DataFrame, manifest: Manifest, suffix: str) -> NDArray[np.float64]:
    """Wrong decision (0 or 1) where there is a decision, else the bounded loss."""
    signature = manifest.signature
    truth, known = truth_of(signature, [msgspec.json.decode(text) for text in labelled["truth"].to_list()])
    if signature.task == "classification":
        said, _ = truth_of(signature, labelled[f"out.label{suffix}"].to_list())
        return np.asarray((said != truth)[known], dtype=np.float64)
    scale = manifest.profile.loss_scale if manifest.profile else None
    value = labelled[f"out.value{suffix}"].to_numpy()
    return bounded_loss(truth[known], value[known], task="regression", scale=scale)
