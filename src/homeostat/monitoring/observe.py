"""The worker's half of monitoring: one job looks at one endpoint version, window by window. Worker-side.

A window is a whole seasonal period of event time, [k w, (k + 1) w), and is judged once it is over (the watermark has
passed its end). Its traffic, drift and data quality go to their detectors then, once. Labels come later: each labelled
prediction goes to the performance detectors once, in the block of the window at whose end its first label was known,
and every window whose labels changed is made again as a record. A prediction that control takes in only after its label
was read is not counted by the detectors (segments come in order, so this takes event times far out of order).

Everything follows from the tables and the job, so a job that was lost is simply run again.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from msgspec.structs import replace
from numpy.typing import NDArray

from homeostat.foundation.killpoints import passing
from homeostat.foundation.stores import Stores
from homeostat.monitoring import drift, labelled, latency, metrics, performance, quality
from homeostat.monitoring.counts import Counts, count
from homeostat.monitoring.detectors import Detectors
from homeostat.monitoring.performance import Labelled
from homeostat.monitoring.records import Cursor, ObserveJob, ObserveResult, Statistic, Window
from homeostat.packages.package import read_manifest
from homeostat.packages.records import Manifest, Signature
from homeostat.serving.intake_table import table_name

ANSWERING = ("champion", "canary")
PIECE = 65_536  # rows read at a time


def observe(job: ObserveJob, stores: Stores) -> ObserveResult:
    """Observe the version up to the last whole window before `job.until`. Idempotent: it writes nothing."""
    table = table_name(job.project, job.endpoint)
    until = job.until // job.window * job.window
    if until <= job.cursor.until or not stores.tables.exists(table):
        return ObserveResult(cursor=job.cursor)
    manifest = read_manifest(stores.objects, job.package)
    rows = stores.tables.scan(table).filter((pl.col("version") == job.version) & pl.col("arm").is_in(ANSWERING))
    rows = rows.filter(pl.col("event_at") < until)
    if job.since is not None:
        rows = rows.filter(pl.col("event_at") >= job.since)
    origin = _origin(job, rows)
    if origin is None or origin >= until:
        return ObserveResult(cursor=job.cursor)
    cursor, known = _known(job, stores, until)
    watch = _Watch(job, manifest, rows, known, origin)
    watch.walk(origin, until)
    passing("window.observed")
    return ObserveResult(
        cursor=cursor,
        windows=tuple(watch.windows),
        states=watch.detectors.kept(),
        findings=tuple(watch.detectors.findings),
    )


def _known(job: ObserveJob, stores: Stores, until: int) -> tuple[Cursor, pl.DataFrame]:
    """The labels known by `until`, and the cursor that says that they were read."""
    if job.dataset is None:
        return replace(job.cursor, until=until), labelled.nothing()
    newest = max(labelled.newest_batch(stores, job.project, job.dataset), job.cursor.batch)
    known = labelled.labels(
        stores, job.project, job.dataset, files=job.files, known_at=until, newest=newest, cursor=job.cursor
    )
    data = job.cursor.data if job.files is None else max(job.files.data, job.cursor.data)
    return Cursor(until=until, batch=newest, data=data), known


def _origin(job: ObserveJob, rows: pl.LazyFrame) -> int | None:
    """Where to go on: after the last window observed, else at the window of the version's first row."""
    if job.cursor.until:
        return job.cursor.until
    first = rows.select(pl.col("event_at").min()).collect().item()
    return None if first is None else int(first) // job.window * job.window


