"""A home with something in every room, entered through the domains' own functions, for the screens to show."""

from __future__ import annotations

import math
import random
from typing import Any

from homeostat.app import Homeostat
from homeostat.control import definitions as policies
from homeostat.control.records import Policy
from homeostat.data import contracts, datasets, versions
from homeostat.data.records import Dataset, DatasetVersion, IngestResult, QuarantineReason, Source, SourceFile
from homeostat.delivery import definitions as delivery
from homeostat.delivery import deployments
from homeostat.delivery.records import CheckDefinition, CheckResult, Deployment, Evaluation, Gate, RolloutDefinition
from homeostat.foundation.clock import DAY, HOUR, SECOND, DrivenClock
from homeostat.foundation.ids import digest_of, new_id
from homeostat.governance import approvals, decisions
from homeostat.governance.records import Decision
from homeostat.monitoring import incidents, monitors, windows
from homeostat.monitoring.records import MonitorState, Statistic, Window
from homeostat.packages import package
from homeostat.packages.records import (
    CategoryProfile,
    Column,
    Cost,
    Manifest,
    NumericProfile,
    Parity,
    ReferenceProfile,
    Signature,
)
from homeostat.pipelines import definitions as pipelines
from homeostat.pipelines import runs as pipeline_runs
from homeostat.pipelines.records import Pipeline, Step
from homeostat.registry import aliases
from homeostat.registry import versions as model_versions
from homeostat.serving import endpoints
from homeostat.serving.records import EndpointArm, Taken
from homeostat.tracking import artifacts, metrics, runs
from homeostat.tracking.records import Metric

EVENTS_BEGAN = 1_767_571_200_000_000  # 5 January 2026: event time lies far behind wall time, as in a replay
DAYS = 45
INPUTS = ("amount", "hour", "distance_km", "card_age_days")


def furnish(home: Homeostat, project: str = "default") -> dict[str, str]:
    """Fill the home; returns the ids of what has a page of its own."""
    clock = home.clock
    assert isinstance(clock, DrivenClock)
    made: dict[str, str] = {}
    rng = random.Random(7)

    def write(actor: str = "person:local", **more: Any) -> Any:
        clock.advance(37 * SECOND)
        return home.database.write(actor=actor, project=project, **more)

    _data(write)
    made |= _training(home, write)
    with write() as tx:
        for name, metric in (("fraud", "average_precision"), ("demand", "accuracy"), ("eta-minutes", "mae")):
            _defined(tx, name, metric)
            endpoints.create(tx, name, name)
        endpoints.create(tx, "churn", "fraud")
    made |= _delivered(write, clock)
    for name, level, spread, falls in (
        ("fraud", 0.81, 0.012, 34),
        ("demand", 0.91, 0.006, None),
        ("eta-minutes", 0.63, 0.02, 39),
    ):
        with write("service:loop") as tx:
            windows.save(tx, list(_windows(rng, name, level, spread, falls)))
            seen = EVENTS_BEGAN + DAYS * DAY
            taken = {
                "requests": 9,
                "rows": 9,
                "failed": 0,
                "first_event_at": EVENTS_BEGAN,
                "last_event_at": seen,
                "replayed": True,
            }
            endpoints.see(tx, Taken(endpoint=name, project=project, **taken))  # type: ignore[arg-type]
            monitors.save(tx, _monitors(name, falls is not None))
    made |= _adapting(write)
    made |= _waiting(write)
    with write() as tx:
        endpoints.pause(tx, "demand", True, "audit week")
        endpoints.pause(tx, "demand", False, "audit week is over")
    return made


