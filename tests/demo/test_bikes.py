"""The bikes example: its project declares what it should, and its rows leave out what the label is made of."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import polars as pl
import pytest

from homeostat.packages.convert import convert
from homeostat.project.load import execute, load

FOLDER = Path(__file__).parents[2] / "examples" / "bikes"
DATA = os.environ.get("HOMEOSTAT_EXAMPLE_BIKES")


def test_the_project_is_one_short_file_that_declares_the_endpoint() -> None:
    declared = load(FOLDER / "project.py")
    assert [d.name for d in declared.datasets] == ["hours"]
    assert [g.name for g in declared.gates] == ["busy"]
    assert len((FOLDER / "project.py").read_text().splitlines()) <= 40


@pytest.mark.skipif(DATA is None, reason="HOMEOSTAT_EXAMPLE_BIKES does not name the bike data")
def test_the_real_rows_are_read_split_written_and_learnt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    import rides

    assert "rides" in sys.modules
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
