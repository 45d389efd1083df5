"""The way out: everything that matters of a project as plain files that need no Homeostat to be read.

models/<model>/<number>/manifest.json and the package's files (ONNX, or skops)
runs/<id>.json, decisions.json, evaluations.json, incidents.json, deployments.json, datasets.json, events.jsonl
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from typing import Any

import msgspec

from homeostat.data import datasets, versions
from homeostat.delivery import deployments
from homeostat.foundation import events
from homeostat.foundation.database import Database, Reader
from homeostat.foundation.objects import Objects
from homeostat.governance import decisions
from homeostat.monitoring import incidents
from homeostat.packages import package
from homeostat.registry import models
from homeostat.registry import versions as model_versions
from homeostat.serving import endpoints
from homeostat.tracking import runs

_MOST = 100_000


def archive(database: Database, objects: Objects, project: str) -> Iterator[bytes]:
    """The export as a tar stream, in chunks: one file at a time is held in memory."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in _files(database, objects, project):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
            yield _drain(buffer)
    yield _drain(buffer)


def _drain(buffer: io.BytesIO) -> bytes:
    data = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    return data


def _files(database: Database, objects: Objects, project: str) -> Iterator[tuple[str, bytes]]:
    with database.read(project) as reader:
        for model in models.listing(reader):
            for version in model_versions.listing(reader, model.name):
                folder = f"models/{model.name}/{version.number}"
                manifest = package.read_manifest(objects, version.package)
                yield f"{folder}/version.json", _pretty(version)
                yield f"{folder}/manifest.json", _pretty(manifest)
                for name, content in package.read_files(objects, manifest).items():
                    yield f"{folder}/{name}", content
        for run in runs.listing(reader, limit=_MOST):
            yield f"runs/{run.id}.json", _pretty(run)
        yield from _ledgers(reader)
        yield "events.jsonl", b"".join(_lines(reader))


def _ledgers(reader: Reader) -> Iterator[tuple[str, bytes]]:
    found = endpoints.listing(reader)
    yield "decisions.json", _pretty(decisions.listing(reader, limit=_MOST))
    yield "incidents.json", _pretty(incidents.listing(reader))
    yield "endpoints.json", _pretty(found)
    yield "deployments.json", _pretty(deployments.listing(reader, limit=_MOST))
    yield "evaluations.json", _pretty([x for e in found for x in deployments.evaluations(reader, e.name, limit=_MOST)])
    named = datasets.listing(reader)
    yield "datasets.json", _pretty([{"dataset": d, "versions": versions.log(reader, d.name)} for d in named])


def _lines(reader: Reader) -> Iterator[bytes]:
    seq = 0
    while found := events.read_after(reader, seq, limit=1000):
        for event in found:
            yield msgspec.json.encode(event) + b"\n"
        seq = found[-1].seq


def _pretty(value: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=2)
