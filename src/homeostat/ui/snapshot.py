"""What a project, or one endpoint of it, looks like now: the rows that the loop strip and its sentence are made of."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from homeostat.control import definitions as policies
from homeostat.control.records import Policy
from homeostat.data import datasets, versions
from homeostat.data.records import Dataset, DatasetVersion
from homeostat.delivery import deployments
from homeostat.delivery.records import Deployment, Evaluation
from homeostat.foundation import events
from homeostat.foundation.database import Reader
from homeostat.foundation.errors import HomeostatError
from homeostat.foundation.events import Recorded
from homeostat.governance import approvals, decisions
from homeostat.governance.records import Approval, Decision
from homeostat.monitoring import incidents, windows
from homeostat.monitoring.records import Incident, Window
from homeostat.pipelines import definitions as pipelines
from homeostat.pipelines import runs
from homeostat.pipelines.records import Pipeline, PipelineRun
from homeostat.serving import endpoints
from homeostat.serving.records import Endpoint

_RECENT = 60
PAGE = 25  # endpoints of a project that are looked at in full
WINDOWS = 60  # windows of an endpoint that are looked at


class Snapshot(Struct, frozen=True, kw_only=True):
    """A project now. `windows` are the newest of each endpoint, oldest first; `versions` the newest of each dataset."""

    datasets: tuple[Dataset, ...]
    versions: dict[str, DatasetVersion]
    refused: dict[str, Recorded]  # dataset -> the event, where its newest ingest was refused
    pipelines: tuple[Pipeline, ...]
    runs: tuple[PipelineRun, ...]  # pipeline runs, newest first
    endpoints: tuple[Endpoint, ...]
    policies: dict[str, Policy]
    deployments: tuple[Deployment, ...]  # newest first
    evaluation: Evaluation | None  # the newest
    windows: dict[str, list[Window]]
    incidents: tuple[Incident, ...]  # open and acting, newest first
    noticed: tuple[Incident, ...]  # in every state, newest first
    approvals: tuple[Approval, ...]  # waiting
    decisions: tuple[Decision, ...]  # newest first
    inference_alive: bool = True


def take(reader: Reader, *, inference_alive: bool = True, page: int | None = None) -> Snapshot:
    """The whole project; windows are read for a page of its endpoints: `page` by name from 1, 0 for none, or None for
    those about which something is open, and then by name."""
    known = tuple(datasets.listing(reader))
    served = tuple(endpoints.listing(reader))
    asked = tuple(deployments.listing(reader, limit=_RECENT))
    current = tuple(incidents.listing(reader, state=("open", "acting")))
    questions = tuple(approvals.listing(reader, "waiting"))
    urgent = {i.endpoint for i in current} | {a.subject.removeprefix("endpoint/") for a in questions}
    first = [e.name for e in sorted(served, key=lambda e: (page is None and e.name not in urgent, e.name))]
    start = PAGE * ((1 if page is None else page) - 1)
    shown = first[start : start + PAGE] if start >= 0 else []
    return Snapshot(
        datasets=known,
        versions={d.name: v for d in known if (v := _newest(reader, d.name)) is not None},
        refused={d.name: e for d in known if (e := _refused(reader, d.name)) is not None},
        pipelines=tuple(pipelines.listing(reader)),
        runs=tuple(runs.listing(reader, limit=_RECENT)),
        endpoints=served,
        policies={policy.endpoint: policy for policy in policies.listing(reader)},
        deployments=asked,
        evaluation=_evaluation(reader, asked),
        windows={name: windows.listing(reader, name, limit=WINDOWS) for name in shown},
        incidents=current,
        noticed=tuple(incidents.listing(reader, limit=_RECENT)),
        approvals=questions,
        decisions=tuple(decisions.listing(reader, limit=_RECENT)),
        inference_alive=inference_alive,
    )


def of_endpoint(reader: Reader, name: str, *, inference_alive: bool = True) -> Snapshot:
    """One endpoint with what feeds it; raises `serving.no_endpoint`."""
    endpoint = endpoints.get(reader, name)
    policy = policies.policy_of(reader, name)
    subject = f"endpoint/{name}"
    asked = tuple(deployments.listing(reader, name, limit=_RECENT))
    fed = tuple(d for d in datasets.listing(reader) if d.name == policy.dataset)
    defined = tuple(p for p in pipelines.listing(reader) if p.name == policy.pipeline)
    return Snapshot(
        datasets=fed,
        versions={d.name: v for d in fed if (v := _newest(reader, d.name)) is not None},
        refused={d.name: e for d in fed if (e := _refused(reader, d.name)) is not None},
        pipelines=defined,
        runs=tuple(runs.listing(reader, policy.pipeline, limit=_RECENT)) if policy.pipeline else (),
        endpoints=(endpoint,),
        policies={name: policy},
        deployments=asked,
        evaluation=_evaluation(reader, asked),
        windows={name: windows.listing(reader, name, limit=6 * WINDOWS)},
        incidents=tuple(incidents.listing(reader, name, state=("open", "acting"))),
        noticed=tuple(incidents.listing(reader, name, limit=_RECENT)),
        approvals=tuple(a for a in approvals.listing(reader, "waiting") if a.subject == subject),
        decisions=tuple(decisions.listing(reader, subject, limit=_RECENT)),
        inference_alive=inference_alive,
    )


def narrow(whole: Snapshot, name: str) -> Snapshot:
    """What of a project's snapshot concerns one endpoint: enough to say how it is."""
    return replace(
        whole,
        endpoints=tuple(e for e in whole.endpoints if e.name == name),
        deployments=tuple(d for d in whole.deployments if d.endpoint == name),
        windows={name: whole.windows.get(name, [])},
        incidents=tuple(i for i in whole.incidents if i.endpoint == name),
        noticed=tuple(i for i in whole.noticed if i.endpoint == name),
        approvals=tuple(a for a in whole.approvals if a.subject == f"endpoint/{name}"),
        decisions=tuple(d for d in whole.decisions if d.subject == f"endpoint/{name}"),
    )


def _newest(reader: Reader, dataset: str) -> DatasetVersion | None:
    try:
        return versions.get(reader, dataset)
    except HomeostatError:  # nothing was published yet
        return None


def _refused(reader: Reader, dataset: str) -> Recorded | None:
    kinds = ("data.version_added", "data.version_refused")
    found = events.read_after(reader, kinds=kinds, subject=f"dataset/{dataset}", newest_first=True, limit=1)
    return found[0] if found and found[0].kind == "data.version_refused" else None


def _evaluation(reader: Reader, asked: tuple[Deployment, ...]) -> Evaluation | None:
    newest = next((d.evaluation_id for d in asked if d.evaluation_id), None)
    return deployments.evaluation(reader, newest) if newest else None