def _data(write: Any) -> None:
    dataset = Dataset(
        name="transactions",
        source=Source(pattern="data/*.csv", base="/srv/project"),
        key="tx_id",
        time="at",
        label="fraud",
        label_delay=3 * DAY,
        rules=(
            contracts.column("amount").not_null(),
            contracts.column("amount").between(0, 50_000),
            contracts.column("tx_id").unique(),
        ),
    )
    with write() as tx:
        datasets.define(tx, dataset)
        datasets.define(tx, Dataset(name="stores", source=Source(pattern="stores.parquet", base="/srv/project")))
    parent, rows, files = None, 0, ()
    for number in range(1, 7):
        added, aside = 2000 + number * 13, 160 if number == 5 else 0
        path = f"data/transactions-2026-01-{number + 4:02}.csv"
        file = SourceFile(
            path=path, digest=digest_of(path.encode()), rows=added + aside, quarantined=aside, size=184_787
        )
        rows, files = rows + added, (*files, file)
        digest = digest_of(f"transactions {number}".encode())
        version = DatasetVersion(
            dataset="transactions",
            number=number,
            digest=digest,
            parent=parent,
            delta_version=number - 1,
            rows=rows,
            added=added,
            quarantined=aside,
            files=files,
            columns={"tx_id": "int", "at": "time", "amount": "float", "hour": "float", "fraud": "bool"},
            created_at=0,
            first_event_at=EVENTS_BEGAN,
            last_event_at=EVENTS_BEGAN + number * DAY - 1,
        )
        reasons = ()
        if aside:
            bad = {"row": 12, "amount": "NaN", "tx_id": "10912"}
            reasons = (
                QuarantineReason(
                    dataset="transactions",
                    version=number,
                    rule="amount is not null",
                    rows=118,
                    file=path,
                    examples=(bad,),
                    column="amount",
                ),
                QuarantineReason(
                    dataset="transactions",
                    version=number,
                    rule="amount between 0 and 50,000",
                    rows=42,
                    file=path,
                    examples=({"row": 31, "amount": "-9,999 <b>"},),
                    column="amount",
                ),
            )
        with write() as tx:
            result = IngestResult(
                dataset="transactions", number=number, version=version, files=(file,), reasons=reasons
            )
            versions.record(tx, result)
        parent = digest


def _training(home: Homeostat, write: Any) -> dict[str, str]:
    steps = (
        Step(name="ingest", function="control:ingest", cache=False, settings={"dataset": "transactions"}),
        Step(
            name="train",
            function="homeostat.project.training:train",
            inputs={"ingested": "ingest"},
            params={"trees": 60},
        ),
        Step(name="register", function="control:register", inputs={"trained": "train"}, cache=False),
    )
    made = {}
    with write() as tx:
        pipelines.define(tx, Pipeline(name="fraud", steps=steps, model="fraud", schedule=7 * DAY))
    for number in (1, 2):
        with write() as tx:
            run = runs.start(tx, "fraud", name="fraud/train", params={"trees": 60 * number, "rows": 29_904})
            points = [
                Metric(key="loss", value=0.7 * math.exp(-step / 20) + 0.05, at=tx.at, step=step) for step in range(60)
            ]
            last = {"average_precision": 0.79 + number / 100, "roc_auc": 0.95, "misses": 0.27, "false_alarms": 0.002}
            metrics.log(tx, run.id, [*points, *(Metric(key=k, value=v, at=tx.at) for k, v in last.items())])
            artifacts.record(tx, run.id, "model/model.onnx", digest_of(b"model"), 182_133)
        digest, _ = package.write(home.objects, _manifest(run.id, number), {"model.onnx": f"onnx {number}".encode()})
        with write() as tx:
            runs.finish(tx, run.id, "FINISHED")
            model_versions.register(
                tx,
                "fraud",
                digest,
                run_id=run.id,
                dataset="transactions",
                dataset_version=digest_of(f"transactions {number * 3}".encode()),
            )
            for other in ("demand", "eta-minutes"):
                model_versions.register(tx, other, digest, missing=("profile",))
        made |= {"run": run.id, "package": digest}
    with write() as tx:
        failing = runs.start(tx, "scratch", name="too deep", params={"depth": 64})
        runs.finish(tx, failing.id, "FAILED")
        runs.start(tx, "fraud", name="fraud/train", params={"trees": 300})
        made["pipeline_run"] = pipeline_runs.start(tx, "fraud", {"trees": 90}, trigger="person").id
        aliases.set(tx, "fraud", "champion", 1)
    return made


