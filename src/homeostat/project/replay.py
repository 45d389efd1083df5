"""Plays history through a running Homeostat in event time: requests as they would have come, labels when they are due.

It is what the outside does, and speaks to the platform as anyone would: inference over the Open Inference Protocol,
labels and status over the native API. Client-side; it imports polars.
"""

from __future__ import annotations

import http.client
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import polars as pl

from homeostat.project.connection import Connection

_DATATYPES = {pl.Float64: "FP64", pl.Int64: "INT64", pl.String: "BYTES", pl.Boolean: "BOOL"}
_FAILED = 599  # no answer at all
_SETTLES = 20  # minutes that `settle` waits at most


class Replay:
    """The outside world of one endpoint: sends rows, and counts what came back.

    `inputs` are the columns a request carries, `key` and `time` (UTC) the columns that name a row and its moment; rows
    of one request share the moment of the first, so `rows_a_request` 1 keeps every row's own.
    """

    def __init__(
        self,
        control: Connection,
        inference: str,
        endpoint: str,
        *,
        inputs: Sequence[str],
        key: str,
        time: str,
        rows_a_request: int = 8,
    ) -> None:
        self.control = control
        self.endpoint = endpoint
        self.inputs = inputs
        self.key = key
        self.time = time
        self.rows_a_request = rows_a_request
        self.requests = 0
        self.rows = 0
        self.failed = 0
        self.retries = 0
        self._host, _, port = inference.removeprefix("http://").partition(":")
        self._port = int(port)
        self._headers = {"Authorization": f"Bearer {control.token}", "Content-Type": "application/json"}
        self._connection: http.client.HTTPConnection | None = None

    def send(self, frame: pl.DataFrame) -> list[dict[str, Any]]:
        """Send the rows of `frame` in order; the answers (empty where a request failed), one for each request."""
        at = frame[self.time].dt.epoch("us").to_list()
        columns = {name: frame[name].to_list() for name in self.inputs}
        kinds = {name: _DATATYPES.get(type(frame[name].dtype), "FP64") for name in self.inputs}
        keys = [str(key) for key in frame[self.key].to_list()]
        answers = []
        for start in range(0, len(frame), self.rows_a_request):
            rows = slice(start, start + self.rows_a_request)
            count = len(keys[rows])
            inputs = [
                {"name": name, "shape": [count], "datatype": kinds[name], "data": values[rows]}
                for name, values in columns.items()
            ]
            answers.append(self._send({"inputs": inputs, "parameters": {"keys": keys[rows], "event_at": at[start]}}))
            self.rows += count
        return answers

    def label(self, dataset: str, labels: Iterable[tuple[str, int, int, Any]]) -> None:
        """Say what turned out to be true: key, event_at, known_at (microseconds UTC) and value of each event."""
        told = [
            {"key": str(key), "event_at": event_at, "known_at": known_at, "value": value}
            for key, event_at, known_at, value in labels
        ]
        if told:
            self.control.post(f"/datasets/{dataset}/labels", {"labels": told})

    def settle(self) -> bool:
        """Wait until the platform has dealt with everything it was sent; False if that takes many minutes."""
        return any(self.control.get("/loop", wait=60)["settled"] for _ in range(_SETTLES))

    def close(self) -> None:
        """Close the connection to the endpoint; the next request opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _send(self, body: dict[str, Any]) -> dict[str, Any]:
        self.requests += 1
        status, answer = self._ask(msgspec.json.encode(body))
        if status == _FAILED:  # the connection was closed under us: a request that got no answer is sent again, once
            self.retries += 1
            status, answer = self._ask(msgspec.json.encode(body))
        if status == 200:
            return dict(msgspec.json.decode(answer))
        self.failed += 1
        return {}

    def _ask(self, body: bytes) -> tuple[int, bytes]:
        if self._connection is None:
            self._connection = http.client.HTTPConnection(self._host, self._port, timeout=30)
        try:
            self._connection.request("POST", f"/v2/models/{self.endpoint}/infer", body, self._headers)
            response = self._connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException):
            self.close()
            return _FAILED, b""
