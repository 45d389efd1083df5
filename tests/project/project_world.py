"""A small world for the project tests: trips that come late, in a CSV file, and a project that learns from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl

from homeostat.data.ingest import ingest
from homeostat.data.records import Dataset, IngestJob
from homeostat.foundation.clock import DAY
from homeostat.foundation.stores import Stores
from homeostat.pipelines.records import StepContext
from homeostat.project.load import load

START = 1_767_571_200_000_000  # 2026-01-05T00:00:00Z

PROJECT = """
import homeostat as hs
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

trips = hs.dataset("trips", hs.files("*.csv"), key="id", time="at", label="late", label_delay="1d")

SEEN = []

@hs.model(trips, inputs=["km", "hour", "kind"], metric="average_precision")
def late(X, y, *, c: float = 1.0):
    SEEN.append((X, y))
    kinds = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["kind"]), remainder="passthrough")
    return make_pipeline(kinds, LogisticRegression(C=c, max_iter=500)).fit(X, y)
"""


def trips(rows: int = 3000, *, days: int = 30, change_day: int | None = None, seed: int = 0) -> pl.DataFrame:
    """Trips; long ones are late, until on `change_day` short ones are."""
    random = np.random.default_rng(seed)
    at = START + np.sort(random.integers(0, days * DAY, rows))
    km = random.gamma(2.0, 5.0, rows)
    hour = random.integers(0, 24, rows)
    kind = random.choice(["bus", "tram", "train"], rows)
    pull = (km - 14) / 3 + (kind == "bus")
    if change_day is not None:
        pull = np.where(at >= START + change_day * DAY, -(km - 4) / 2, pull)
    late = random.random(rows) < 1 / (1 + np.exp(-pull))
    return pl.DataFrame(
        {"id": np.arange(rows), "at": at, "km": km, "hour": hour, "kind": kind, "late": late}
    ).with_columns(pl.from_epoch("at", time_unit="us"))


class World:
    """A home with the trips taken in, and what a `train` step is told about them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stores = Stores.at(folder / "home")
        self.path = folder / "project.py"
        self.path.write_text(PROJECT)

    def take_in(self, frame: pl.DataFrame, *, name: str = "trips") -> dict[str, Any]:
        """Write the frame as a file, ingest it; gives what the step `ingest` gives."""
        frame.write_csv(self.folder / f"{name}.csv")
        definitions = load(self.path)
        job = IngestJob(project="default", dataset=definitions.datasets[0], number=1, now=START + 100 * DAY)
        result = ingest(job, self.stores)
        assert result.version is not None, result
        version = result.version
        return {
            "dataset": name,
            "version": 1,
            "digest": version.digest,
            "delta_version": version.delta_version,
            "known_at": None,
        }

    def context(self, step: str = "train", **settings: Any) -> StepContext:
        """What a step of the project's first pipeline is told; `settings` are changed in it."""
        digest = self.stores.objects.put_file(self.path)
        found = next(s for s in load(self.path).pipelines[0].steps if s.name == step)
        return StepContext(
            project="default",
            pipeline="late",
            pipeline_run_id="1" * 32,
            step_run_id="2" * 32,
            step=step,
            attempt=1,
            actor="person:local",
            now=START + 100 * DAY,
            run_id="3" * 32,
            params=dict(found.params),
            settings={**found.settings, **settings},
            code=digest,
            code_path=str(self.path),
            worker_stores=self.stores,
        )

    def dataset(self) -> Dataset:
        """The dataset as the project declares it."""
        return msgspec.convert(self.context().settings["dataset"], Dataset)
