"""Drift and data quality of one window of a million rows and twenty columns: time and peak memory.

Peers on such a frame, as design.md section 5 tells them: Evidently 76 s, NannyML 21.5 s, whylogs 38 s CPU. They are not
run here. The rows are read from a Parquet file in pieces and from memory; 16 columns are numbers, 4 are text.

    python benches/monitoring/drift.py [--rows 1000000]
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from homeostat.monitoring import drift, quality
from homeostat.monitoring.counts import count
from homeostat.packages.records import CategoryProfile, NumericProfile, ReferenceProfile

NUMBERS, TEXTS = 16, 4
PIECE = 65_536


def frame(rows: int, seed: int) -> pl.DataFrame:
    """Numbers of several shapes, and text of a few hundred values."""
    rng = np.random.default_rng(seed)
    shapes = (rng.standard_normal, rng.standard_exponential, rng.random)
    columns: dict[str, pl.Series] = {f"n{i}": pl.Series(shapes[i % 3](rows)) for i in range(NUMBERS)}
    words = np.array([f"value {i}" for i in range(200)])
    for i in range(TEXTS):
        columns[f"t{i}"] = pl.Series(words[rng.integers(0, 200, rows)])
    columns[drift.SCORE] = pl.Series(rng.beta(1, 9, rows))
    return pl.DataFrame(columns)


def profile(past: pl.DataFrame) -> ReferenceProfile:
    """The reference profile of the past."""
    columns: dict[str, NumericProfile | CategoryProfile] = {}
    for name in past.columns:
        if past[name].dtype == pl.String:
            tally = past[name].value_counts(normalize=True, name="share")
            columns[name] = CategoryProfile(shares=dict(tally.iter_rows()), other=0.0, nulls=0.0)
        else:
            values = past[name].to_numpy()
            edges = np.unique(np.quantile(values, np.linspace(0, 1, 65)[1:-1]))
            bins = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)
            columns[name] = NumericProfile(
                edges=tuple(edges.tolist()),
                shares=tuple((bins / len(values)).tolist()),
                nulls=0.0,
                low=float(values.min()),
                high=float(values.max()),
                mean=float(values.mean()),
                deviation=float(values.std()),
            )
    score = columns.pop(drift.SCORE)
    assert isinstance(score, NumericProfile)
    return ReferenceProfile(rows=past.height, columns=columns, score=score)


def judge(p: ReferenceProfile, frames: Iterator[pl.DataFrame]) -> float:
    """Count, compare, read: what one window costs, in seconds."""
    begun = time.perf_counter()
    counts = count(drift.profiles(p), frames)
    readings = drift.readings(p, drift.distances(p, counts))
    quality.readings(p, counts)
    took = time.perf_counter() - begun
    assert len(readings) == NUMBERS + TEXTS + 1
    return took


def pieces(path: Path) -> Iterator[pl.DataFrame]:
    """The file in pieces, as `monitoring.observe` reads a window."""
    yield from pl.scan_parquet(path).collect_batches(chunk_size=PIECE)


def peak() -> float:
    """The process's peak memory so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Print time and memory from a file, then time from memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    p = profile(frame(20_000, 1))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "window"
        first = frame(PIECE, 2)
        path.mkdir()
        for k in range(-(-rows // PIECE)):
            frame(PIECE, 2 + k).write_parquet(path / f"{k:04}.parquet")
        judge(p, iter([first]))
        before = peak()
        took = min(judge(p, pieces(path)) for _ in range(3))
        print(f"{rows:,} rows x {NUMBERS + TEXTS} columns and score, from Parquet: {took:.3f} s", end="")
        print(f", peak memory {before:.0f} -> {peak():.0f} MB")
    whole = frame(rows, 3)
    print(f"from memory: {min(judge(p, iter([whole])) for _ in range(3)):.3f} s")


if __name__ == "__main__":
    main()