def _manifest(run_id: str, number: int) -> Manifest:
    numeric = NumericProfile(
        edges=(1.0, 5.0, 20.0), shares=(0.25,) * 4, nulls=0.012, low=0.01, high=4999.0, mean=61.4, deviation=120.9
    )
    category = CategoryProfile(
        shares={"grocery": 0.41, "travel": 0.22, "online": 0.2, "fuel": 0.1}, other=0.07, nulls=0
    )
    profile = ReferenceProfile(
        rows=29_904,
        columns={**dict.fromkeys(INPUTS, numeric), "merchant_kind": category},
        score=numeric,
        held_out_rows=9_968,
        held_out_positives=183,
        misses=0.2678,
        false_alarms=0.00204,
        metric="average_precision",
        metric_value=0.79 + number / 100,
        metric_low=0.70,
        metric_high=0.86,
    )
    columns = tuple(Column(name=name, kind="float", nullable=name == "amount") for name in INPUTS)
    return Manifest(
        format="onnx",
        files={},
        layout="columns",
        signature=Signature(
            inputs=(*columns, Column(name="merchant_kind", kind="string")),
            task="classification",
            classes=(False, True),
            threshold=0.424,
        ),
        profile=profile,
        estimator="sklearn.ensemble.GradientBoostingClassifier",
        dataset="transactions",
        fit_until=EVENTS_BEGAN + 6 * DAY,
        run_id=run_id,
        environment={"python": "3.11.9", "scikit-learn": "1.9.1"},
        parity=Parity(rows=2_400, agrees=True, largest_difference=4.1e-7, decisions_flipped=0, tolerance=1e-5),
        cost=Cost(rows_1=8.9, rows_64=61.0, rows_1024=812.0),
    )


def _defined(tx: Any, name: str, metric: str) -> None:
    checks = (CheckDefinition(kind="champion"), CheckDefinition(kind="metric_at_least", metric=metric, value=0.4))
    delivery.define(
        tx, name, Gate(name=name, metric=metric, checks=checks, dataset="transactions"), RolloutDefinition()
    )
    pipeline = "fraud" if name == "fraud" else None
    policies.define(
        tx, Policy(endpoint=name, pipeline=pipeline, dataset="transactions", label_delay=3 * DAY, ask=("reuse",))
    )


def _evaluation(endpoint: str, version: int, verdict: str, at: int, event_at: int) -> Evaluation:
    bad = verdict == "refused"
    said = "shown worse than" if bad else "not shown worse than"
    checks = (
        CheckResult(
            check="champion",
            verdict="refused" if bad else "passed",
            summary=f"{said} the champion: average_precision +0.090 [+0.071, +0.110] on the newest 6,100 labelled rows",
            evidence={"metric": "average_precision", "rows": 6100, "positives": 131, "difference": 0.09, "low": 0.071},
        ),
        CheckResult(
            check="metric_at_least 0.4",
            verdict="passed",
            summary="average_precision 0.7959 on the newest 9,968 labelled rows, at least 0.4 is asked",
        ),
        CheckResult(
            check="loads",
            verdict="passed",
            summary="p99 4.96 ms in the inference process, budget 20 ms",
            evidence={"p99_us": [5557.4, 4962.1, 9875.9], "budget_us": 20_000.0, "requests": 450},
        ),
        CheckResult(check="signature", verdict="passed", summary="its 5 inputs are among the 5 that callers send"),
    )
    return Evaluation(
        id=new_id(),
        endpoint=endpoint,
        model=endpoint,
        version=version,
        champion=version - 1 or None,
        verdict="refused" if bad else "passed",
        checks=checks,
        at=at,
        event_at=event_at,
        gate_digest=digest_of(b"gate"),
        data_digest=digest_of(b"data"),
        package=digest_of(b"package"),
        blessing=None if bad else digest_of(b"blessing"),
    )


