"""What the prediction log says of two arms, and of pairs whose truth is known."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from delivered import made

from homeostat.data.label_table import fold
from homeostat.data.records import FoldJob, Label, LabelBatch
from homeostat.delivery import evidence
from homeostat.delivery.records import ArmReading, EvidenceJob, PairedReading
from homeostat.foundation.stores import Stores
from homeostat.inference.wire import Prediction
from homeostat.packages import package
from homeostat.serving.intake_table import frame_of

NOW = 1_770_000_000_000_000


@dataclass
class Log:
    """A predictions table of endpoint "fraud" to be read: version 1 is champion, version 2 is tried."""

    stores: Stores
    count: int = 0
    appends: int = 0
    records: list[Prediction] = field(default_factory=list)

    def write(
        self, version: int, *, arm: str, scores: list[float] | None = None, of: int | None = None, **more: Any
    ) -> int:
        """One request; `of` gives it the id of an earlier one (a shadow's)."""
        self.count += 1
        number = self.count if of is None else of
        rows = 0 if scores is None else len(scores)
        outputs = {} if scores is None else {"label": [int(s >= 0.5) for s in scores], "score": scores}
        self.records.append(
            Prediction(
                **{
                    "request": number.to_bytes(16, "big"), "event_at": NOW, "recorded_at": NOW, "endpoint": "e",
                    "project": "default", "version": version, "arm": arm, "status": 200, "latency": 1000, "rows": rows,
                    "keys": None, "caller_id": None, "inputs": {"x": [0.0] * rows} if rows else {}, "outputs": outputs,
                    "principal": "person:ann", **more,
                }
            )
        )  # fmt: skip
        return number

    def read(self, *, paired: bool = False, kind: str = "good") -> tuple[ArmReading, ArmReading, PairedReading | None]:
        if self.records:
            self.appends += 1
            frame = frame_of(self.records)
            self.stores.tables.append("default/predictions/fraud", frame, writer="w", sequence=self.appends)
            self.records = []
        digest = package.write(self.stores.objects, *made(kind))[0]
        job = EvidenceJob(
            project="default", endpoint="fraud", since=NOW, since_recorded=NOW, champion=1, candidate=2,
            champion_package=digest, candidate_package=digest, latency_budget=5000,
            dataset="tx" if paired else None, paired=paired,
        )  # fmt: skip
        found = evidence.read(job, self.stores)
        arms = {a.arm: a for a in found.arms}
        return arms["champion"], arms["candidate"], found.paired


@pytest.fixture
def log(tmp_path: Path) -> Log:
    """An empty log."""
    return Log(Stores.at(tmp_path))


def test_an_endpoint_without_a_log_has_no_evidence(tmp_path: Path) -> None:
    job = EvidenceJob(
        project="default", endpoint="nobody", since=0, since_recorded=0, champion=1, candidate=2,
        champion_package="", candidate_package="", latency_budget=1,
    )  # fmt: skip
    assert evidence.read(job, Stores.at(tmp_path)).arms == ()


def test_each_arm_is_read_for_what_it_did_since_the_stage_began(log: Log) -> None:
    log.write(1, arm="champion", scores=[0.2, 0.9], latency=9000)
    log.write(1, arm="champion", scores=[0.1], event_at=NOW - 1)  # before the stage
    log.write(1, arm="champion", scores=[0.1], recorded_at=NOW - 1)
    log.write(2, arm="canary", scores=[0.7, 0.8, 0.3])
    log.write(2, arm="canary", status=500)
    log.write(2, arm="canary", status=422)
    log.write(0, arm="", status=400)  # no arm was chosen: nobody's
    log.write(2, arm="direct", scores=[1.0] * 50)  # asked for by its number
    log.write(3, arm="canary", scores=[1.0])
    champion, candidate, _ = log.read()
    assert (champion.requests, champion.rows, champion.errors, champion.slow, champion.called) == (1, 2, 0, 1, 1)
    assert (candidate.requests, candidate.rows, candidate.errors, candidate.refused) == (3, 3, 1, 1)
    assert candidate.called == 2 and candidate.mean == pytest.approx(0.6)
    assert champion.p99 == 9000.0


def test_rows_that_were_given_to_an_arm_together_have_one_error(log: Log) -> None:
    random = np.random.default_rng(0)
    for customer in range(30):  # each customer's rows score alike, and its first row's key decides the arm
        score = float(random.random())
        for _ in range(10):
            log.write(1, arm="champion", scores=[score] * 2, keys=[f"c{customer}", f"c{customer}"])
    for _ in range(600):
        log.write(2, arm="canary", scores=[float(random.random())])
    champion, candidate, _ = log.read()
    alone = champion.deviation / champion.rows**0.5
    assert champion.mean_error is not None and champion.mean_error > 3.5 * alone  # sqrt(20) if they were the same
    assert candidate.mean_error == pytest.approx(candidate.deviation / candidate.rows**0.5, rel=0.01)
    assert champion.called_error is not None and champion.called_error > 0


def test_several_classes_are_read_by_their_largest_score(log: Log) -> None:
    for version, arm in ((1, "champion"), (2, "canary")):
        outputs = {"label": [0, 2], "score": [[0.5, 0.3, 0.2], [0.1, 0.0, 0.9]]}
        log.write(version, arm=arm, rows=2, inputs={"x": [0.0, 0.0]}, outputs=outputs)
    champion, candidate, _ = log.read(kind="three")
    assert champion.mean == candidate.mean == pytest.approx(0.7) and champion.called == 0


def label(log: Log, told: dict[str, int], number: int = 1) -> None:
    labels = [Label(prediction_id=i, value=v, known_at=NOW) for i, v in told.items()]
    digest = log.stores.objects.put_bytes(msgspec.msgpack.encode(labels))
    batch = LabelBatch(id=number, dataset="tx", digest=digest, labels=len(labels), recorded_at=NOW)
    fold(FoldJob(project="default", dataset="tx", batches=(batch,)), log.stores)


def test_pairs_are_the_same_rows_answered_and_shadowed(log: Log) -> None:
    told: dict[str, int] = {}
    for n in range(40):
        request = log.write(1, arm="champion", scores=[0.9 if n % 4 else 0.1, 0.2])
        log.write(2, arm="shadow", scores=[0.9, 0.2], of=request)
        told |= {f"{request:032x}-0": 1, f"{request:032x}-1": 0}
    lonely = log.write(1, arm="champion", scores=[0.9])  # its shadow was dropped
    told[f"{lonely:032x}-0"] = 1
    champion, candidate, paired = log.read(paired=True)
    assert paired is not None and (paired.rows, paired.disagreements, paired.labelled) == (80, 10, 0)
    assert paired.loss_difference is None and candidate.requests == 40 and champion.requests == 41
    label(log, told)
    _, _, paired = log.read(paired=True)
    assert paired is not None and paired.labelled == 80 and paired.loss_difference == pytest.approx(-10 / 80)
    assert paired.half_width is not None and 0 < paired.half_width < 0.1


def test_labels_that_the_model_does_not_know_are_no_pairs(log: Log) -> None:
    request = log.write(1, arm="champion", scores=[0.9, 0.2])
    log.write(2, arm="shadow", scores=[0.9, 0.2], of=request)
    label(log, {f"{request:032x}-0": 1, f"{request:032x}-1": 7})
    _, _, paired = log.read(paired=True)
    assert paired is not None and paired.labelled == 1 and paired.half_width == float("inf")
