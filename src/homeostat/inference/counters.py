"""What `/metrics` tells, in Prometheus text: counts kept by plain additions, written out only when asked.

The histogram counts one request in one addition; its cumulative form is worked out at reading.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable

BUCKETS = (250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000)  # microseconds


class Counters:
    """The counts of one process; used by one event loop."""

    def __init__(self) -> None:
        self.answered: dict[tuple[str, str, int], int] = {}  # (project, endpoint, status) -> requests
        self.rows: dict[tuple[str, str], int] = {}
        self.latency: dict[tuple[str, str], list[int]] = {}  # a count for each bucket, the rest, and the sum in us
        self.refused: dict[int, int] = {}  # status -> requests that reached no endpoint
        self.shadows = 0
        self.shadows_failed = 0
        self.shadows_dropped = 0
        self.log_failures = 0

    def answer(self, project: str, endpoint: str, status: int, rows: int, latency: int) -> None:
        """Count one infer request that reached its endpoint; `latency` in microseconds."""
        key = (project, endpoint, status)
        self.answered[key] = self.answered.get(key, 0) + 1
        if rows:
            where = (project, endpoint)
            self.rows[where] = self.rows.get(where, 0) + rows
            counts = self.latency.get(where)
            if counts is None:
                counts = self.latency[where] = [0] * (len(BUCKETS) + 2)
            counts[bisect_left(BUCKETS, latency)] += 1
            counts[-1] += latency

    def refuse(self, status: int) -> None:
        """Count one request refused before it reached an endpoint."""
        self.refused[status] = self.refused.get(status, 0) + 1

    def text(self, gauges: dict[str, float], visible: Callable[[str, str], bool]) -> bytes:
        """Prometheus text format 0.0.4: `gauges` (name -> value), and the endpoints `visible(project, name)` shows."""
        lines: list[str] = []
        family = _Family(lines)
        family.open("requests_total", "counter", "Infer requests answered, by endpoint and status.")
        for (project, endpoint, status), count in sorted(self.answered.items()):
            if visible(project, endpoint):
                family.add(count, project=project, endpoint=endpoint, status=str(status))
        family.open("rows_total", "counter", "Rows predicted.")
        for (project, endpoint), count in sorted(self.rows.items()):
            if visible(project, endpoint):
                family.add(count, project=project, endpoint=endpoint)
        family.open("latency_seconds", "histogram", "From the last byte of a request to its answer.")
        for (project, endpoint), counts in sorted(self.latency.items()):
            if not visible(project, endpoint):
                continue
            reached = 0
            for bound, count in zip([*(str(b / 1e6) for b in BUCKETS), "+Inf"], counts, strict=False):
                reached += count
                family.add(reached, "_bucket", project=project, endpoint=endpoint, le=bound)
            family.add(counts[-1] / 1e6, "_sum", project=project, endpoint=endpoint)
            family.add(reached, "_count", project=project, endpoint=endpoint)
        family.open("refused_total", "counter", "Requests refused before they reached an endpoint, by status.")
        for status, count in sorted(self.refused.items()):
            family.add(count, status=str(status))
        for name, value, about in (
            ("shadows_total", self.shadows, "Shadow predictions made."),
            ("shadows_failed_total", self.shadows_failed, "Shadow predictions that raised."),
            ("shadows_dropped_total", self.shadows_dropped, "Shadow predictions given up because the queue was full."),
            ("log_failures_total", self.log_failures, "Records the prediction log had no room for."),
        ):
            family.open(name, "counter", about)
            family.add(value)
        for name, gauge in sorted(gauges.items()):
            family.open(name, "gauge", "State of this worker.")
            family.add(gauge)
        return ("\n".join(lines) + "\n").encode()


class _Family:
    """Writes the samples of one metric family after another."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        self._name = ""

    def open(self, name: str, kind: str, about: str) -> None:
        self._name = f"homeostat_inference_{name}"
        self._lines += [f"# HELP {self._name} {about}", f"# TYPE {self._name} {kind}"]

    def add(self, value: float, suffix: str = "", **labels: str) -> None:
        inside = ",".join(f'{key}="{text}"' for key, text in labels.items())
        self._lines.append(f"{self._name}{suffix}{{{inside}}} {value}" if inside else f"{self._name} {value}")
