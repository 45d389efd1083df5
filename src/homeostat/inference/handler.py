"""Open Inference Protocol v2 over REST, sans I/O: (method, target, headers, body) to an answer.

Nothing here knows of sockets: `http` and `asgi` are its two adapters. Every route but health wants a token. Targets are
looked up as they come, byte for byte; only what is not found that way is taken apart, so odd spellings work and cost
the odd callers only. The handler belongs to one event loop; `table` is the one thing another turn of it may replace.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from time import perf_counter_ns
from typing import Any
from urllib.parse import unquote_to_bytes

from homeostat.foundation.clock import Clock, SystemClock
from homeostat.foundation.errors import HomeostatError, Kind, entry
from homeostat.foundation.ids import check_name
from homeostat.inference.access import NOT_GRANTED, Hosts, covers
from homeostat.inference.answers import Answer, refuse, say
from homeostat.inference.counters import Counters
from homeostat.inference.infer import UNKNOWN_VERSION, Inferring, Job
from homeostat.inference.routes import DEFAULT_PROJECT, EMPTY, ArmRoute, EndpointRoute, Table
from homeostat.inference.segments import SegmentWriter
from homeostat.inference.tensors import DATATYPES
from homeostat.inference.wire import Grant

STARTING = entry(
    "inference.starting",
    Kind.UNAVAILABLE,
    "the inference process has just started and has not read its plan yet",
    "try again in a moment; GET /v2/health/ready tells when it is",
)
NO_ROUTE = entry(
    "inference.no_route",
    Kind.NOT_FOUND,
    "there is nothing at {path!r}",
    "the routes are /v2, /v2/health/live|ready, /v2/models/ENDPOINT[/versions/N][/ready|/infer] and /metrics",
)
UNKNOWN_ENDPOINT = entry(
    "inference.unknown_endpoint",
    Kind.NOT_FOUND,
    "project {project!r} has no endpoint {endpoint!r}",
    "use one of: {endpoints}",
)
WRONG_METHOD = entry(
    "inference.wrong_method", Kind.INVALID, "method {method} does not fit {path!r}", "use {allowed} for it"
)
UNSUPPORTED_ENCODING = entry(
    "inference.unsupported_encoding",
    Kind.INVALID,
    "the body is sent as {encoding!r}",
    "send plain JSON, neither compressed nor with the binary tensor extension",
)

_BINARY = b"inference-header-content-length"


class Handler:
    """Answers the requests of one worker."""

    def __init__(
        self, log: SegmentWriter | None = None, hosts: Hosts | None = None, clock: Clock | None = None
    ) -> None:
        self.table: Table = EMPTY
        self.draining = False
        self.counters = Counters()
        self.gauges: dict[str, float] = {}  # what the adapter knows, such as open connections
        self._hosts = hosts or Hosts()
        self._clock = clock or SystemClock()
        self._inferring = Inferring(log, self.counters)
        self.complete = self._inferring.complete
        self.run_shadows = self._inferring.run_shadows

    def handle(self, method: bytes, target: bytes, headers: Mapping[bytes, bytes], body: bytes) -> Answer:
        """Answer one request at once. Header names are lower case; values of a repeated one are joined by ", "."""
        got = self.prepare(method, target, headers, body, perf_counter_ns())
        return self.complete([got])[0] if type(got) is Job else got  # type: ignore[return-value]

    def prepare(
        self, method: bytes, target: bytes, headers: Mapping[bytes, bytes], body: bytes, received: int
    ) -> Answer | Job:
        """An answer, or a job for `complete`. `received` is perf_counter_ns when the last byte was read."""
        table = self.table
        try:
            self._hosts.check(headers)
            found = table.infer.get((headers.get(b"homeostat-project", DEFAULT_PROJECT), target))
            if found is not None and method == b"POST":
                now = self._clock.now()
                grant = table.tokens.grant(headers.get(b"authorization"), now)
                return self._infer(found[0], found[1], grant, headers, body, received, now)
            return self._other(table, method, target, headers, body, received)
        except HomeostatError as error:
            self.counters.refuse(error.kind.status)
            return refuse(error)

    def _infer(
        self,
        route: EndpointRoute,
        version: int | None,
        grant: Grant,
        headers: Mapping[bytes, bytes],
        body: bytes,
        received: int,
        now: int,
    ) -> Answer | Job:
        if not covers(grant, route.project, route.name):
            raise NOT_GRANTED(principal=grant.principal, endpoint=route.name, project=route.project)
        encoding = headers.get(b"content-encoding", b"identity")
        if encoding != b"identity" or _BINARY in headers:
            shown = "binary tensors" if _BINARY in headers else encoding.decode("latin-1")[:40]
            raise UNSUPPORTED_ENCODING(field="content-encoding", encoding=shown)
        return self._inferring.read(route, version, grant, body, received, now)

    def _other(
        self,
        table: Table,
        method: bytes,
        target: bytes,
        headers: Mapping[bytes, bytes],
        body: bytes,
        received: int,
    ) -> Answer | Job:
        """Every route but the plain spellings of infer."""
        path = unquote_to_bytes(target.partition(b"?")[0]).decode("utf-8", "replace")
        parts = path.split("/")[1:] if path.startswith("/") else []
        if parts[:2] == ["v2", "health"]:
            return self._health(table, method, parts, path)
        if table is EMPTY:  # a worker that has just begun knows no token yet, which is not the caller's fault
            raise STARTING()
        now = self._clock.now()
        grant = table.tokens.grant(headers.get(b"authorization"), now)
        if parts == ["v2"]:
            return _reading(method, path) or say({"name": "homeostat", "version": _our_version(), "extensions": []})
        if parts == ["metrics"]:
            return _reading(method, path) or self._metrics(table, grant)
        if len(parts) < 3 or parts[:2] != ["v2", "models"]:
            raise NO_ROUTE(path=path[:140])
        project = headers.get(b"homeostat-project", DEFAULT_PROJECT).decode("latin-1")
        route = _endpoint(table, grant, check_name("project", project), check_name("endpoint", parts[2]))
        rest = parts[3:]
        version = None
        if rest[:1] == ["versions"] and len(rest) > 1:
            version = _version(route, rest[1])
            rest = rest[2:]
        if rest == ["infer"]:
            if method != b"POST":
                return _wrong_method(method, path, "POST")
            return self._infer(route, version, grant, headers, body, received, now)
        if rest == ["ready"]:
            ready = bool(route.answering)
            return _reading(method, path) or say({"name": route.name, "ready": ready}, 200 if ready else 503)
        if rest:
            raise NO_ROUTE(path=path[:140])
        return _reading(method, path) or _metadata(route, version)

    def _health(self, table: Table, method: bytes, parts: Sequence[str], path: str) -> Answer:
        if parts == ["v2", "health", "live"]:
            return _reading(method, path) or say({"live": True})
        if parts == ["v2", "health", "ready"]:
            ready = table is not EMPTY and not self.draining
            return _reading(method, path) or say({"ready": ready}, 200 if ready else 503)
        raise NO_ROUTE(path=path[:140])

    def _metrics(self, table: Table, grant: Grant) -> Answer:
        gauges = {"plan_epoch": table.epoch, **self.gauges}
        text = self.counters.text(gauges, lambda project, endpoint: covers(grant, project, endpoint))
        return Answer(200, text, b"text/plain; version=0.0.4; charset=utf-8")


@cache
def _our_version() -> str:
    """The installed version; looked up when first asked for, because that reads files."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("homeostat")
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "0"


