"""What the evidence of a rollout stage says: promote, roll back, or wait for more. Pure functions.

Canary. Three questions are asked of candidate and champion on the same live traffic, each with a margin:

- errors: the share of requests that failed or that the version would not take (bad requests reach both arms alike);
- latency: the share of requests over the budget;
- score shift: the mean score and the share called positive, as a difference of differences: candidate minus champion
  live, less what it was on the gate's rows. A version that is honest keeps the distance it had at the gate, whatever
  the world does meanwhile; one that leant on something the live callers do not send does not.

- positives called: the same distance as a factor. Where positives are rare a version may call none of them and still
  lie within any margin of a percent; twice as many or half as many as promised is harm at any rate.

Harm is shown when the lower limit of the difference (z = 2.6, since it is looked at again and again) is above the
margin; it is excluded when the upper limit (z = 1.28, one-sided 90%) is not. Shares use Wilson's interval (1927),
differences of two of them Newcombe's (1998, method 10), means the normal one. A score may move by `margin` or by a
twentieth of its deviation, whichever is larger: below that nobody would call it a shift. These limits bound each look,
not all of them together; an anytime-valid sequence is what replaces them.

Shadow. Both versions answer the same rows, so the labelled losses are compared in pairs. It is looked at when the
labelled pairs have grown by a quarter, with z = 2.555: ten such looks together (60 pairs to some 450) call equal
versions different in 5% (Pocock 1977). When its time is over the mean difference decides. A shadow that fails or is
slow where the champion is not goes back at once.
"""

from __future__ import annotations

import math
from typing import Any, Literal

from msgspec import Struct

from homeostat.delivery.records import ArmReading, EvidenceResult, PairedReading, RolloutDefinition

_HARM = 2.6
_SAFE = 1.28
_LOOK = 2.555
_GROWN = 1.25
_FEWEST_PAIRS = 60
_TWICE = 2.0
_FEWEST_REQUESTS = 20  # of an arm before a difference of shares says anything

Turn = Literal["promote", "roll_back", "wait"]


class Judgement(Struct, frozen=True, kw_only=True):
    """What follows from the evidence, and why, in words and numbers."""

    turn: Turn
    summary: str
    evidence: dict[str, Any] = {}


class _Limits(Struct, frozen=True):
    """A difference with the limits at which harm is shown and excluded."""

    name: str
    value: float
    low: float
    high: float
    margin: float
    factor: bool = False  # the numbers are factors (2.0: twice, or half), which show harm and need not exclude it

    @property
    def harmful(self) -> bool:
        return self.low > self.margin

    @property
    def safe(self) -> bool:
        return self.factor or self.high <= self.margin


def judge_canary(evidence: EvidenceResult, rollout: RolloutDefinition, at_gate: dict[str, float]) -> Judgement:
    """Judge a canary by share. `at_gate` holds candidate_ and champion_ "mean" and "called" on the gate's rows."""
    arms = {reading.arm: reading for reading in evidence.arms}
    champion, candidate = arms.get("champion"), arms.get("candidate")
    if champion is None or candidate is None:
        return Judgement(turn="wait", summary="no traffic has been answered yet")
    shown = {reading.arm: _shown(reading) for reading in evidence.arms}
    if fails_hard(candidate):
        words = f"{candidate.errors} of {candidate.requests} requests failed"
        return Judgement(turn="roll_back", summary=words, evidence=shown)
    found = [*_service(champion, candidate, rollout), *_shifts(champion, candidate, at_gate, rollout)]
    shown["differences"] = {f.name: {"value": f.value, "low": f.low, "high": f.high, "margin": f.margin} for f in found}
    harmful = [f for f in found if f.harmful]
    if harmful:
        return Judgement(turn="roll_back", summary="; ".join(_words(f) for f in harmful), evidence=shown)
    rows = min(champion.rows, candidate.rows)
    if rows < rollout.min_rows:
        words = f"{candidate.rows:,} rows answered by the candidate, {rollout.min_rows} an arm are needed"
        return Judgement(turn="wait", summary=words, evidence=shown)
    unsure = [f for f in found if not f.safe]
    if unsure:
        words = "harm is neither shown nor excluded: " + "; ".join(_words(f) for f in unsure)
        return Judgement(turn="wait", summary=words, evidence=shown)
    words = (
        f"no harm beyond {rollout.margin:.0%} on {candidate.rows:,} rows: errors, latency and scores are as promised"
    )
    return Judgement(turn="promote", summary=words, evidence=shown)


