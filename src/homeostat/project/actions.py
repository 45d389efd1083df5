"""What control itself does in a model's pipeline: take new data in, and register what was trained. Control-side.

Both are idempotent: what is new is taken in once, and a version is registered once for each run of its step.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from homeostat.data import datasets, labels, versions
from homeostat.foundation.clock import DAY, Clock
from homeostat.foundation.database import Database
from homeostat.foundation.errors import Kind, entry
from homeostat.foundation.killpoints import passing
from homeostat.foundation.objects import Objects
from homeostat.pipelines.engine import Engine
from homeostat.pipelines.ingestion import ingest as take_in
from homeostat.pipelines.records import StepContext
from homeostat.registry import versions as model_versions
from homeostat.serving import endpoints

NOT_PUBLISHED = entry(
    "project.not_published",
    Kind.REFUSED,
    "the new data of dataset {dataset!r} was not published: {why}",
    "see what broke its contract: homeostat data check {dataset}",
)

Action = Callable[[StepContext], dict[str, Any]]

LABEL_WAIT = 30.0  # wall seconds to wait for labels recorded before this run to be in their table


def build(database: Database, engine: Engine, objects: Objects, clock: Clock) -> dict[str, Action]:
    """The actions by name, as `pipelines.runner.Runner` takes them."""
    return {
        "ingest": lambda context: ingest(database, engine, context),
        "register": lambda context: register(database, context),
    }


def ingest(database: Database, engine: Engine, context: StepContext) -> dict[str, Any]:
    """Take in what is new of `settings["dataset"]`, and tell training what to learn from.

    Gives the newest published version and the times that decide which labels count. All that training depends on beside
    code and params is in it, so that its digest can stand for them in a cache key. New data that breaks a "stop" rule
    ends the run with the reason, unless it is a decision's: that goes on with what was published before.
    """
    dataset = str(context.settings["dataset"])
    made = take_in(database, engine, dataset, project=context.project, actor=context.actor)
    if made is not None and not made.published and context.decision_id is None:
        raise NOT_PUBLISHED(field=dataset, dataset=dataset, why=made.refused or "it broke the contract")
    through = _wait_for_labels(database, context.project, dataset)
    with database.read(context.project) as reader:
        version = versions.get(reader, dataset)
        delay = datasets.get(reader, dataset).label_delay
        names = sorted(e.name for e in endpoints.listing(reader)) if through else []
    known_at = context.context.get("event_at")
    own_labels_until = int(context.now if known_at is None else known_at)
    if version.last_event_at is not None:
        own_labels_until = min(own_labels_until, version.last_event_at + delay)
    return {
        "dataset": dataset,
        "version": version.number,
        "digest": version.digest,
        "delta_version": version.delta_version,
        "rows": version.rows,
        "endpoints": names,
        # None means the moment the step runs. That moment itself would keep results from ever being cached, so what it
        # decides stands here: which labels of the files are known, which batches of labels there are, and the day.
        "known_at": known_at,
        "own_labels_until": own_labels_until,
        "labels_through": through,
        "day": context.now // DAY if through and known_at is None else None,
        "since": context.context.get("since"),
        "change_at": context.context.get("change_at"),
        "learn_from": context.context.get("learn_from"),
    }


def register(database: Database, context: StepContext) -> dict[str, Any]:
    """Register the package that `train` made as the next version of the model; once for each package.

    So a run whose training came out of the cache gives the version that training made the first time.
    """
    trained = context.inputs["trained"]
    model = str(context.settings["model"])
    with database.write(actor=context.actor, project=context.project, decision_id=context.decision_id) as tx:
        version = model_versions.register(
            tx,
            model,
            trained["package"],
            run_id=trained.get("run_id"),
            dataset=trained["dataset"],
            dataset_version=trained["dataset_version"],
            format=trained["format"],
            request=f"package/{trained['package']}",
        )
    passing("version.registered")
    return {
        "model": model,
        "version": version.number,
        "package": version.package,
        "run_id": version.run_id,
        "metric": trained["metric"],
        "metrics": trained["metrics"],
        "remarks": trained["remarks"],
    }


def _wait_for_labels(database: Database, project: str, dataset: str) -> int:
    """Wait until the control loop has folded what was recorded by now; gives the number of the newest batch seen."""
    deadline = time.monotonic() + LABEL_WAIT
    newest: int | None = None
    while True:
        with database.read(project) as reader:
            waiting = [batch.id for batch in labels.pending(reader, dataset)]
            if newest is None:
                newest = labels.newest(reader, dataset)
        if not any(batch <= newest for batch in waiting) or time.monotonic() > deadline:
            return newest
        time.sleep(0.02)
