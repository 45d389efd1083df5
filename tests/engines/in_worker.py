"""Functions that the engine tests run in workers."""

from __future__ import annotations

import subprocess
import tempfile

from homeostat.foundation.stores import Stores
from homeostat.testing.engines import Answer, Job


def draw(job: Job, stores: Stores) -> Answer:
    import random

    import numpy as np

    return Answer(text=f"{np.random.rand()} {random.random()}", pid=0)


def spawn_sleeper(job: Job, stores: Stores) -> Answer:
    return Answer(text="", pid=subprocess.Popen(["sleep", "600"]).pid)


def use_everything(job: Job, stores: Stores) -> Answer:
    import numpy as np
    import onnxruntime
    import polars as pl
    from skl2onnx import to_onnx
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression

    random = np.random.default_rng(0)
    frame = pl.DataFrame({"k": random.integers(0, 100, 50_000), "x": random.normal(size=50_000)})
    assert len(frame.lazy().group_by("k").agg(pl.col("x").mean()).sort("k").collect()) == 100
    assert len(frame.lazy().group_by("k").agg(pl.col("x").sum()).collect(engine="streaming")) == 100
    with tempfile.TemporaryDirectory() as folder:
        tables = type(stores.tables)(folder)
        version = tables.append("t", frame, writer="w", sequence=1)
        assert tables.scan("t", version).filter(pl.col("k") < 50).collect().height > 0
    stores.objects.put_bytes(b"an object")
    X = random.normal(size=(2_000, 4)).astype(np.float32)
    y = (X[:, 0] > 0).astype(int)
    assert HistGradientBoostingClassifier(max_iter=5).fit(X, y).score(X, y) > 0.8
    model = LogisticRegression().fit(X, y)
    session = onnxruntime.InferenceSession(to_onnx(model, X[:1]).SerializeToString())
    answered = session.run(None, {session.get_inputs()[0].name: X})[0]
    assert (answered == model.predict(X)).all()
    return Answer(text="polars deltalake sklearn onnxruntime", pid=0)
