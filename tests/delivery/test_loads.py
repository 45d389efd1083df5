"""Does a version load and answer in the real inference process, and fast enough?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import onnx
import pytest
from delivered import made

from homeostat.delivery import loads
from homeostat.delivery.records import CheckDefinition, CheckResult
from homeostat.foundation.objects import Objects
from homeostat.packages import package
from homeostat.packages.records import Manifest


def held(folder: Path, budget_ms: float, *, files: dict[str, bytes] | None = None, **changes: Any) -> CheckResult:
    """The check on the good model, or on one with other files or another manifest."""
    objects = Objects(folder / "objects")
    manifest, content = made("good")
    digest, kept = package.write(objects, msgspec.structs.replace(manifest, **changes), files or content)
    definition = CheckDefinition(kind="loads", p99_ms=budget_ms)
    return loads.check(definition, objects, digest, kept, "fraud")


def test_a_version_that_answers_in_time_passes(tmp_path: Path) -> None:
    found = held(tmp_path, 2000.0)
    assert found.verdict == "passed" and len(found.evidence["p99_us"]) == 3 == len(found.evidence["hello_p99_us"])
    assert min(found.evidence["p99_us"]) < 2_000_000 and "budget 2000 ms" in found.summary


def test_a_machine_that_is_too_slow_for_hello_world_decides_nothing(tmp_path: Path) -> None:
    found = held(tmp_path, 0.001)
    assert found.verdict == "inconclusive" and "too busy to tell" in found.summary


def test_a_slow_model_is_refused_before_its_bursts_are_over(tmp_path: Path) -> None:
    found = held(tmp_path, 60.0, files={"model.onnx": slow(made("good")[1]["model.onnx"])})
    assert found.verdict == "refused" and min(found.evidence["p99_us"]) > 60_000 > min(found.evidence["hello_p99_us"])


def slow(model: bytes) -> bytes:
    """The same model behind some hundred multiplications of large matrices."""
    graph = onnx.load_from_string(model)
    size = 600
    seed = onnx.helper.make_tensor("slow_seed", onnx.TensorProto.FLOAT, [1], [1.0])
    shape = onnx.helper.make_tensor("slow_shape", onnx.TensorProto.INT64, [2], [size, size])
    graph.graph.initializer.extend([seed, shape])
    entry = graph.graph.input[0].name
    nodes = [
        onnx.helper.make_node("ReduceSum", [entry], ["slow_sum"], keepdims=0),  # so that it is not folded away
        onnx.helper.make_node("Mul", ["slow_sum", "slow_seed"], ["slow_one"]),
        onnx.helper.make_node("Expand", ["slow_one", "slow_shape"], ["slow_0"]),
    ]
    for n in range(60):
        nodes.append(onnx.helper.make_node("MatMul", [f"slow_{n}", "slow_0"], [f"slow_{n + 1}"]))
    nodes.append(onnx.helper.make_node("ReduceSum", ["slow_60"], ["slow_all"], keepdims=0))
    nodes.append(onnx.helper.make_node("IsNaN", ["slow_all"], ["slow_nan"]))
    nodes.append(onnx.helper.make_node("Where", ["slow_nan", entry, entry], ["slow_entry"]))
    for node in graph.graph.node:
        for place, name in enumerate(node.input):
            if name == entry:
                node.input[place] = "slow_entry"
    rest = list(graph.graph.node)
    del graph.graph.node[:]
    graph.graph.node.extend([*nodes, *rest])
    return bytes(graph.SerializeToString())


@pytest.mark.parametrize(
    ("files", "changes", "words"),
    [
        ({"model.onnx": b"not a model"}, {}, "does not load"),
        (None, {"example": {"x": "text", "noise": 0.0}}, "could not convert string to float"),
    ],
)
def test_what_does_not_load_or_answer_is_refused(
    tmp_path: Path, files: dict[str, bytes] | None, changes: dict[str, Any], words: str
) -> None:
    found = held(tmp_path, 500.0, files=files, **changes)
    assert found.verdict == "refused" and words in found.summary


def test_a_row_to_ask_with_is_the_packages_own_or_a_typical_one() -> None:
    manifest, _ = made("good")
    kept = msgspec.structs.replace(manifest, example={"x": 7.5, "noise": None})
    assert [t["data"] for t in loads.example_request(kept)["inputs"]] == [[7.5], [None]]
    assert manifest.profile is not None
    typical = loads.example_request(msgspec.structs.replace(manifest, example={}))["inputs"]
    assert [t["data"][0] for t in typical] == [manifest.profile.columns[c].mean for c in ("x", "noise")]  # type: ignore[union-attr]
    bare: Manifest = msgspec.structs.replace(manifest, example={}, profile=None)
    assert [t["data"] for t in loads.example_request(bare)["inputs"]] == [[0.5], [0.5]]
