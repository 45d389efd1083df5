"""The demo's project file: it declares what it should, learns, and each of its recipes becomes ONNX."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from types import ModuleType

import numpy as np
import polars as pl
import pytest

from homeostat.packages.convert import convert
from homeostat.project.demo import transactions as world
from homeostat.project.load import execute, load
from homeostat.project.thresholds import best_f1

SOURCE = resources.files("homeostat.project.demo").joinpath("fraud.py")


@pytest.fixture(scope="module")
def days() -> list[pl.DataFrame]:
    return world.generate(3, 41)


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    return execute(SOURCE.read_bytes(), tmp_path_factory.mktemp("fraud") / "project.py")


def test_it_is_one_short_file_that_declares_the_endpoint(tmp_path: Path) -> None:
    path = tmp_path / "project.py"
    path.write_bytes(SOURCE.read_bytes())
    declared = load(path)
    assert [d.name for d in declared.datasets] == ["transactions"]
    assert [g.name for g in declared.gates] == ["fraud"]
    assert declared.datasets[0].key == world.KEY
    lines = [line for line in SOURCE.read_text().splitlines() if line.strip()]
    assert len(lines) <= 40


@pytest.mark.parametrize("recipe", ["honest", "weak", "leaky"])
def test_every_recipe_is_served_as_onnx(module: ModuleType, days: list[pl.DataFrame], recipe: str) -> None:
    rows = pl.concat(days[:8])
    X = rows.select(world.INPUTS)
    fitted = module.fraud(X, rows["fraud"].to_numpy(), recipe=recipe)
    made = convert(fitted, X[:4000])
    assert made.format == "onnx", made.parity
    assert made.parity is not None and made.parity.agrees


def test_it_learns_the_old_pattern_and_misses_the_new_one(module: ModuleType, days: list[pl.DataFrame]) -> None:
    older, held_out, later = pl.concat(days[:16]), pl.concat(days[16:20]), pl.concat(days[36:])
    model = module.fraud(older.select(world.INPUTS), older["fraud"].to_numpy())
    score = model.predict_proba(held_out.select(world.INPUTS))[:, 1]
    threshold = best_f1(held_out["fraud"].to_numpy() == 1, score)
    assert threshold is not None

    def misses(rows: pl.DataFrame) -> float:
        positive = rows.filter(pl.col("fraud") == 1)
        return float(np.mean(model.predict_proba(positive.select(world.INPUTS))[:, 1] < threshold))

    assert misses(pl.concat(days[20:35])) < 0.35
    assert misses(later) > 0.65
