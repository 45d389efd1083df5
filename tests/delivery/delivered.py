"""A home with a plane that answers, and versions to deliver to it: what the tests of delivery and control stand on.

Every model takes the columns `x` and `noise`; what is true follows `x`. Packages are made once for all tests.
"""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
from sklearn.linear_model import LinearRegression, LogisticRegression

from homeostat.delivery import definitions, deployments, gates
from homeostat.delivery.records import CheckDefinition, Deployment, Evaluation, Gate, RolloutDefinition
from homeostat.delivery.releases import Releases
from homeostat.engines.local import Local
from homeostat.foundation import migrations
from homeostat.foundation.database import Database
from homeostat.foundation.ids import new_id
from homeostat.governance import principals
from homeostat.packages import package
from homeostat.packages.records import Manifest
from homeostat.project.packaging import package_estimator
from homeostat.registry import versions
from homeostat.serving import endpoints
from homeostat.serving.plane import Plane
from homeostat.serving.supervisor import Supervisor

KEY = b"k" * 32
SIGNATURE_ONLY = Gate(name="any", metric="", checks=(CheckDefinition(kind="signature"),))


def rows(count: int, seed: int = 0, *, classes: int = 2) -> pl.DataFrame:
    """Rows whose label follows `x`: `y` 0 or 1 (or one of more classes), `value` a number."""
    random = np.random.default_rng(seed)
    x, noise = random.normal(size=count), random.normal(size=count)
    pull = 2.0 * x + 0.5 * random.normal(size=count)
    y = np.digitize(pull, [0.0] if classes == 2 else [-1.0, 1.0])
    return pl.DataFrame({"x": x, "noise": noise, "y": y, "value": 3.0 * x + 0.3 * random.normal(size=count)})


@cache
def made(kind: str) -> tuple[Manifest, dict[str, bytes]]:
    """A package: "good", "weak" (knows only noise), "high" (calls almost nothing), "value", "three" (classes)."""
    frame = rows(1500, classes=3 if kind == "three" else 2)
    X = frame.select("x", "noise")
    if kind == "value":
        found = package_estimator(LinearRegression().fit(X, frame["value"]), X, frame["value"].to_numpy())
    else:
        fitted = X.with_columns(x=pl.col("noise"), noise=pl.col("noise")) if kind == "weak" else X
        model = LogisticRegression().fit(fitted, frame["y"].to_numpy())
        if kind == "weak":
            model.coef_ = np.array([[0.0, 1.0]])
        found = package_estimator(model, X, frame["y"].to_numpy(), threshold=0.999 if kind == "high" else 0.5)
    return found.manifest, found.files


