"""The checks of a gate, as a project file says them: what a version must show before it may reach its endpoint."""

from __future__ import annotations

from collections.abc import Set
from typing import Any, Literal

from homeostat.delivery.records import CheckDefinition
from homeostat.foundation.errors import Kind, entry

UNKNOWN_METRIC = entry(
    "project.unknown_metric", Kind.INVALID, "there is no metric {metric!r} for this task", "use one of: {metrics}"
)
BAD_GATE = entry("project.bad_gate", Kind.INVALID, "{what} must be {rule}, not {value!r}", "write it as {example}")

# The names of monitoring.metrics.METRICS, which loads numpy and is not imported here; a test keeps the two equal.
REGRESSION_METRICS = frozenset({"mae", "rmse", "r2"})
METRICS = REGRESSION_METRICS | {
    "accuracy",
    "average_precision",
    "balanced_accuracy",
    "brier",
    "f1",
    "log_loss",
    "precision",
    "recall",
    "roc_auc",
}


def champion(
    *,
    rule: Literal["by_cause", "not_shown_worse", "shown_better"] = "by_cause",
    margin: float = 0.0,
    min_positives: int = 60,
) -> CheckDefinition:
    """Against the version that serves now, on the newest labelled rows, paired, with its 95% interval.

    'not_shown_worse' refuses when the whole interval of (challenger - champion) lies below -`margin`; 'shown_better'
    passes only when it lies above `margin`. By default the cause decides: 'shown_better' after a performance incident,
    'not_shown_worse' otherwise. Fewer than `min_positives` positives is not enough evidence: it waits.
    """
    if rule not in ("by_cause", "not_shown_worse", "shown_better"):
        known = "'by_cause', 'not_shown_worse' or 'shown_better'"
        raise _bad("rule", "the rule of hs.champion()", known, rule, "hs.champion()")
    _at_least("margin", "the margin of hs.champion()", margin, 0, "hs.champion(margin=0.01)")
    _at_least("min_positives", "min_positives of hs.champion()", min_positives, 1, "hs.champion(min_positives=60)")
    return CheckDefinition(kind="champion", rule=rule, margin=float(margin), min_positives=min_positives)


def metric_at_least(value: float, metric: str | None = None, *, min_positives: int = 60) -> CheckDefinition:
    """The metric (the model's own unless said) is `value` or more."""
    return _floor("metric_at_least", value, metric, min_positives)


def metric_at_most(value: float, metric: str | None = None, *, min_positives: int = 60) -> CheckDefinition:
    """The metric (the model's own unless said) is `value` or less: for errors and losses."""
    return _floor("metric_at_most", value, metric, min_positives)


def p99_under(*, ms: float) -> CheckDefinition:
    """It answers single rows in the real inference process with a 99th percentile under `ms` milliseconds."""
    if isinstance(ms, bool) or not isinstance(ms, int | float) or ms <= 0:
        raise _bad("ms", "ms of hs.p99_under()", "a number above 0", ms, "hs.p99_under(ms=20)")
    return CheckDefinition(kind="loads", p99_ms=float(ms))


def check_metric(metric: str, known: Set[str] = METRICS) -> str:
    """Give `metric` back if it is one of `known`, else raise `project.unknown_metric`."""
    if metric not in known:
        raise UNKNOWN_METRIC(field="metric", metric=metric, metrics=", ".join(sorted(known)))
    return metric


def _floor(
    kind: Literal["metric_at_least", "metric_at_most"], value: float, metric: str | None, min_positives: int
) -> CheckDefinition:
    example = f"hs.{kind}(0.8)"
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _bad("gate", f"the value of hs.{kind}()", "a number", value, example)
    _at_least("min_positives", f"min_positives of hs.{kind}()", min_positives, 1, example)
    named = None if metric is None else check_metric(metric)
    return CheckDefinition(kind=kind, value=float(value), metric=named, min_positives=min_positives)


def _at_least(field: str, what: str, value: Any, least: float, example: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or value < least:
        raise _bad(field, what, f"{least:g} or more", value, example)


def _bad(field: str, what: str, rule: str, value: Any, example: str) -> Exception:
    return BAD_GATE(field=field, what=what, rule=rule, value=value, example=example)
