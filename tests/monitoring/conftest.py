"""A home on disk: database, stores, an engine that runs in this process, a package with a reference profile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from monitored import START, World, manifest

from homeostat.engines.local import Local
from homeostat.foundation.clock import DrivenClock
from homeostat.foundation.database import Database, metadata
from homeostat.monitoring import tables as _tables  # noqa: F401  (puts its tables on the metadata)
from homeostat.packages import package
from homeostat.registry import versions
from homeostat.serving.records import Endpoint, EndpointArm


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    database = Database(f"sqlite:///{tmp_path / 'homeostat.db'}", DrivenClock(1_700_000_000_000_000))
    metadata.create_all(database.engine)
    engine = Local(tmp_path)
    digest, _ = package.write(engine.stores.objects, manifest(), {"model.onnx": b"not read by monitoring"})
    with database.write(actor="person:local") as tx:
        versions.register(tx, "fraud", digest)
    arms = (EndpointArm(name="champion", version=1, share=1.0, since=0, since_event=START),)
    endpoint = Endpoint(id="e1", name="fraud", model="fraud", created_at=0, arms=arms)
    yield World(tmp_path, database, engine, engine.stores, endpoint, np.random.default_rng(3))
    engine.close()
    database.close()
