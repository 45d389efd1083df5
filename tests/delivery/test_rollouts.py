"""What the evidence of a rollout makes of honest and of harmful candidates, in small simulated worlds.

Each world is judged as a rollout is: again and again as rows come in, until something follows. The rates asserted are
bounds far from what is seen (in brackets, over 150 worlds each), so that the seeds do not decide.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest

from homeostat.delivery import rollouts
from homeostat.delivery.records import ArmReading, EvidenceResult, PairedReading, RolloutDefinition

CANARY = RolloutDefinition(kind="canary", share=0.3)
ROWS = 8  # a request
WORLDS = 40


@dataclass
class Arm:
    """What one arm has done so far."""

    requests: int = 0
    rows: int = 0
    errors: int = 0
    refused: int = 0
    slow: int = 0
    called: int = 0
    total: float = 0.0
    squares: float = 0.0

    def reading(self, arm: str) -> ArmReading:
        mean = self.total / max(self.rows, 1)
        deviation = float(np.sqrt(max(self.squares / max(self.rows, 1) - mean**2, 0.0)))
        counts = (self.requests, self.rows, self.errors, self.refused, self.slow, self.called)
        names = ("requests", "rows", "errors", "refused", "slow", "called")
        return ArmReading(arm=arm, version=1, mean=mean, deviation=deviation, **dict(zip(names, counts, strict=True)))


@dataclass(frozen=True)
class Behaviour:
    """How an arm behaves: shares of failing, refused and slow requests and of rows called, and a shift of the score."""

    errors: float = 0.0
    refused: float = 0.0
    slow: float = 0.005
    called: float = 0.03
    shift: float = 0.0


def live(random: np.random.Generator, arm: Arm, requests: int, as_: Behaviour) -> None:
    errors, refused = random.binomial(requests, as_.errors), random.binomial(requests, as_.refused)
    rows = max(requests - errors - refused, 0) * ROWS
    score = random.beta(0.5, 4.5, rows) + as_.shift
    arm.requests += requests
    arm.errors += errors
    arm.refused += refused
    arm.slow += random.binomial(requests, as_.slow)
    arm.rows += rows
    arm.called += random.binomial(rows, as_.called)
    arm.total += float(score.sum())
    arm.squares += float((score**2).sum())


def outcomes(candidate: Behaviour, champion: Behaviour = Behaviour(), *, most: int = 8000) -> Counter[str]:
    """What became of WORLDS rollouts that see at most `most` requests, looked at every hundred."""
    at_gate = {"candidate_mean": 0.1, "champion_mean": 0.1, "mean_error": 0.001, "called_error": 0.001}
    at_gate |= {"candidate_called": champion.called, "champion_called": champion.called}
    found: Counter[str] = Counter()
    for seed in range(WORLDS):
        random = np.random.default_rng(seed)
        ours, theirs = Arm(), Arm()
        turn = "wait"
        while turn == "wait" and ours.requests + theirs.requests < most:
            n = random.binomial(100, CANARY.share)
            live(random, ours, n, candidate)
            live(random, theirs, 100 - n, champion)
            evidence = EvidenceResult(arms=(theirs.reading("champion"), ours.reading("candidate")))
            turn = rollouts.judge_canary(evidence, CANARY, at_gate).turn
        found[turn] += 1
    return found


@pytest.mark.parametrize(
    ("candidate", "champion"),
    [
        (Behaviour(), Behaviour()),  # promoted 100%
        (Behaviour(errors=0.01), Behaviour(errors=0.01)),  # 100%
        (Behaviour(refused=0.05), Behaviour(refused=0.05)),  # 89%, the others still wait
        (Behaviour(slow=0.05), Behaviour(slow=0.05)),  # 86%, the others still wait
        (Behaviour(called=0.005), Behaviour(called=0.005)),  # 100%
    ],
)
def test_honest_candidates_are_promoted(candidate: Behaviour, champion: Behaviour) -> None:
    found = outcomes(candidate, champion)
    assert found["promote"] >= 0.7 * WORLDS and found["roll_back"] <= 0.1 * WORLDS


@pytest.mark.parametrize(
    "candidate",
    [
        Behaviour(errors=0.02),  # rolled back 95%, promoted 2%
        Behaviour(refused=0.03),  # 100%: what callers send is refused by this version alone
        Behaviour(slow=0.04),  # 99%
        Behaviour(shift=0.03),  # 100%
        Behaviour(called=0.05),  # 100%
        Behaviour(called=0.001),  # 100%: it calls almost none of what the champion calls
    ],
)
def test_harmful_candidates_are_rolled_back(candidate: Behaviour) -> None:
    found = outcomes(candidate)
    assert found["roll_back"] >= 0.85 * WORLDS and found["promote"] <= 0.1 * WORLDS


def test_nothing_is_judged_on_no_rows() -> None:
    nothing = EvidenceResult(arms=())
    empty = EvidenceResult(arms=(ArmReading(arm="champion", version=1), ArmReading(arm="candidate", version=2)))
    for evidence in (nothing, empty):
        assert rollouts.judge_canary(evidence, CANARY, {}).turn == "wait"
        assert rollouts.judge_shadow(evidence, CANARY, run_out=True).turn == "wait"
    only_ours = EvidenceResult(
        arms=(ArmReading(arm="champion", version=1), ArmReading(arm="candidate", version=2, requests=500, rows=4000))
    )
    assert rollouts.judge_canary(only_ours, CANARY, {}).turn == "wait"


def test_a_few_unlucky_requests_are_no_harm_and_a_dead_version_needs_no_comparison() -> None:
    champion = ArmReading(arm="champion", version=1, requests=500, rows=4000)
    few = ArmReading(arm="candidate", version=2, requests=10, rows=40, slow=5, errors=5)
    assert rollouts.judge_canary(EvidenceResult(arms=(champion, few)), CANARY, {}).turn == "wait"
    dead = ArmReading(arm="candidate", version=2, requests=20, errors=11, rows=72)
    found = rollouts.judge_canary(EvidenceResult(arms=(champion, dead)), CANARY, {})
    assert found.turn == "roll_back" and "11 of 20 requests failed" in found.summary
    assert rollouts.judge_shadow(EvidenceResult(arms=(champion, dead)), CANARY, run_out=False).turn == "roll_back"


def test_rows_that_came_together_count_for_less() -> None:
    """A customer's thousand rows all went to one arm: the shift they make shows nothing about the version."""
    champion = ArmReading(arm="champion", version=1, requests=900, rows=9000, mean=0.10, deviation=0.1)
    apart = ArmReading(arm="candidate", version=2, requests=300, rows=3000, mean=0.13, deviation=0.1)
    together = ArmReading(
        arm="candidate", version=2, requests=300, rows=3000, mean=0.13, deviation=0.1, mean_error=0.02
    )
    at_gate = {"candidate_mean": 0.1, "champion_mean": 0.1}
    assert rollouts.judge_canary(EvidenceResult(arms=(champion, apart)), CANARY, at_gate).turn == "roll_back"
    assert rollouts.judge_canary(EvidenceResult(arms=(champion, together)), CANARY, at_gate).turn == "wait"


