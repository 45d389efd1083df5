"""Models and their versions: what a version is made of, promises and costs, and where it came from and went."""

from __future__ import annotations

from typing import Any

from litestar import Response
from litestar.params import FromPath

from homeostat.data import versions as dataset_versions
from homeostat.data.records import DatasetVersion
from homeostat.delivery import deployments
from homeostat.delivery.records import Deployment, Evaluation
from homeostat.foundation.database import Reader
from homeostat.foundation.errors import HomeostatError
from homeostat.packages.package import read_manifest
from homeostat.packages.records import CategoryProfile, Manifest, NumericProfile, ReferenceProfile
from homeostat.registry import models, versions
from homeostat.registry.records import ModelVersion
from homeostat.serving import endpoints
from homeostat.tracking import runs
from homeostat.tracking.records import Run
from homeostat.ui import formats
from homeostat.ui.views import View, Viewing, screen


@screen("/models")
def listing(view: Viewing) -> Response[bytes]:
    """Every model with its newest version and what answers."""
    with view.read() as reader:
        found = models.listing(reader)
        served = endpoints.listing(reader)
    on = {m.name: [e for e in served if e.model == m.name] for m in found}
    count = len(found)
    sentence = f"{formats.spelled(count).capitalize()} {'model' if count == 1 else 'models'}." if found else ""
    return view.page(
        "models.html", "Models", sentence=sentence or "No model is registered yet.", models=found, endpoints=on
    )


@screen("/models/{model:str}")
def show(view: Viewing, model: FromPath[str]) -> Response[bytes]:
    """One model: its versions, the newest first."""
    with view.read() as reader:
        found = models.get(reader, model)
        log = versions.listing(reader, model)
        arms = _arms(reader, model)
        metrics = {v.number: _metrics(reader, v) for v in log[:100]}
    keys = sorted({key for values in metrics.values() for key in values})
    shown = [k for k in ("average_precision", "roc_auc", "accuracy", "rmse", "mae") if k in keys][:3] or keys[:3]
    return view.page(
        "model.html", f"Model {model}", model=found, versions=log[:100], arms=arms, metrics=metrics, keys=shown
    )


@screen("/models/{model:str}/{number:int}")
def version(view: Viewing, model: FromPath[str], number: FromPath[int]) -> Response[bytes]:
    """One version: package, signature, parity, cost, profile, lineage and evaluations."""
    with view.read() as reader:
        found = versions.get(reader, model, number)
        newest = models.get(reader, model).newest
        arms = _arms(reader, model).get(number, [])
        run = _run(reader, found)
        data = _data(reader, found)
        led, held = _delivered(reader, model, number)
    manifest = _manifest(view, found)
    return view.page(
        "version.html",
        f"{model} version {number}",
        version=found,
        newest=newest,
        manifest=manifest,
        arms=arms,
        run=run,
        data=data,
        deployments=led,
        evaluations=held,
        fate=_fate(led, number == newest),
        columns=_columns(manifest.profile) if manifest is not None and manifest.profile is not None else [],
    )


_FATES = {
    "refused": "was refused by the gate",
    "rolled_back": "was rolled back",
    "failed": "could not be put to work",
    "gating": "is being held against its gate",
    "waiting": "waits for more evidence at its gate",
}


def _fate(led: list[Deployment], newest: bool) -> str:
    """What became of a version that answers nowhere."""
    if led:
        return _FATES.get(max(led, key=lambda d: d.requested_at).state, "is archived")
    return "is the newest and serves nowhere" if newest else "is archived"


def _arms(reader: Reader, model: str) -> dict[int, list[tuple[str, str, float]]]:
    """Version -> (endpoint, arm, share) of every place where it answers or stands by."""
    found: dict[int, list[tuple[str, str, float]]] = {}
    for endpoint in endpoints.listing(reader):
        if endpoint.model == model:
            for arm in endpoint.arms:
                found.setdefault(arm.version, []).append((endpoint.name, arm.name, arm.share))
    return found


def _metrics(reader: Reader, version: ModelVersion) -> dict[str, float]:
    run = _run(reader, version)
    return run.metrics if run is not None else {}


def _run(reader: Reader, version: ModelVersion) -> Run | None:
    if version.run_id is None:
        return None
    try:
        return runs.get(reader, version.run_id)
    except HomeostatError:  # the run may be another home's
        return None


def _data(reader: Reader, version: ModelVersion) -> DatasetVersion | None:
    if version.dataset is None:
        return None
    log = dataset_versions.log(reader, version.dataset)
    return next((v for v in log if v.digest == version.dataset_version), None)


def _delivered(reader: Reader, model: str, number: int) -> tuple[list[Deployment], list[Evaluation]]:
    led, held = [], []
    for endpoint in endpoints.listing(reader):
        if endpoint.model == model:
            led += [d for d in deployments.listing(reader, endpoint.name) if d.version == number]
            held += deployments.evaluations(reader, endpoint.name, version=number)
    return led, held


def _manifest(view: View, version: ModelVersion) -> Manifest | None:
    try:
        return read_manifest(view.home.objects, version.package)
    except HomeostatError:  # an upload that is no package of ours: it is kept, and shown for what it is
        return None


def _columns(profile: ReferenceProfile) -> list[dict[str, Any]]:
    """The profile's columns as table rows, with the shares of their bins for a small drawing."""
    found = []
    for name, column in (*profile.columns.items(), ("score", profile.score)):
        row: dict[str, Any] = {"name": name, "nulls": column.nulls}
        if isinstance(column, NumericProfile):
            row |= {"kind": "numeric", "low": column.low, "high": column.high, "mean": column.mean}
            row |= {"deviation": column.deviation, "values": ""}
        elif isinstance(column, CategoryProfile):
            most = sorted(column.shares.items(), key=lambda item: -item[1])
            said = ", ".join(f"{value} {formats.share(share)}" for value, share in most[:4])
            row |= {"kind": "category", "values": said + (", ..." if len(most) > 4 else "")}
        found.append(row)
    return found


ROUTES = [listing, show, version]
