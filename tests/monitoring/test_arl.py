"""A short run of benches/monitoring/arl.py: few false pages in 90 quiet days, and changes found in time."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

BENCH = Path(__file__).parents[2] / "benches" / "monitoring" / "arl.py"


@pytest.fixture(scope="module")
def arl() -> ModuleType:
    spec = importlib.util.spec_from_file_location("homeostat_bench_arl", BENCH)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("kind", "before", "extra"),
    [
        ("binary", (0.25, 0.002), {}),
        ("loss", (0.05,), {}),
        ("loss", (0.05,), {"day_effect": 0.15}),
        ("loss", (0.05,), {"night_and_day": 1.5}),
    ],
)
def test_quiet_streams_page_rarely(
    arl: ModuleType, kind: str, before: tuple[float, ...], extra: dict[str, float]
) -> None:
    """30 runs of 90 days; the promise over all detectors is one page a run, and these are two or one of seven."""
    scenario = arl.Scenario("quiet", kind, before, **extra)
    rng = np.random.default_rng(20)
    pages = sum(arl.simulate(scenario, rng)[0] for _ in range(30))
    assert pages <= 30 * len(before) / arl.DETECTORS


@pytest.mark.parametrize(
    ("kind", "before", "after", "days"),
    [
        ("binary", (0.25, 0.002), (0.6, 0.002), 4),
        ("loss", (0.05,), (0.15,), 1),
    ],
)
def test_changes_are_found_in_time_and_dated(
    arl: ModuleType, kind: str, before: tuple[float, ...], after: tuple[float, ...], days: int
) -> None:
    scenario = arl.Scenario("changed", kind, before, after)
    rng = np.random.default_rng(21)
    runs = [arl.simulate(scenario, rng, days=45) for _ in range(30)]
    delays = [delay for _, delay, _ in runs if delay is not None]
    assert len(delays) == 30
    assert np.quantile(delays, 0.9) <= days
    errors = [error for _, _, error in runs if error is not None]
    assert abs(np.median(errors)) <= 0.5
