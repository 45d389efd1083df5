"""Plays the outside of a short loop against real processes, through whatever deaths there are, to a final state.

The world is the demo's (`homeostat.project.demo.transactions`), small; event time is driven: a day goes in, a little of
the next one, and each time the platform is let catch up. The driver behaves as a careful client does: what was not
acknowledged is sent again, what was acknowledged is written down here and looked for at the end.
"""

from __future__ import annotations

import http.client
import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec
import polars as pl
from server import Server

from homeostat.data import label_table
from homeostat.foundation.clock import DAY
from homeostat.foundation.errors import HomeostatError
from homeostat.foundation.stores import Stores
from homeostat.project.connection import Connection
from homeostat.project.demo import transactions as world
from homeostat.project.load import load

SEED = 11
ROWS = 350  # a day
HISTORY = 6  # days of files before the first model
DAMAGED_DAY = 3
WORSE_DAY = 7
CHANGE_DAY = 8
LEAKY_DAY = 14  # late enough for the retrained version to have taken over, however its canary was drawn
DAYS = 17
LABEL_DELAY = DAY
DATATYPES = {pl.Float64: "FP64", pl.Int64: "INT64", pl.String: "BYTES"}
MORNING = 12  # rows of a day that are sent before the rest, so that the day before is known to be over

T = TypeVar("T")


class Armed(Protocol):
    """A death to arrange (see `kills.Kill`)."""

    @property
    def point(self) -> str: ...
    @property
    def day(self) -> int | None: ...
    @property
    def victim(self) -> str: ...


