"""The ledger: every decision that delivery and control take, and what became of it.

A decision is a row whose state moves on and an event for each move, in one transaction. Two deciders write here, and
both find out from it, after a crash, what they had begun::

    noted -> waiting -> approved -> acting -> done | failed
                     -> rejected            any unfinished state -> superseded
"""

from __future__ import annotations

from typing import get_args

import msgspec
import sqlalchemy as sa

from homeostat.foundation import events
from homeostat.foundation.database import Reader, Transaction
from homeostat.foundation.errors import Kind, entry
from homeostat.foundation.ids import new_id
from homeostat.governance import tables
from homeostat.governance.events import DecisionMoved, DecisionRecorded
from homeostat.governance.records import Decision, DecisionState

MISSING = entry(
    "decisions.missing", Kind.NOT_FOUND, "there is no decision {id!r}", "list them with: homeostat decisions list"
)
MOVED = entry(
    "decisions.moved",
    Kind.CONFLICT,
    "decision {id!r} is {actual}, so it cannot become {state}",
    "read it again: somebody or something else has dealt with it",
)
INCOMPLETE = entry(
    "decisions.incomplete",
    Kind.INVALID,
    "a decision needs its {field_name}",
    "say what it is about, who decided, by which rule, what follows, and why in words",
)
BAD_STATE = entry("decisions.bad_state", Kind.INVALID, "{state!r} is not a state of a decision", "use one of: {known}")

FINISHED: frozenset[str] = frozenset({"rejected", "done", "failed", "superseded"})
_NEXT: dict[str, frozenset[str]] = {
    "noted": frozenset({"waiting", "acting", "done", "failed", "superseded"}),
    "waiting": frozenset({"approved", "rejected", "superseded"}),
    "approved": frozenset({"acting", "done", "failed", "superseded"}),
    "acting": frozenset({"done", "failed", "superseded"}),
}


def record(tx: Transaction, decision: Decision) -> Decision:
    """Enter a decision. An empty `id` is filled in, `at` 0 means now; the id of an entered one changes nothing.

    That makes it safe to repeat after a crash: derive the id from what was seen, and record again.
    """
    for name in ("subject", "decider", "rule", "verdict", "summary"):
        if not getattr(decision, name):
            raise INCOMPLETE(field=name, field_name=name)
    _check_state(decision.state)
    if decision.id:
        found = _find(tx, decision.id)
        if found is not None:
            return found
    finished_at = decision.finished_at
    if finished_at is None and decision.state in FINISHED:
        finished_at = tx.at
    entered = msgspec.structs.replace(
        decision, id=decision.id or new_id(), at=decision.at or tx.at, finished_at=finished_at
    )
    values = msgspec.structs.asdict(entered)
    for name in ("inputs", "action"):
        values[name] = msgspec.json.encode(values[name]).decode()
    tx.execute(sa.insert(tables.decisions).values(project=tx.project, **values))
    told = DecisionRecorded(
        subject=entered.subject,
        event_at=entered.event_at,
        decision=entered.id,
        decider=entered.decider,
        rule=entered.rule,
        verdict=entered.verdict,
        summary=entered.summary,
        state=entered.state,
        inputs=entered.inputs,
        action=entered.action,
        trigger=entered.trigger,
        undo=entered.undo,
    )
    events.emit(tx, told, decision_id=entered.id)
    return entered


def move(
    tx: Transaction,
    id: str,
    state: DecisionState,
    outcome: str | None = None,
    expected: DecisionState | tuple[DecisionState, ...] | None = None,
) -> Decision:
    """Move a decision on; `outcome` says in words what came of it. To the state it is in: changes nothing.

    Raises `decisions.moved` when it cannot go there from where it is, or is not in an `expected` state.
    """
    _check_state(state)
    found = get(tx, id)
    if found.state == state:
        return found
    allowed = _NEXT.get(found.state, frozenset())
    if expected is not None:
        allowed &= {state} if found.state in ((expected,) if isinstance(expected, str) else expected) else frozenset()
    if state not in allowed:
        raise MOVED(field="state", id=id, actual=found.state, state=state)
    changed = msgspec.structs.replace(
        found,
        state=state,
        outcome=found.outcome if outcome is None else outcome,
        finished_at=tx.at if state in FINISHED else None,
    )
    values = {"state": changed.state, "outcome": changed.outcome, "finished_at": changed.finished_at}
    tx.execute(sa.update(tables.decisions).where(*_is(tx, id)).values(values))
    told = DecisionMoved(
        subject=found.subject, decision=id, before=found.state, state=state, verdict=found.verdict, outcome=outcome
    )
    events.emit(tx, told, decision_id=id)
    return changed


def get(reader: Reader, id: str) -> Decision:
    """The decision, or `decisions.missing`."""
    found = _find(reader, id)
    if found is None:
        raise MISSING(field="decision", id=id[:64])
    return found


def listing(
    reader: Reader,
    subject: str | None = None,
    state: DecisionState | tuple[DecisionState, ...] | None = None,
    limit: int = 200,
) -> list[Decision]:
    """Decisions of the project, newest first; of one subject, or in one of the given states."""
    table = tables.decisions
    query = sa.select(table).where(table.c.project == reader.project)
    query = query.order_by(table.c.at.desc(), table.c.id.desc()).limit(limit)
    if subject is not None:
        query = query.where(table.c.subject == subject)
    if state is not None:
        query = query.where(table.c.state.in_((state,) if isinstance(state, str) else state))
    return [_decision(row) for row in reader.execute(query).mappings()]


def _is(reader: Reader, id: str) -> tuple[sa.ColumnElement[bool], ...]:
    return (tables.decisions.c.id == id, tables.decisions.c.project == reader.project)


def _find(reader: Reader, id: str) -> Decision | None:
    row = reader.execute(sa.select(tables.decisions).where(*_is(reader, id))).mappings().first()
    return None if row is None else _decision(row)


def _check_state(state: str) -> None:
    if state not in get_args(DecisionState):
        raise BAD_STATE(field="state", state=state, known=", ".join(get_args(DecisionState)))


def _decision(row: sa.RowMapping) -> Decision:
    values = {name: row[name] for name in Decision.__struct_fields__}
    for name in ("inputs", "action"):
        values[name] = msgspec.json.decode(values[name])
    return Decision(**values)