def _reading(method: bytes, path: str) -> Answer | None:
    """None when the method is one that reads, else the refusal."""
    return None if method in (b"GET", b"HEAD") else _wrong_method(method, path, "GET")


def _wrong_method(method: bytes, path: str, allowed: str) -> Answer:
    error = WRONG_METHOD(method=method.decode("latin-1")[:20], path=path[:140], allowed=allowed)
    answer = refuse(error)
    return Answer(405, answer.body, headers=((b"allow", allowed.encode()),))


def _endpoint(table: Table, grant: Grant, project: str, name: str) -> EndpointRoute:
    """The endpoint, once the grant covers it: whether others exist is not told."""
    if not covers(grant, project, name):
        raise NOT_GRANTED(principal=grant.principal, endpoint=name, project=project)
    route = table.endpoints.get((project, name))
    if route is None:
        known = ", ".join(n for p, n in table.endpoints if p == project and covers(grant, p, n)) or "(none yet)"
        raise UNKNOWN_ENDPOINT(project=project, endpoint=name, endpoints=known)
    return route


def _version(route: EndpointRoute, text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1
    if number not in route.by_version or str(number) != text:
        known = ", ".join(map(str, sorted(route.by_version))) or "(none yet)"
        raise UNKNOWN_VERSION(endpoint=route.name, version=text[:40], versions=known)
    return number


def _metadata(route: EndpointRoute, version: int | None) -> Answer:
    """Model metadata in the protocol's form: of the named version, else of the champion."""
    arm: ArmRoute | None = route.champion if version is None else route.by_version[version][0]
    if arm is None:
        return say({"name": route.name, "versions": [], "platform": "", "inputs": [], "outputs": []}, 503)
    versions = sorted(route.by_version) if version is None else [version]
    signature, writer = arm.runtime.signature, arm.runtime.writer
    outputs: list[dict[str, Any]] = [
        {
            "name": name,
            "datatype": kind,
            "shape": [-1, writer.classes] if name == "score" and writer.classes > 2 else [-1],
        }
        for name, kind in writer.datatypes.items()
    ]
    return say(
        {
            "name": route.name,
            "versions": [str(v) for v in versions],
            "platform": arm.runtime.platform,
            "inputs": [{"name": c.name, "datatype": DATATYPES[c.kind], "shape": [-1]} for c in signature.inputs],
            "outputs": outputs,
        }
    )
