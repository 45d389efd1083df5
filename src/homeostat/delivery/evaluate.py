"""The worker half of a gate: hold its checks against a version, and give a verdict with the evidence.

An interval is a paired bootstrap over rows (Efron and Tibshirani 1993, ch. 16): both versions are measured on the same
resample, each at the threshold it decides at, so what they share cancels.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from homeostat.delivery import loads, rows
from homeostat.delivery.records import CheckDefinition, CheckResult, EvaluateJob, EvaluateResult, Verdict
from homeostat.delivery.rows import NoRows, Rows
from homeostat.foundation.errors import HomeostatError
from homeostat.foundation.killpoints import passing
from homeostat.foundation.stores import Stores
from homeostat.monitoring.metrics import LOWER_IS_BETTER, measure
from homeostat.packages import package
from homeostat.packages.records import Manifest

_RESAMPLES = 400


def evaluate(job: EvaluateJob, stores: Stores) -> EvaluateResult:
    """Every check of the gate, and the verdict over all: the worst of refused, not enough, inconclusive, passed."""
    manifest = package.read_manifest(stores.objects, job.package)
    champion, unreadable = _champion(job, stores)
    found: Rows | NoRows | None = None
    results: list[CheckResult] = []
    for check in job.gate.checks:
        if check.kind == "loads":
            results.append(loads.check(check, stores.objects, job.package, manifest, job.endpoint))
        elif unreadable is not None and check.kind in ("signature", "champion"):
            results.append(CheckResult(check=check.kind, verdict="inconclusive", summary=unreadable))
        elif check.kind == "signature":
            results.append(_signature(manifest, champion))
        elif check.kind == "champion" and job.champion_package is None:
            results.append(CheckResult(check="champion", verdict="passed", summary=_nobody_to_beat(job)))
        else:
            found = found or rows.gather(job, stores, manifest, champion)
            results.append(_on_rows(check, job, found))
    passing("gate.judged")
    return EvaluateResult(verdict=_worst(results), checks=tuple(results))


def _champion(job: EvaluateJob, stores: Stores) -> tuple[Manifest | None, str | None]:
    """The champion's manifest; where its package cannot be read, why nothing can be compared with it."""
    if job.champion_package is None:
        return None, None
    try:
        return package.read_manifest(stores.objects, job.champion_package), None
    except HomeostatError as error:
        return None, f"version {job.champion}, which answers now, cannot be read to be compared with: {error}"


def _nobody_to_beat(job: EvaluateJob) -> str:
    return f"version {job.version} is the champion itself" if job.redeployed else "there is no champion to beat yet"


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


def _on_rows(check: CheckDefinition, job: EvaluateJob, rows: Rows | NoRows) -> CheckResult:
    metric = check.metric or job.gate.metric
    evidence: dict[str, Any] = {"metric": metric} | ({"remark": job.remark} if job.remark else {})
    if isinstance(rows, NoRows):
        return CheckResult(check=_name(check), verdict=rows.verdict, summary=rows.words, evidence=evidence)
    evidence |= {"rows": len(rows.truth), rows.unit: rows.evidence}
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


def _against_champion(check: CheckDefinition, metric: str, rows: Rows, evidence: dict[str, Any]) -> CheckResult:
    found = _paired_interval(metric, rows)
    if found is None:
        words = f"{metric} of both cannot be told from these rows"
        return CheckResult(check="champion", verdict="not_enough_evidence", summary=words, evidence=evidence)
    difference, low, high = found
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


def _shares(rows: Rows) -> dict[str, float]:
    """Mean score and share called positive of both versions on the gate's rows: what live traffic is compared with.

    With them the standard errors of the differences, over the same rows (paired). Of more than two classes the score
    is the largest, as a rollout reads it.
    """
    scores = {who: s if s.ndim == 1 else s.max(axis=1) for who, s in rows.scores.items()}
    found = {f"{who}_mean": float(score.mean()) for who, score in scores.items()}
    found["mean_error"] = float((scores["candidate"] - scores["champion"]).std() / len(rows.truth) ** 0.5)
    called = {who: scores[who] >= cut for who, cut in rows.thresholds.items() if cut is not None}
    if len(called) == 2:
        found |= {f"{who}_called": float(calls.mean()) for who, calls in called.items()}
        apart = called["candidate"].astype(np.float64) - called["champion"]
        found["called_error"] = float(apart.std() / len(rows.truth) ** 0.5)
    return found


def _measured(metric: str, rows: Rows, who: str, index: Any = slice(None)) -> float | None:
    return measure(metric, rows.truth[index], rows.scores[who][index], threshold=rows.thresholds[who])


def _paired_interval(metric: str, rows: Rows) -> tuple[float, float, float] | None:
    """Candidate minus champion (turned round where lower is better) with its paired 95% bootstrap interval.

    None where the rows, or most resamples of them, cannot tell the metric of both.
    """
    sign = -1.0 if metric in LOWER_IS_BETTER else 1.0
    truth = rows.truth

    def difference(index: Any) -> float | None:
        ours = _measured(metric, rows, "candidate", index)
        theirs = _measured(metric, rows, "champion", index)
        return None if ours is None or theirs is None else sign * (ours - theirs)

    whole = difference(slice(None))
    rng = np.random.default_rng(len(truth))
    drawn = [difference(rng.integers(0, len(truth), len(truth))) for _ in range(_RESAMPLES)]
    values = [d for d in drawn if d is not None]
    if whole is None or 2 * len(values) < _RESAMPLES:
        return None
    low, high = np.quantile(values, [0.025, 0.975])
    return whole, float(low), float(high)


def _name(check: CheckDefinition) -> str:
    if check.kind in ("metric_at_least", "metric_at_most"):
        return f"{check.kind} {check.value:g}"
    return check.kind
