"""The sealed audit stream: what happened, in order, each entry bound to the one before it.

A domain declares its events in its `events.py` as structs with a tag, and emits them in the transaction that changes
the state they tell of::

    class VersionRegistered(Event, frozen=True, kw_only=True, tag="registry.version_registered"):
        model: str
        number: int

    emit(tx, VersionRegistered(subject=f"model/{model}/{number}", model=model, number=number))

The payload lies beside the chain under a salted digest, so that it can be erased while the chain still proves itself.
The chain is blake3 keyed with the home's audit key: a hand that reaches the database file but not the key cannot
re-seal what it changed. Readers follow by cursor, at least once; what they do must be idempotent.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa
from blake3 import blake3
from msgspec import Struct

from homeostat.foundation.database import Reader, Transaction, metadata

events = sa.Table(
    "events",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("project", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False, index=True),
    sa.Column("subject", sa.Text, nullable=False, index=True),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("reason", sa.Text),
    sa.Column("decision_id", sa.Text),
    sa.Column("payload_digest", sa.Text, nullable=False),
    sa.Column("prev_hash", sa.Text, nullable=False),
    sa.Column("hash", sa.Text, nullable=False),
    sqlite_autoincrement=True,
)
event_payloads = sa.Table(
    "event_payloads",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True),
    sa.Column("project", sa.Text, nullable=False),
    sa.Column("salt", sa.LargeBinary, nullable=False),
    sa.Column("payload", sa.LargeBinary, nullable=False),
)
event_cursors = sa.Table(
    "event_cursors",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("project", sa.Text, nullable=False, default=""),
    sa.Column("seq", sa.Integer, nullable=False),
)

GENESIS = "0" * 64


class Event(Struct, frozen=True, kw_only=True):
    """One thing that happened. Subclasses give it a tag ("domain.what_happened") and their own fields.

    `subject` is what it happened to, as a path: "dataset/transactions", "model/fraud/3", "endpoint/fraud".
    `event_at` is when it happened in the world, where that differs from when it was recorded.
    """

    subject: str
    event_at: int | None = None


class Recorded(Struct, frozen=True, kw_only=True):
    """An event as it was sealed; `payload` is None once erased."""

    seq: int
    at: int
    project: str
    kind: str
    subject: str
    actor: str
    reason: str | None
    decision_id: str | None
    payload: dict[str, Any] | None
    hash: str


class Verification(Struct, frozen=True, kw_only=True):
    """What `verify` found: how many entries hold, and the first that does not, with why."""

    checked: int
    intact: bool
    first_bad: int | None = None
    why: str | None = None
    head: str = GENESIS


def key_at(path: Path) -> bytes:
    """The key kept at `path`, made on first use: 32 random bytes, mode 0600."""
    if not path.exists():
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(os.urandom(32))
            file.flush()
            os.fsync(file.fileno())
    return path.read_bytes()


def kind_of(event: Event | type[Event]) -> str:
    """The stable name of an event's kind, such as "registry.version_registered"."""
    return str(event.__struct_config__.tag)


def seal(reader: Reader, content: bytes) -> str:
    """A keyed digest that only this home can make: for blessings, which must not be forged in the database."""
    return blake3(b"blessing\0" + content, key=reader.key).hexdigest()


def emit(tx: Transaction, event: Event, *, reason: str | None = None, decision_id: str | None = None) -> int:
    """Append `event` to the stream in `tx`; returns its seq. Actor, reason and decision are `tx`'s, unless given."""
    head = tx.execute(sa.select(events.c.hash).order_by(events.c.seq.desc()).limit(1)).scalar()
    payload = msgspec.json.encode(event)
    salt = os.urandom(16)
    row: dict[str, Any] = {
        "at": tx.at,
        "project": tx.project,
        "kind": kind_of(event),
        "subject": event.subject,
        "actor": tx.actor,
        "reason": reason if reason is not None else tx.reason,
        "decision_id": decision_id if decision_id is not None else tx.decision_id,
        "payload_digest": _digest(salt, payload),
        "prev_hash": head or GENESIS,
    }
    row["hash"] = _seal(row, tx.key)
    key = tx.execute(sa.insert(events).values(row)).inserted_primary_key
    assert key is not None
    seq = int(key[0])
    tx.execute(sa.insert(event_payloads).values(seq=seq, project=tx.project, salt=salt, payload=payload))
    return seq


