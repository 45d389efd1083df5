"""What a project file may say, and what it is told when it says something else: field, rule and fix on one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from homeostat.foundation.clock import DAY
from homeostat.foundation.errors import HomeostatError
from homeostat.monitoring.metrics import METRICS as MEASURED
from homeostat.project.gates import METRICS, REGRESSION_METRICS
from homeostat.project.load import find, load

Declared = Callable[[str], Any]

DATASET = 'd = hs.dataset("sales", hs.files("*.csv"), key="id", time="at", label="returned")\n'
MODEL = "def late(X, y, *, trees: int = 5):\n    return None\n"

FROM_THE_DESIGN = """
tx = hs.dataset("transactions", hs.files("data/*.parquet"), key="tx_id", time="at", label="fraud",
                label_delay="3d", checks=[hs.column("amount").between(0, 50_000)])
@hs.model(tx, inputs=["amount", "hour", "merchant_kind"], metric="average_precision",
          gate=[hs.champion(), hs.metric_at_least(0.40), hs.p99_under(ms=20)],
          rollout=hs.canary(), respond=hs.automatic(ask=[]))
def fraud(X, y, *, trees: int = 100):
    return None
"""


def test_the_sample_of_the_design_becomes_records(declared: Declared, tmp_path: Path) -> None:
    found = declared(FROM_THE_DESIGN)
    (dataset,), (pipeline,), (gate,), (policy,) = found.datasets, found.pipelines, found.gates, found.policies
    assert dataset.label_delay == 3 * DAY and dataset.source.base == str(tmp_path)
    assert [s.name for s in pipeline.steps] == ["ingest", "train", "register"]
    assert pipeline.steps[1].params == {"trees": 100} and pipeline.steps[1].settings["tracked"]
    assert [c.kind for c in gate.checks] == ["champion", "metric_at_least", "loads"]
    assert gate.metric == "average_precision" and gate.dataset == "transactions"
    assert found.rollouts["fraud"].kind == "canary"
    assert policy.endpoint == policy.pipeline == "fraud" and policy.label_delay == 3 * DAY


def test_steps_stand_between_rows_and_training(declared: Declared) -> None:
    found = declared(
        DATASET
        + "@hs.step\ndef daily(sales, *, days: int = 7):\n    return sales\n"
        + "@hs.step(cache=False)\ndef joined(daily, sales):\n    return daily\n"
        + f"@hs.model(joined)\n{MODEL}"
    )
    steps = {s.name: s for s in found.pipelines[0].steps}
    assert list(steps) == ["ingest", "rows_sales", "daily", "joined", "train", "register"]
    assert steps["joined"].inputs == {"daily": "daily", "sales": "rows_sales"} and not steps["joined"].cache
    assert steps["daily"].function == "project:daily" and steps["daily"].params == {"days": 7}
    assert steps["train"].inputs == {"ingested": "ingest", "frame": "joined"}


def test_only_a_dataset_and_a_function_are_required(declared: Declared) -> None:
    found = declared(DATASET + f"@hs.model(d)\n{MODEL}")
    assert found.gates[0].checks[0].kind == "champion" and found.policies[0].mode == "automatic"


@pytest.mark.parametrize(
    ("text", "code", "field"),
    [
        ("hs.dataset('no/path', hs.files('x'))", "name.invalid", "dataset"),
        ("hs.dataset('d', 3)", "project.bad_declaration", "source"),
        ("hs.dataset('d', hs.files(''))", "project.bad_declaration", "files"),
        ("hs.dataset('d', hs.files('x'), label=['a'])", "project.bad_declaration", "label"),
        ("hs.dataset('d', hs.files('x'), label_delay='soon')", "time.bad_duration", "label_delay"),
        ("hs.dataset('d', hs.files('x'), checks=['positive'])", "project.bad_declaration", "checks"),
        ("hs.column('a').is_a('number')", "project.bad_check", "checks"),
        ("hs.column('a').between(3, 1)", "project.bad_check", "checks"),
        ("hs.column('a').between('x', 1)", "project.bad_check", "checks"),
        ("hs.column('a').one_of('abc')", "project.bad_check", "checks"),
        ("hs.column('a').matches('[')", "project.bad_check", "checks"),
        ("hs.column('')", "project.bad_check", "checks"),
        ("hs.metric_at_least('high')", "project.bad_gate", "gate"),
        ("hs.metric_at_least(0.5, 'accurracy')", "project.unknown_metric", "metric"),
        ("hs.champion(rule='better')", "project.bad_gate", "rule"),
        ("hs.champion(margin=-1)", "project.bad_gate", "margin"),
        ("hs.p99_under(ms=0)", "project.bad_gate", "ms"),
        ("hs.canary(share=20)", "project.bad_rollout", "share"),
        ("hs.canary(min_rows=0)", "project.bad_rollout", "min_rows"),
        ("hs.shadow(longest='x')", "time.bad_duration", "longest"),
        ("hs.automatic(ask=['reboot'])", "project.bad_response", "ask"),
        ("hs.automatic(learn_from='some')", "project.bad_response", "learn_from"),
        ("hs.observe(window=0)", "project.bad_response", "window"),
        (DATASET + "hs.dataset('sales', hs.files('y'))", "project.two_of_one_name", "dataset"),
        (DATASET + f"@hs.model(d)\n{MODEL}@hs.model(d)\n{MODEL}", "project.two_of_one_name", "model"),
        (DATASET + f"@hs.model(d, metric='acuracy')\n{MODEL}", "project.unknown_metric", "metric"),
        (DATASET + f"@hs.model(d, metric='mae')\n{MODEL}", "project.unknown_metric", "metric"),
        (DATASET + f"@hs.model(d, inputs='amount')\n{MODEL}", "project.bad_declaration", "inputs"),
        (DATASET + f"@hs.model(d, inputs=['a', 'a'])\n{MODEL}", "project.bad_declaration", "inputs"),
        (DATASET + f"@hs.model(d, inputs=['returned'])\n{MODEL}", "project.not_an_input", "inputs"),
        (DATASET + f"@hs.model(d, threshold=2)\n{MODEL}", "project.bad_declaration", "threshold"),
        (DATASET + f"@hs.model(d, held_out=0.9)\n{MODEL}", "project.bad_declaration", "held_out"),
        (DATASET + f"@hs.model(d, task='ranking')\n{MODEL}", "project.bad_declaration", "task"),
        (DATASET + f"@hs.model(d, gate=[0.4])\n{MODEL}", "project.bad_declaration", "gate"),
        (DATASET + f"@hs.model(d, schedule='often')\n{MODEL}", "time.bad_duration", "schedule"),
        (DATASET + f"@hs.model('sales')\n{MODEL}", "project.bad_declaration", "data"),
        (f"@hs.model(hs.dataset('d', hs.files('x')))\n{MODEL}", "project.no_label", "label"),
        (DATASET + "@hs.model(d)\ndef late(X): ...", "project.bad_function", "late"),
        (DATASET + "@hs.model(d)\ndef late(X, y, *, trees): ...", "project.bad_function", "late"),
        (DATASET + "@hs.model(d)\ndef late(X, y, *, trees=object()): ...", "project.bad_function", "late"),
        (DATASET + "@hs.model(d)\ndef late(*data): ...", "project.bad_function", "late"),
        (DATASET + "hs.model(d)(lambda X, y: X)", "project.bad_function", "model"),
        ("@hs.step\ndef alone(): ...", "project.bad_function", "alone"),
        (DATASET + f"@hs.step\ndef s(sails): ...\n@hs.model(s)\n{MODEL}", "project.unknown_edge", "sails"),
        (DATASET + f"@hs.step\ndef train(sales): ...\n@hs.model(train)\n{MODEL}", "project.reserved_node", "step"),
        (
            DATASET + f"@hs.step\ndef a(b): ...\n@hs.step\ndef b(a, sales): ...\n@hs.model(a)\n{MODEL}",
            "project.goes_round",
            "step",
        ),
    ],
)
def test_every_mistake_is_one_line_with_field_rule_and_fix(
    declared: Declared, text: str, code: str, field: str
) -> None:
    with pytest.raises(HomeostatError) as caught:
        declared(text)
    error = caught.value
    assert (error.code, error.field) == (code, field)
    assert error.hint and "\n" not in str(error) and "{" not in str(error) + error.hint.replace("[A-Z]{2}", "")


def test_a_broken_file_is_told_by_line(declared: Declared) -> None:
    for text, said in (("x = 1 /\n", "line 2: SyntaxError"), ("\nraise OSError('disk')", "line 3: OSError: disk")):
        with pytest.raises(HomeostatError) as caught:
            declared(text)
        assert caught.value.code == "project.broken_file" and said in str(caught.value)


def test_the_metric_names_are_those_that_can_be_measured() -> None:
    assert set(MEASURED) == METRICS and REGRESSION_METRICS < METRICS


def test_which_file_is_the_project(tmp_path: Path) -> None:
    with pytest.raises(HomeostatError, match="no project"):
        find(tmp_path)
    (tmp_path / "other.py").write_text("import os\n")
    (tmp_path / "mine.py").write_text("import homeostat as hs\n")
    assert find(tmp_path).name == "mine.py"
    (tmp_path / "second.py").write_text("from homeostat import dataset\n")
    with pytest.raises(HomeostatError, match="several files"):
        find(tmp_path)
    (tmp_path / "project.py").write_text("")
    assert find(tmp_path).name == "project.py"


def test_the_code_digest_covers_what_the_file_imports_from_its_folder(tmp_path: Path) -> None:
    (tmp_path / "beside_it.py").write_text("X = 1\n")
    path = tmp_path / "project.py"
    path.write_text(f"import homeostat as hs\nimport beside_it\n{DATASET}@hs.model(d)\n{MODEL}")
    first = load(path).pipelines[0].steps[1].code_digest
    (tmp_path / "beside_it.py").write_text("X = 2\n")
    assert load(path).pipelines[0].steps[1].code_digest != first
