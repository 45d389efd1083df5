"""The bikes example: what its project declares, what its rows leave out, and the loop over them, in part and whole."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType

import polars as pl
import pytest

from homeostat.packages.convert import convert
from homeostat.project.load import execute, load

REPOSITORY = Path(__file__).parents[2]
FOLDER = REPOSITORY / "examples" / "bikes"
SETTING = "HOMEOSTAT_EXAMPLE_BIKES"
DATA = Path(os.environ.get(SETTING) or REPOSITORY.parent / "shared" / "data" / "bike_hour.parquet")

needs_data = pytest.mark.skipif(not DATA.is_file(), reason=f"there is no bike data: {SETTING} names no file")


@pytest.fixture
def replay(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The example's driver, imported as it is when run, with the setting in place."""
    monkeypatch.setenv(SETTING, str(DATA))
    monkeypatch.syspath_prepend(str(FOLDER))
    import replay

    return replay


def test_the_project_is_one_short_file_that_declares_the_endpoint() -> None:
    declared = load(FOLDER / "project.py")
    assert [d.name for d in declared.datasets] == ["hours"]
    assert [g.name for g in declared.gates] == ["busy"]
    assert len((FOLDER / "project.py").read_text().splitlines()) <= 40


@needs_data
def test_the_real_rows_are_read_split_written_and_learnt(tmp_path: Path, replay: ModuleType) -> None:
    rides = replay.rides
    every = rides.read()
    assert every.height == 17_379
    assert not {"cnt", "casual", "registered"} & set(every.columns)
    assert every["at"].is_sorted() and every["hour_id"].n_unique() == every.height
    first, rest = rides.split(every)
    assert (first.height, rest.height) == (1737, 15_642)
    files = rides.write_days(first, tmp_path / "data")
    assert len(files) == first["day"].n_unique()
    assert pl.concat([pl.read_parquet(f) for f in files]).equals(first)
    module = execute((FOLDER / "project.py").read_bytes(), FOLDER / "project.py")
    X = first.select(module.CALENDAR + module.WEATHER)
    made = convert(module.busy(X, first["busy"].to_numpy()), X)
    assert made.format == "onnx", made.parity


@needs_data
def test_six_weeks_go_through_the_real_loop(tmp_path: Path, replay: ModuleType) -> None:
    """Spring comes: the model is noticed to miss busy hours, retrained, and replaced after its time in the shadow."""
    outcome = replay.play(replay.rides.read(), tmp_path, days=45)
    assert outcome.answered == outcome.rows > 1000 and outcome.failed == 0
    assert outcome.accuracy > 0.8 and outcome.accuracy > outcome.never
    assert any(i["cause"] == "performance" for i in outcome.incidents)
    verdicts = [d["verdict"] for d in outcome.decisions]
    assert verdicts.count("retrain") == outcome.retrains == 1
    taken_over = [d for d in outcome.decisions if d["verdict"] == "promote"]
    assert len(taken_over) == 2 and "shadow" in taken_over[1]["summary"]
    assert len(outcome.by_month) == 2 and sum(row["retrains"] for row in outcome.by_month) == 1


@pytest.mark.slow
@needs_data
def test_the_whole_stream_reaches_its_goals(tmp_path: Path, replay: ModuleType) -> None:
    outcome = replay.play(replay.rides.read(), tmp_path)
    replay.tell(outcome)
    assert all(reached for _, reached in outcome.goals), outcome.goals
