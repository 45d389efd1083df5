"""What a gate says of versions: on which rows, against whom, and what it says when there is nothing to say."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from delivered import made, rows

from homeostat.data.ingest import ingest
from homeostat.data.label_table import fold
from homeostat.data.records import Dataset, FoldJob, IngestJob, Label, LabelBatch
from homeostat.data.sources import files
from homeostat.delivery.evaluate import evaluate
from homeostat.delivery.records import CheckDefinition, CheckResult, EvaluateJob, Gate
from homeostat.foundation.clock import DAY
from homeostat.foundation.stores import Stores
from homeostat.packages import package
from homeostat.pipelines.records import Features, Pipeline, Step

START = 20_000 * DAY
CHAMPION = CheckDefinition(kind="champion", rule="not_shown_worse")
BETTER = CheckDefinition(kind="champion", rule="shown_better")


def floor(value: float, metric: str | None = None, **more: Any) -> CheckDefinition:
    return CheckDefinition(kind="metric_at_least", value=value, metric=metric, **more)


@dataclass
class Bench:
    """A dataset of 40 days, 50 rows a day, taken in; and a gate's worker half to hold against versions."""

    folder: Path
    stores: Stores
    dataset: Dataset
    delta_version: int

    @classmethod
    def at(cls, folder: Path, *, label: str = "y", classes: int = 2, count: int = 2000) -> Bench:
        frame = rows(count, seed=7, classes=classes).with_row_index("id")
        frame = frame.with_columns(at=pl.lit(START) + pl.col("id").cast(pl.Int64) * (40 * DAY // count))
        frame.with_columns(pl.from_epoch("at", time_unit="us")).write_csv(folder / "rows.csv")
        source = files("*.csv", base=folder)
        dataset = Dataset(name="tx", source=source, key="id", time="at", label=label)
        stores = Stores.at(folder / "home")
        taken = ingest(IngestJob(project="default", dataset=dataset, number=1, now=START + 50 * DAY), stores)
        assert taken.version is not None
        return cls(folder, stores, dataset, taken.version.delta_version)

    def pack(self, kind: str, **changes: Any) -> str:
        manifest, content = made(kind)
        changes = {"fit_until": START + 10 * DAY, **changes}
        return package.write(self.stores.objects, msgspec.structs.replace(manifest, **changes), content)[0]

    def ask(
        self,
        candidate: str,
        *checks: CheckDefinition,
        champion: str | None = None,
        metric: str = "accuracy",
        **more: Any,
    ) -> dict[str, CheckResult]:
        """The results of the checks, by name; "verdict" holds the whole."""
        job = EvaluateJob(
            **{
                "project": "default", "endpoint": "fraud", "package": candidate, "version": 2,
                "gate": Gate(name="g", metric=metric, checks=checks, dataset="tx"),
                "champion": 1 if champion else None, "champion_package": champion, "dataset": self.dataset,
                "delta_version": self.delta_version, "data_digest": "", "known_at": START + 50 * DAY, **more,
            }
        )  # fmt: skip
        result = evaluate(job, self.stores)
        whole = CheckResult(check="verdict", verdict=result.verdict, summary="")
        return {c.check: c for c in result.checks} | {"verdict": whole}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A binary dataset; no test changes it."""
    return Bench.at(tmp_path_factory.mktemp("bench"))


def test_a_floor_is_held_on_rows_later_than_what_was_learnt(bench: Bench) -> None:
    found = bench.ask(bench.pack("good"), floor(0.8))
    check = found["metric_at_least 0.8"]
    assert check.verdict == "passed" == found["verdict"].verdict and check.evidence["rows"] == 1499
    assert bench.ask(bench.pack("good"), floor(0.99))["verdict"].verdict == "refused"
    late = bench.ask(bench.pack("good", fit_until=START + 39 * DAY), floor(0.8))
    assert late["verdict"].verdict == "not_enough_evidence"
    assert "only" in late["metric_at_least 0.8"].summary and "60 are needed" in late["metric_at_least 0.8"].summary


def test_lower_may_be_better(bench: Bench) -> None:
    most = CheckDefinition(kind="metric_at_most", value=0.5, metric="log_loss")
    assert bench.ask(bench.pack("good"), most)["verdict"].verdict == "passed"
    assert bench.ask(bench.pack("weak"), most)["verdict"].verdict == "refused"
    against = bench.ask(bench.pack("weak"), CHAMPION, champion=bench.pack("good"), metric="log_loss")["champion"]
    assert against.verdict == "refused" and against.evidence["difference"] < 0


def test_the_champion_is_beaten_or_at_least_not_shown_better(bench: Bench) -> None:
    good, same, weak = bench.pack("good"), bench.pack("good", estimator="again"), bench.pack("weak")
    assert bench.ask(weak, CHAMPION, champion=good)["champion"].verdict == "refused"
    assert bench.ask(good, CHAMPION, champion=weak)["champion"].verdict == "passed"
    assert bench.ask(good, BETTER, champion=weak)["champion"].verdict == "passed"
    equal = bench.ask(same, CHAMPION, BETTER, champion=good)["champion"]
    assert (equal.verdict, equal.evidence["difference"]) == ("refused", 0.0), "an equal one is not better, for sure"
    assert bench.ask(same, CHAMPION, champion=good)["champion"].verdict == "passed"
    lenient = CheckDefinition(kind="champion", rule="not_shown_worse", margin=0.9)
    assert bench.ask(weak, lenient, champion=good)["champion"].verdict == "passed"
    assert bench.ask(good, CHAMPION)["champion"].summary == "there is no champion to beat yet"
    assert "the champion itself" in bench.ask(good, CHAMPION, redeployed=True)["champion"].summary


def test_each_version_is_measured_at_the_threshold_it_decides_at(bench: Bench) -> None:
    """The same model with a threshold at which it calls next to nothing: as served it is much worse."""
    found = bench.ask(bench.pack("good"), CHAMPION, champion=bench.pack("high"))["champion"]
    assert found.verdict == "passed" and found.evidence["difference"] > 0.1
    assert found.evidence["champion_called"] < 0.2 < found.evidence["candidate_called"]
    assert found.evidence["candidate_mean"] == found.evidence["champion_mean"] and found.evidence["mean_error"] == 0.0
    assert found.evidence["called_error"] > 0.0


def test_the_newest_rows_that_neither_has_learnt_from(bench: Bench) -> None:
    champion = bench.pack("weak", fit_until=START + 30 * DAY)
    assert bench.ask(bench.pack("good"), CHAMPION, champion=champion)["champion"].evidence["rows"] == 499
    since = bench.ask(bench.pack("good"), CHAMPION, champion=bench.pack("weak"), since=START + 35 * DAY)["champion"]
    assert since.evidence["rows"] == 250
    known = bench.ask(bench.pack("good"), floor(0.8), known_at=START + 20 * DAY)["metric_at_least 0.8"]
    assert known.evidence["rows"] == 500, "no label is used before it was known"


def test_inputs_that_the_dataset_lacks_are_named(bench: Bench) -> None:
    manifest, _ = made("good")
    columns = (*manifest.signature.inputs, msgspec.structs.replace(manifest.signature.inputs[0], name="made_by_a_step"))
    signature = msgspec.structs.replace(manifest.signature, inputs=columns)
    found = bench.ask(bench.pack("good", signature=signature), floor(0.5), CHAMPION, champion=bench.pack("good"))
    for check in ("metric_at_least 0.5", "champion"):
        assert found[check].verdict == "not_enough_evidence" and "made_by_a_step" in found[check].summary


def test_rows_are_made_by_the_steps_that_made_those_of_the_training(bench: Bench) -> None:
    code = bench.stores.objects.put_bytes(
        b"import polars as pl\ndef only_noise(tx):\n    return tx.with_columns(x=pl.lit(0.0))\n"
        b"def no_label(tx):\n    return tx.drop('y')\n"
    )

    def steps(last: str) -> Features:
        read = Step(
            name="rows_tx", function="homeostat.project.training:rows", settings={"dataset": _plain(bench.dataset)}
        )
        made_by = Step(name=last, function=f"project:{last}", inputs={"tx": "rows_tx"})
        pipeline = Pipeline(name="p", steps=(read, made_by), code=code, code_path="project.py")
        return Features(pipeline=pipeline, step=last, params={}, run="r" * 32, versions={"tx": bench.delta_version})

    good = bench.pack("good")
    assert bench.ask(good, floor(0.8))["verdict"].verdict == "passed"
    blind = bench.ask(good, floor(0.8), features=steps("only_noise"))["metric_at_least 0.8"]
    assert blind.verdict == "refused" and blind.evidence["rows"] == 1499
    unlabelled = bench.ask(good, floor(0.8), features=steps("no_label"))["metric_at_least 0.8"]
    assert unlabelled.verdict == "not_enough_evidence" and "without y" in unlabelled.summary


def _plain(dataset: Dataset) -> dict[str, Any]:
    return dict(msgspec.to_builtins(dataset))


def test_a_version_registered_by_hand_is_judged_on_what_came_after(bench: Bench) -> None:
    by_hand = bench.pack("good", fit_until=None)
    unknown = bench.ask(by_hand, floor(0.8))["metric_at_least 0.8"]
    assert unknown.verdict == "not_enough_evidence" and "until when it has learnt" in unknown.summary
    after = bench.ask(by_hand, floor(0.8), registered_at=START + 20 * DAY)["metric_at_least 0.8"]
    assert after.verdict == "passed" and after.evidence["rows"] == 999
    assert bench.ask(by_hand, CheckDefinition(kind="signature"), CHAMPION)["verdict"].verdict == "passed"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"dataset": None}, "names no dataset"),
        ({"delta_version": None}, "no published version"),
    ],
)
def test_without_data_nothing_is_made_up(bench: Bench, changes: dict[str, Any], words: str) -> None:
    found = bench.ask(bench.pack("good"), floor(0.1), **changes)["metric_at_least 0.1"]
    assert found.verdict == "not_enough_evidence" and words in found.summary


def test_what_keeps_the_data_from_being_newer_is_kept_with_the_evidence(bench: Bench) -> None:
    found = bench.ask(bench.pack("good"), floor(0.8), remark="a file cannot be read")["metric_at_least 0.8"]
    assert found.verdict == "passed" and found.evidence["remark"] == "a file cannot be read"


def test_a_champion_that_cannot_be_read_decides_nothing(bench: Bench) -> None:
    signature = CheckDefinition(kind="signature")
    gone = bench.ask(bench.pack("good"), signature, floor(0.8), CHAMPION, champion="0" * 64)
    assert gone["verdict"].verdict == "inconclusive" == gone["champion"].verdict == gone["signature"].verdict
    assert "version 1" in gone["champion"].summary and gone["metric_at_least 0.8"].verdict == "passed"
    manifest, content = made("good")
    digest, kept = package.write(bench.stores.objects, manifest, {**content, "note.txt": b"of this one alone"})
    bench.stores.objects.path_of(kept.files["note.txt"]).unlink()  # its manifest can be read, its files cannot
    half = bench.ask(bench.pack("good"), CHAMPION, champion=digest)["champion"]
    assert half.verdict == "inconclusive" and "champion cannot answer" in half.summary


def test_callers_of_the_champion_must_be_able_to_call_the_version(bench: Bench) -> None:
    manifest, _ = made("good")
    x, noise = manifest.signature.inputs
    replace = msgspec.structs.replace

    def held(**changes: Any) -> CheckResult:
        candidate = bench.pack("good", signature=replace(manifest.signature, **changes))
        nullable = replace(manifest.signature, inputs=(replace(x, nullable=True), noise))
        champion = bench.pack("good", signature=nullable)
        return bench.ask(candidate, CheckDefinition(kind="signature"), champion=champion)["signature"]

    assert held(inputs=(noise,)).verdict == "passed"
    for changes, words in (
        ({"inputs": (x, noise)}, "null no longer allowed: x"),
        ({"inputs": (replace(x, kind="string", nullable=True),)}, "other kind: x"),
        ({"inputs": (replace(x, name="z"),)}, "not sent by callers: z"),
        ({"classes": (1, 0)}, "another task or other classes"),
        ({"task": "regression", "classes": ()}, "another task or other classes"),
    ):
        found = held(**changes)
        assert found.verdict == "refused" and words in found.summary


def test_labels_of_classes_that_the_model_does_not_know_are_left_out(tmp_path: Path) -> None:
    bench = Bench.at(tmp_path, classes=3)  # labels 0, 1 and 2 before a model of 0 and 1
    found = bench.ask(bench.pack("good"), floor(0.1))["metric_at_least 0.1"]
    assert 0 < found.evidence["rows"] < 1499 and found.verdict == "passed"


def test_several_classes_and_their_scores(tmp_path: Path) -> None:
    bench = Bench.at(tmp_path, classes=3)
    good = bench.pack("three")
    found = bench.ask(good, floor(0.7), CHAMPION, champion=bench.pack("three", estimator="again"))
    assert found["verdict"].verdict == "passed" and found["champion"].evidence["rows"] == 1499
    assert 0.4 < found["champion"].evidence["candidate_mean"] < 1.0, "the mean of the largest score"
    assert "candidate_called" not in found["champion"].evidence
    undecided = bench.ask(good, CHAMPION, champion=bench.pack("three"), metric="roc_auc")["champion"]
    assert undecided.verdict == "not_enough_evidence" and "cannot be told" in undecided.summary


def test_a_regression_is_measured_by_its_values(tmp_path: Path) -> None:
    bench = Bench.at(tmp_path, label="value")
    good = bench.pack("value")
    most = CheckDefinition(kind="metric_at_most", value=0.5, metric="mae")
    found = bench.ask(good, most, CHAMPION, champion=bench.pack("value", estimator="again"), metric="rmse")
    assert found["verdict"].verdict == "passed" and found["champion"].evidence["rows"] == 1499
    assert bench.ask(good, floor(0.999), metric="r2")["verdict"].verdict == "refused"


def test_labels_that_name_a_prediction_count_through_the_endpoints_log(tmp_path: Path) -> None:
    frame = rows(200, seed=3).with_row_index("id")
    frame = frame.with_columns(
        at=pl.from_epoch(pl.lit(START) + pl.col("id").cast(pl.Int64) * DAY // 10, time_unit="us")
    )
    frame.drop("y").write_csv(tmp_path / "rows.csv")
    dataset = Dataset(name="tx", source=files("*.csv", base=tmp_path), key="id", time="at", label="y")
    stores = Stores.at(tmp_path / "home")
    taken = ingest(IngestJob(project="default", dataset=dataset, number=1, now=START + 50 * DAY), stores)
    assert taken.version is not None
    ids = [f"{n:032x}-0" for n in range(200)]
    log = pl.DataFrame({"prediction_id": ids, "key": [str(n) for n in range(200)]})
    stores.tables.append("default/predictions/fraud", log, writer="w", sequence=1)
    labels = [Label(prediction_id=i, value=y, known_at=START) for i, y in zip(ids, frame["y"].to_list(), strict=True)]
    digest = stores.objects.put_bytes(msgspec.msgpack.encode(labels))
    batch = LabelBatch(id=1, dataset="tx", digest=digest, labels=200, recorded_at=START)
    fold(FoldJob(project="default", dataset="tx", batches=(batch,)), stores)
    bench = Bench(tmp_path, stores, dataset, taken.version.delta_version)
    found = bench.ask(bench.pack("good", fit_until=START - 1), floor(0.8, min_positives=20))["metric_at_least 0.8"]
    assert found.verdict == "passed" and found.evidence["rows"] == 200
