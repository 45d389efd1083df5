"""Who may do what, what was decided, and who agreed."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

PrincipalKind = Literal["person", "service", "agent"]
Role = Literal["viewer", "caller", "operator", "approver", "admin", "worker", "replayer"]
DecisionState = Literal["noted", "waiting", "approved", "rejected", "acting", "done", "failed", "superseded"]


class Principal(Struct, frozen=True, kw_only=True):
    """Someone or something that acts. `name` is "kind:short", such as "person:local" or "service:loop"."""

    name: str
    kind: PrincipalKind
    roles: tuple[Role, ...]
    projects: tuple[str, ...] | None = None  # None: every project
    created_at: int = 0
    disabled: bool = False


class Token(Struct, frozen=True, kw_only=True):
    """An API token as it is kept: never the secret, only its sha256. A token narrows its principal, never widens it."""

    id: str
    principal: str
    label: str
    digest: str
    scopes: tuple[str, ...] | None = None  # None: all the principal's rights; else only these permissions
    projects: tuple[str, ...] | None = None
    endpoints: tuple[str, ...] | None = None
    created_at: int = 0
    expires_at: int | None = None
    revoked_at: int | None = None


class Decision(Struct, frozen=True, kw_only=True):
    """One entry of the ledger: what was seen, by which rule, what follows, in words a person understands.

    `verdict` is the action's name ("retrain", "roll_back", "promote", "refuse", "quarantine", "reuse", "ask",
    "abstain"). In observe mode the state is "noted" and nothing is done; in ask mode it is "waiting" until a person
    approves. `action` holds what the actor needs to carry it out, and to find out after a crash whether it was done.
    """

    id: str
    at: int
    event_at: int | None
    subject: str  # "endpoint/fraud", "dataset/transactions"
    decider: str  # principal
    rule: str
    verdict: str
    summary: str
    inputs: dict[str, Any] = {}
    action: dict[str, Any] = {}
    state: DecisionState = "noted"
    trigger: str | None = None  # "incident/ID", "event/SEQ", "person"
    undo: str | None = None  # how to undo it, in words, or None where it cannot be
    outcome: str | None = None
    finished_at: int | None = None


class Approval(Struct, frozen=True, kw_only=True):
    """A question put to people about one decision, and the answer."""

    id: str
    decision_id: str
    subject: str
    question: str
    asked_at: int
    state: Literal["waiting", "approved", "rejected", "withdrawn"] = "waiting"
    answered_by: str | None = None
    answered_at: int | None = None
    reason: str | None = None


class Lease(Struct, frozen=True, kw_only=True):
    """A right to act alone on `name` until `until` (wall time); `fence` grows with each holder."""

    name: str
    holder: str
    until: int
    fence: int
