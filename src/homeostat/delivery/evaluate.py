"""The worker half of a gate: hold its checks against a version, and give a verdict with the evidence.

Rows to judge on are the newest labelled ones that neither the version nor the champion has learnt from (later than both
`fit_until`), scored by the packages as they would be served. An interval is a paired bootstrap over rows (Efron and
Tibshirani 1993, ch. 16): both versions are measured on the same resample, so what they share cancels.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from homeostat.data import training
from homeostat.data.records import Dataset
from homeostat.delivery import loads
from homeostat.delivery.records import CheckDefinition, CheckResult, EvaluateJob, EvaluateResult, Verdict
from homeostat.foundation.killpoints import passing
from homeostat.foundation.stores import Stores
from homeostat.monitoring.metrics import LOWER_IS_BETTER, measure
from homeostat.monitoring.performance import truth_of
from homeostat.packages import loader, package
from homeostat.packages.records import Manifest
from homeostat.pipelines import features

_NEWEST = 20_000
_RESAMPLES = 400


class _Rows(msgspec.Struct):
    """What versions are judged on: truth, each version's score, and how many rows count as evidence."""

    truth: NDArray[Any]
    scores: dict[str, NDArray[Any]]
    thresholds: dict[str, float | None]  # each version decides at its own
    evidence: int  # positives in binary classification, else rows
    unit: str


def evaluate(job: EvaluateJob, stores: Stores) -> EvaluateResult:
    """Every check of the gate, and the verdict over all: the worst of refused, not enough, inconclusive, passed."""
    manifest = package.read_manifest(stores.objects, job.package)
    champion = None if job.champion_package is None else package.read_manifest(stores.objects, job.champion_package)
    rows: _Rows | None = None
    results: list[CheckResult] = []
    for check in job.gate.checks:
        if check.kind == "signature":
            results.append(_signature(manifest, champion))
        elif check.kind == "loads":
            results.append(loads.check(check, stores.objects, job.package, manifest, job.endpoint, host=job.host))
        else:
            rows = rows or _gather(job, stores, manifest, champion)
            results.append(_on_rows(check, job, manifest, rows))
    passing("gate.judged")
    return EvaluateResult(verdict=_worst(results), checks=tuple(results))


def _worst(results: list[CheckResult]) -> Verdict:
    order: tuple[Verdict, ...] = ("refused", "not_enough_evidence", "inconclusive", "passed")
    return min((r.verdict for r in results), key=order.index, default="passed")


def _signature(manifest: Manifest, champion: Manifest | None) -> CheckResult:
    """Callers of the endpoint send the champion's columns: the version may need no other, and none of another kind."""
    if champion is None:
        return CheckResult(check="signature", verdict="passed", summary="nothing answers there yet, so any inputs fit")
    have = {c.name: c for c in champion.signature.inputs}
    extra = sorted(c.name for c in manifest.signature.inputs if c.name not in have)
    other = sorted(c.name for c in manifest.signature.inputs if c.name in have and have[c.name].kind != c.kind)
    stricter = sorted(
        c.name for c in manifest.signature.inputs if c.name in have and have[c.name].nullable and not c.nullable
    )
    evidence = {"not_sent_by_callers": extra, "other_kind": other, "null_no_longer_allowed": stricter}
    if manifest.signature.task != champion.signature.task or manifest.signature.classes != champion.signature.classes:
        summary = "it does not answer what the champion answers: another task or other classes"
        return CheckResult(check="signature", verdict="refused", summary=summary, evidence=evidence)
    faults = [f"{what.replace('_', ' ')}: {', '.join(names)}" for what, names in evidence.items() if names]
    if faults:
        summary = "callers of the endpoint could not call it: " + "; ".join(faults)
        return CheckResult(check="signature", verdict="refused", summary=summary, evidence=evidence)
    words = f"its {len(manifest.signature.inputs)} inputs are among the {len(have)} that callers send"
    return CheckResult(check="signature", verdict="passed", summary=words, evidence=evidence)


def _gather(job: EvaluateJob, stores: Stores, manifest: Manifest, champion: Manifest | None) -> _Rows:
    frame = _newest_rows(job, stores, manifest, champion)
    labels = frame[job.dataset.label].to_list() if job.dataset is not None and job.dataset.label else []
    truth, known = truth_of(manifest.signature, labels)
    frame, truth = frame.filter(pl.Series(known)) if len(frame) else frame, truth[known]
    packages = {"candidate": job.package} | ({"champion": job.champion_package} if job.champion_package else {})
    scores: dict[str, NDArray[Any]] = {}
    thresholds: dict[str, float | None] = {}
    for who, digest in packages.items():
        predictor = loader.load(stores.objects, digest)
        signature = predictor.manifest.signature
        thresholds[who] = signature.threshold
        columns = {c.name: frame[c.name].to_list() for c in signature.inputs if len(frame)}
        output = "value" if signature.task == "regression" else "score"
        scores[who] = np.asarray(predictor.predict(columns, len(frame))[output]) if len(frame) else np.empty(0)
    binary = manifest.signature.task == "classification" and len(manifest.signature.classes) == 2
    evidence = int(min(truth.sum(), len(truth) - truth.sum())) if binary and len(truth) else len(truth)
    unit = "positives" if binary else "rows"
    return _Rows(truth=truth, scores=scores, thresholds=thresholds, evidence=evidence, unit=unit)


