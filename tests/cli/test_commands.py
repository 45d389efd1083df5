"""Every command against a real server: what it prints, and the code it ends with."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from ran import Homeostat

WORSE = """
import homeostat as hs
from sklearn.dummy import DummyClassifier

trips = hs.dataset("trips", hs.files("data/*.csv"), key="trip_id", time="at", label="late", label_delay="1d")

@hs.model(trips, inputs=["km"], metric="roc_auc", gate=[hs.metric_at_least(0.9)])
def hopeless(X, y):
    return DummyClassifier().fit(X, y)
"""


@pytest.fixture(scope="module")
def trained(server: object) -> dict[str, bool]:
    """Whether the project was run on this server already."""
    return {}


@pytest.fixture(autouse=True)
def ran_once(project: Path, homeostat: Homeostat, trained: dict[str, bool]) -> None:
    """The project is run once, before the first test: version 1 is trained, passes its gate and is served."""
    if not trained:
        ran = homeostat("run", "-p", "trees=20")
        trained["once"] = True
        assert ran.code == 0 and ran.out.startswith("late@1\n"), ran
        assert "ingest" in ran.err and "roc auc" in ran.err and "took over" in ran.err


def read(homeostat: Homeostat, *args: str) -> object:
    """What a command answers in JSON."""
    ran = homeostat(*args, "--json")
    assert ran.code == 0, ran
    return json.loads(ran.out)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("status", "late: champion @1 100%; no open incident"),
        ("pipelines list", "ingest > train > register"),
        ("pipelines show late", "succeeded"),
        ("runs list", "late/train"),
        ("data show", "data/*.csv"),
        ("data show trips", "km"),
        ("data log trips", "3000"),
        ("models list", "late"),
        ("models show late", "champion"),
        ("models show late@1", "agrees on"),
        ("endpoints list", "champion @1 100%"),
        ("endpoints show late", "live"),
        ("decisions list", "promote"),
        ("tokens list", "local user"),
        ("audit verify", "intact"),
        ("config show --origin", "homeostat.toml"),
        ("doctor", "control plane at"),
    ],
)
def test_reading_prints_for_people_and_in_json(homeostat: Homeostat, command: str, said: str) -> None:
    ran = homeostat(*command.split())
    assert ran.code == 0 and said in ran.out, ran
    assert read(homeostat, *command.split())


def test_a_run_can_be_looked_at(homeostat: Homeostat) -> None:
    runs = read(homeostat, "runs", "list")
    assert isinstance(runs, list)
    assert "roc_auc" in homeostat("runs", "show", runs[0]["id"]).out
    pipeline_runs = read(homeostat, "pipelines", "show", "late")
    assert isinstance(pipeline_runs, dict)
    assert "register" in homeostat("pipelines", "show", pipeline_runs["runs"][0]["id"]).out


def test_a_decision_says_why(homeostat: Homeostat) -> None:
    decisions = read(homeostat, "decisions", "list")
    assert isinstance(decisions, list)
    ran = homeostat("decisions", "show", decisions[0]["id"], "--why")
    assert ran.code == 0 and "rule" in ran.out
    assert homeostat("decisions", "approve", decisions[0]["id"]).code == 3


def test_what_is_not_there_ends_with_three(homeostat: Homeostat) -> None:
    for command in ("models show nobody", "endpoints show nobody", "data show nobody", "runs show 00", "deploy nobody"):
        ran = homeostat(*command.split())
        assert ran.code == 3 and ran.err.startswith("error: ") and "\nhint: " in ran.err, ran


def test_predictions_carry_ids_that_labels_find(homeostat: Homeostat, project: Path) -> None:
    ran = homeostat("predict", "late", "--data", "data/trips.csv", "--key", "trip_id")
    rows = list(csv.DictReader(ran.out.splitlines()))
    assert ran.code == 0 and len(rows) == 3000 and set(rows[0]) == {"prediction_id", "label", "score"}
    (project / "known.csv").write_text("key,value\nt00000,true\nt00001,false\n")
    assert homeostat("label", "--data", "known.csv").out == "2 labels recorded for trips\n"
    (project / "by_id.csv").write_text(f"prediction_id,value\n{rows[0]['prediction_id']},true\n")
    assert homeostat("label", "--data", "by_id.csv").code == 0
    (project / "bad.csv").write_text("who,what\n1,2\n")
    assert "no column 'value'" in homeostat("label", "--data", "bad.csv").err
    (project / "short.csv").write_text("km,hour\n1,2\n")
    assert "no column 'kind'" in homeostat("predict", "late", "--data", "short.csv").err


def test_bad_rows_are_set_aside_with_the_reason(homeostat: Homeostat, project: Path) -> None:
    (project / "data" / "more.csv").write_text(
        "trip_id,at,km,hour,kind,late\nx1,2026-01-01T00:00:00Z,5,3,bus,true\nx2,2026-01-01T01:00:00Z,-4,3,bus,true\n"
    )
    ran = homeostat("data", "add", "trips")
    assert ran.code == 0 and "1 row added, 3001 in all" in ran.out and "quarantined 1 row of" in ran.err, ran
    assert "km" in homeostat("data", "check", "trips").out
    assert "nothing new" in homeostat("data", "add", "trips").err


def test_a_gate_that_refuses_ends_with_four_and_the_evidence(homeostat: Homeostat, project: Path) -> None:
    (project / "worse.py").write_text(WORSE)
    ran = homeostat("run", "--file", "worse.py", "--no-deploy")
    assert ran.code == 0 and ran.out == "hopeless@1\n" and "homeostat deploy hopeless@1" in ran.err, ran
    ran = homeostat("deploy", "hopeless@1", "--reason", "try it")
    assert ran.code == 4 and "refused" in ran.out and "at least 0.9 is asked" in ran.out, ran
    assert ran.err.count("error: ") == ran.err.count("hint: ") == 1


def test_a_step_that_fails_points_into_the_file_and_resumes(homeostat: Homeostat, project: Path) -> None:
    broken = WORSE.replace("def hopeless", "def broken").replace(
        "    return", "    raise OSError('disk full')\n    return"
    )
    (project / "broken.py").write_text(broken)
    ran = homeostat("run", "--file", "broken.py")
    assert ran.code == 1 and "broken.py, line 9: OSError: disk full" in ran.err, ran
    again = ran.err.rsplit("homeostat pipelines resume ", 1)[1].split()[0].strip()
    assert homeostat("pipelines", "resume", again).code == 1


def test_apply_only_runs_nothing_and_a_wrong_param_is_refused_first(homeostat: Homeostat) -> None:
    assert "applied project.py" in homeostat("run", "--apply-only").err
    ran = homeostat("run", "-p", "leaves=3")
    assert ran.code == 2 and "has no param 'leaves'" in ran.err and "trees" in ran.err


def test_pausing_stops_and_resuming_lets_go(homeostat: Homeostat) -> None:
    assert homeostat("pause", "late", "--reason", "maintenance").out.strip().endswith("paused")
    assert "paused" not in homeostat("resume", "late").out


def test_a_token_is_shown_once_and_can_be_revoked(homeostat: Homeostat, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = homeostat("tokens", "issue", "shop", "--for", "service:shop", "--role", "viewer", "--expires", "1d")
    secret = ran.out.strip()
    assert ran.code == 0 and secret.startswith("hs_"), ran
    tokens = read(homeostat, "tokens", "list")
    assert isinstance(tokens, list)
    found = next(t for t in tokens if t["label"] == "shop")
    assert secret not in json.dumps(tokens)
    monkeypatch.setenv("HOMEOSTAT_TOKEN", secret)
    assert homeostat("models", "list").code == 0
    assert homeostat("pause", "late").code == 1
    monkeypatch.delenv("HOMEOSTAT_TOKEN")
    assert homeostat("tokens", "revoke", found["id"]).code == 0
    monkeypatch.setenv("HOMEOSTAT_TOKEN", secret)
    assert homeostat("models", "list").code == 1
    assert homeostat("sign-in").code == 1


def test_a_sign_in_link_is_for_this_server(homeostat: Homeostat) -> None:
    assert "/sign-in?code=" in homeostat("sign-in").out


def test_a_model_file_is_registered_and_a_pickle_is_not(homeostat: Homeostat, project: Path) -> None:
    import pickle

    import polars as pl
    import skops.io
    from sklearn.linear_model import LogisticRegression

    frame = pl.read_csv(project / "data" / "trips.csv").select("km", "hour", "late")
    frame.write_csv(project / "sample.csv")
    fitted = LogisticRegression().fit(frame.select("km", "hour"), frame["late"].to_numpy())
    skops.io.dump(fitted, project / "logit.skops")
    (project / "logit.pkl").write_bytes(pickle.dumps(fitted))
    ran = homeostat("models", "register", "logit.skops", "--sample", "sample.csv", "--label", "late")
    assert ran.code == 0 and ran.out == "logit@1\n" and "missing: " in ran.err, ran
    ran = homeostat("models", "register", "logit.pkl", "--sample", "sample.csv", "--label", "late")
    assert ran.code == 4 and "runs whatever code is in it" in ran.err
    ran = homeostat("models", "register", "logit.skops", "--sample", "sample.csv", "--label", "no")
    assert ran.code == 1 and "no column 'no'" in ran.err


def test_there_is_a_way_out_and_a_way_back(homeostat: Homeostat, project: Path) -> None:
    ran = homeostat("export", "out")
    assert ran.code == 0 and (project / "out" / "default" / "decisions.jsonl").exists(), ran
    assert homeostat("export", "out").code == 1
    assert homeostat("backup", "kept").code == 0
    ran = homeostat("restore", "kept", "--home", "again")
    assert ran.code == 0 and (project / "again" / "homeostat.db").exists(), ran
    assert homeostat("restore", "kept", "--home", "again").code == 1