def fails_hard(reading: ArmReading) -> bool:
    """Whether so much fails that nothing needs to be compared."""
    return reading.requests >= _FEWEST_REQUESTS and reading.errors * 2 > reading.requests


def judge_shadow(
    evidence: EvidenceResult, rollout: RolloutDefinition, *, run_out: bool, judged_before: int = 0
) -> Judgement:
    """Judge a paired shadow; `run_out` says that its longest time is over, `judged_before` how many pairs were looked
    at the last time (it is kept in the evidence as `paired.judged`)."""
    paired = evidence.paired or PairedReading()
    shown: dict[str, Any] = {reading.arm: _shown(reading) for reading in evidence.arms}
    shown["paired"] = {"rows": paired.rows, "disagreements": paired.disagreements, "labelled": paired.labelled}
    shown["paired"]["judged"] = judged_before
    arms = {reading.arm: reading for reading in evidence.arms}
    candidate = arms.get("candidate", ArmReading(arm="candidate", version=0))
    if fails_hard(candidate):
        words = f"it failed on {candidate.errors} of {candidate.requests} shadowed requests"
        return Judgement(turn="roll_back", summary=words, evidence=shown)
    if "champion" in arms:
        harmful = [f for f in _service(arms["champion"], candidate, rollout) if f.harmful]
        if harmful:
            words = "in shadow: " + "; ".join(_words(f) for f in harmful)
            return Judgement(turn="roll_back", summary=words, evidence=shown)
    if paired.loss_difference is None or paired.half_width is None:
        words = f"{paired.rows:,} rows in shadow, none labelled yet"
        return Judgement(turn="wait", summary=words, evidence=shown)
    half = paired.half_width * _LOOK / 1.96
    low, high = paired.loss_difference - half, paired.loss_difference + half
    shown["paired"] |= {"difference": paired.loss_difference, "low": low, "high": high}
    words = f"loss {paired.loss_difference:+.3f} [{low:+.3f}, {high:+.3f}] on {paired.labelled:,} labelled pairs"
    enough = paired.labelled >= _FEWEST_PAIRS
    looked = enough and paired.labelled >= _GROWN * judged_before
    if looked:
        shown["paired"]["judged"] = paired.labelled
    if looked and low > 0:
        return Judgement(turn="roll_back", summary=f"shown worse in shadow: {words}", evidence=shown)
    if looked and high < 0:
        return Judgement(turn="promote", summary=f"shown better in shadow: {words}", evidence=shown)
    if run_out and enough and paired.loss_difference <= rollout.margin:
        return Judgement(turn="promote", summary=f"not shown worse in shadow: {words}", evidence=shown)
    if run_out and enough:
        return Judgement(turn="roll_back", summary=f"not shown good enough in time: {words}", evidence=shown)
    return Judgement(turn="wait", summary=words, evidence=shown)


def _service(champion: ArmReading, candidate: ArmReading, rollout: RolloutDefinition) -> list[_Limits]:
    """Errors and slow answers; a handful of requests says nothing, so harm needs twenty of each arm to be shown."""
    n, m, margin = candidate.requests, champion.requests, rollout.margin
    ours, theirs = candidate.errors + candidate.refused, champion.errors + champion.refused
    found = [
        _share("errors", ours, n, theirs, m, margin),
        _share("slow answers", candidate.slow, n, champion.slow, m, margin),
    ]
    few = min(n, m) < _FEWEST_REQUESTS
    return [_Limits(f.name, f.value, min(f.low, margin), f.high, margin) for f in found] if few else found


