"""Blessings: a sealed pass, bound to the digests of package, data and gate. Any change of them voids it.

The verdict itself is given by `evaluate` in a worker; here it is made to count.
"""

from __future__ import annotations

import hmac

import msgspec

from homeostat.delivery import definitions, deployments
from homeostat.delivery.records import CheckDefinition, Deployment, Evaluation, Gate
from homeostat.foundation.database import Reader
from homeostat.foundation.errors import Kind, entry
from homeostat.foundation.events import seal
from homeostat.registry import versions

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


def require_blessing(reader: Reader, deployment: Deployment) -> Evaluation:
    """The evaluation that blessed a deployment, or `delivery.not_blessed`.

    It is read back from its row, and its seal must hold for this endpoint, this very package, and the gate as it is
    asked now. Called at each step towards production, since rows and gates may have changed since the last.
    """
    given = deployment.evaluation_id
    found = None if given is None else deployments.evaluation(reader, given)
    package = versions.get(reader, deployment.model, deployment.version).package
    gate = complete(definitions.gate_of(reader, deployment.endpoint), deployment.rule)
    wanted = (deployment.endpoint, deployment.model, deployment.version, package, definitions.gate_digest(gate))
    if found is not None and found.blessing is not None and found.verdict == "passed":
        about = (found.endpoint, found.model, found.version, found.package, found.gate_digest)
        if about == wanted and hmac.compare_digest(found.blessing, _seal(reader, found)):
            return found
    values = {"version": deployment.version, "model": deployment.model, "endpoint": deployment.endpoint}
    raise NOT_BLESSED(field="version", **values)


def _seal(reader: Reader, evaluation: Evaluation) -> str:
    """The seal over everything that a pass is about, made with the home's key."""
    what = (reader.project, evaluation.id, evaluation.endpoint, evaluation.model, evaluation.version)
    bound = (evaluation.verdict, evaluation.package, evaluation.data_digest, evaluation.gate_digest)
    return seal(reader, msgspec.json.encode((*what, *bound)))
