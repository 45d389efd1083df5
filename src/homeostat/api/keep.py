"""Backups while it runs, and the way out: a project as plain files in a tar."""

from __future__ import annotations

import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import msgspec
from litestar import get, post
from litestar.params import JSONBody
from litestar.response import Stream
from msgspec import Struct

from homeostat.api import definitions
from homeostat.api.access import Calling, needs
from homeostat.data import datasets, quarantine
from homeostat.data import versions as dataset_versions
from homeostat.delivery import deployments
from homeostat.foundation import events
from homeostat.foundation.database import Reader
from homeostat.foundation.errors import Kind, entry
from homeostat.foundation.objects import Objects
from homeostat.governance import approvals, decisions
from homeostat.monitoring import incidents, windows
from homeostat.packages.package import read_files, read_manifest
from homeostat.pipelines import runs as pipeline_runs
from homeostat.registry import models, versions
from homeostat.serving import endpoints
from homeostat.tracking import artifacts, experiments, metrics, runs

RELATIVE = entry(
    "keep.relative_path",
    Kind.INVALID,
    "{path!r} is not an absolute path, and the server runs in another folder than you",
    "write the whole path, from / on",
)
UNWRITABLE = entry(
    "keep.unwritable", Kind.FAILED, "{path} cannot be written: {why}", "choose a folder that the server may write"
)

_EVERYTHING = 10_000_000
_README = """A Homeostat project as plain files. JSON throughout, one record a line in .jsonl; times are microseconds
since 1970 UTC.

definitions.json   datasets, pipelines, gates, rollouts and policies as they are now
datasets/          each dataset's versions and quarantine; the rows are Delta tables, in the home's folder `tables`
models/            each version: what the registry says of it, its package's manifest and files (ONNX or skops)
runs/              each tracked run: params, metrics, every point of each metric, artifacts
pipeline_runs.jsonl, endpoints.jsonl, windows.jsonl, deployments.jsonl, evaluations.jsonl, incidents.jsonl
decisions.jsonl, approvals.jsonl
events.jsonl       the audit stream with its seals
"""


class Target(Struct, frozen=True, kw_only=True):
    """Where on the server's machine the backup goes: a new or empty folder."""

    path: str


class BackedUp(Struct, frozen=True, kw_only=True):
    """What was written."""

    path: str
    files: int


@post("/backup", opt=needs("admin", whole_home=True), sync_to_thread=True, status_code=200, tags=["keep"])
def backup(caller: Calling, data: JSONBody[Target]) -> BackedUp:
    """Copy the whole home into a folder while it runs."""
    path = Path(data.path)
    if not path.is_absolute():
        raise RELATIVE(field="path", path=data.path)
    try:
        return BackedUp(path=data.path, files=caller.home.back_up(path))
    except OSError as why:
        raise UNWRITABLE(field="path", path=data.path, why=why.strerror) from why


@get("/export", opt=needs("admin"), sync_to_thread=True, tags=["keep"], media_type="application/x-tar")
def export(caller: Calling) -> Stream:
    """The project as plain files, in a tar: packages, runs, decisions, events."""
    # Whole before the first byte goes out: a fault is told as one, and what is in it is one consistent view.
    file = tempfile.TemporaryFile()  # noqa: SIM115  (the stream closes it)
    try:
        with tarfile.open(fileobj=file, mode="w") as tar, caller.read() as reader:
            for name, content in _files(reader, caller.home.objects):
                info = tarfile.TarInfo(f"{caller.project}/{name}")
                info.size, info.mtime = len(content), caller.home.clock.now() // 1_000_000
                tar.addfile(info, BytesIO(content))
    except BaseException:
        file.close()
        raise
    headers = {"Content-Disposition": f'attachment; filename="{caller.project}.tar"', "Cache-Control": "no-store"}
    return Stream(_chunks(file), media_type="application/x-tar", headers=headers)


def _files(reader: Reader, objects: Objects) -> Iterator[tuple[str, bytes]]:
    """Every file of the export, as (name, content)."""
    yield "README.txt", _README.encode()
    yield "definitions.json", _json(definitions.gather(reader))
    for dataset in datasets.listing(reader):
        folder = f"datasets/{dataset.name}"
        yield f"{folder}/dataset.json", _json(dataset)
        yield f"{folder}/versions.jsonl", _lines(reversed(dataset_versions.log(reader, dataset.name)))
        yield f"{folder}/quarantine.jsonl", _lines(quarantine.listing(reader, dataset.name))
    yield from _models(reader, objects)
    yield from _runs(reader, objects)
    found = endpoints.listing(reader)
    yield "pipeline_runs.jsonl", _lines(pipeline_runs.listing(reader, limit=_EVERYTHING))
    yield "endpoints.jsonl", _lines(found)
    yield "windows.jsonl", _lines(window for e in found for window in windows.listing(reader, e.name))
    yield "deployments.jsonl", _lines(deployments.listing(reader, limit=_EVERYTHING))
    evaluations = (one for e in found for one in deployments.evaluations(reader, e.name, limit=_EVERYTHING))
    yield "evaluations.jsonl", _lines(evaluations)
    yield "incidents.jsonl", _lines(incidents.listing(reader))
    yield "decisions.jsonl", _lines(decisions.listing(reader, limit=_EVERYTHING))
    yield "approvals.jsonl", _lines(approvals.listing(reader, limit=_EVERYTHING))
    yield "events.jsonl", _lines(_events(reader))


def _models(reader: Reader, objects: Objects) -> Iterator[tuple[str, bytes]]:
    for model in models.listing(reader):
        yield f"models/{model.name}/model.json", _json(model)
        for version in reversed(versions.listing(reader, model.name)):
            folder = f"models/{model.name}/{version.number}"
            yield f"{folder}/version.json", _json(version)
            manifest = read_manifest(objects, version.package)
            yield f"{folder}/manifest.json", _json(manifest)
            for name, content in read_files(objects, manifest).items():
                yield f"{folder}/package/{name}", content


def _runs(reader: Reader, objects: Objects) -> Iterator[tuple[str, bytes]]:
    yield "runs/experiments.jsonl", _lines(experiments.listing(reader))
    for run in runs.listing(reader, limit=_EVERYTHING):
        yield f"runs/{run.id}/run.json", _json(run)
        points = (point for key in sorted(run.metrics) for point in metrics.history(reader, run.id, key))
        yield f"runs/{run.id}/metrics.jsonl", _lines(points)
        for artifact in artifacts.listing(reader, run.id):
            yield f"runs/{run.id}/artifacts/{artifact.path}", objects.get_bytes(artifact.digest)


def _events(reader: Reader) -> Iterator[events.Recorded]:
    seq = 0
    while found := events.read_after(reader, seq, limit=1000):
        yield from found
        seq = found[-1].seq


def _json(record: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"


def _lines(records: Iterable[Any]) -> bytes:
    return b"".join(msgspec.json.encode(record) + b"\n" for record in records)


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        file.seek(0)
        while chunk := file.read(1 << 20):
            yield chunk


ROUTES = [backup, export]
