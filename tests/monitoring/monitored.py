"""An endpoint in a home on disk, whose traffic and labels a test writes; and the package it serves."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from homeostat.engines.local import Local
from homeostat.foundation.clock import DAY
from homeostat.foundation.database import Database
from homeostat.foundation.stores import Stores
from homeostat.inference.wire import Prediction
from homeostat.monitoring import reference, watch
from homeostat.monitoring import tables as _tables  # noqa: F401  (puts its tables on the metadata)
from homeostat.packages.records import Column, Manifest, NumericProfile, ReferenceProfile, Signature
from homeostat.serving.intake_table import frame_of, table_name
from homeostat.serving.records import Endpoint

START = 20_000 * DAY
THRESHOLD = 0.5


def numeric(values: np.ndarray) -> NumericProfile:
    edges = np.unique(np.quantile(values, np.linspace(0, 1, 65)[1:-1]))
    bins = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)
    return NumericProfile(
        edges=tuple(edges.tolist()),
        shares=tuple((bins / len(values)).tolist()),
        nulls=0.0,
        low=float(values.min()),
        high=float(values.max()),
        mean=float(values.mean()),
        deviation=float(values.std()),
    )


@dataclass
class World:
    """One endpoint whose traffic and labels a test writes day by day, straight into the tables."""

    home: Path
    database: Database
    engine: Local
    stores: Stores
    endpoint: Endpoint
    rng: np.random.Generator
    day: int = 0
    batch: int = 0
    requests: int = 0
    keys: list[tuple[int, str, bool]] = field(default_factory=list)  # event_at, key, truth

    def traffic(self, rows: int = 400, *, miss: float = 0.2, shift: float = 0.0, arm: str = "champion") -> None:
        """A day of single-row requests: half positive, missed at the rate `miss`; `shift` moves the input."""
        records: list[Prediction] = []
        times = np.sort(self.rng.integers(0, DAY, rows)) + START + self.day * DAY
        truth = self.rng.random(rows) < 0.5
        right = np.where(truth, self.rng.random(rows) >= miss, self.rng.random(rows) < 0.1)
        score = np.where(right, 0.5 + 0.5 * self.rng.random(rows), 0.5 * self.rng.random(rows))
        inputs = self.rng.normal(shift, 1.0, rows)
        for i in range(rows):
            self.requests += 1
            key = f"k{self.requests}"
            records.append(self.record(int(times[i]), key, float(inputs[i]), float(score[i]), arm))
            self.keys.append((int(times[i]), key, bool(truth[i])))
        self.append(records)
        self.day += 1

    def record(self, at: int, key: str, x: float, score: float, arm: str) -> Prediction:
        return Prediction(
            request=self.requests.to_bytes(16, "big"),
            event_at=at,
            recorded_at=at,
            endpoint="fraud",
            project="default",
            version=1,
            arm=arm,
            status=200,
            latency=900,
            rows=1,
            keys=[key],
            caller_id=None,
            inputs={"x": [x]},
            outputs={"label": [int(score >= THRESHOLD)], "score": [score]},
            principal="service:test",
        )

    def append(self, records: list[Prediction]) -> None:
        self.batch += 1
        table = table_name("default", "fraud")
        self.stores.tables.append(table, frame_of(records), writer="test", sequence=self.batch)

    def label(self, rows: list[tuple[str, object, int]]) -> None:
        """Record labels: key, value, known_at."""
        self.batch += 1
        frame = pl.DataFrame(
            {
                "key": [k for k, _, _ in rows],
                "prediction_id": pl.Series([None] * len(rows), dtype=pl.String),
                "event_at": pl.Series([None] * len(rows), dtype=pl.Int64),
                "known_at": [at for _, _, at in rows],
                "recorded_at": [at for _, _, at in rows],
                "value": [str(value).lower() for _, value, _ in rows],
                "number": [float(value) if isinstance(value, int) else None for _, value, _ in rows],
                "source": ["test"] * len(rows),
                "batch": [self.batch] * len(rows),
                "position": list(range(len(rows))),
            }
        )
        self.stores.tables.append("default/labels/transactions", frame, writer="labels", sequence=self.batch)

    def label_what_is_due(self, delay: int = 2 * DAY) -> None:
        """Label everything whose delay is over by the end of the last day of traffic."""
        now = START + self.day * DAY
        due = [(key, int(truth), at + delay) for at, key, truth in self.keys if at + delay <= now]
        self.keys = [(at, key, truth) for at, key, truth in self.keys if at + delay > now]
        if due:
            self.label(due)

    def watch(self) -> bool:
        """Let control observe up to the end of the last day of traffic."""
        at = START + self.day * DAY
        endpoint = Endpoint(
            id=self.endpoint.id,
            name="fraud",
            model="fraud",
            created_at=0,
            arms=self.endpoint.arms,
            watermark=at,
            replaying=True,
        )
        return watch.step(self.database, self.engine, "default", endpoint, window=DAY, dataset="transactions")


def manifest() -> Manifest:
    """A package whose reference rows look like a quiet day of `World.traffic`."""
    rng = np.random.default_rng(4)
    rows = 4_000
    truth = rng.random(rows) < 0.5
    right = np.where(truth, rng.random(rows) >= 0.2, rng.random(rows) < 0.1)
    score = np.where(right, 0.5 + 0.5 * rng.random(rows), 0.5 * rng.random(rows))
    signature = Signature(
        inputs=(Column(name="x", kind="float"),), task="classification", classes=(0, 1), threshold=THRESHOLD
    )
    profile = ReferenceProfile(rows=rows, columns={"x": numeric(rng.normal(size=rows))}, score=numeric(score))
    profile = reference.complete(
        profile,
        signature,
        labels=truth.astype(int).tolist(),
        score=score,
        event_at=np.linspace(0, 10 * DAY, rows).astype(np.int64),
        window=DAY,
        metric="accuracy",
    )
    return Manifest(format="onnx", files={}, layout="matrix", signature=signature, profile=profile)
