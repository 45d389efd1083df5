"""One infer request from body to answer: read and check, predict, write down, answer; and the shadows after it.

Work is split where it can be batched: `read` checks one request and makes a `Job`; `complete` predicts all jobs of one
turn of the event loop together, one call for each package, and writes each to the prediction log before its answer
exists. A shadow is computed by `run_shadows`, when the answer is already on its way.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from time import perf_counter_ns
from typing import Any

import msgspec

from homeostat.foundation.clock import BAD_TIME, parse_time
from homeostat.foundation.errors import HomeostatError, Kind, entry
from homeostat.foundation.ids import new_id_bytes
from homeostat.inference.access import NO_REPLAY
from homeostat.inference.answers import Answer, refuse
from homeostat.inference.counters import Counters
from homeostat.inference.routes import ArmRoute, EndpointRoute
from homeostat.inference.runtimes import MERGED_ROWS, Columns
from homeostat.inference.segments import SegmentWriter
from homeostat.inference.tensors import AnswerParameters, InferRequest, InferResponse
from homeostat.inference.wire import Grant, Prediction, encode_prediction

BAD_JSON = entry(
    "inference.bad_json", Kind.INVALID, "the body is not JSON: {why}", "send UTF-8 JSON; NaN is written as null"
)
BAD_REQUEST = entry(
    "inference.bad_request",
    Kind.INVALID,
    "{why}",
    'send {{"inputs": [{{"name": ..., "shape": [n], "datatype": ..., "data": [...]}}, ...]}}',
)
BAD_KEY = entry(
    "inference.bad_key",
    Kind.INVALID,
    "{why}",
    "send key (and subject) with one row, keys (and subjects) with one for each row: texts of at most 512 letters or "
    "64-bit whole numbers",
)
BAD_ID = entry("inference.bad_id", Kind.INVALID, "an id has at most 256 letters", "send a shorter id, or none")
UNKNOWN_OUTPUT = entry(
    "inference.unknown_output", Kind.INVALID, "the model has no output {output!r}", "ask for one of: {outputs}"
)
NOT_READY = entry(
    "inference.not_ready",
    Kind.UNAVAILABLE,
    "endpoint {endpoint!r} has no model loaded yet",
    "try again in a moment; `homeostat endpoints show {endpoint}` tells why it takes long",
)
UNKNOWN_VERSION = entry(
    "inference.unknown_version",
    Kind.NOT_FOUND,
    "endpoint {endpoint!r} serves no version {version!r}",
    "use one of: {versions}",
)

_decode = msgspec.json.Decoder(InferRequest).decode
_encode = msgspec.json.Encoder().encode
_INT64 = (-(1 << 63), (1 << 63) - 1)
_SHADOWS_WAITING = 1024

Keys = list[str | int | None] | None


class Job:
    """A request that was read and found right, waiting for its prediction."""

    __slots__ = ("arm", "arm_name", "caller_id", "columns", "event_at", "keys", "principal", "received", "recorded_at", "request", "route", "rows", "subjects", "wanted")  # fmt: skip  # noqa: E501

    route: EndpointRoute
    arm: ArmRoute
    arm_name: str
    request: bytes
    caller_id: str | None
    principal: str
    columns: Columns
    rows: int
    keys: Keys
    subjects: Keys
    event_at: int
    recorded_at: int
    received: int  # perf_counter_ns when its last byte was read
    wanted: list[str] | None


class Inferring:
    """The infer route of one worker; used by one event loop."""

    def __init__(self, log: SegmentWriter | None, counters: Counters) -> None:
        self._log = log
        self._counters = counters
        self._shadows: deque[tuple[ArmRoute, Job]] = deque()

    def read(
        self, route: EndpointRoute, version: int | None, grant: Grant, body: bytes, received: int, now: int
    ) -> Job | Answer:
        """Check one request of a principal that may use `route`; an Answer when it is refused (and so written)."""
        job = Job()
        job.route, job.received, job.principal = route, received, grant.principal
        job.recorded_at = job.event_at = now
        job.request = new_id_bytes()
        job.caller_id = None
        try:
            self._fill(job, version, grant, body)
        except HomeostatError as error:
            return self._refused(job, error)
        return job

    def _fill(self, job: Job, version: int | None, grant: Grant, body: bytes) -> None:
        route = job.route
        if not route.answering:
            raise NOT_READY(field="endpoint", endpoint=route.name)
        asked = _parse(body)
        if asked.id is not None:
            if len(asked.id) > 256:
                raise BAD_ID(field="id")
            job.caller_id = asked.id
        job.keys = job.subjects = None
        parameters = asked.parameters
        if parameters is not None:
            if parameters.event_at is not None:
                job.event_at = _event_at(parameters.event_at, grant)
            job.keys = _per_row("key", parameters.key, parameters.keys)
            job.subjects = _per_row("subject", parameters.subject, parameters.subjects)
        if version is None:
            job.arm = route.pick(job.keys[0] if job.keys else None, job.request)
            job.arm_name = job.arm.name
        else:
            job.arm, job.arm_name = route.by_version[version]
        runtime = job.arm.runtime
        job.columns, job.rows = runtime.reader.read(asked.inputs)
        for name, values in (("keys", job.keys), ("subjects", job.subjects)):
            if values is not None and len(values) != job.rows:
                raise BAD_KEY(field=f"parameters.{name}", why=f"{len(values)} {name} for {job.rows} rows")
        job.wanted = None
        if asked.outputs:
            job.wanted = list(dict.fromkeys(output.name for output in asked.outputs))
            for name in job.wanted:
                if name not in runtime.writer.datatypes:
                    known = ", ".join(runtime.writer.names)
                    raise UNKNOWN_OUTPUT(field="outputs", output=name[:140], outputs=known)

    def complete(self, jobs: Sequence[Job]) -> list[Answer]:
        """Predict, write down and answer, in the order given."""
        if len(jobs) == 1:
            job = jobs[0]
            return [self._finish(job, job.arm.runtime.predict_each([(job.columns, job.rows)])[0])]
        outcomes: dict[int, dict[str, list[Any]] | HomeostatError] = {}
        for group in _groups([(job.arm, job) for job in jobs]):
            blocks = [(job.columns, job.rows) for _, job in group]
            for (_, job), outcome in zip(group, group[0][0].runtime.predict_each(blocks), strict=True):
                outcomes[id(job)] = outcome
        return [self._finish(job, outcomes[id(job)]) for job in jobs]

    def _finish(self, job: Job, outcome: dict[str, list[Any]] | HomeostatError) -> Answer:
        if isinstance(outcome, HomeostatError):
            return self._refused(job, outcome)
        route, arm, text = job.route, job.arm, job.request.hex()
        tensors = arm.runtime.writer.write(outcome, job.rows, job.wanted)
        about = AnswerParameters(text, job.arm_name)
        body = _encode(InferResponse(route.name, arm.version_text, job.caller_id or text, about, tensors))
        latency = (perf_counter_ns() - job.received) // 1000
        if route.log:
            try:
                self._write(job, job.arm_name, arm.version, 200, latency, job.rows, job.columns, outcome)
            except HomeostatError as error:
                self._counters.answer(route.project, route.name, error.kind.status, 0, latency)
                return refuse(error)
        self._counters.answer(route.project, route.name, 200, job.rows, latency)
        if route.shadows and job.arm_name != "direct":
            for shadow in route.shadows:
                if len(self._shadows) < _SHADOWS_WAITING:
                    self._shadows.append((shadow, job))
                else:
                    self._counters.shadows_dropped += 1
        return Answer(200, body)

    def _refused(self, job: Job, error: HomeostatError) -> Answer:
        """The answer to a request that got no prediction; written with its status and no rows."""
        route, status = job.route, error.kind.status
        latency = (perf_counter_ns() - job.received) // 1000
        self._counters.answer(route.project, route.name, status, 0, latency)
        job.keys = job.subjects = None
        if route.log:
            arm = getattr(job, "arm", None)
            name, version = (job.arm_name, arm.version) if arm is not None else ("", 0)
            try:
                self._write(job, name, version, status, latency, 0, {}, {})
            except HomeostatError:
                pass  # counted in _write; why the request is refused is worth more to the caller
        return refuse(error)

    def _write(
        self, job: Job, arm: str, version: int, status: int, latency: int, rows: int, inputs: Columns, outputs: Columns
    ) -> None:
        """Append one block to the prediction log."""
        if self._log is None:
            return
        route = job.route
        record = Prediction(
            job.request, job.event_at, job.recorded_at, route.id, route.project, version, arm, status, latency, rows,
            job.keys, job.caller_id, inputs, outputs, job.principal, job.subjects,
        )  # fmt: skip
        try:
            self._log.append(encode_prediction(record))
        except HomeostatError:
            self._counters.log_failures += 1
            raise

    def run_shadows(self, most: int = 64) -> bool:
        """Compute and write up to `most` shadow predictions; whether some are left."""
        waiting = self._shadows
        taken = [waiting.popleft() for _ in range(min(most, len(waiting)))]
        for group in _groups(taken):
            runtime = group[0][0].runtime
            began = perf_counter_ns()
            names = runtime.reader.names
            fitting = [(arm, job) for arm, job in group if all(name in job.columns for name in names)]
            blocks = [({name: job.columns[name] for name in names}, job.rows) for _, job in fitting]
            outcomes = runtime.predict_each(blocks) if blocks else []
            latency = (perf_counter_ns() - began) // 1000 // max(len(blocks), 1)
            answered = {id(job): outcome for (_, job), outcome in zip(fitting, outcomes, strict=True)}
            for arm, job in group:
                self._write_shadow(arm, job, answered.get(id(job)), latency)
        return bool(waiting)

    def _write_shadow(
        self, arm: ArmRoute, job: Job, outcome: dict[str, list[Any]] | HomeostatError | None, latency: int
    ) -> None:
        if not job.route.log:
            return
        try:
            if isinstance(outcome, dict):
                self._counters.shadows += 1
                self._write(job, "shadow", arm.version, 200, latency, job.rows, job.columns, outcome)
            else:
                self._counters.shadows_failed += 1
                self._write(job, "shadow", arm.version, 500, latency, 0, {}, {})
        except HomeostatError:
            pass  # counted in _write; the caller has had its answer


def _groups(work: Sequence[tuple[ArmRoute, Job]]) -> list[list[tuple[ArmRoute, Job]]]:
    """Work that goes into one call: of the same package, at most MERGED_ROWS together."""
    groups: list[list[tuple[ArmRoute, Job]]] = []
    open_groups: dict[str, tuple[list[tuple[ArmRoute, Job]], int]] = {}
    for arm, job in work:
        group, rows = open_groups.get(arm.runtime.digest, ([], MERGED_ROWS))
        if rows + job.rows > MERGED_ROWS:
            group, rows = [], 0
            groups.append(group)
        group.append((arm, job))
        open_groups[arm.runtime.digest] = (group, rows + job.rows)
    return groups


def _parse(body: bytes) -> InferRequest:
    try:
        return _decode(body)
    except msgspec.ValidationError as error:
        why, _, where = str(error).partition(" - at `$")
        raise BAD_REQUEST(field=where.strip(".`") or "body", why=why) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BAD_JSON(field="body", why=str(error)) from None
    except RecursionError:
        raise BAD_JSON(field="body", why="it is nested too deeply") from None


def _event_at(value: str | int, grant: Grant) -> int:
    if not grant.replay:
        raise NO_REPLAY(field="parameters.event_at", principal=grant.principal)
    at = parse_time(value, field="parameters.event_at")
    if not _INT64[0] <= at <= _INT64[1]:
        raise BAD_TIME(field="parameters.event_at", value=str(value)[:60])
    return at


def _per_row(name: str, one: str | int | None, many: list[str | int | None] | None) -> Keys:
    """`key` or `keys` (and the same of subjects) as a list for all rows."""
    if one is None and many is None:
        return None
    if one is not None and many is not None:
        raise BAD_KEY(field=f"parameters.{name}", why=f"{name} and {name}s are both sent")
    values = [one] if many is None else many
    for value in values:
        if type(value) is int and not _INT64[0] <= value <= _INT64[1]:
            raise BAD_KEY(field=f"parameters.{name}", why=f"{name} is beyond 64 bits")
        if type(value) is str and len(value) > 512:
            raise BAD_KEY(field=f"parameters.{name}", why=f"{name} has more than 512 letters")
    return values
