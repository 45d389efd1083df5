"""The plan: every endpoint of every project, and every token that may predict, written for the inference process."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from homeostat.foundation.database import Reader
from homeostat.governance import tokens
from homeostat.inference.wire import Arm, EndpointPlan, Grant, Plan, Role
from homeostat.registry import versions
from homeostat.serving import endpoints
from homeostat.serving.records import Endpoint, EndpointArm

_ROLES: dict[str, Role] = {
    "champion": "champion",
    "canary": "challenger",
    "shadow": "shadow",
    "previous": "previous",
}


def build(reader: Reader, objects: Path, *, now: int, open_access: bool = False) -> Plan:
    """The plan as the database says it should be."""
    planned: list[EndpointPlan] = []
    for project in endpoints.projects(reader):
        inside = reader.inside(project)
        planned += [_endpoint_plan(inside, endpoint) for endpoint in endpoints.listing(inside) if endpoint.arms]
    return Plan(
        epoch=endpoints.current_epoch(reader),
        objects=str(objects),
        endpoints=tuple(planned),
        tokens=tokens.grants(reader, now),
        open_access=open_access,
        anonymous=Grant(principal="anonymous", endpoints=None, projects=None, replay=True) if open_access else None,
    )


def write(plan: Plan, directory: Path) -> None:
    """Replace `<directory>/plan.json` whole: a reader sees the old plan or the new one. The same plan is left alone."""
    directory.mkdir(parents=True, exist_ok=True)
    content, fresh = msgspec.json.encode(plan), directory / "plan.json.new"
    try:
        if (directory / "plan.json").read_bytes() == content:
            return
    except OSError:
        pass  # none yet, or one that cannot be read: write it
    with fresh.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(directory / "plan.json")


def _endpoint_plan(reader: Reader, endpoint: Endpoint) -> EndpointPlan:
    return EndpointPlan(
        endpoint_id=endpoint.id,
        project=reader.project,
        name=endpoint.name,
        model=endpoint.model,
        arms=tuple(_arm(reader, endpoint.model, arm) for arm in endpoint.arms),
    )


def _arm(reader: Reader, model: str, arm: EndpointArm) -> Arm:
    package = versions.get(reader, model, arm.version).package
    return Arm(name=arm.name, role=_ROLES[arm.name], version=arm.version, package=package, share=arm.share)