def test_the_words_name_the_numbers() -> None:
    champion = ArmReading(arm="champion", version=1, requests=900, rows=7000, called=96, mean=0.014, deviation=0.1)
    blind = ArmReading(arm="candidate", version=2, requests=383, rows=3000, called=3, mean=0.003, deviation=0.05)
    at_gate = {"candidate_called": 0.018, "champion_called": 0.018, "candidate_mean": 0.018, "champion_mean": 0.018}
    found = rollouts.judge_canary(EvidenceResult(arms=(champion, blind)), CANARY, at_gate)
    assert found.turn == "roll_back" and "positives called off by a factor of" in found.summary
    assert found.evidence["differences"]["positives called"]["margin"] == 2.0
    assert found.evidence["candidate"]["refused"] == 0


def paired(
    random: np.random.Generator, better: float, *, daily: int = 24, days: int = 10, differ: float = 0.3
) -> tuple[str, int]:
    """What became of a shadow whose loss differs on a share `differ` of rows, and after how many days."""
    losses = np.empty(0)
    before = 0
    for day in range(1, days + 1):
        u = random.random(daily)
        worse, less = (differ - better) / 2, (differ + better) / 2
        losses = np.append(losses, np.where(u < worse, 1.0, np.where(u < worse + less, -1.0, 0.0)))
        half = 1.96 * losses.std(ddof=1) / len(losses) ** 0.5
        reading = PairedReading(
            rows=len(losses), labelled=len(losses), loss_difference=float(losses.mean()), half_width=float(half)
        )
        found = rollouts.judge_shadow(
            EvidenceResult(arms=(), paired=reading), CANARY, run_out=day == days, judged_before=before
        )
        before = found.evidence["paired"]["judged"]
        if found.turn != "wait":
            return found.turn, day
    return "wait", days


def test_a_shadow_is_decided_early_only_on_good_grounds() -> None:
    random = np.random.default_rng(3)
    equal = [paired(random, 0.0) for _ in range(300)]
    assert sum(day < 10 for _, day in equal) <= 0.08 * 300  # 2%: equal versions called different before the end
    better = [paired(random, 0.1) for _ in range(100)]
    assert sum(turn == "promote" for turn, _ in better) >= 95  # 100%
    worse = [paired(random, -0.1) for _ in range(100)]
    assert sum(turn == "roll_back" for turn, _ in worse) >= 95  # 99%
    assert sum(day < 10 for turn, day in worse if turn == "roll_back") >= 50  # and most of them early


def test_a_shadow_that_fails_where_the_champion_does_not_goes_back() -> None:
    champion = ArmReading(arm="champion", version=1, requests=400, rows=400)
    failing = ArmReading(arm="candidate", version=2, requests=400, rows=360, errors=40)
    good = PairedReading(rows=360, labelled=300, loss_difference=-0.2, half_width=0.05)
    found = rollouts.judge_shadow(EvidenceResult(arms=(champion, failing), paired=good), CANARY, run_out=True)
    assert found.turn == "roll_back" and "in shadow: errors" in found.summary


def test_too_few_pairs_wait_even_when_time_is_over() -> None:
    few = PairedReading(rows=300, labelled=59, loss_difference=-0.5, half_width=0.1)
    assert rollouts.judge_shadow(EvidenceResult(arms=(), paired=few), CANARY, run_out=True).turn == "wait"


def test_wilsons_interval_is_wilsons() -> None:
    low, high = rollouts.wilson(10, 100, 1.959964)  # Brown, Cai and DasGupta (2001), table
    assert (low, high) == (pytest.approx(0.0552, abs=1e-4), pytest.approx(0.1744, abs=1e-4))
    assert rollouts.wilson(0, 0, 2.0) == (0.0, 1.0) and rollouts.wilson(0, 50, 1.28)[0] == 0.0
