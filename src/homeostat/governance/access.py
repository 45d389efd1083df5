"""Who may do what: a pure function from roles, scopes and projects to yes or no. Nothing is allowed by default.

A right is a permission in a project, and for some at one endpoint. A principal has the permissions of all its roles,
in its projects. A token narrows that: to its scopes, its projects, its endpoints; it never adds. A token bound to
endpoints holds only where the question names one of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from homeostat.foundation.errors import Kind, entry
from homeostat.governance.records import Principal, Role, Token

DENIED = entry(
    "access.denied",
    Kind.DENIED,
    "{principal!r} may not {permission} in project {project!r}",
    "ask an administrator for a role with the permission {permission!r}, or use a token whose scopes include it",
)
WIDER_TOKEN = entry(
    "access.wider_token",
    Kind.DENIED,
    "a token limited in {limit} may not give rights beyond its own",
    "sign in without that limit, or ask for the same limits or narrower ones",
)

PERMISSIONS: Mapping[str, str] = MappingProxyType(
    {
        "read": "look at everything in a project but the rows of its data",
        "data.read": "read the rows: quarantine examples, objects, packages",
        "data.write": "define datasets and take in their files",
        "labels.write": "say what turned out to be true",
        "runs.write": "track runs, metrics and artifacts",
        "models.write": "register model versions and move their aliases",
        "pipelines.run": "start, resume and cancel pipeline runs",
        "definitions.write": "apply a project's definitions: its code runs in workers",
        "deploy": "send a version through the gate to an endpoint; pause and resume",
        "rollback": "take an endpoint back to the version before",
        "approve": "answer for decisions that wait for a person",
        "predict": "ask an endpoint",
        "replay": "say when a prediction or a label happened",
        "admin": "manage principals and tokens, export, back up",
    }
)

PUBLIC = "public"
SIGNED_IN = "signed_in"

ROLES: Mapping[Role, frozenset[str]] = MappingProxyType(
    {
        "viewer": frozenset({"read"}),
        "caller": frozenset({"predict"}),
        "operator": frozenset(PERMISSIONS) - {"approve", "replay", "admin"},
        "approver": frozenset({"read", "approve"}),
        # Even an administrator needs the role "replayer" to set event times: it must be meant.
        "admin": frozenset(PERMISSIONS) - {"replay"},
        # What a step process of a pipeline run needs, and no more.
        "worker": frozenset({"read", "data.read", "runs.write", "models.write"}),
        "replayer": frozenset({"predict", "labels.write", "replay"}),
    }
)


def needs(*permissions: str, whole_home: bool = False) -> dict[str, Any]:
    """The `opt` of a route that needs one of `permissions`; `PUBLIC` needs nothing, `SIGNED_IN` any known caller.

    With `whole_home` the caller may not be bound to some projects. API and screens declare their routes with it, and
    one guard asks what they declare.
    """
    for permission in permissions:
        if permission not in (PUBLIC, SIGNED_IN) and permission not in PERMISSIONS:
            raise ValueError(f"{permission!r} is not a permission")
    return {"permission": permissions, "whole_home": whole_home}


def permitted(
    principal: Principal, token: Token | None, permission: str, project: str, endpoint: str | None = None
) -> bool:
    """Whether `principal`, holding `token` (None: a session, or inside the process), has `permission` in `project`.

    `endpoint` is the endpoint in question, if there is one. Expiry and revocation are judged by `tokens.resolve`.
    """
    if permission not in PERMISSIONS or principal.disabled:
        return False
    if not any(permission in ROLES.get(role, frozenset()) for role in principal.roles):
        return False
    if not _within(project, principal.projects):
        return False
    if token is None:
        return True
    if token.principal != principal.name:
        return False
    if not _within(permission, token.scopes) or not _within(project, token.projects):
        return False
    return token.endpoints is None or (endpoint is not None and endpoint in token.endpoints)


def everywhere(principal: Principal, token: Token | None) -> bool:
    """Whether the bearer is bound to no project: what concerns the whole home asks for this beside its permission."""
    return principal.projects is None and (token is None or token.projects is None)


def limits(token: Token | None) -> tuple[str, ...]:
    """In what a token narrows its principal: some of "scopes", "projects", "endpoints"."""
    if token is None:
        return ()
    return tuple(name for name in ("scopes", "projects", "endpoints") if getattr(token, name) is not None)


def _within(item: str, allowed: tuple[str, ...] | None) -> bool:
    return allowed is None or item in allowed
