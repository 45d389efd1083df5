"""What governance tells the audit stream."""

from __future__ import annotations

from typing import Any

from homeostat.foundation.events import Event


class PrincipalChanged(Event, frozen=True, kw_only=True, tag="governance.principal_changed"):
    """A principal was made, or its roles, projects or standing changed."""

    principal: str
    roles: tuple[str, ...]
    projects: tuple[str, ...] | None
    disabled: bool


class TokenIssued(Event, frozen=True, kw_only=True, tag="governance.token_issued"):
    """An API token was made; its secret was shown once and is kept nowhere."""

    token: str
    principal: str
    label: str
    scopes: tuple[str, ...] | None
    projects: tuple[str, ...] | None
    endpoints: tuple[str, ...] | None
    expires_at: int | None


class TokenRevoked(Event, frozen=True, kw_only=True, tag="governance.token_revoked"):
    """An API token was taken back."""

    token: str
    principal: str


class SignInLinkIssued(Event, frozen=True, kw_only=True, tag="governance.sign_in_link_issued"):
    """A one-time link was made with which a browser can become a principal."""

    principal: str
    expires_at: int


class SignedIn(Event, frozen=True, kw_only=True, tag="governance.signed_in"):
    """A one-time link was used, and a session opened."""

    principal: str
    until: int


class SignedOut(Event, frozen=True, kw_only=True, tag="governance.signed_out"):
    """A session was ended before its time."""

    principal: str


class DecisionRecorded(Event, frozen=True, kw_only=True, tag="governance.decision_recorded"):
    """A decision was taken, with everything it rests on."""

    decision: str
    decider: str
    rule: str
    verdict: str
    summary: str
    state: str
    inputs: dict[str, Any]
    action: dict[str, Any]
    trigger: str | None
    undo: str | None


class DecisionMoved(Event, frozen=True, kw_only=True, tag="governance.decision_moved"):
    """A decision went from one state to the next."""

    decision: str
    before: str
    state: str
    verdict: str
    outcome: str | None


class ApprovalAsked(Event, frozen=True, kw_only=True, tag="governance.approval_asked"):
    """A decision waits for a person."""

    approval: str
    decision: str
    question: str


class ApprovalAnswered(Event, frozen=True, kw_only=True, tag="governance.approval_answered"):
    """A person approved or rejected, or the question was withdrawn."""

    approval: str
    decision: str
    state: str
    why: str | None
