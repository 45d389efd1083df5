"""One training, from dataset rows to a package with an honest reference profile. Worker-side.

The rows are those whose labels were known when the pipeline run began; they are split by time, the user's function
fits the older ones, and everything that is said of the result comes from the newer ones, which it never saw. The
version that ships is the one that was measured: it is not fitted again on all rows afterwards, for then nothing
measured would be about it.

After a change (`change_at` in the run's context) the newest rows after the change are held out, so that they are of the
world as it is now. The policy's `learn_from` says what to fit: "all" older rows, those "since_change", or "best": both,
measured on the same held-out rows, the better one kept. Choosing between two flatters the kept one a little; the gate
judges it again on rows that came later.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import polars as pl

from homeostat.data import training as data_training
from homeostat.data.records import Dataset
from homeostat.foundation.errors import HomeostatError
from homeostat.foundation.killpoints import passing
from homeostat.monitoring import reference
from homeostat.monitoring.performance import truth_of
from homeostat.packages import loader, package
from homeostat.packages.convert import Conversion, convert
from homeostat.packages.profile import profile
from homeostat.packages.records import Manifest, ReferenceProfile
from homeostat.pipelines.records import StepContext
from homeostat.pipelines.steps import NO_FUNCTION, project_module, user_error
from homeostat.project.fitting import NO_COLUMN, Fitted, Spec, columns_to_learn, fit, measured, target
from homeostat.project.thresholds import crossed

GATE_EVIDENCE = 64  # held-out positives wanted after a change: a gate asks for 60 it has not learnt from
_SAMPLE = 4000  # rows handed to the conversion: it compares on 1,000 of them
_THRESHOLD_METRICS = ("accuracy", "balanced_accuracy", "f1", "precision", "recall")


def rows(context: StepContext, *, ingested: dict[str, Any]) -> pl.DataFrame:
    """Step `rows_<dataset>`: a dataset as a frame, its labels as they were known, for the user's own steps."""
    dataset = msgspec.convert(context.settings["dataset"], Dataset)
    return _rows(context, dataset, ingested)


def train(context: StepContext, *, ingested: dict[str, Any], frame: pl.DataFrame | None = None) -> dict[str, Any]:
    """Step `train`: fit, measure, convert, and write the package; gives what the run logs and `register` needs.

    `ingested` is what the step `ingest` gave (dataset version, known_at, since, change_at, learn_from); `frame` what
    the user's last step gave, where there is one. Raises one-line errors for what will not do.
    """
    settings = context.settings
    dataset = msgspec.convert(settings["dataset"], Dataset)
    assert dataset.label is not None
    labelled = _rows(context, dataset, ingested) if frame is None else _checked(frame, dataset)
    left_out = {"event_at", dataset.label, dataset.key or "", dataset.time or ""}
    spec = Spec(
        function=settings["function"],
        label=dataset.label,
        inputs=columns_to_learn(labelled, settings["inputs"], left_out),
        task=settings["task"],
        metric=settings["metric"],
        threshold=settings["threshold"],
        params=dict(context.params),
    )
    change_at = ingested.get("change_at")
    older, newer = _split(labelled, spec, settings["held_out"], settings["window"], change_at)
    wanted = ingested.get("learn_from") or settings["learn_from"]
    fitted = _candidates(_function(context, spec.function), spec, older, newer, wanted, change_at)
    chosen = fitted[0]
    for other in fitted[1:]:
        if other.better_than(chosen, spec.metric):
            chosen = other
    recent = pl.concat([older, newer])
    if change_at is not None:
        recent = recent.filter(pl.col("event_at") >= change_at)
    return _ship(context, spec, chosen, fitted, recent, newer, ingested)


def _rows(context: StepContext, dataset: Dataset, ingested: dict[str, Any]) -> pl.DataFrame:
    if dataset.label is None:
        return data_training.table(context.stores, context.project, dataset, ingested["delta_version"])
    return data_training.rows(
        context.stores,
        context.project,
        dataset,
        ingested["delta_version"],
        known_at=context.now if ingested["known_at"] is None else ingested["known_at"],
        since=ingested.get("since"),
        endpoints=tuple(ingested.get("endpoints") or ()),
    )


def _checked(frame: Any, dataset: Dataset) -> pl.DataFrame:
    """A step's frame, with labels known and in time order."""
    assert isinstance(frame, pl.DataFrame)
    time = dataset.time or "event_at"
    for column, what in ((dataset.label or "", "is the label"), ("event_at", f"orders the rows (from {time!r})")):
        if column not in frame.columns:
            raise NO_COLUMN(field="step", column=column, what=what, columns=", ".join(frame.columns))
    return frame.filter(pl.col(dataset.label or "").is_not_null()).sort("event_at", maintain_order=True)