class Driver:
    """One short loop, with the deaths of `kills` in it; `changes` are (old, new) in the text of the project file."""

    def __init__(self, folder: Path, kills: Sequence[Armed] = (), *, changes: Sequence[tuple[str, str]] = ()) -> None:
        self.folder = folder
        self.changes = tuple(changes)
        self.kills = tuple(kills)
        self.server = Server(folder)
        self.days = world.generate(SEED, DAYS, ROWS, change_day=CHANGE_DAY, change_days=0.5, fraud_share=0.4)
        self.answered: dict[str, str] = {}  # prediction id -> key
        self.unanswered = 0  # requests that got no answer, and were sent again
        self.refused = 0  # requests answered with an error
        self.labelled: dict[str, int] = {}  # key -> value, acknowledged
        self.points: dict[int, float] = {}  # step -> value of the driver's own metric, acknowledged
        self._http: http.client.HTTPConnection | None = None
        self._kill_under_way = ""  # who dies when the next request is on its way

    def tell(self) -> dict[str, Any]:
        """The whole loop; gives the final state."""
        self.open()
        try:
            self.run({})
            for day in range(HISTORY, DAYS):
                self._arm(day)
                if day == WORSE_DAY:
                    self.run({"recipe": "weak"})
                if day == LEAKY_DAY:
                    self.run({"recipe": "leaky"})
                self.live(day)
            return self.final()
        finally:
            self.close()

    def open(self) -> None:
        """Files, project, processes."""
        self._arm(None)
        text = Path(__file__).with_name("card_project.py").read_text()
        for old, new in self.changes:
            assert old in text
            text = text.replace(old, new)
        (self.folder / "card_project.py").write_text(text)
        world.write_days(self.days[:HISTORY], self.folder / "data", damaged_day=DAMAGED_DAY, seed=SEED)
        self.server.start()
        definitions = load(self.folder / "card_project.py")
        source = (self.folder / "card_project.py").read_bytes()
        self.ask(lambda control: control.put_object(source))
        self.ask(lambda control: control.post("/definitions", definitions))
        body = {"experiment": "outside", "name": "driver", "id": "0" * 32}
        self.ask(lambda control: control.post("/runs", body))

    def close(self) -> None:
        """End everything."""
        if self._http is not None:
            self._http.close()
        self.server.stop()

    def run(self, params: dict[str, Any]) -> None:
        """Run the pipeline as a person would, and let what it made go to the gate."""
        before = {run["id"] for run in self.ask(lambda control: control.get("/pipeline-runs"))}

        def start(control: Connection) -> None:
            mine = [
                run for run in control.get("/pipeline-runs") if run["id"] not in before and run["trigger"] == "person"
            ]
            if not mine:  # else it was started just before control died
                control.post("/pipelines/fraud/runs", {"params": params})

        self.ask(start)
        self.settle()
        newest = self.ask(lambda control: control.get("/pipeline-runs"))[0]
        assert newest["state"] == "succeeded", newest["error"]

    def live(self, day: int) -> None:
        """One day: requests, the day's file, and the labels of the day before as they become known."""
        rows = world.as_requested(self.days[day])
        self.score(rows[:MORNING])
        self.settle()
        self.score(rows[MORNING:])
        world.write_day(self.days[day], self.folder / "data", day)
        self.label(day - 1)
        self.log_metric(day, float(len(self.answered)))
        self.settle()

    def score(self, frame: pl.DataFrame) -> None:
        """Send each row as a request of its own until it is answered."""
        at = frame[world.TIME].dt.epoch("us").to_list()
        kinds = {name: DATATYPES[type(frame[name].dtype)] for name in world.INPUTS}
        for row, when in zip(frame.iter_rows(named=True), at, strict=True):
            inputs = [{"name": n, "shape": [1], "datatype": kinds[n], "data": [row[n]]} for n in world.INPUTS]
            key = str(row[world.KEY])
            body = msgspec.json.encode({"inputs": inputs, "parameters": {"key": key, "event_at": when}})
            self.answered[self._until_answered(body)] = key

    def label(self, day: int) -> None:
        """Say what turned out to be true of `day`."""
        found = world.labels_of(self.days[day], LABEL_DELAY)
        labels = [
            {"key": key, "event_at": event_at, "known_at": known_at, "value": value}
            for key, event_at, known_at, value in found.iter_rows()
        ]
        self.ask(lambda control: control.post("/datasets/transactions/labels", {"labels": labels}))
        self.labelled |= {label["key"]: label["value"] for label in labels}

    def log_metric(self, step: int, value: float) -> None:
        """Log a point of the driver's own run."""
        point = {"key": "answered", "value": value, "step": step, "at": world.START + step * DAY}
        self.ask(lambda control: control.post(f"/runs/{'0' * 32}/metrics", {"metrics": [point]}))
        self.points[step] = value

    def settle(self) -> None:
        """Wait until the platform has dealt with everything it was given."""
        for _ in range(10):
            if self.ask(lambda control: control.get("/loop", wait=30))["settled"]:
                return
        raise AssertionError(f"it does not settle: {self.ask(lambda c: c.get('/loop', wait=1))} {self.server.log()}")

    def ask(self, act: Callable[[Connection], T]) -> T:
        """Do `act` with control; where control is gone, start it again and do it once more."""
        for _ in range(10):
            try:
                return act(self.server.connection)
            except HomeostatError as error:
                if error.code != "connection.unreachable":
                    raise
                self.server.revive()
        raise AssertionError(f"control cannot be reached: {self.server.log()}")

    def final(self) -> dict[str, Any]:
        """The state that must be the same whatever died on the way. Raises where anything acknowledged is missing."""
        got = {
            name: self.ask(lambda control, path=path: control.get(path))  # type: ignore[misc]
            for name, path in {
                "endpoint": "/endpoints/fraud",
                "versions": "/models/fraud/versions",
                "data": "/datasets/transactions/versions",
                "quarantine": "/datasets/transactions/quarantine",
                "incidents": "/incidents",
                "decisions": "/decisions",
                "deployments": "/endpoints/fraud/deployments",
                "runs": "/pipeline-runs",
                "points": f"/runs/{'0' * 32}/metrics/answered",
            }.items()
        }
        return {
            "arms": {arm["name"]: arm["version"] for arm in got["endpoint"]["arms"]},
            "versions": sorted((v["number"], v["dataset_version"], v["state"]) for v in got["versions"]),
            "data": sorted((v["number"], v["digest"], v["rows"], v["published"]) for v in got["data"]),
            "quarantine": sorted((r["rule"], r["rows"]) for r in got["quarantine"]),
            "incidents": sorted((i["cause"], i["version"], i["state"]) for i in got["incidents"]),
            "decisions": sorted((d["decider"], d["verdict"], d["state"]) for d in got["decisions"]),
            "deployments": sorted((d["version"], d["state"]) for d in got["deployments"]),
            "runs": sorted((r["pipeline"], r["state"]) for r in got["runs"]),
            "labels": self._labels_known(),
            "predictions": self._predictions_logged(int(got["endpoint"]["predictions"])),
            "metric": self._points_kept(got["points"]),
            "audit": self.ask(lambda control: control.post("/audit/verify"))["intact"],
            "left_armed": sorted(path.name for path in self.server.kill_folder.iterdir()),
        }

    def _labels_known(self) -> int:
        stores = Stores.at(self.server.home)
        known = label_table.known(stores, "default", "transactions")
        kept = dict(zip(known["key"].to_list(), known["number"].to_list(), strict=True))
        missing = {key for key, value in self.labelled.items() if kept.get(key) != value}
        assert not missing, f"{len(missing)} acknowledged labels are missing"
        return len(kept)

    def _predictions_logged(self, counted: int) -> int:
        """How many rows were answered; every answer is in the log, once, and nothing else but what went unanswered."""
        log = Stores.at(self.server.home).tables.scan("default/predictions/fraud").collect()
        ids = log["prediction_id"].to_list()
        assert len(set(ids)) == len(ids), "a prediction is in the log twice"
        missing = self.answered.keys() - set(ids)
        assert not missing, f"{len(missing)} acknowledged predictions are missing from the log"
        assert set(log["key"].drop_nulls().to_list()) == set(self.answered.values())
        surplus = len(ids) - len(self.answered)
        assert 0 <= surplus <= self.unanswered + self.refused, f"{surplus} predictions nobody asked for"
        assert counted == log.filter(pl.col("row") >= 0).height, f"{counted} counted, {len(ids)} in the log"
        return len(self.answered)

    def _points_kept(self, points: list[dict[str, Any]]) -> int:
        kept = {point["step"]: point["value"] for point in points}
        missing = {step for step, value in self.points.items() if kept.get(step) != value}
        assert not missing, f"acknowledged metrics of steps {missing} are missing"
        return len(kept)

    def _arm(self, day: int | None) -> None:
        """Arm what is to die from `day` on: a file named after the kill point, holding whom it kills ("": itself)."""
        for kill in [kill for kill in self.kills if kill.day == day]:
            if kill.point == "request.sent":
                self._kill_under_way = kill.victim
                continue
            pid = "" if kill.victim == "itself" else str(self.server.pid_of(kill.victim))
            armed = self.server.kill_folder / kill.point
            assert not armed.exists(), f"{kill.point} is armed already"
            armed.write_text(pid)

    def _until_answered(self, body: bytes) -> str:
        """Send one request until it is answered with 200; the id of its one row."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                status, answer = self._send(body)
            except (OSError, http.client.HTTPException):
                self.unanswered += 1
                self._http = None
                if not self.server.alive():
                    self.server.revive()
                time.sleep(0.02)
                continue
            if status == 200:
                return f"{msgspec.json.decode(answer)['parameters']['prediction_id']}-0"
            self.refused += 1
            time.sleep(0.02)
        raise AssertionError("a request was not answered within a minute")

    def _strike(self) -> None:
        """Kill whom it was said to kill while a request is on its way."""
        victim, self._kill_under_way = self._kill_under_way, ""
        if victim == "control":
            self.server.kill()
        elif victim:
            os.kill(self.server.pid_of(victim), signal.SIGKILL)

    def _send(self, body: bytes) -> tuple[int, bytes]:
        if self._http is None:
            host, _, port = self.server.inference.removeprefix("http://").partition(":")
            self._http = http.client.HTTPConnection(host, int(port), timeout=20)
        headers = {"Authorization": f"Bearer {self.server.connection.token}", "Content-Type": "application/json"}
        try:
            self._http.request("POST", "/v2/models/fraud/infer", body, headers)
            self._strike()
            response = self._http.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException):
            self._http.close()
            raise
