"""Datasets: definitions, versions, quarantine, labels."""

from __future__ import annotations

from litestar import get, post
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec import Struct

from homeostat.api.access import Calling, needs
from homeostat.data import datasets, labels, lineage, quarantine, versions
from homeostat.data.records import Dataset, DatasetVersion, Finding, Label, QuarantineReason
from homeostat.foundation.killpoints import passing
from homeostat.pipelines.ingestion import ingest as take_in

_TAGS = ["datasets"]


class Labels(Struct, frozen=True, kw_only=True):
    """Labels to record."""

    labels: list[Label]


class Recorded(Struct, frozen=True, kw_only=True):
    """How many labels are durable now."""

    recorded: int


class Ingested(Struct, frozen=True, kw_only=True):
    """What an ingest made: a version (None: nothing was new), what it set aside, and what is odd about files."""

    version: DatasetVersion | None
    reasons: list[QuarantineReason]
    findings: list[Finding]
    refused: str | None


@get("/datasets", opt=needs("read"), sync_to_thread=True, tags=_TAGS)
def listing(caller: Calling) -> list[Dataset]:
    """Every dataset of the project."""
    with caller.read() as reader:
        return datasets.listing(reader)


@post("/datasets", opt=needs("data.write"), sync_to_thread=True, status_code=200, tags=_TAGS)
def define(caller: Calling, data: JSONBody[Dataset]) -> Dataset:
    """Define a dataset, or change its definition; the same again changes nothing."""
    with caller.write() as tx:
        return datasets.define(tx, data)


@get("/datasets/{dataset:str}", opt=needs("read"), sync_to_thread=True, tags=_TAGS)
def show(caller: Calling, dataset: FromPath[str]) -> Dataset:
    """One dataset."""
    with caller.read() as reader:
        return datasets.get(reader, dataset)


@get("/datasets/{dataset:str}/versions", opt=needs("read"), sync_to_thread=True, tags=_TAGS)
def log(caller: Calling, dataset: FromPath[str]) -> list[DatasetVersion]:
    """Every version, the newest first, refused ones included."""
    with caller.read() as reader:
        return versions.log(reader, dataset)


@get("/datasets/{dataset:str}/versions/{number:int}", opt=needs("read"), sync_to_thread=True, tags=_TAGS)
def version(caller: Calling, dataset: FromPath[str], number: FromPath[int]) -> DatasetVersion:
    """One version."""
    with caller.read() as reader:
        return versions.get(reader, dataset, number)


@get("/datasets/{dataset:str}/quarantine", opt=needs("data.read"), sync_to_thread=True, tags=_TAGS)
def set_aside(caller: Calling, dataset: FromPath[str], version: FromQuery[int | None] = None) -> list[QuarantineReason]:
    """What was set aside, and why: those of the newest ingest first."""
    with caller.read() as reader:
        return quarantine.listing(reader, dataset, version=version)


@post("/datasets/{dataset:str}/labels", opt=needs("labels.write"), sync_to_thread=True, status_code=200, tags=_TAGS)
def label(caller: Calling, dataset: FromPath[str], data: JSONBody[Labels]) -> Recorded:
    """Record labels; all of them are durable when this answers, or none."""
    if any(one.event_at is not None for one in data.labels):
        caller.require("replay")  # only who may replay says when something happened (design rule 10)
    with caller.write() as tx:
        recorded = labels.record(tx, caller.home.objects, dataset, data.labels)
    passing("labels.recorded")
    caller.home.loop.nudge()
    return Recorded(recorded=recorded)


@post("/datasets/{dataset:str}/ingest", opt=needs("data.write"), sync_to_thread=True, status_code=200, tags=_TAGS)
def ingest(caller: Calling, dataset: FromPath[str]) -> Ingested:
    """Take in what is new of the dataset's files; answers once it is done."""
    home = caller.home
    made = take_in(home.database, home.engine, dataset, project=caller.project, actor=caller.name)
    with caller.read() as reader:
        reasons = [] if made is None else quarantine.listing(reader, dataset, version=made.number)
        findings = lineage.findings(reader, dataset)
    refused = None if made is None else made.refused
    return Ingested(version=made, reasons=reasons, findings=findings, refused=refused)


ROUTES = [listing, define, show, log, version, set_aside, label, ingest]