def _shifts(
    champion: ArmReading, candidate: ArmReading, at_gate: dict[str, float], rollout: RolloutDefinition
) -> list[_Limits]:
    """The shifts of the scores, once each arm has its rows: the first few may all be of one night."""
    found: list[_Limits] = []
    margin = rollout.margin
    if min(champion.rows, candidate.rows) < max(rollout.min_rows, 1):
        return found
    if "champion_called" in at_gate:
        promised = at_gate["candidate_called"] - at_gate["champion_called"]
        p, q = candidate.called / candidate.rows, champion.called / champion.rows
        error = math.hypot(_share_error(candidate), _share_error(champion))
        allowed = max(margin, 0.05 * math.sqrt(q * (1 - q)))
        told = at_gate.get("called_error", 0.0)
        found.append(_around("share called positive", p - q - promised, error, told, allowed))
        found += _factor(champion, candidate, at_gate)
    if "champion_mean" in at_gate:
        promised = at_gate["candidate_mean"] - at_gate["champion_mean"]
        error = math.hypot(_mean_error(candidate), _mean_error(champion))
        allowed = max(margin, 0.05 * champion.deviation)
        told = at_gate.get("mean_error", 0.0)
        found.append(_around("mean score", candidate.mean - champion.mean - promised, error, told, allowed))
    return found


def _factor(champion: ArmReading, candidate: ArmReading, at_gate: dict[str, float]) -> list[_Limits]:
    """By what factor the share called is off its promise; limits of a ratio of shares by Katz et al. (1978)."""
    a, b = at_gate["candidate_called"], at_gate["champion_called"]
    if not a or not b:
        return []
    ours, theirs = candidate.called + 0.5, champion.called + 0.5
    off = math.log((ours / candidate.rows) / (theirs / champion.rows)) - math.log(a / b)
    error = math.hypot(math.sqrt(1 / ours + 1 / theirs), at_gate.get("called_error", 0.0) / math.sqrt(a * b))
    size, low, high = abs(off), max(abs(off) - _HARM * error, 0.0), abs(off) + _SAFE * error
    exp = math.exp
    return [_Limits("positives called", exp(size), exp(low), exp(min(high, 50.0)), _TWICE, True)]


def _share_error(reading: ArmReading) -> float:
    """Standard error of the share called positive, as if one more row had been called and one not (Laplace)."""
    p = (reading.called + 1) / (reading.rows + 2)
    return max(math.sqrt(p * (1 - p) / reading.rows), reading.called_error or 0.0)


def _mean_error(reading: ArmReading) -> float:
    return max(reading.deviation / math.sqrt(reading.rows), reading.mean_error or 0.0)


def _around(name: str, shift: float, error: float, promise_error: float, margin: float) -> _Limits:
    """A shift in either direction: its size with the limits of the size.

    What was promised has an error of its own, so less of a shift can be laid at the version's door. It does not keep
    a version from being found harmless: live traffic cannot make it any smaller.
    """
    size = abs(shift)
    return _Limits(name, size, size - _HARM * math.hypot(error, promise_error), size + _SAFE * error, margin)


def _share(name: str, ours: int, n: int, theirs: int, m: int, margin: float) -> _Limits:
    """Difference of two shares, with Newcombe's limits from Wilson's."""
    p, q = ours / max(n, 1), theirs / max(m, 1)
    low_p, _ = wilson(ours, n, _HARM)
    _, high_q = wilson(theirs, m, _HARM)
    _, high_p = wilson(ours, n, _SAFE)
    low_q, _ = wilson(theirs, m, _SAFE)
    low = p - q - math.sqrt((p - low_p) ** 2 + (high_q - q) ** 2)
    high = p - q + math.sqrt((high_p - p) ** 2 + (q - low_q) ** 2)
    return _Limits(name, p - q, low, high, margin)


def wilson(hits: int, n: int, z: float) -> tuple[float, float]:
    """Wilson's score interval (1927) for a share of `hits` among `n`, at `z` standard deviations."""
    if n == 0:
        return 0.0, 1.0
    p = hits / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, centre - half), min(1.0, centre + half)


def _words(f: _Limits) -> str:
    if f.factor:
        return f"{f.name} off by a factor of {f.value:.3g} [{f.low:.3g}, {f.high:.3g}], at most {f.margin:g}"
    return f"{f.name} {f.value:+.2%} [{f.low:+.2%}, {f.high:+.2%}], margin {f.margin:.2%}"


def _shown(reading: ArmReading) -> dict[str, Any]:
    return {
        "version": reading.version,
        "requests": reading.requests,
        "rows": reading.rows,
        "errors": reading.errors,
        "refused": reading.refused,
        "slow": reading.slow,
        "called": reading.called,
        "mean": reading.mean,
        "p99_us": reading.p99,
    }