@dataclass
class Place:
    """A home on disk with its organs wired, a plane of its own, and no loop: tests turn it by hand."""

    folder: Path
    database: Database
    engine: Local
    plane: Plane
    releases: Releases
    numbers: dict[str, int] = field(default_factory=dict)

    @classmethod
    def at(cls, folder: Path) -> Place:
        """A fresh place; `close` it."""
        database = Database(f"sqlite:///{folder / 'homeostat.db'}", key=KEY)
        migrations.prepare(database)
        with database.write(actor="service:test") as tx:
            principals.ensure(tx, "person:ann", "person", ("admin", "approver"))
        engine = Local(folder, workers=2)
        plane = Plane(database, Supervisor(folder / "inference", "127.0.0.1", 0), folder / "objects", open_access=True)
        return cls(folder, database, engine, plane, Releases(database, engine, plane))

    def close(self) -> None:
        """End what was started."""
        self.plane.supervisor.stop()
        self.engine.close()
        self.database.close()

    def pack(self, kind: str, **changes: Any) -> str:
        """Keep a package in the home's objects; gives its digest."""
        manifest, files = made(kind)
        return package.write(self.engine.stores.objects, msgspec.structs.replace(manifest, **changes), files)[0]

    def register(self, model: str, kind: str = "good", **changes: Any) -> int:
        """The next version of `model`."""
        self.numbers[model] = self.numbers.get(model, 0) + 1
        changes = {"estimator": f"{kind} {self.numbers[model]}", **changes}  # so that no two packages are the same
        with self.database.write(actor="person:ann") as tx:
            return versions.register(tx, model, self.pack(kind, **changes)).number

    def ask(self, name: str, version: int, *, by: str = "person:ann", **more: Any) -> Deployment:
        """Ask for a version on the endpoint that is named as its model."""
        return self.releases.request(name, name, version, project="default", actor=by, **more)

    def bless(self, deployment: Deployment) -> Deployment:
        """A pass of the gate, as a gate would have written it down."""
        with self.database.write(actor="service:delivery") as tx:
            gate = gates.complete(definitions.gate_of(tx, deployment.endpoint), deployment.rule)
            evaluation = Evaluation(
                id=new_id(), endpoint=deployment.endpoint, model=deployment.model, version=deployment.version,
                champion=None, verdict="passed", checks=(), at=tx.at, event_at=None,
                gate_digest=definitions.gate_digest(gate), data_digest="",
                package=versions.get(tx, deployment.model, deployment.version).package,
            )  # fmt: skip
            deployments.save_evaluation(tx, gates.bless(tx, evaluation))
            return deployments.move(tx, deployment, evaluation_id=evaluation.id)

    def deploy(self, name: str, version: int, **more: Any) -> Deployment:
        """Ask for a version, bless it and begin with it; the gate itself is tested elsewhere."""
        deployment = self.bless(self.ask(name, version, **more))
        with self.database.write(actor="service:delivery") as tx:
            self.releases.stages.begin(tx, deployment)
        self.releases.stages.apply("default", deployment)
        return self.read(deployment)

    def define(self, name: str, rollout: RolloutDefinition, gate: Gate = SIGNATURE_ONLY) -> None:
        with self.database.write(actor="person:ann") as tx:
            definitions.define(tx, name, gate, rollout)

    def read(self, deployment: Deployment) -> Deployment:
        """The deployment as its row is now."""
        with self.database.read() as reader:
            return deployments.get(reader, deployment.id)

    def arms(self, name: str) -> dict[str, int]:
        """Arm -> version."""
        with self.database.read() as reader:
            return {arm.name: arm.version for arm in endpoints.get(reader, name).arms}

    def predict(self, name: str, count: int = 1, **parameters: Any) -> tuple[int, dict[str, Any]]:
        """One request over HTTP; its status and answer."""
        caller = Caller(self.plane.supervisor.address)
        try:
            return caller.ask(name, count, **parameters)
        finally:
            caller.close()


class Caller:
    """A client of the inference plane that keeps its connection; `token` is presented where there is one."""

    token = ""

    def __init__(self, address: str) -> None:
        host, _, port = address.removeprefix("http://").partition(":")
        self._connection = http.client.HTTPConnection(host, int(port), timeout=20)

    def ask(self, name: str, count: int = 1, x: Sequence[float] | None = None, **parameters: Any) -> tuple[int, Any]:
        """One request of `count` rows."""
        values = {"x": list(x) if x is not None else [0.5] * count, "noise": [0.0] * count}
        inputs = [{"name": n, "shape": [count], "datatype": "FP64", "data": v} for n, v in values.items()]
        body = msgspec.json.encode({"inputs": inputs, "parameters": parameters})
        headers = {"Content-Type": "application/json"} | (
            {"Authorization": f"Bearer {self.token}"} if self.token else {}
        )
        self._connection.request("POST", f"/v2/models/{name}/infer", body, headers)
        answer = self._connection.getresponse()
        return answer.status, msgspec.json.decode(answer.read())

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()


class Crowd:
    """Clients that ask without pause on threads of their own; `stop` gives what they were answered."""

    def __init__(self, address: str, name: str, clients: int = 3) -> None:
        self.answers: list[tuple[float, float, int, int]] = []  # when it was asked and answered, status, version
        self.trouble: list[BaseException] = []
        self._ended = threading.Event()
        self._heard = threading.Condition()
        self._threads = [threading.Thread(target=self._ask_on, args=(address, name)) for _ in range(clients)]
        for thread in self._threads:
            thread.start()

    def wait_for(self, more: int) -> None:
        """Until `more` further answers have come."""
        goal = len(self.answers) + more
        with self._heard:
            assert self._heard.wait_for(lambda: len(self.answers) >= goal or self.trouble, 30)

    def stop(self) -> list[tuple[float, float, int, int]]:
        """End, and give every answer."""
        self._ended.set()
        for thread in self._threads:
            thread.join()
        assert not self.trouble, self.trouble
        return self.answers

    def _ask_on(self, address: str, name: str) -> None:
        caller = Caller(address)
        try:
            while not self._ended.is_set():
                begun = time.monotonic()
                status, answer = caller.ask(name)
                with self._heard:
                    self.answers.append((begun, time.monotonic(), status, int(answer.get("model_version", 0))))
                    self._heard.notify_all()
        except BaseException as trouble:
            self.trouble.append(trouble)
            with self._heard:
                self._heard.notify_all()
        finally:
            caller.close()
