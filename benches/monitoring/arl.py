"""False alarms and detection delay of the sequential detectors, by simulation.

Ninety days of 2,000 rows, 2% of them positive; the reference is what a finite hold-out of 8,000 rows happened to show,
drawn anew for each run. Prints, for each scenario, how many runs paged at all, pages per 90 days, and after a change
the delay in days (from the first changed row to the end of the window that alarmed; label delay comes on top) and the
error of the estimated time of change.

    python benches/monitoring/arl.py [--runs 400] [--seed 7]
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np

from homeostat.foundation.clock import DAY
from homeostat.monitoring import sequential

ROWS, POSITIVES, HOLD_OUT, DETECTORS = 2_000, 0.02, 8_000, 7


@dataclass
class Scenario:
    """A stream: rates before and after, and what makes its rows depend on one another."""

    name: str
    kind: str  # "binary" (misses and false alarms) or "loss"
    before: tuple[float, ...]
    after: tuple[float, ...] | None = None
    day_effect: float = 0.0  # standard deviation in log odds of an effect that a whole day shares
    night_and_day: float = 0.0  # amplitude in log odds of a daily cycle
    rows: int = ROWS


def simulate(
    s: Scenario, rng: np.random.Generator, *, days: int = 90, change: int = 20
) -> tuple[int, float | None, float | None]:
    """One run: (pages before the change or at all, delay in days, error of the estimated change in days)."""
    threshold = sequential.log_threshold(DETECTORS)
    states = _detectors(s, rng)
    pages = 0
    for day in range(days):
        changed = s.after is not None and day >= change
        streams = _day(s, s.after if changed and s.after else s.before, day, rng)
        for i, (values, times) in enumerate(streams):
            states[i], alarm = sequential.update(
                states[i], {"x": sequential.Observed(values, times)}, at=(day + 1) * DAY, span=DAY, threshold=threshold
            )
            if alarm is None:
                continue
            if changed:
                return pages, day + 1.0 - change, alarm.change_at / DAY - change
            pages += 1
    return pages, None, None


def _detectors(s: Scenario, rng: np.random.Generator) -> list[sequential.DetectorState]:
    sizes = [s.rows * 4] if s.kind == "loss" else [round(HOLD_OUT * POSITIVES), round(HOLD_OUT * (1 - POSITIVES))]
    out = []
    for p, n in zip(s.before, sizes, strict=True):
        seen = rng.binomial(n, p) / n
        t = sequential.track("x", seen, sequential.null_limit(seen, n))
        out.append(sequential.detector("x", (t,), at=0))
    return out


def _day(
    s: Scenario, rates: tuple[float, ...], day: int, rng: np.random.Generator
) -> list[tuple[np.ndarray, np.ndarray]]:
    positives = rng.binomial(s.rows, POSITIVES)
    sizes = [s.rows] if s.kind == "loss" else [positives, s.rows - positives]
    out = []
    for p, n in zip(rates, sizes, strict=True):
        at = np.sort(rng.random(n))
        cycle = s.night_and_day * np.sin(2 * np.pi * at)
        odds = np.log(p / (1 - p)) + rng.normal(0, s.day_effect) + cycle
        if s.night_and_day:  # keep the day's mean at p, so that nothing has changed over a whole period
            grid = np.log(p / (1 - p)) + s.night_and_day * np.sin(2 * np.pi * np.linspace(0, 1, 200))
            odds += np.log(p / (1 - p)) - np.log((m := (1 / (1 + np.exp(-grid))).mean()) / (1 - m))
        values = (rng.random(n) < 1 / (1 + np.exp(-odds))).astype(np.float64)
        out.append((values, (day * DAY + at * DAY).astype(np.int64)))
    return out


SCENARIOS = (
    Scenario("no change: misses .25, false alarms .002", "binary", (0.25, 0.002)),
    Scenario("no change: misses .5, false alarms .02", "binary", (0.5, 0.02)),
    Scenario("no change: loss .05", "loss", (0.05,)),
    Scenario("no change: loss .05, day effect .15", "loss", (0.05,), day_effect=0.15),
    Scenario("no change: loss .05, day effect .3", "loss", (0.05,), day_effect=0.3),
    Scenario("no change: loss .05, night and day", "loss", (0.05,), night_and_day=1.5),
    Scenario("no change: loss .1, 24 rows a day, day effect .5", "loss", (0.1,), day_effect=0.5, rows=24),
    Scenario("misses .25 -> .6", "binary", (0.25, 0.002), (0.6, 0.002)),
    Scenario("misses .25 -> .4", "binary", (0.25, 0.002), (0.4, 0.002)),
    Scenario("false alarms .002 -> .006", "binary", (0.25, 0.002), (0.25, 0.006)),
    Scenario("accuracy .95 -> .85", "loss", (0.05,), (0.15,)),
    Scenario("accuracy .95 -> .92", "loss", (0.05,), (0.08,)),
    Scenario("24 rows a day: accuracy .9 -> .75", "loss", (0.1,), (0.25,), rows=24),
)


def main() -> None:
    """Run every scenario and print one line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=400)
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    for s in SCENARIOS:
        rng = np.random.default_rng(args.seed)
        runs = [simulate(s, rng) for _ in range(args.runs)]
        pages = np.array([r[0] for r in runs])
        line = f"{s.name:52} paged {np.mean(pages > 0):6.1%} of runs, {pages.mean():.3f} pages a run"
        delays = np.array([r[1] for r in runs if r[1] is not None])
        if s.after is not None:
            errors = np.array([r[2] for r in runs if r[2] is not None])
            line = (
                f"{s.name:52} found {len(delays) / args.runs:6.1%}, delay median {np.median(delays):.0f} d, "
                f"p90 {np.quantile(delays, 0.9):.0f} d, change dated {np.median(errors):+.2f} d "
                f"(p10 {np.quantile(errors, 0.1):+.2f}, p90 {np.quantile(errors, 0.9):+.2f}), false pages {pages.sum()}"
            )
        print(line, flush=True)


if __name__ == "__main__":
    main()