def _share(frame: pl.DataFrame, held_out: float) -> float:
    """What share of the rows to hold out: said as such, or as a duration in microseconds (1 or more) at the end."""
    if held_out < 1 or not frame.height:
        return held_out
    newest = int(frame["event_at"][-1])
    rows = frame.filter(pl.col("event_at") > newest - held_out).height
    return min(max(rows / frame.height, 1 / frame.height), 0.5)


def _split(
    frame: pl.DataFrame, spec: Spec, held_out: float, window: int, change_at: int | None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Older rows to learn from and newer ones to measure on; after a change the newer ones are of after the change."""
    if change_at is None:
        return data_training.split(frame, _share(frame, held_out), window=window)
    after = frame.filter(pl.col("event_at") >= change_at)
    before = frame.filter(pl.col("event_at") < change_at)
    older, newer = data_training.split(after, _enough(after, spec, _share(after, held_out)), window=window)
    return pl.concat([before, older]), newer


def _enough(after: pl.DataFrame, spec: Spec, share: float) -> float:
    """The share to hold out after a change: enough positives for a gate where half of the rows can give them."""
    if spec.task != "classification":
        return share
    counts = np.unique(target(after, spec.label, spec.task), return_counts=True)[1]
    if len(counts) != 2:
        return share
    return float(min(max(share, GATE_EVIDENCE / int(counts.min())), 0.5))


def _candidates(
    function: Callable[..., Any],
    spec: Spec,
    older: pl.DataFrame,
    newer: pl.DataFrame,
    learn_from: str,
    change_at: int | None,
) -> list[Fitted]:
    """The candidates that `learn_from` asks for, each fitted on its rows and measured on the same held-out ones."""
    since = older if change_at is None else older.filter(pl.col("event_at") >= change_at)
    if change_at is None or since.height == older.height or learn_from == "all":
        return [fit(function, "all", older, newer, spec)]
    if learn_from == "since_change":
        return [fit(function, "since_change", since, newer, spec)]
    fitted = [fit(function, "all", older, newer, spec)]
    if _can_learn(since, spec):
        fitted.append(fit(function, "since_change", since, newer, spec))
    return fitted


def _can_learn(frame: pl.DataFrame, spec: Spec) -> bool:
    """Whether there are rows, and positives, enough to fit a second candidate at all."""
    if spec.task == "regression":
        return frame.height >= 50
    counts = np.unique(target(frame, spec.label, spec.task), return_counts=True)[1]
    return len(counts) >= 2 and int(counts.min()) >= 20


def _function(context: StepContext, name: str) -> Callable[..., Any]:
    """The user's function, from the snapshot of the project file; what it raises points into that file."""
    code, path = context.code, context.code_path
    assert code is not None and path is not None
    found = getattr(project_module(code, path, context.stores), name, None)
    if not callable(found):
        raise NO_FUNCTION(field="function", file=path, function=name)

    def called(*args: Any, **params: Any) -> Any:
        try:
            return found(*args, **params)
        except HomeostatError:
            raise
        except Exception as failure:  # whatever the user's code raises is told as one line of the user's file
            raise user_error(failure, path, context.pipeline_run_id) from failure

    return called


def _ship(
    context: StepContext,
    spec: Spec,
    chosen: Fitted,
    fitted: list[Fitted],
    recent: pl.DataFrame,
    newer: pl.DataFrame,
    ingested: dict[str, Any],
) -> dict[str, Any]:
    """Convert the chosen estimator, profile it as it is served, and write its package."""
    inputs = recent.select(spec.inputs)
    made = convert(chosen.estimator, _sample(inputs), task=spec.task, threshold=chosen.threshold or 0.5)
    served = loader.predictor_of(made.manifest(), made.files)
    profiled = _profile(context.settings["window"], spec, chosen, made, served, recent, newer)
    manifest: Manifest = msgspec.structs.replace(
        made.manifest(
            profile=profiled,
            dataset=ingested["dataset"],
            dataset_version=ingested["digest"],
            run_id=context.run_id,
            code_digest=context.code,
        ),
        fit_until=chosen.fit_until,
    )
    passing("package.before")
    digest, _ = package.write(context.stores.objects, manifest, made.files)
    passing("package.after")
    return {
        "package": digest,
        "run_id": context.run_id,
        "format": made.format,
        "metric": spec.metric,
        "metrics": _metrics(chosen, fitted, profiled),
        "params": {**spec.params, "learnt_from": chosen.name, "rows": chosen.rows, "held_out_rows": newer.height},
        "tags": {
            "dataset": ingested["dataset"],
            "dataset_version": str(ingested["version"]),
            "estimator": made.estimator,
        },
        "dataset": ingested["dataset"],
        "dataset_version": ingested["digest"],
        "parity": msgspec.to_builtins(made.parity),
        "cost": msgspec.to_builtins(made.cost),
        "threshold": chosen.threshold,
        "fit_until": chosen.fit_until,
        "candidates": [{"learnt_from": c.name, "rows": c.rows, "metrics": c.metrics} for c in fitted],
        "remarks": [*made.warnings, *([made.refusal] if made.refusal else [])],
    }


def _profile(
    window: int,
    spec: Spec,
    chosen: Fitted,
    made: Conversion,
    served: loader.Predictor,
    recent: pl.DataFrame,
    newer: pl.DataFrame,
) -> ReferenceProfile:
    """Inputs of the recent rows, scores of the held-out ones as they are served, and the mistakes made on those."""
    output = "value" if spec.task == "regression" else "score"
    score = _served(served, newer.select(spec.inputs))[output]
    found = profile(recent.select(spec.inputs), score, made.signature)
    labels = target(newer, spec.label, spec.task).tolist()
    event_at = newer["event_at"].to_numpy()
    found = reference.complete(
        found, made.signature, labels=labels, score=score, event_at=event_at, window=window, metric=spec.metric
    )
    if chosen.threshold_picked and chosen.threshold is not None and found.misses is not None:
        found = _cross_fitted(found, made, labels, score, chosen.threshold)
    found = reference.calibrate(found, recent.select(spec.inputs), recent["event_at"].to_numpy(), window=window)
    drift, windows = found.drift, found.drift_windows
    if score.ndim == 1:
        scored = pl.DataFrame({"score": score.astype(np.float64)})
        own = reference.calibrate(msgspec.structs.replace(found, columns={}), scored, event_at, window=window)
        drift = {**drift, **own.drift}
        windows = min(w for w in (windows, own.drift_windows) if w) if windows or own.drift_windows else 0
    return msgspec.structs.replace(found, drift=drift, drift_windows=windows)


def _cross_fitted(
    found: ReferenceProfile, made: Conversion, labels: list[Any], score: Any, threshold: float
) -> ReferenceProfile:
    """The rates of mistakes at a threshold that the rows had no part in picking (see `thresholds.crossed`)."""
    truth, known = truth_of(made.signature, labels)
    truth, called = truth[known], crossed(truth[known], score[known], threshold)
    changed: dict[str, Any] = {
        "misses": float(np.mean(~called[truth])),
        "false_alarms": float(np.mean(called[~truth])),
    }
    if found.metric in _THRESHOLD_METRICS:
        changed["metric_value"] = measured("classification", truth, called.astype(np.float64), 0.5).get(found.metric)
    return msgspec.structs.replace(found, **changed)


def _served(served: loader.Predictor, X: pl.DataFrame) -> dict[str, np.ndarray]:
    """What the package answers on every row, in blocks."""
    blocks = []
    for part in X.iter_slices(4096):
        columns = {c.name: part[c.name].to_list() for c in served.manifest.signature.inputs}
        blocks.append(served.predict(columns, part.height))
    return {name: np.concatenate([b[name] for b in blocks]) for name in blocks[0]}


def _sample(X: pl.DataFrame) -> pl.DataFrame:
    """Some thousands of rows, and one with a null from each column that has any: nulls it has are nulls it may have."""
    if X.height <= _SAMPLE:
        return X
    index = np.random.default_rng(0).permutation(X.height)[:_SAMPLE]
    extra = [int(np.flatnonzero(X[c].is_null().to_numpy())[0]) for c in X.columns if X[c].null_count()]
    return X[np.unique(np.concatenate([index, np.array(extra, dtype=np.int64)]))]


def _metrics(chosen: Fitted, fitted: list[Fitted], found: ReferenceProfile) -> dict[str, float]:
    """What the run logs: the chosen one's metrics, its mistakes, and the others' metrics under their names."""
    logged = dict(chosen.metrics)
    if found.metric is not None and found.metric_value is not None:
        logged[found.metric] = found.metric_value
    for name in ("misses", "false_alarms"):
        value = getattr(found, name)
        if value is not None:
            logged[name] = value
    if chosen.threshold is not None:
        logged["threshold"] = chosen.threshold
    if len(fitted) > 1:
        logged |= {f"{c.name}.{name}": value for c in fitted for name, value in c.metrics.items()}
    return logged