def _delivered(write: Any, clock: DrivenClock) -> dict[str, str]:
    made = {}
    for name in ("fraud", "demand", "eta-minutes"):
        with write() as tx:
            held = deployments.save_evaluation(tx, _evaluation(name, 1, "passed", tx.at, EVENTS_BEGAN))
            asked = Deployment(
                id=new_id(),
                endpoint=name,
                model=name,
                version=1,
                state="gating",
                requested_by="person:local",
                requested_at=tx.at,
                evaluation_id=held.id,
            )
            asked = deployments.insert(tx, asked)
            arm = EndpointArm(name="champion", version=1, share=1.0, since=tx.at, since_event=EVENTS_BEGAN)
            endpoints.set_arms(tx, name, (arm,))
            deployments.move(tx, asked, state="live", summary="version 1 took over: nothing answered before")
    with write() as tx:
        held = deployments.save_evaluation(tx, _evaluation("fraud", 2, "refused", tx.at, EVENTS_BEGAN + 20 * DAY))
        worse = Deployment(
            id=new_id(),
            endpoint="fraud",
            model="fraud",
            version=2,
            state="gating",
            requested_by="person:ada",
            requested_at=tx.at,
            evaluation_id=held.id,
            reason="it looked better on my laptop",
        )
        worse = deployments.insert(tx, worse)
        deployments.move(tx, worse, state="refused", summary=held.checks[0].summary, finished_at=tx.at)
        made |= {"refused": worse.id, "evaluation": held.id}
    clock.advance(2 * HOUR)
    return made


def _windows(rng: random.Random, name: str, level: float, spread: float, falls: int | None) -> Any:
    for day in range(DAYS - 3):
        value = level + rng.gauss(0, spread) - (0.16 if falls is not None and day >= falls else 0.0)
        start = EVENTS_BEGAN + day * DAY
        moved = falls is not None and day >= falls
        drift = tuple(
            Statistic(
                name=column, value=abs(rng.gauss(0.008, 0.004)) + (0.06 if moved and not i else 0), high=0.02, n=1900
            )
            for i, column in enumerate((*INPUTS, "score"))
        )
        yield Window(
            endpoint=name,
            version=1,
            start=start,
            end=start + DAY,
            requests=1900 + rng.randrange(200),
            rows=2000,
            errors=0,
            labelled=1990,
            positives=40,
            p50=920.0 + rng.random() * 60,
            p95=1800.0 + rng.random() * 100,
            p99=3100.0 + rng.random() * 400,
            metric=Statistic(
                name="average_precision", value=value, low=level - 4 * spread, high=level + 4 * spread, n=1990
            ),
            drift=tuple(sorted(drift, key=lambda s: -(s.value or 0))),
            quality=(Statistic(name="amount nulls", value=0.031 if moved else 0.009, high=0.022, n=2000),),
        )


def _monitors(name: str, alarmed: bool) -> list[MonitorState]:
    page = math.log(10_000)
    return [
        MonitorState(
            endpoint=name,
            version=1,
            monitor=monitor,
            cause="performance",
            evidence=evidence,
            threshold=page,
            observed=84_000,
        )
        for monitor, evidence in (
            ("misses", math.log(21_400) if alarmed else 0.7),
            ("false_alarms", -2.0),
            ("inputs", 5.1),
            ("score", 1.2),
        )
    ]


