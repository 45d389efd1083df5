"""The route table: what one plan says, with its models loaded, ready to be looked up.

A table never changes. A new plan becomes a new table in another thread (`build`), which takes over what is already
loaded; the event loop then stores it in one assignment. Requests that began under the old one hold it by reference,
and it is freed with the last of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from homeostat.foundation.errors import HomeostatError
from homeostat.inference.access import Tokens
from homeostat.inference.runtimes import Load, Runtime
from homeostat.inference.wire import Arm, EndpointPlan, Plan, place

DEFAULT_PROJECT = b"default"
_SPAN = float(1 << 64)


class ArmRoute:
    """One arm with its loaded model; `name` is what is written beside its predictions."""

    __slots__ = ("name", "runtime", "version", "version_text")

    def __init__(self, arm: Arm, runtime: Runtime) -> None:
        self.name = arm.name
        self.version = arm.version
        self.version_text = str(arm.version)
        self.runtime = runtime


class EndpointRoute:
    """One endpoint: the arms that answer with their upper bounds in [0, 1], the shadows, and every loaded version."""

    def __init__(self, plan: EndpointPlan, loaded: list[tuple[Arm, ArmRoute]]) -> None:
        self.plan = plan
        self.id, self.project, self.name, self.log = plan.endpoint_id, plan.project, plan.name, plan.log
        sharing = [(arm, route) for arm, route in loaded if arm.share > 0 and arm.role != "shadow"]
        champions = [route for arm, route in loaded if arm.role == "champion"]
        if not sharing and champions:  # the arms with a share did not load
            sharing = [(arm, route) for arm, route in loaded if arm.role == "champion"]
        total = sum(max(arm.share, 0.0) for arm, _ in sharing) or 1.0
        self.answering = [route for _, route in sharing]
        self._bounds: list[float] = []
        reached = 0.0
        for arm, _ in sharing:
            reached += arm.share / total
            self._bounds.append(reached)
        self.champion = champions[0] if champions else (self.answering[0] if self.answering else None)
        self.shadows = [route for arm, route in loaded if arm.role == "shadow"]
        # Renewed with every challenger, so that it is not the same callers who always try the new version first.
        newest = max((arm.version for arm, _ in sharing), default=0)
        self._salt = f"{plan.endpoint_id}/{newest}/".encode()
        answering = set(map(id, self.answering))
        self.by_version: dict[int, tuple[ArmRoute, str]] = {}
        for _, route in sorted(loaded, key=lambda pair: id(pair[1]) in answering):  # an answering arm wins its number
            self.by_version[route.version] = (route, route.name if id(route) in answering else "direct")

    def pick(self, key: str | int | None, request: bytes) -> ArmRoute:
        """The arm that answers: the same key keeps its arm while the shares stand; without a key, chance by request."""
        answering = self.answering
        if len(answering) == 1:
            return answering[0]
        text = request if key is None else str(key).encode()
        point = int.from_bytes(hashlib.blake2b(self._salt + text, digest_size=8).digest(), "big") / _SPAN
        for bound, route in zip(self._bounds, answering, strict=True):
            if point < bound:
                return route
        return answering[-1]


class Table:
    """Everything one plan says. `infer` maps (project, request target) to an endpoint and the version named, if any."""

    def __init__(self, plan: Plan, routes: list[EndpointRoute]) -> None:
        self.plan = plan
        self.epoch = plan.epoch
        self.tokens = Tokens(plan)
        self.endpoints = {(route.project, route.name): route for route in routes}
        self.infer: dict[tuple[bytes, bytes], tuple[EndpointRoute, int | None]] = {}
        for route in routes:
            project, root = route.project.encode(), f"/v2/models/{route.name}"
            self.infer[project, f"{root}/infer".encode()] = (route, None)
            for version in route.by_version:
                self.infer[project, f"{root}/versions/{version}/infer".encode()] = (route, version)

    def runtimes(self) -> dict[str, Runtime]:
        """The loaded packages by digest."""
        return {
            arm.runtime.digest: arm.runtime
            for route in self.endpoints.values()
            for arm, _ in [*route.by_version.values(), *((shadow, "") for shadow in route.shadows)]
        }


EMPTY = Table(Plan(epoch=0, objects="", endpoints=(), tokens={}), [])


def build(
    plan: Plan, objects: str, before: Table, load: Load, warn: Callable[[str], None]
) -> tuple[Table, dict[str, str]]:
    """The table of `plan`, and what could not be loaded ("endpoint/version" -> why). Runs in a loading thread.

    An arm that fails takes no traffic and the others share it. When the champion fails, or nothing that answers is
    left, the endpoint goes on as it was in `before`; when it was not there, it is not ready.
    """
    ready = dict(before.runtimes())
    broken: dict[str, str] = {}
    failed: dict[str, str] = {}
    routes: list[EndpointRoute] = []
    for endpoint in plan.endpoints:
        loaded: list[tuple[Arm, ArmRoute]] = []
        champion_failed = False
        for arm in endpoint.arms:
            why = broken.get(arm.package) or _make_ready(arm.package, objects, load, ready)
            if why is None:
                loaded.append((arm, ArmRoute(arm, ready[arm.package])))
                continue
            broken[arm.package] = why
            failed[place(endpoint.project, endpoint.name, arm.version)] = why
            champion_failed = champion_failed or arm.role == "champion"
            warn(f"endpoint {endpoint.name} version {arm.version} ({arm.name}) cannot be loaded: {why}")
        route = EndpointRoute(endpoint, loaded)
        kept = before.endpoints.get((endpoint.project, endpoint.name))
        lost = champion_failed or not route.answering
        if lost and kept is not None and kept.id == route.id and kept.answering:
            route = kept
        routes.append(route)
    return Table(plan, routes), failed


def _make_ready(digest: str, objects: str, load: Load, ready: dict[str, Runtime]) -> str | None:
    """Load and warm a package into `ready` unless it is there; why not, when it cannot be."""
    if digest in ready:
        return None
    try:
        runtime = Runtime(digest, load(objects, digest))
        runtime.warm()
    except HomeostatError as error:
        return f"{error}; {error.hint}"
    except Exception as error:  # a package is a stranger's work: whatever it raises, the other arms go on
        return f"{type(error).__name__}: {error}"
    ready[digest] = runtime
    return None
