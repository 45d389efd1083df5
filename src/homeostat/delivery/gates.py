"""Blessings: a sealed pass, bound to the digests of package, data and gate. Any change of them voids it.

The verdict itself is given by `evaluate` in a worker; here it is made to count.
"""

from __future__ import annotations

import hmac

import msgspec

from homeostat.delivery import definitions
from homeostat.delivery.records import CheckDefinition, Evaluation, Gate
from homeostat.foundation.database import Reader
from homeostat.foundation.errors import Kind, entry
from homeostat.foundation.events import seal

NOT_BLESSED = entry(
    "delivery.not_blessed",
    Kind.REFUSED,
    "version {version} of {model!r} has no valid blessing for endpoint {endpoint!r}",
    "deploy it through the gate: homeostat deploy {model}@{version}",
)

_ALWAYS = (CheckDefinition(kind="signature"), CheckDefinition(kind="loads", p99_ms=50.0))


def complete(gate: Gate, rule: str) -> Gate:
    """The gate with the checks that are always asked, and `rule` for the champion where it is left to the cause."""
    checks = [msgspec.structs.replace(c, rule=rule) if c.rule == "by_cause" else c for c in gate.checks]
    for always in _ALWAYS:
        if all(c.kind != always.kind for c in checks):
            checks.append(always)
    return msgspec.structs.replace(gate, checks=tuple(checks))


def bless(reader: Reader, evaluation: Evaluation) -> Evaluation:
    """Seal a passed evaluation; anything else comes back as it is."""
    if evaluation.verdict != "passed":
        return evaluation
    return msgspec.structs.replace(evaluation, blessing=_seal(reader, evaluation))


def require_blessing(reader: Reader, evaluation: Evaluation, *, package: str, gate: Gate) -> None:
    """Raise `delivery.not_blessed` unless the evaluation's seal holds for this very package and this very gate."""
    holds = (
        evaluation.blessing is not None
        and evaluation.package == package
        and evaluation.gate_digest == definitions.gate_digest(gate)
        and hmac.compare_digest(evaluation.blessing, _seal(reader, evaluation))
    )
    if not holds:
        values = {"version": evaluation.version, "model": evaluation.model, "endpoint": evaluation.endpoint}
        raise NOT_BLESSED(field="version", **values)


def _seal(reader: Reader, evaluation: Evaluation) -> str:
    bound = (evaluation.verdict, evaluation.package, evaluation.data_digest, evaluation.gate_digest)
    return seal(reader, msgspec.json.encode((evaluation.id, evaluation.endpoint, evaluation.version, *bound)))
