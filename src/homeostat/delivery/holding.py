"""The endpoint's lease: whoever changes which versions answer holds it (design rule 12).

A rollout holds it from its first arm to its end, on behalf of the decision that asked for it or in its own name. A
rollback waits for nobody: it takes the lease away, and the rollout's next step finds out that it has lost it. A
holder's name is made of what it acts for, so that after a crash the same act finds its own lease again.
"""

from __future__ import annotations

from homeostat.delivery.records import Deployment
from homeostat.foundation.clock import HOUR
from homeostat.foundation.database import Reader, Transaction
from homeostat.foundation.errors import Kind, entry
from homeostat.governance import leases

HELD = entry(
    "delivery.held",
    Kind.CONFLICT,
    "endpoint {endpoint!r} is being acted on by {holder}",
    "wait for it, or take back what it does: homeostat rollback {endpoint}",
)

_LIFETIME = HOUR  # wall time; a rollout renews it at each look at its evidence


def holder_of(deployment: Deployment) -> str:
    """In whose name a deployment acts."""
    return f"decision/{deployment.decision_id}" if deployment.decision_id else f"deployment/{deployment.id}"


def hold(tx: Transaction, endpoint: str, holder: str) -> None:
    """Take or renew the endpoint's lease; raises `delivery.held` while somebody else has it."""
    name = _name(endpoint)
    if leases.acquire(tx, name, holder, _LIFETIME) is None:
        other = leases.current(tx, name)
        raise HELD(field="endpoint", endpoint=endpoint, holder=other.holder if other else "nobody")


def seize(tx: Transaction, endpoint: str, holder: str) -> None:
    """Take the endpoint's lease from whoever has it: for what must not wait."""
    found = leases.current(tx, _name(endpoint))
    if found is not None and found.holder != holder:
        leases.release(tx, found)
    hold(tx, endpoint, holder)


def give_back(tx: Transaction, endpoint: str, holder: str) -> None:
    """Let go of the endpoint's lease; nothing happens where somebody else has it by now."""
    found = leases.current(tx, _name(endpoint))
    if found is not None and found.holder == holder:
        leases.release(tx, found)


def is_free(reader: Reader, endpoint: str, now: int) -> bool:
    """Whether nobody acts on the endpoint at wall time `now`."""
    found = leases.current(reader, _name(endpoint))
    return found is None or found.until <= now


def _name(endpoint: str) -> str:
    return f"endpoint/{endpoint}"
