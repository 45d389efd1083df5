"""Rights are a pure function: every cell of role x permission, and every way a token narrows."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.governance.access import PERMISSIONS, ROLES, everywhere, limits, permitted
from homeostat.governance.records import Principal, Role, Token

MATRIX: dict[str, set[str]] = {
    "viewer": {"read"},
    "caller": {"predict"},
    "operator": {
        "read",
        "data.read",
        "data.write",
        "labels.write",
        "runs.write",
        "models.write",
        "pipelines.run",
        "definitions.write",
        "deploy",
        "rollback",
        "predict",
    },
    "approver": {"read", "approve"},
    "admin": set(PERMISSIONS) - {"replay"},
    "worker": {"read", "data.read", "runs.write", "models.write"},
    "replayer": {"predict", "labels.write", "replay"},
}


def person(*roles: Role, projects: tuple[str, ...] | None = None, disabled: bool = False) -> Principal:
    return Principal(name="person:ada", kind="person", roles=roles, projects=projects, disabled=disabled)


def token(**limits: tuple[str, ...] | None) -> Token:
    return Token(id="t", principal="person:ada", label="test", digest="d", **limits)  # type: ignore[arg-type]


def test_every_role_is_in_the_matrix() -> None:
    assert set(MATRIX) == set(get_args(Role)) == set(ROLES)


@pytest.mark.parametrize("role", sorted(MATRIX))
@pytest.mark.parametrize("permission", sorted(PERMISSIONS))
def test_a_role_gives_what_the_matrix_says_and_nothing_else(role: Role, permission: str) -> None:
    assert permitted(person(role), None, permission, "default") == (permission in MATRIX[role])


def test_nothing_is_allowed_by_default() -> None:
    nobody = person()
    assert not any(permitted(nobody, None, permission, "default") for permission in PERMISSIONS)
    assert not permitted(person("admin"), None, "no.such.permission", "default")
    assert not permitted(person("admin", disabled=True), None, "read", "default")


def test_a_principal_is_held_to_its_projects() -> None:
    ada = person("admin", projects=("a",))
    assert permitted(ada, None, "read", "a")
    assert not permitted(ada, None, "read", "b")
    assert not everywhere(ada, None)
    assert everywhere(person("admin"), None)
    assert not everywhere(person("admin"), token(projects=("a",)))


def test_a_token_narrows_by_scope_project_and_endpoint() -> None:
    ada = person("admin")
    assert permitted(ada, token(), "deploy", "default", "fraud")
    assert permitted(ada, token(scopes=("read",)), "read", "default")
    assert not permitted(ada, token(scopes=("read",)), "deploy", "default")
    assert not permitted(ada, token(projects=("a",)), "read", "b")
    bound = token(endpoints=("fraud",))
    assert permitted(ada, bound, "predict", "default", "fraud")
    assert not permitted(ada, bound, "predict", "default", "other")
    assert not permitted(ada, bound, "read", "default"), "no endpoint in question: not its business"
    assert limits(bound) == ("endpoints",)


def test_another_ones_token_gives_nothing() -> None:
    stolen = Token(id="t", principal="person:eve", label="x", digest="d")
    assert not permitted(person("admin"), stolen, "read", "default")


names = st.sampled_from(["a", "b", "c"])
some = st.none() | st.lists(names, max_size=3).map(tuple)


@given(
    roles=st.lists(st.sampled_from(sorted(MATRIX)), max_size=3),
    projects=some,
    scopes=st.none() | st.lists(st.sampled_from(sorted(PERMISSIONS)), max_size=4).map(tuple),
    token_projects=some,
    endpoints=some,
    permission=st.sampled_from(sorted(PERMISSIONS)),
    project=names,
    endpoint=st.none() | names,
)
def test_a_token_never_widens(
    roles: list[Role],
    projects: tuple[str, ...] | None,
    scopes: tuple[str, ...] | None,
    token_projects: tuple[str, ...] | None,
    endpoints: tuple[str, ...] | None,
    permission: str,
    project: str,
    endpoint: str | None,
) -> None:
    ada = person(*roles, projects=projects)
    narrowed = token(scopes=scopes, projects=token_projects, endpoints=endpoints)
    if permitted(ada, narrowed, permission, project, endpoint):
        assert permitted(ada, None, permission, project, endpoint)