def _adapting(write: Any) -> dict[str, str]:
    noticed, began = EVENTS_BEGAN + 38 * DAY, EVENTS_BEGAN + 34 * DAY + 13 * HOUR
    tracks = [
        {"name": "misses", "observed": 0.62, "reference": 0.268, "limit": 0.318, "count": 96, "log10_evidence": 4.33}
    ]
    evidence = {"monitor": "misses", "log10_evidence": 4.33, "log10_threshold": 4.0, "tracks": tracks}
    words = "missed 62.0% of 96 positives, 26.8% when held out, since about 2026-02-08 13:00 UTC"
    with write("service:loop") as tx:
        about = {"event_at": noticed, "change_at": began, "summary": words, "evidence": evidence}
        incident = incidents.raise_(tx, "fraud", "fraud", 1, "performance", **about)  # type: ignore[arg-type]
        incidents.raise_(
            tx,
            "fraud",
            "fraud",
            1,
            "performance",
            event_at=noticed + DAY,
            change_at=began,
            summary="raised a false alarm on 1.9% of 1,903 negatives, 0.2% when held out",
            evidence={"monitor": "false_alarms", "log10_evidence": 4.1, "log10_threshold": 4.0, "tracks": []},
        )
    with write("service:loop") as tx:
        decision = decisions.record(
            tx,
            Decision(
                id="",
                at=0,
                event_at=noticed + 2 * DAY,
                subject="endpoint/fraud",
                decider="service:loop",
                rule="retrain once 500 labelled rows followed the change, 150 of them positive",
                verdict="retrain",
                summary=f"Retrain: {words}. 9,120 labelled rows have followed the change, 164 of them positive: "
                "enough to learn it anew.",
                inputs={"incident": incident.id, "change_at": began, "rows_since": 9120, "positives_since": 164},
                state="approved",
                trigger=f"incident/{incident.id}",
                undo="homeostat rollback fraud",
            ),
        )
        incidents.act(tx, incident.id)
        decisions.move(tx, decision.id, "acting")
    with write("service:loop") as tx:
        held = deployments.save_evaluation(tx, _evaluation("fraud", 2, "passed", tx.at, noticed + 2 * DAY))
        asked = Deployment(
            id=new_id(),
            endpoint="fraud",
            model="fraud",
            version=2,
            state="gating",
            requested_by="service:loop",
            requested_at=tx.at,
            rule="shown_better",
            decision_id=decision.id,
            evaluation_id=held.id,
        )
        asked = deployments.insert(tx, asked)
        arms = (
            EndpointArm(name="champion", version=1, share=0.8, since=tx.at, since_event=EVENTS_BEGAN),
            EndpointArm(name="canary", version=2, share=0.2, since=tx.at, since_event=noticed + 2 * DAY),
        )
        endpoints.set_arms(tx, "fraud", arms)
        arm = {"requests": 1612, "rows": 1612, "errors": 0, "slow": 3, "called": 19, "mean": 0.0191, "p99_us": 3312.0}
        deployments.move(
            tx,
            asked,
            state="rolling_out",
            stage="canary",
            previous=1,
            since_event=noticed + 2 * DAY,
            since_recorded=tx.at,
            summary="312 rows answered by the candidate, 400 an arm are needed",
            evidence={
                "champion": arm | {"version": 1},
                "candidate": arm | {"version": 2, "requests": 312, "rows": 312, "called": 7},
                "differences": {
                    "errors": {"value": 0.0, "low": -0.004, "high": 0.006, "margin": 0.01},
                    "share called positive": {"value": 0.011, "low": -0.004, "high": 0.021, "margin": 0.01},
                },
            },
        )
    with write("service:loop") as tx:
        old = {
            "event_at": EVENTS_BEGAN + 15 * DAY,
            "change_at": None,
            "summary": "the scores lie 0.031 bits away, over 4 windows",
        }
        past = incidents.raise_(tx, "demand", "demand", 1, "drift", **old)  # type: ignore[arg-type]
        incidents.resolve(tx, past.id, "version 2 answers instead of version 1", EVENTS_BEGAN + 17 * DAY)
    return {"incident": incident.id, "decision": decision.id, "deployment": asked.id}


def _waiting(write: Any) -> dict[str, str]:
    summary = (
        "Reuse version 5 from last winter: it wins on the newest 4,000 labelled rides by 3.1 to 4.4 points. "
        "The season that it learnt from is back."
    )
    with write("service:loop") as tx:
        decision = decisions.record(
            tx,
            Decision(
                id="",
                at=0,
                event_at=EVENTS_BEGAN + 44 * DAY,
                subject="endpoint/eta-minutes",
                decider="service:loop",
                rule="an archived version that is shown better may be reused, once a person agrees",
                verdict="reuse",
                summary=summary,
                inputs={"version": 1, "candidate": 5},
                state="waiting",
                undo="homeostat rollback eta-minutes",
            ),
        )
        asked = approvals.ask(tx, decision, f"{summary} Reuse it?")
    with write("service:loop") as tx:
        earlier = decisions.record(
            tx,
            Decision(
                id="",
                at=0,
                event_at=EVENTS_BEGAN + 12 * DAY,
                subject="endpoint/demand",
                decider="service:loop",
                rule="retrain every 7 d",
                verdict="retrain",
                summary="Retrain: it is 7 d since it last learnt, and the schedule says so",
                state="waiting",
            ),
        )
        approval = approvals.ask(tx, earlier, "Retrain now?")
    with write("person:ada") as tx:
        approvals.answer(tx, approval.id, False, "not in the audit week")
    return {"approval": asked.id, "asked": decision.id}
