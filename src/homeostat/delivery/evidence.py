"""The worker half of a rollout: what the prediction log and the labels say of champion and candidate."""

from __future__ import annotations

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
        .select(pl.exclude("^in\\..*$"))
        .filter(pl.col("recorded_at") >= job.since_recorded, pl.col("event_at") >= job.since)
        .filter(pl.col("version").is_in([job.champion, job.candidate]))
        .filter(pl.col("arm") != "direct")  # whoever names a version chose it, and not by chance
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
    rows = rows.with_columns(_score(rows)).drop_nulls("score")
    score, threshold = rows["score"].to_numpy(), manifest.signature.threshold
    # the decision is taken on the float32 score, as `packages.loader` tells
    calls = score >= np.float32(threshold) if threshold is not None else np.zeros(len(score), dtype=bool)
    latency = requests["latency"].to_numpy()
    groups = _groups(rows)
    return ArmReading(
        arm=name,
        version=version,
        requests=len(requests),
        rows=len(rows),
        errors=int((requests["status"] >= 500).sum()),
        refused=int(requests["status"].is_between(400, 499).sum()),
        slow=int((latency > budget).sum()),
        called=int(calls.sum()),
        mean=float(score.mean()) if len(score) else 0.0,
        deviation=float(score.std()) if len(score) else 0.0,
        mean_error=_clustered_error(score, groups),
        called_error=_clustered_error(calls.astype(np.float64), groups),
        p99=float(np.quantile(latency, 0.99)) if len(latency) else None,
    )


def _score(rows: pl.DataFrame) -> pl.Expr:
    """One number a row: the score or value, of more than two classes the largest."""
    for column in ("out.score", "out.value"):
        if column in rows.columns:
            return pl.col(column).alias("score")
    several = [column for column in rows.columns if column.startswith("out.score_")]
    return (pl.max_horizontal(several) if several else pl.lit(None, pl.Float64)).alias("score")


def _groups(rows: pl.DataFrame) -> NDArray[np.int64]:
    """What was given to an arm together: the rows of one request, and of all that share its first row's key."""
    first = pl.col("key").sort_by("row").first().over("request")
    return rows.select(pl.coalesce(first, "request").rank("dense") - 1)["key"].to_numpy().astype(np.int64)


def _clustered_error(values: NDArray[np.float64], groups: NDArray[np.int64]) -> float | None:
    """Standard error of the mean where rows of one group may go together (Liang and Zeger 1986)."""
    if len(values) < 2:
        return None
    sums = np.bincount(groups, weights=values - values.mean())
    count = np.count_nonzero(np.bincount(groups))
    return float(np.sqrt((sums**2).sum() * count / max(count - 1, 1)) / len(values))


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