def _newest_rows(job: EvaluateJob, stores: Stores, manifest: Manifest, champion: Manifest | None) -> pl.DataFrame:
    if job.dataset is None or job.delta_version is None or job.dataset.label is None:
        return pl.DataFrame()
    learnt = [m.fit_until for m in (manifest, champion) if m is not None and m.fit_until is not None]
    since = max([*(at + 1 for at in learnt), job.since or 0])
    if job.features is None:
        frame: pl.DataFrame = training.rows(
            stores, job.project, job.dataset, job.delta_version, known_at=job.known_at, since=since or None
        )
        return frame.tail(_NEWEST)

    def read(dataset: Dataset, delta_version: int) -> pl.DataFrame:
        if dataset.label is None:
            return training.table(stores, job.project, dataset, delta_version)
        return training.rows(stores, job.project, dataset, delta_version, known_at=job.known_at)

    # the steps may look back, so they are given the older rows too, and what they make of those is left out
    made = features.make(job.features, read, stores).filter(pl.col("event_at") >= since)
    return made.filter(pl.col(job.dataset.label).is_not_null()).sort("event_at").tail(_NEWEST)


def _on_rows(check: CheckDefinition, job: EvaluateJob, manifest: Manifest, rows: _Rows) -> CheckResult:
    metric = check.metric or job.gate.metric
    if check.kind == "champion" and job.champion_package is None:
        return CheckResult(check="champion", verdict="passed", summary="there is no champion to beat yet")
    evidence: dict[str, Any] = {"metric": metric, "rows": len(rows.truth), rows.unit: rows.evidence}
    if rows.evidence < check.min_positives:
        words = f"only {rows.evidence} labelled {rows.unit} it has not learnt from; {check.min_positives} are needed"
        return CheckResult(check=_name(check), verdict="not_enough_evidence", summary=words, evidence=evidence)
    value = _measured(metric, rows, "candidate")
    evidence["value"] = value
    if check.kind == "champion":
        return _against_champion(check, metric, rows, evidence)
    if value is None or check.value is None:
        words = f"{metric} cannot be told from these rows"
        return CheckResult(check=_name(check), verdict="not_enough_evidence", summary=words, evidence=evidence)
    good = value >= check.value if check.kind == "metric_at_least" else value <= check.value
    bound = "at least" if check.kind == "metric_at_least" else "at most"
    words = f"{metric} {value:.4g} on the newest {len(rows.truth):,} labelled rows, {bound} {check.value:g} is asked"
    verdict: Verdict = "passed" if good else "refused"
    return CheckResult(check=_name(check), verdict=verdict, summary=words, evidence=evidence)


def _against_champion(check: CheckDefinition, metric: str, rows: _Rows, evidence: dict[str, Any]) -> CheckResult:
    difference, low, high = _paired_interval(metric, rows)
    evidence |= {"difference": difference, "low": low, "high": high, "rule": check.rule, "margin": check.margin}
    evidence["champion"] = _measured(metric, rows, "champion")
    evidence |= _shares(rows)
    if check.rule == "not_shown_worse":
        verdict: Verdict = "refused" if high < -check.margin else "passed"
        said = "shown worse" if verdict == "refused" else "not shown worse"
    elif low > check.margin:
        verdict, said = "passed", "shown better"
    else:
        verdict = "refused" if high <= check.margin else "not_enough_evidence"
        said = "not better" if verdict == "refused" else "not shown better yet"
    words = (
        f"{said} than the champion: {metric} {difference:+.3f} [{low:+.3f}, {high:+.3f}] "
        f"on the newest {len(rows.truth):,} labelled rows"
    )
    return CheckResult(check="champion", verdict=verdict, summary=words, evidence=evidence)


def _shares(rows: _Rows) -> dict[str, float]:
    """Mean score and share called positive of both versions on the gate's rows: what live traffic is compared with."""
    found: dict[str, float] = {}
    for who, score in rows.scores.items():
        if score.ndim == 1 and len(score):
            found[f"{who}_mean"] = float(score.mean())
            threshold = rows.thresholds[who]
            if threshold is not None:
                found[f"{who}_called"] = float((score >= threshold).mean())
    return found


def _measured(metric: str, rows: _Rows, who: str, index: Any = slice(None)) -> float | None:
    return measure(metric, rows.truth[index], rows.scores[who][index], threshold=rows.thresholds[who])


def _paired_interval(metric: str, rows: _Rows) -> tuple[float, float, float]:
    """Candidate minus champion (turned round where lower is better) with its paired 95% bootstrap interval."""
    sign = -1.0 if metric in LOWER_IS_BETTER else 1.0
    truth = rows.truth

    def difference(index: Any) -> float | None:
        ours = _measured(metric, rows, "candidate", index)
        theirs = _measured(metric, rows, "champion", index)
        return None if ours is None or theirs is None else sign * (ours - theirs)

    rng = np.random.default_rng(len(truth))
    drawn = [difference(rng.integers(0, len(truth), len(truth))) for _ in range(_RESAMPLES)]
    values = [d for d in drawn if d is not None]
    whole = difference(slice(None)) or 0.0
    if not values:
        return whole, float("-inf"), float("inf")
    low, high = np.quantile(values, [0.025, 0.975])
    return whole, float(low), float(high)


def _name(check: CheckDefinition) -> str:
    if check.kind in ("metric_at_least", "metric_at_most"):
        return f"{check.kind} {check.value:g}"
    return check.kind
