"""The e-detectors: the recursion, the rate of false alarms, the date of a change, and what a state survives."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest

from homeostat.foundation.clock import DAY
from homeostat.monitoring import sequential
from homeostat.monitoring.sequential import Observed, counted
from homeostat.monitoring.states import DetectorState


def block(values: np.ndarray, day: int) -> Observed:
    times = day * DAY + np.linspace(0, DAY - 1, len(values)).astype(np.int64)
    return Observed(values.astype(np.float64), times)


def detector(reference: float = 0.25, rows: int = 160) -> DetectorState:
    limit = sequential.null_limit(reference, rows)
    return sequential.detector("misses", (sequential.track("misses", reference, limit),), at=0)


def run(state: DetectorState, seen: Observed, day: int, threshold: float = 1e9) -> DetectorState:
    moved, _ = sequential.update(state, {"misses": seen}, at=(day + 1) * DAY, span=DAY, threshold=threshold)
    return moved


def test_the_sum_is_the_recursion_written_out() -> None:
    rng = np.random.default_rng(1)
    state = detector()
    t = state.tracks[0]
    by_hand = np.zeros(len(t.bets))
    for day in range(12):
        x = (rng.random(30) < 0.4).astype(float)
        power = 1 / (1 + t.day_effect**2 * 30 * t.limit * (1 - t.limit))
        evidence = np.array([np.prod((1 + b * (x - t.limit)) ** power) for b in t.bets])
        by_hand = evidence * (by_hand + 1.0)
        state = run(state, block(x, day), day)
    assert sequential.log_evidence(state) == pytest.approx(math.log(by_hand.mean()))
    assert np.exp(state.tracks[0].log_mass) == pytest.approx(by_hand)


def test_a_bet_is_the_likelihood_ratio_of_two_rates() -> None:
    t = sequential.track("x", 0.1, 0.2, shifts=(1.0,))
    odds = 0.2 / 0.8 * math.e
    q = odds / (1 + odds)
    assert 1 + t.bets[0] * (1 - 0.2) == pytest.approx(q / 0.2)
    assert 1 + t.bets[0] * (0 - 0.2) == pytest.approx((1 - q) / 0.8)


def test_counts_stand_for_rows() -> None:
    one_by_one = run(detector(), block(np.array([0.0] * 70 + [1.0] * 30), 0), 0)
    together = run(detector(), counted(30, 100, 0), 0)
    assert together.tracks[0].log_mass == pytest.approx(one_by_one.tracks[0].log_mass)
    assert together.tracks[0].observations == 100


def test_the_order_of_rows_in_a_block_does_not_matter() -> None:
    x = (np.random.default_rng(2).random(50) < 0.5).astype(float)
    seen = block(x, 0)
    back = Observed(seen.values[::-1].copy(), seen.times[::-1].copy())
    assert run(detector(), seen, 0) == run(detector(), back, 0)


def test_a_state_survives_json_and_goes_on_as_before() -> None:
    state = run(detector(), block(np.ones(20), 0), 0)
    for codec in (msgspec.json, msgspec.msgpack):
        again = codec.decode(codec.encode(state), type=DetectorState)
        assert again == state
    untouched = detector()
    assert msgspec.json.decode(msgspec.json.encode(untouched), type=DetectorState) == untouched


def test_nothing_seen_is_no_evidence_however_long_it_lasts() -> None:
    state = detector()
    for day in range(2_000):
        state = run(state, Observed(np.array([]), np.array([], dtype=np.int64)), day)
    assert sequential.log_evidence(state) < 0
    assert state.windows == 0


def test_a_block_cut_in_two_brings_no_second_start() -> None:
    """Blocks that end at the same event time share one day of starts: running twice a day is no louder."""
    t = sequential.track("misses", 0.25, 0.3)
    state = sequential.detector("misses", (t,), at=0)
    clean = counted(0, 1, 0)
    first = run(state, clean, 0)
    second = run(first, clean, 0)
    assert sequential.log_evidence(second) < sequential.log_evidence(first)


def test_a_great_change_does_not_overflow() -> None:
    state = detector()
    for day in range(400):
        state = run(state, block(np.ones(2_000), day), day, threshold=math.inf)
    assert 1e4 < sequential.log_evidence(state) < 1e9
    assert msgspec.json.decode(msgspec.json.encode(state), type=DetectorState) == state


def test_the_alarm_says_what_when_and_how_sure() -> None:
    rng = np.random.default_rng(3)
    state, alarm = detector(), None
    threshold = sequential.log_threshold(7)
    for day in range(40):
        rate = 0.25 if day < 20 else 0.6
        seen = block((rng.random(40) < rate).astype(float), day)
        state, alarm = sequential.update(state, {"misses": seen}, at=(day + 1) * DAY, span=DAY, threshold=threshold)
        if alarm:
            break
    assert alarm is not None
    assert 20 < alarm.at / DAY <= 24
    assert abs(alarm.change_at / DAY - 20) < 1
    assert alarm.log10_threshold == pytest.approx(math.log10(90 * 7))
    assert alarm.log10_evidence >= alarm.log10_threshold
    assert 0.45 < alarm.tracks[0].observed < 0.75
    assert state.alarms == 1
    assert sequential.log_evidence(state) < 0  # it begins again


def test_a_change_in_the_middle_of_a_window_is_dated_within_it() -> None:
    values = np.concatenate([np.zeros(500), np.ones(500)])
    _, alarm = sequential.update(detector(), {"misses": block(values, 0)}, at=DAY, span=DAY, threshold=3.0)
    assert alarm is not None
    assert abs(alarm.change_at / DAY - 0.5) < 0.01


def test_the_upper_limit_covers_what_it_promises() -> None:
    rng = np.random.default_rng(4)
    for p, n in ((0.25, 160), (0.002, 7_840), (0.05, 8_000)):
        missed = np.mean([sequential.upper_limit(k / n, n) < p for k in rng.binomial(n, p, 2_000)])
        assert missed <= sequential.CONFIDENCE_MISS / 2
    assert sequential.upper_limit(0.3, 0) == 1.0
    assert sequential.null_limit(0.25, 10**9) == pytest.approx(0.25 + 0.05 * math.sqrt(0.25 * 0.75))


def test_false_alarms_come_no_more_often_than_promised_at_the_very_limit() -> None:
    """The rate is exactly the limit, without day effects: one alarm in 10 days is asked for, 200 runs of 100 days."""
    rng = np.random.default_rng(5)
    threshold = math.log(10)
    alarms = 0
    for _ in range(200):
        t = sequential.track("x", 0.3, 0.3, day_effect=0.0)
        state = sequential.detector("x", (t,), at=0)
        for day in range(100):
            k = int(rng.binomial(40, 0.3))
            state, alarm = sequential.update(
                state, {"x": counted(k, 40, day * DAY)}, at=(day + 1) * DAY, span=DAY, threshold=threshold
            )
            alarms += alarm is not None
    assert 0 < alarms <= 200 * 100 / 10


def test_a_rate_that_goes_up_by_day_and_down_by_night_is_no_change() -> None:
    """The mean of each whole window is at the limit; inside it the rate runs from nearly nothing to double."""
    rng = np.random.default_rng(6)
    threshold, alarms, days = math.log(10), 0, 4_000
    state = sequential.detector("x", (sequential.track("x", 0.1, 0.1, day_effect=0.0),), at=0)
    rates = 0.1 * (1 + 0.95 * np.sin(np.linspace(0, 2 * np.pi, 200, endpoint=False)))
    for day in range(days):
        seen = block((rng.random(200) < rates).astype(float), day)
        state, alarm = sequential.update(state, {"x": seen}, at=(day + 1) * DAY, span=DAY, threshold=threshold)
        alarms += alarm is not None
    assert alarms <= days / 10
