"""Gates and their verdicts, deployments and their rollouts."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from homeostat.data.records import Dataset
from homeostat.pipelines.records import Features

Verdict = Literal["passed", "refused", "not_enough_evidence", "inconclusive"]


class CheckDefinition(Struct, frozen=True, kw_only=True):
    """One check of a gate.

    kinds: metric_at_least (metric, value), metric_at_most, champion (rule, margin, metric), signature, loads (p99_ms).
    """

    kind: Literal["metric_at_least", "metric_at_most", "champion", "signature", "loads"]
    metric: str | None = None
    value: float | None = None
    rule: Literal["by_cause", "not_shown_worse", "shown_better"] = "by_cause"  # by what asked for the deployment
    margin: float = 0.0
    p99_ms: float | None = None
    min_positives: int = 60


class Gate(Struct, frozen=True, kw_only=True):
    """What a version must pass before it may reach an endpoint. `signature` and `loads` are always asked."""

    name: str
    metric: str
    checks: tuple[CheckDefinition, ...]
    dataset: str | None = None


class RolloutDefinition(Struct, frozen=True, kw_only=True):
    """How a blessed version takes over. Durations are event time.

    shadow: paired on the same inputs, for labelled loss; canary: by `share` of the traffic, judged on errors, latency
    and score shift with `margin` and at least `min_rows` an arm. After promotion the old version bakes for `bake`.
    """

    kind: Literal["direct", "canary", "shadow", "shadow_then_canary"] = "canary"
    share: float = 0.2
    margin: float = 0.01
    min_rows: int = 400
    latency_budget_ms: float = 20.0
    shadow_for: int = 0  # longest shadow, microseconds
    bake: int = 86_400_000_000
    timeout: int = 10 * 86_400_000_000


class CheckResult(Struct, frozen=True, kw_only=True):
    """One check's verdict and the evidence for it."""

    check: str
    verdict: Verdict
    summary: str  # a sentence with its numbers and interval
    evidence: dict[str, Any] = {}


class Evaluation(Struct, frozen=True, kw_only=True):
    """A gate held against one version for one endpoint. `blessing` is the seal over model, data and gate digests."""

    id: str
    endpoint: str
    model: str
    version: int
    champion: int | None
    verdict: Verdict
    checks: tuple[CheckResult, ...]
    at: int
    event_at: int | None
    gate_digest: str
    data_digest: str
    package: str
    blessing: str | None = None


class Deployment(Struct, frozen=True, kw_only=True):
    """One version's way to an endpoint, from request to rest.

    gating -> refused | waiting (not enough evidence) | rolling_out -> baking -> live | rolled_back | superseded.
    """

    id: str
    endpoint: str
    model: str
    version: int
    state: Literal[
        "gating", "waiting", "refused", "rolling_out", "baking", "live", "rolled_back", "superseded", "failed"
    ]
    requested_by: str
    requested_at: int
    rule: Literal["not_shown_worse", "shown_better"] = "not_shown_worse"
    reason: str | None = None
    decision_id: str | None = None
    evaluation_id: str | None = None
    stage: str | None = None  # of the rollout: "shadow", "canary", "direct"
    previous: int | None = None  # the champion it replaces
    since_event: int | None = None  # event time at which the stage began
    since_recorded: int | None = None  # wall time at which the stage began
    evidence: dict[str, Any] = {}  # the newest rollout evidence: per arm rows, errors, latency, score shift
    summary: str = ""
    finished_at: int | None = None
    data_since: int | None = None  # event time from which gate rows are taken (after an incident)


class EvaluateJob(Struct, frozen=True, kw_only=True):
    """A gate to hold against one version, in a worker. `delta_version` is None where there is no dataset."""

    project: str
    endpoint: str
    gate: Gate
    package: str
    version: int
    champion_package: str | None
    champion: int | None
    dataset: Dataset | None
    delta_version: int | None
    data_digest: str
    known_at: int
    since: int | None = None
    redeployed: bool = False  # the version answers already
    registered_at: int | None = None  # for one that does not say until when it has learnt; None amid a replay
    remark: str | None = None  # what keeps the data from being newer
    features: Features | None = None  # the steps that make the dataset's rows into what the version takes


class EvaluateResult(Struct, frozen=True, kw_only=True):
    """The verdict on each check, and on the whole."""

    verdict: Verdict
    checks: tuple[CheckResult, ...]


class ArmReading(Struct, frozen=True, kw_only=True):
    """What one arm did during a rollout stage. `errors` counts requests that failed, `refused` those the version
    would not take, `slow` those over the latency budget; `called` rows whose label is the positive class; `mean` and
    `deviation` are of the score (of more than two classes, the largest; or the value). The standard errors of `mean`
    and of the share called allow for rows that came together; None: as if every row stood alone."""

    arm: str
    version: int
    requests: int = 0
    rows: int = 0
    errors: int = 0
    refused: int = 0
    slow: int = 0
    called: int = 0
    mean: float = 0.0
    deviation: float = 0.0
    mean_error: float | None = None
    called_error: float | None = None
    p99: float | None = None  # microseconds
    labelled: int = 0
    loss: float | None = None


class PairedReading(Struct, frozen=True, kw_only=True):
    """Champion and shadow on the same inputs: rows compared, decisions that differ, and the labelled loss difference
    (shadow minus champion, mean and half-width of its 95% interval over `labelled` rows)."""

    rows: int = 0
    disagreements: int = 0
    labelled: int = 0
    loss_difference: float | None = None
    half_width: float | None = None


class EvidenceJob(Struct, frozen=True, kw_only=True):
    """What to read from the prediction log for one rollout stage."""

    project: str
    endpoint: str
    since: int  # event time
    since_recorded: int  # wall time at which the stage began
    champion: int
    candidate: int
    champion_package: str
    candidate_package: str
    latency_budget: int  # microseconds
    dataset: str | None = None
    paired: bool = False


class EvidenceResult(Struct, frozen=True, kw_only=True):
    """The readings of a rollout stage."""

    arms: tuple[ArmReading, ...]
    paired: PairedReading | None = None