def read_after(
    reader: Reader,
    seq: int = 0,
    *,
    limit: int = 500,
    kinds: Iterable[str] | None = None,
    subject: str | None = None,
    every_project: bool = False,
    newest_first: bool = False,
) -> list[Recorded]:
    """Events after `seq` in order (or the newest first), with payloads. `subject` also matches what lies below it."""
    query = (
        sa.select(events, event_payloads.c.payload)
        .select_from(events.outerjoin(event_payloads, events.c.seq == event_payloads.c.seq))
        .where(events.c.seq > seq)
        .order_by(events.c.seq.desc() if newest_first else events.c.seq)
        .limit(limit)
    )
    if not every_project:
        query = query.where(events.c.project == reader.project)
    if kinds is not None:
        query = query.where(events.c.kind.in_(list(kinds)))
    if subject is not None:
        below = events.c.subject.startswith(subject + "/", autoescape=True)
        query = query.where(sa.or_(events.c.subject == subject, below))
    return [_recorded(row) for row in reader.execute(query).mappings()]


def cursor(reader: Reader, name: str) -> int:
    """How far the follower `name` has read; 0 before its first advance."""
    found = reader.execute(sa.select(event_cursors.c.seq).where(event_cursors.c.name == name)).scalar()
    return int(found or 0)


def advance(tx: Transaction, name: str, seq: int) -> None:
    """Remember that the follower `name` has dealt with everything up to `seq`."""
    changed = tx.execute(sa.update(event_cursors).where(event_cursors.c.name == name).values(seq=seq)).rowcount
    if not changed:
        tx.execute(sa.insert(event_cursors).values(name=name, project=tx.project, seq=seq))


def erase(tx: Transaction, seq: int) -> None:
    """Erase the payload of one event; the chain still verifies, since it seals only the salted digest."""
    tx.execute(sa.delete(event_payloads).where(event_payloads.c.seq == seq))


def verify(reader: Reader) -> Verification:
    """Walk the whole chain: every hash, every link, every payload that is still there, and the end of it."""
    previous, checked = GENESIS, 0
    query = sa.select(events, event_payloads.c.payload, event_payloads.c.salt).select_from(
        events.outerjoin(event_payloads, events.c.seq == event_payloads.c.seq)
    )
    last = 0
    for row in reader.execute(query.order_by(events.c.seq)).mappings():
        why = _fault(row, previous, last, reader.key)
        if why:
            return Verification(checked=checked, intact=False, first_bad=row["seq"], why=why, head=previous)
        previous, last, checked = row["hash"], row["seq"], checked + 1
    given = reader.execute(sa.text("SELECT seq FROM sqlite_sequence WHERE name = 'events'")).scalar() or 0
    if int(given) != last:
        why = f"entries after {last} are missing: {given} were written"
        return Verification(checked=checked, intact=False, first_bad=last + 1, why=why, head=previous)
    return Verification(checked=checked, intact=True, head=previous)


def _fault(row: Any, previous: str, last: int, key: bytes) -> str | None:
    if row["seq"] != last + 1:
        return f"entries {last + 1} to {row['seq'] - 1} are missing"
    if row["prev_hash"] != previous:
        return "it does not follow the entry before it"
    if row["hash"] != _seal(row, key):
        return "its seal does not match its content"
    if row["payload"] is not None:
        whole = isinstance(row["salt"], bytes) and isinstance(row["payload"], bytes)
        if not whole or _digest(row["salt"], row["payload"]) != row["payload_digest"]:
            return "its payload was changed"
    return None


def _seal(row: Any, key: bytes) -> str:
    names = ("at", "project", "kind", "subject", "actor", "reason", "decision_id", "payload_digest", "prev_hash")
    return blake3(msgspec.json.encode([row[name] for name in names]), key=key).hexdigest()


def _digest(salt: bytes, payload: bytes) -> str:
    return blake3(salt + payload).hexdigest()


def _recorded(row: Any) -> Recorded:
    payload = None if row["payload"] is None else msgspec.json.decode(row["payload"])
    names = ("seq", "at", "project", "kind", "subject", "actor", "reason", "decision_id", "hash")
    return Recorded(**{name: row[name] for name in names}, payload=payload)


def kinds() -> dict[str, type[Event]]:
    """Every kind of event that has been imported, by name: for the docs and the test that keeps them whole."""

    def below(cls: type[Event]) -> Iterable[type[Event]]:
        for sub in cls.__subclasses__():
            yield sub
            yield from below(sub)

    return {kind_of(cls): cls for cls in below(Event) if cls.__struct_config__.tag is not None}
