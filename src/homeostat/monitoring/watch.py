"""Control's half of monitoring: have each endpoint's champion observed, and keep what was seen in one transaction."""

from __future__ import annotations

from homeostat.data import datasets
from homeostat.data import versions as data_versions
from homeostat.foundation.database import Database, Reader
from homeostat.foundation.killpoints import passing
from homeostat.monitoring import incidents, monitors, windows
from homeostat.monitoring.records import FileLabels, ObserveJob, ObserveResult
from homeostat.pipelines.engine import Engine, call
from homeostat.registry import versions
from homeostat.serving.records import Endpoint

OBSERVE = "homeostat.monitoring.observe:observe"


def step(
    database: Database,
    engine: Engine,
    project: str,
    endpoint: Endpoint,
    *,
    window: int,
    dataset: str | None = None,
    metric: str | None = None,
    latency_budget: float | None = None,
    actor: str = "service:loop",
) -> bool:
    """Observe the endpoint's champion if a whole window has passed since the last time; True if anything was kept.

    `window` is microseconds of event time (whole seasonal periods); `dataset` is where the labels are, None for none;
    `latency_budget` microseconds. Windows, monitor states, incidents and the cursor are written in one transaction, so
    after a crash the same job is done again and nothing is counted twice. Errors of the worker are raised here as they
    were there.
    """
    champion = endpoint.arm("champion")
    if champion is None or endpoint.watermark is None:
        return False
    with database.read(project) as reader:
        cursor = monitors.cursor(reader, endpoint.name, champion.version)
        if endpoint.watermark // window * window <= cursor.until:
            return False
        package = versions.get(reader, endpoint.model, champion.version).package
        files = _file_labels(reader, dataset)
        states = tuple(monitors.listing(reader, endpoint.name, champion.version))
    job = ObserveJob(
        project=project,
        endpoint=endpoint.name,
        version=champion.version,
        package=package,
        window=window,
        until=endpoint.watermark,
        since=champion.since_event,
        dataset=dataset,
        files=files,
        metric=metric,
        latency_budget=latency_budget,
        cursor=cursor,
        states=states,
    )
    seen = call(engine, OBSERVE, job, ObserveResult, label=f"observe {endpoint.name} version {champion.version}")
    if seen.cursor == cursor:
        return False
    passing("incident.returned" if seen.findings else "window.returned")
    kept = _keep(database, project, endpoint, job, seen, actor)
    passing("incident.raised" if seen.findings else "window.kept")
    return kept


def _file_labels(reader: Reader, name: str | None) -> FileLabels | None:
    """Where the dataset's own files carry labels: its newest published version; None where they cannot."""
    found = next((d for d in datasets.listing(reader) if d.name == name), None)
    if found is None or found.key is None or found.label is None:
        return None
    newest = next((v for v in data_versions.log(reader, found.name) if v.published), None)
    if newest is None or found.label not in newest.columns:
        return None
    return FileLabels(
        key=found.key,
        label=found.label,
        time=found.time,
        delay=found.label_delay,
        data=newest.number,
        delta_version=newest.delta_version,
    )


def _keep(
    database: Database, project: str, endpoint: Endpoint, job: ObserveJob, seen: ObserveResult, actor: str
) -> bool:
    with database.write(actor=actor, project=project, reason="a monitor alarmed") as tx:
        if not monitors.advance(tx, endpoint.name, job.version, seen.cursor, expected=job.cursor):
            return False
        windows.save(tx, seen.windows)
        monitors.save(tx, seen.states)
        for found in seen.findings:
            incidents.raise_(
                tx,
                endpoint.name,
                endpoint.model,
                job.version,
                found.cause,
                event_at=found.event_at,
                change_at=found.change_at,
                summary=found.summary,
                evidence=found.evidence,
            )
    return True
