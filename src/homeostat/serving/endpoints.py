"""Endpoints: a name, the model behind it, and the versions (arms) that answer under it now."""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa

from homeostat.foundation import events
from homeostat.foundation.clock import HOUR
from homeostat.foundation.database import Reader, Transaction
from homeostat.foundation.errors import Kind, entry
from homeostat.foundation.ids import check_name, new_id
from homeostat.serving import tables
from homeostat.serving.events import ArmsChanged, EndpointCreated, EndpointPaused, EndpointResumed
from homeostat.serving.records import Endpoint, EndpointArm, Taken

NO_ENDPOINT = entry(
    "serving.no_endpoint", Kind.NOT_FOUND, "there is no endpoint {name!r}", "list them with: homeostat endpoints list"
)
OTHER_MODEL = entry(
    "serving.other_model",
    Kind.CONFLICT,
    "endpoint {name!r} serves model {model!r}, not {other!r}",
    "deploy to another endpoint, or use a version of {model!r}",
)
BAD_SHARES = entry(
    "serving.bad_shares",
    Kind.INVALID,
    "the shares of the arms of {name!r} sum to {total}, not to 1",
    "give the champion what the canary leaves",
)

_decode_arms = msgspec.json.Decoder(tuple[EndpointArm, ...]).decode


def create(tx: Transaction, name: str, model: str) -> Endpoint:
    """The endpoint `name` over `model`; made if it is not there, refused if it serves another model."""
    check_name("endpoint", name)
    found = find(tx, name)
    if found is not None:
        if found.model != model:
            raise OTHER_MODEL(field="endpoint", name=name, model=found.model, other=model)
        return found
    endpoint = Endpoint(id=new_id(), name=name, model=model, created_at=tx.at)
    row = msgspec.structs.asdict(endpoint) | {"project": tx.project, "arms": b"[]"}
    tx.execute(sa.insert(tables.endpoints).values(row))
    events.emit(tx, EndpointCreated(subject=f"endpoint/{name}", model=model))
    return endpoint


def find(reader: Reader, name: str) -> Endpoint | None:
    """The endpoint, or None."""
    where = (tables.endpoints.c.project == reader.project, tables.endpoints.c.name == name)
    row = reader.execute(sa.select(tables.endpoints).where(*where)).mappings().first()
    return None if row is None else _endpoint(row)


def get(reader: Reader, name: str) -> Endpoint:
    """The endpoint, or `serving.no_endpoint`."""
    found = find(reader, name)
    if found is None:
        raise NO_ENDPOINT(field="endpoint", name=name)
    return found


def listing(reader: Reader) -> list[Endpoint]:
    """Every endpoint of the project, by name."""
    query = sa.select(tables.endpoints).where(tables.endpoints.c.project == reader.project)
    return [_endpoint(row) for row in reader.execute(query.order_by(tables.endpoints.c.name)).mappings()]


def watermarks(reader: Reader) -> dict[str, int | None]:
    """Endpoint -> its newest event time, in the project."""
    columns = (tables.endpoints.c.name, tables.endpoints.c.watermark)
    query = sa.select(*columns).where(tables.endpoints.c.project == reader.project)
    return {row.name: row.watermark for row in reader.execute(query)}


def names(reader: Reader) -> dict[str, str]:
    """Endpoint id -> name, over every project."""
    columns = (tables.endpoints.c.id, tables.endpoints.c.name)
    return {row.id: row.name for row in reader.execute(sa.select(*columns))}


def projects(reader: Reader) -> list[str]:
    """Every project that has an endpoint."""
    return list(reader.execute(sa.select(tables.endpoints.c.project).distinct()).scalars())


def set_arms(tx: Transaction, name: str, arms: tuple[EndpointArm, ...]) -> Endpoint:
    """Put `arms` under the endpoint; shares of all arms sum to 1 (shadow and previous have 0). Raises the plan's epoch.

    The inference process follows once the plan is published (`plans.publish`).
    """
    endpoint = get(tx, name)
    total = sum(arm.share for arm in arms)
    if arms and abs(total - 1) > 1e-9:
        raise BAD_SHARES(field="share", name=name, total=total)
    epoch = next_epoch(tx)
    changed = msgspec.structs.replace(endpoint, arms=arms, epoch=epoch)
    _update(tx, name, {"arms": msgspec.json.encode(arms), "epoch": epoch})
    words: dict[str, str] = {arm.name: f"version {arm.version} at {arm.share:.0%}" for arm in arms}
    told = ArmsChanged(subject=f"endpoint/{name}", arms=words, epoch=epoch, event_at=endpoint.watermark)
    events.emit(tx, told)
    return changed


def pause(tx: Transaction, name: str, paused: bool, reason: str | None = None) -> Endpoint:
    """Stop or allow automatic action for the endpoint; it answers as before either way."""
    endpoint = get(tx, name)
    if endpoint.paused != paused:
        _update(tx, name, {"paused": paused})
        kind = EndpointPaused if paused else EndpointResumed
        events.emit(tx, kind(subject=f"endpoint/{name}", event_at=endpoint.watermark), reason=reason)
    return msgspec.structs.replace(endpoint, paused=paused)


def see(tx: Transaction, taken: Taken) -> None:
    """Move the endpoint's watermark on to what the intake saw; it never goes back.

    While a replay is under way, requests without an event time (somebody tries the endpoint) leave its time alone:
    they would carry it to today. An hour after the last of the replay they count, and the endpoint is live.
    """
    endpoint = find(tx, taken.endpoint)
    if endpoint is None:
        return
    seen: dict[str, Any] = {"predictions": endpoint.predictions + taken.rows}
    amid_replay = endpoint.replayed_at is not None and tx.at - endpoint.replayed_at < HOUR
    if taken.last_event_at is not None and (taken.told or not amid_replay):
        seen |= {"watermark": max(endpoint.watermark or 0, taken.last_event_at), "replaying": taken.replayed}
    if taken.replayed:
        seen["replayed_at"] = tx.at
    _update(tx, taken.endpoint, seen)


def next_epoch(tx: Transaction) -> int:
    """Raise the epoch of the one plan; called by whatever changes what the plan says (arms, tokens)."""
    epoch = current_epoch(tx) + 1
    if epoch == 1:
        tx.execute(sa.insert(tables.plan_epochs).values(project="", epoch=epoch))
    else:
        tx.execute(sa.update(tables.plan_epochs).values(epoch=epoch))
    return epoch


def current_epoch(reader: Reader) -> int:
    """The plan's epoch; 0 before the first."""
    return int(reader.execute(sa.select(tables.plan_epochs.c.epoch)).scalar() or 0)


def event_now(endpoint: Endpoint, wall: int) -> int:
    """The endpoint's event-time "now": what a replay has reached, else the wall clock (design rule 10)."""
    if endpoint.replaying and endpoint.watermark is not None:
        return endpoint.watermark
    return wall


def _update(tx: Transaction, name: str, values: dict[str, Any]) -> None:
    where = (tables.endpoints.c.project == tx.project, tables.endpoints.c.name == name)
    tx.execute(sa.update(tables.endpoints).where(*where).values(values))


def _endpoint(row: sa.RowMapping) -> Endpoint:
    values = {k: v for k, v in row.items() if k not in ("project", "arms")}
    return Endpoint(**values, arms=_decode_arms(row["arms"]))