class _Watch:
    """One job under way: what it reads, its detectors, and the windows made so far."""

    def __init__(
        self, job: ObserveJob, manifest: Manifest, rows: pl.LazyFrame, known: pl.DataFrame, origin: int
    ) -> None:
        self.job = job
        self.manifest = manifest
        self.rows = rows
        self.known = known
        self.columns = frozenset(rows.collect_schema().names())
        self.windows: list[Window] = []
        self.detectors = Detectors.fresh(
            manifest,
            endpoint=job.endpoint,
            version=job.version,
            at=origin,
            budget=job.latency_budget,
            labels=job.dataset is not None,
        )
        self.detectors.restore(job.states)

    def walk(self, origin: int, until: int) -> None:
        """Make again the windows whose labels changed, then each new window in order, feeding the detectors."""
        w = self.job.window
        blocks = self._blocks(origin, until)
        for start in self._touched(origin):
            window, _, _ = self._window(start)
            self.windows.append(window)
        for start in range(origin, until, w):
            window, traffic, counts = self._window(start)
            if window.requests:
                self.windows.append(window)
                for monitor, seen in latency.observed(traffic, start=start).items():
                    self.detectors.take(monitor, {monitor: seen}, at=start + w, span=w)
            if counts and self.manifest.profile is not None:
                moved = drift.observed(drift.distances(self.manifest.profile, counts), start=start)
                self.detectors.take(drift.SCORE, moved, at=start + w, span=w)
                self.detectors.take("inputs", moved, at=start + w, span=w)
                self.detectors.take("quality", quality.observed(counts, start=start), at=start + w, span=w)
            self._labels(blocks.get(start + w), at=start + w)

    def _labels(self, block: Labelled | None, *, at: int) -> None:
        if block is None or self.manifest.profile is None:
            return
        for monitor, seen in performance.observed(self.manifest.signature, self.manifest.profile, block).items():
            self.detectors.take(monitor, {monitor: seen}, at=at, span=self.job.window)

    def _blocks(self, origin: int, until: int) -> dict[int, Labelled]:
        """Predictions with their first label, by the end of the window in which it was known."""
        fresh = self.known.filter(~pl.col("before"))
        columns = ["event_at", labelled.ID, "key", *self._outputs()]
        if fresh.is_empty() or not self.columns.issuperset(columns):
            return {}
        found = labelled.join(self.rows.filter(pl.col("row") >= 0).select(columns), fresh).collect()
        w = self.job.window
        ends = pl.max_horizontal(-(-pl.col("known") // w) * w, pl.lit(origin + w))
        found = found.with_columns(ends.alias("block"))
        made: dict[int, Labelled] = {}
        for (end,), part in found.group_by("block"):
            assert isinstance(end, int)
            block, _ = _labelled(self.manifest.signature, part)
            if len(block.truth):
                made[end] = block
        return made

    def _touched(self, origin: int) -> list[int]:
        """Starts of the windows before `origin` that hold a prediction whose label is new or another."""
        changed = self.known.filter(pl.col("changed"))
        if changed.is_empty():
            return []
        before = self.rows.filter((pl.col("row") >= 0) & (pl.col("event_at") < origin))
        found = labelled.join(before.select("event_at", labelled.ID, "key"), changed)
        starts = found.select((pl.col("event_at") // self.job.window * self.job.window).unique()).collect()
        return sorted(starts["event_at"].to_list())

    def _window(self, start: int) -> tuple[Window, latency.Traffic, dict[str, Counts]]:
        """Everything about the window that begins at `start`."""
        job, end = self.job, start + self.job.window
        within = self.rows.filter((pl.col("event_at") >= start) & (pl.col("event_at") < end))
        outputs = [name for name in self._outputs() if name in self.columns]
        frame = within.select("event_at", "row", "status", "latency", labelled.ID, "key", *outputs).collect()
        requests = frame.filter(pl.col("row") <= 0)
        answered = frame.filter(pl.col("row") >= 0)
        traffic = latency.traffic(
            requests["latency"].to_numpy(),
            requests["status"].to_numpy(),
            rows=answered.height,
            budget=job.latency_budget,
        )
        counts = self._counts(within, answered)
        window = Window(
            endpoint=job.endpoint,
            version=job.version,
            start=start,
            end=end,
            requests=traffic.requests,
            rows=answered.height,
            errors=traffic.errors,
            p50=traffic.p50,
            p95=traffic.p95,
            p99=traffic.p99,
        )
        profile = self.manifest.profile
        if profile is not None and counts:
            window = replace(
                window,
                drift=drift.readings(profile, drift.distances(profile, counts)),
                quality=quality.readings(profile, counts),
            )
        return self._quality(window, answered), traffic, counts

    def _quality(self, window: Window, answered: pl.DataFrame) -> Window:
        """The window with its labelled part: how many labels, how many positives, and the metric beside its band."""
        if self.known.is_empty() or answered.is_empty():
            return window
        columns = ["event_at", labelled.ID, "key", *self._outputs()]
        part = labelled.join(answered.lazy().select(columns), self.known).collect()
        rows, strange = _labelled(self.manifest.signature, part)
        if strange:
            odd = Statistic(name="labels of no known class", value=strange / part.height, high=0.0, n=part.height)
            window = replace(window, quality=(odd, *window.quality))
        window = replace(window, labelled=len(rows.truth), positives=_positives(rows.truth))
        profile, metric = self.manifest.profile, self.job.metric
        if metric is None and profile is not None:
            metric = profile.metric
        if metric is None or not len(rows.truth):
            return window
        value = metrics.measure(metric, rows.truth, rows.score, threshold=self.manifest.signature.threshold)
        low = high = None
        if profile is not None and profile.metric == metric:
            low, high = profile.metric_low, profile.metric_high
        return replace(window, metric=Statistic(name=metric, value=value, low=low, high=high, n=len(rows.truth)))

    def _counts(self, within: pl.LazyFrame, answered: pl.DataFrame) -> dict[str, Counts]:
        """Count the window's inputs in pieces, so that memory does not grow with its rows, and its scores."""
        profile = self.manifest.profile
        if profile is None or answered.is_empty():
            return {}
        inputs = {name: f"in.{name}" for name in profile.columns if f"in.{name}" in self.columns}
        picked = within.filter(pl.col("row") >= 0).select(**{k: pl.col(v) for k, v in inputs.items()})
        found = count(profile.columns, picked.collect_batches(chunk_size=PIECE) if inputs else ())
        for name in profile.columns.keys() - inputs.keys():
            found[name].rows = found[name].nulls = answered.height
        score = pl.DataFrame({drift.SCORE: _summary(answered, self._outputs())})
        return {**found, **count({drift.SCORE: profile.score}, [score])}

    def _outputs(self) -> list[str]:
        return output_columns(self.manifest.signature)


def output_columns(signature: Signature) -> list[str]:
    """The columns of the predictions table that hold the score: one, or one for each of more than two classes."""
    if signature.task == "regression":
        return ["out.value"]
    if len(signature.classes) > 2:
        return [f"out.score_{k}" for k in range(len(signature.classes))]
    return ["out.score"]


def _scores(frame: pl.DataFrame, columns: list[str]) -> NDArray[np.float64]:
    if len(columns) == 1:
        return frame[columns[0]].cast(pl.Float64).to_numpy()
    return frame.select(pl.col(columns).cast(pl.Float64)).to_numpy()


def _summary(frame: pl.DataFrame, columns: list[str]) -> pl.Series:
    """One number a row to watch the scores by: the score or value itself, of more classes the largest probability."""
    return frame.select(pl.max_horizontal(columns).cast(pl.Float64)).to_series()


def _labelled(signature: Signature, part: pl.DataFrame) -> tuple[Labelled, int]:
    """Predictions joined to labels as arrays, and how many were left out because the model cannot know their label."""
    truth, known = performance.truth_of(signature, labelled.decoded(part["value"]))
    score = _scores(part, output_columns(signature))
    known &= ~np.isnan(score if score.ndim == 1 else score[:, 0])
    times = part["event_at"].to_numpy()
    rows = Labelled(truth=truth[known], score=score[known], event_at=times[known])
    return rows, int((~known).sum())


def _positives(truth: NDArray[np.bool_]) -> int:
    return int(truth.sum()) if truth.dtype == np.bool_ else 0
