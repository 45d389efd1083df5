"""Questions that wait for a person. An approval is a row, so the question outlives every process.

The answer moves the decision in the same transaction; what was decided is then carried out by whoever decided it, who
reads of it in the event stream.
"""

from __future__ import annotations

from typing import Literal

import msgspec
import sqlalchemy as sa

from homeostat.foundation import events
from homeostat.foundation.database import Reader, Transaction
from homeostat.foundation.errors import Kind, entry
from homeostat.foundation.ids import new_id
from homeostat.governance import decisions, tables
from homeostat.governance.events import ApprovalAnswered, ApprovalAsked
from homeostat.governance.records import Approval, Decision

MISSING = entry(
    "approvals.missing", Kind.NOT_FOUND, "there is no approval {id!r}", "list them with: homeostat decisions list"
)
ANSWERED = entry(
    "approvals.answered",
    Kind.CONFLICT,
    "approval {id!r} was {state} already, by {who}",
    "read its decision: homeostat decisions show {decision}",
)
NOT_A_PERSON = entry(
    "approvals.not_a_person",
    Kind.DENIED,
    "{actor!r} is not a person, and only a person can answer an approval",
    "sign in, or use the token of a person with the role 'approver'",
)
NO_QUESTION = entry(
    "approvals.no_question", Kind.INVALID, "an approval needs a question", "ask what a person can answer by yes or no"
)

ApprovalState = Literal["waiting", "approved", "rejected", "withdrawn"]


def ask(tx: Transaction, decision: Decision, question: str) -> Approval:
    """Put `question` about a decision to people; the decision waits. Asked already: the approval that waits."""
    if not question.strip():
        raise NO_QUESTION(field="question")
    waiting = _waiting(tx, decision.id)
    if waiting is not None:
        return waiting
    decisions.move(tx, decision.id, "waiting", expected=("noted", "waiting"))
    approval = Approval(
        id=new_id(), decision_id=decision.id, subject=decision.subject, question=question, asked_at=tx.at
    )
    tx.execute(sa.insert(tables.approvals).values(project=tx.project, **msgspec.structs.asdict(approval)))
    told = ApprovalAsked(
        subject=approval.subject, approval=approval.id, decision=approval.decision_id, question=question
    )
    events.emit(tx, told, decision_id=decision.id)
    return approval


def answer(tx: Transaction, id: str, approve: bool, reason: str | None = None) -> Approval:
    """The answer of `tx.actor`, who must be a person; moves the decision to approved or rejected with it.

    That the actor has the permission "approve" is the border's question. Raises `approvals.answered` the second time.
    """
    if not tx.actor.startswith("person:"):
        raise NOT_A_PERSON(field="actor", actor=tx.actor)
    found = get(tx, id)
    if found.state != "waiting":
        who = found.answered_by or "nobody"
        raise ANSWERED(field="approval", id=id, state=found.state, who=who, decision=found.decision_id)
    answered = _close(tx, found, "approved" if approve else "rejected", reason)
    words = f"{answered.state} by {tx.actor}" + (f": {reason}" if reason else "")
    decisions.move(tx, found.decision_id, "approved" if approve else "rejected", words, expected="waiting")
    return answered


def withdraw(tx: Transaction, decision_id: str, reason: str) -> Approval | None:
    """Take back the question about a decision, since things have moved on; the decision is superseded."""
    found = _waiting(tx, decision_id)
    if found is None:
        return None
    withdrawn = _close(tx, found, "withdrawn", reason)
    decisions.move(tx, decision_id, "superseded", reason)
    return withdrawn


def get(reader: Reader, id: str) -> Approval:
    """The approval, or `approvals.missing`."""
    table = tables.approvals
    query = sa.select(table).where(table.c.id == id, table.c.project == reader.project)
    row = reader.execute(query).mappings().first()
    if row is None:
        raise MISSING(field="approval", id=id[:64])
    return _approval(row)


def listing(reader: Reader, state: ApprovalState | None = None, limit: int = 200) -> list[Approval]:
    """Approvals of the project, newest first, or those in one state."""
    table = tables.approvals
    query = sa.select(table).where(table.c.project == reader.project).order_by(table.c.id.desc()).limit(limit)
    if state is not None:
        query = query.where(table.c.state == state)
    return [_approval(row) for row in reader.execute(query).mappings()]


def _waiting(reader: Reader, decision_id: str) -> Approval | None:
    table = tables.approvals
    query = sa.select(table).where(
        table.c.project == reader.project, table.c.decision_id == decision_id, table.c.state == "waiting"
    )
    row = reader.execute(query).mappings().first()
    return None if row is None else _approval(row)


def _close(tx: Transaction, found: Approval, state: ApprovalState, reason: str | None) -> Approval:
    closed = msgspec.structs.replace(found, state=state, answered_by=tx.actor, answered_at=tx.at, reason=reason)
    values = {"state": state, "answered_by": tx.actor, "answered_at": tx.at, "reason": reason}
    tx.execute(sa.update(tables.approvals).where(tables.approvals.c.id == found.id).values(values))
    told = ApprovalAnswered(
        subject=found.subject, approval=found.id, decision=found.decision_id, state=state, why=reason
    )
    events.emit(tx, told, decision_id=found.decision_id)
    return closed


def _approval(row: sa.RowMapping) -> Approval:
    return Approval(**{name: row[name] for name in Approval.__struct_fields__})
