"""Replays days of the world through a running Homeostat, in event time: requests, files, labels when they are due.

It is what the outside does, and speaks to the platform as anyone would: inference over the Open Inference Protocol,
labels and status over the native API.
"""

from __future__ import annotations

import http.client
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from homeostat.project.connection import Connection
from homeostat.project.demo import transactions as world

LABEL_DELAY_DAYS = 3
_ROWS_A_REQUEST = 8
_DATATYPES = {pl.Float64: "FP64", pl.Int64: "INT64", pl.String: "BYTES", pl.Boolean: "BOOL"}
_FAILED = 599  # no answer at all


class Replay:
    """The outside world: sends what happens day by day, and counts what came back."""

    def __init__(self, control: Connection, inference: str, days: list[pl.DataFrame], folder: Path) -> None:
        self.control = control
        self.days = days
        self.folder = folder
        self.requests = 0
        self.rows = 0
        self.failed = 0
        self.retries = 0
        self._host, _, port = inference.removeprefix("http://").partition(":")
        self._port = int(port)
        self._headers = {"Authorization": f"Bearer {control.token}", "Content-Type": "application/json"}
        self._connection: http.client.HTTPConnection | None = None

    def live(self, day: int) -> None:
        """One day: its transactions are scored as they happen, its file is exported, older labels become known."""
        self.score(world.as_requested(self.days[day]))
        world.write_day(self.days[day], self.folder, day)
        if day >= LABEL_DELAY_DAYS:
            self.label(day - LABEL_DELAY_DAYS)

    def score(self, frame: pl.DataFrame) -> None:
        """Send the rows of `frame` in order, a few to a request."""
        at = frame[world.TIME].dt.epoch("us").to_list()
        columns = {name: frame[name].to_list() for name in world.INPUTS}
        kinds = {name: _DATATYPES.get(type(frame[name].dtype), "FP64") for name in world.INPUTS}
        keys = [str(key) for key in frame[world.KEY].to_list()]
        for start in range(0, len(frame), _ROWS_A_REQUEST):
            rows = slice(start, start + _ROWS_A_REQUEST)
            count = len(keys[rows])
            inputs = [
                {"name": name, "shape": [count], "datatype": kinds[name], "data": values[rows]}
                for name, values in columns.items()
            ]
            self._send({"inputs": inputs, "parameters": {"keys": keys[rows], "event_at": at[start]}})
            self.rows += count

    def label(self, day: int) -> None:
        """Say what turned out to be true of the transactions of `day`."""
        found = world.labels_of(self.days[day], LABEL_DELAY_DAYS * world.DAY_US)
        labels = [
            {"key": str(key), "event_at": event_at, "known_at": known_at, "value": value}
            for key, event_at, known_at, value in found.iter_rows()
        ]
        self.control.post("/datasets/transactions/labels", {"labels": labels})

    def settle(self) -> None:
        """Wait until the platform has dealt with everything it was sent."""
        for _ in range(20):
            if self.control.get("/loop", wait=60)["settled"]:
                return

    def _send(self, body: dict[str, Any]) -> None:
        self.requests += 1
        status = self._ask(msgspec.json.encode(body))
        if status == _FAILED:  # the connection was closed under us: a request that got no answer is sent again, once
            self.retries += 1
            status = self._ask(msgspec.json.encode(body))
        self.failed += status != 200

    def _ask(self, body: bytes) -> int:
        if self._connection is None:
            self._connection = http.client.HTTPConnection(self._host, self._port, timeout=30)
        try:
            self._connection.request("POST", "/v2/models/fraud/infer", body, self._headers)
            response = self._connection.getresponse()
            response.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            self._connection = None
            return _FAILED
        return response.status
