"""Packages in a store: stable digests, damage found, pickles refused, nothing untrusted opened, no call home."""

from __future__ import annotations

import io
import json
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import joblib
import msgspec
import numpy as np
import polars as pl
import pytest
import skops.io
from package_tables import numbers
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from homeostat.foundation.errors import HomeostatError
from homeostat.foundation.ids import digest_of
from homeostat.foundation.objects import Objects
from homeostat.packages.convert import Conversion, convert
from homeostat.packages.loader import load, predictor_of
from homeostat.packages.package import read_files, read_manifest, write
from homeostat.packages.profile import profile
from homeostat.packages.records import Column, Manifest, Signature

SIGNATURE = Signature(inputs=(Column(name="x0", kind="float"),), task="regression")


@pytest.fixture(scope="module")
def conversion() -> Conversion:
    X, label, _ = numbers()
    return convert(GradientBoostingClassifier(n_estimators=10, random_state=0).fit(X, label), X)


def code_of(error: pytest.ExceptionInfo[HomeostatError]) -> str:
    return error.value.code


def test_a_package_is_named_by_the_digest_of_its_manifest(tmp_path: Path, conversion: Conversion) -> None:
    objects = Objects(tmp_path)
    digest, manifest = write(objects, conversion.manifest(run_id="r1"), conversion.files)
    assert digest == digest_of(objects.get_bytes(digest))
    assert write(objects, conversion.manifest(run_id="r1"), conversion.files) == (digest, manifest)
    assert write(objects, conversion.manifest(run_id="r2"), conversion.files)[0] != digest
    assert read_manifest(objects, digest) == manifest
    assert read_files(objects, manifest) == conversion.files


def test_the_same_training_gives_the_same_files() -> None:
    X, label, _ = numbers()
    made = [convert(GradientBoostingClassifier(n_estimators=3, random_state=0).fit(X, label), X) for _ in range(2)]
    assert made[0].files == made[1].files


def test_canonical_bytes_do_not_hang_on_the_order_of_keys(tmp_path: Path) -> None:
    objects = Objects(tmp_path)
    files = {"model.onnx": b"\x08\x09"}
    one = Manifest(format="onnx", files={}, layout="matrix", signature=SIGNATURE, environment={"a": "1", "b": "2"})
    two = msgspec.structs.replace(one, environment={"b": "2", "a": "1"})
    assert write(objects, one, files)[0] == write(objects, two, files)[0]
    # a new optional field of the manifest changes this; nothing else may
    assert write(objects, one, files)[0] == "152634073b7dba4b263ff402031d65df66ad6c6841744daa9269006b95027013"


def test_load_by_folder_answers_like_the_estimator(tmp_path: Path, conversion: Conversion) -> None:
    digest, _ = write(Objects(tmp_path), conversion.manifest(), conversion.files)
    X, _, _ = numbers()
    block = {f"x{i}": X[:, i].tolist() for i in range(5)}
    for source in (str(tmp_path), tmp_path, Objects(tmp_path)):
        predictor = load(source, digest)
        many = predictor.predict(block, len(X))
        assert many["score"].dtype == np.float32
        one = predictor.predict({k: v[:1] for k, v in block.items()}, 1)
        assert one["score"][0] == many["score"][0]
        assert one["label"].tolist() == many["label"][:1].tolist()


def test_arrays_and_lists_and_row_by_row_give_the_same(conversion: Conversion) -> None:
    X, _, _ = numbers()
    predictor = predictor_of(conversion.manifest(), conversion.files)
    lists = predictor.predict({f"x{i}": X[:64, i].tolist() for i in range(5)}, 64)
    arrays = predictor.predict({f"x{i}": X[:64, i] for i in range(5)}, 64)
    single = [predictor.predict({f"x{i}": [X[r, i]] for i in range(5)}, 1)["score"][0] for r in range(64)]
    assert lists["score"].tolist() == arrays["score"].tolist() == [float(s) for s in single]


def test_an_answer_is_not_changed_by_the_next_one(conversion: Conversion) -> None:
    X, _, _ = numbers()
    predictor = predictor_of(conversion.manifest(), conversion.files)
    first = predictor.predict({f"x{i}": [X[0, i]] for i in range(5)}, 1)["score"]
    before = first.tolist()
    for row in range(1, 30):
        predictor.predict({f"x{i}": [X[row, i]] for i in range(5)}, 1)
    assert first.tolist() == before


def test_the_example_is_a_row_the_model_takes(conversion: Conversion) -> None:
    X, _, _ = numbers()
    reference = profile(X, np.zeros(len(X)), conversion.signature)
    for manifest in (conversion.manifest(), conversion.manifest(profile=reference)):
        predictor = predictor_of(manifest, conversion.files)
        assert len(predictor.predict(predictor.example(3), 3)["score"]) == 3


def test_damage_is_found(tmp_path: Path, conversion: Conversion) -> None:
    objects = Objects(tmp_path)
    digest, manifest = write(objects, conversion.manifest(), conversion.files)
    path = objects.path_of(manifest.files["model.onnx"])
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(HomeostatError) as error:
        load(tmp_path, digest)
    assert code_of(error) == "package.damaged"
    with pytest.raises(HomeostatError) as error:
        load(tmp_path, "0" * 64)
    assert code_of(error) == "package.missing_object"


@pytest.mark.parametrize("data", [b"not json", b'{"format": "onnx"}', b'{"format": "pickle"}', b"[]", b""])
def test_what_is_no_manifest_says_so(tmp_path: Path, data: bytes) -> None:
    digest = Objects(tmp_path).put_bytes(data)
    with pytest.raises(HomeostatError) as error:
        load(tmp_path, digest)
    assert code_of(error) == "package.bad_manifest"


class Bomb:
    """What a pickle can hold: code that runs when it is opened."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (os.environ["BOMB"],))


def joblib_bytes(value: Any, compress: Any) -> bytes:
    buffer = io.BytesIO()
    joblib.dump(value, buffer, compress=compress)
    return buffer.getvalue()


@pytest.mark.parametrize("form", ["onnx", "skops"])
@pytest.mark.parametrize("make", ["pickle2", "pickle5", "joblib", "zlib", "gzip", "bz2", "xz"])
def test_pickles_are_refused_by_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: Any, make: str) -> None:
    bomb = tmp_path / "went off"
    monkeypatch.setenv("BOMB", str(bomb))
    data = pickle.dumps(Bomb(), int(make[-1])) if make.startswith("pickle") else b""
    data = data or joblib_bytes(Bomb(), 0 if make == "joblib" else (make, 3))
    manifest = Manifest(format=form, files={}, layout="columns", signature=SIGNATURE)
    for attempt in (
        lambda: write(Objects(tmp_path / "o"), manifest, {f"model.{form}": data}),
        lambda: predictor_of(manifest, {f"model.{form}": data}),
    ):
        with pytest.raises(HomeostatError) as error:
            attempt()
        assert code_of(error) == "package.pickle_refused"
        assert "skops" in error.value.hint
    assert not bomb.exists()


@pytest.mark.parametrize("name", ["model.pkl", "model.joblib", "MODEL.PICKLE"])
def test_pickles_are_refused_by_name(tmp_path: Path, name: str) -> None:
    manifest = Manifest(format="onnx", files={}, layout="matrix", signature=SIGNATURE)
    with pytest.raises(HomeostatError) as error:
        write(Objects(tmp_path), manifest, {"model.onnx": b"\x08", name: b"\x08"})
    assert code_of(error) == "package.pickle_refused"


@pytest.mark.parametrize("name", ["../model.onnx", "a/b", "..", ""])
def test_file_names_cannot_leave_the_package(tmp_path: Path, name: str) -> None:
    manifest = Manifest(format="onnx", files={}, layout="matrix", signature=SIGNATURE)
    with pytest.raises(HomeostatError) as error:
        write(Objects(tmp_path), manifest, {"model.onnx": b"\x08", name: b""})
    assert code_of(error) == "name.invalid"


def test_garbage_is_an_error_of_the_catalogue() -> None:
    for form, name in (("onnx", "model.onnx"), ("skops", "model.skops")):
        manifest = Manifest(format=form, files={}, layout="matrix", signature=SIGNATURE)  # type: ignore[arg-type]
        with pytest.raises(HomeostatError) as error:
            predictor_of(manifest, {name: b"garbage"})
        assert code_of(error) == "package.unreadable"


def test_a_graph_that_does_not_fit_its_signature_is_refused(conversion: Conversion) -> None:
    short = msgspec.structs.replace(conversion.manifest(), layout="columns", signature=SIGNATURE)
    with pytest.raises(HomeostatError) as error:
        predictor_of(short, conversion.files)
    assert code_of(error) == "package.wrong_graph"


def foreign(X: np.ndarray) -> np.ndarray:
    return X


def test_a_skops_file_with_a_foreign_type_is_not_opened_unless_it_is_named(tmp_path: Path) -> None:
    X, _, value = numbers()
    data = skops.io.dumps(make_pipeline(FunctionTransformer(foreign), LinearRegression()).fit(X[:, :1], value))
    manifest = Manifest(format="skops", files={}, layout="columns", signature=SIGNATURE)
    digest, _ = write(Objects(tmp_path), manifest, {"model.skops": data})
    with pytest.raises(HomeostatError) as error:
        load(tmp_path, digest)
    assert code_of(error) == "package.untrusted_types"
    named = str(error.value.values["types"])
    assert named.endswith("foreign")
    assert load(tmp_path, digest, trusted=frozenset({named})).predict({"x0": [1.0]}, 1)["value"].shape == (1,)


def test_a_skops_file_cannot_smuggle_a_function_in(tmp_path: Path) -> None:
    X, _, value = numbers()
    data = skops.io.dumps(LinearRegression().fit(X[:, :1], value))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        schema = json.loads(archive.read("schema.json"))
        rest = {n: archive.read(n) for n in archive.namelist() if n != "schema.json"}
    schema["__module__"], schema["__class__"] = "subprocess", "Popen"
    forged = io.BytesIO()
    with zipfile.ZipFile(forged, "w") as archive:
        archive.writestr("schema.json", json.dumps(schema))
        for name, content in rest.items():
            archive.writestr(name, content)
    manifest = Manifest(format="skops", files={}, layout="columns", signature=SIGNATURE)
    with pytest.raises(HomeostatError) as error:
        predictor_of(manifest, {"model.skops": forged.getvalue()})
    assert code_of(error) == "package.untrusted_types"
    assert "subprocess.Popen" in str(error.value)


@pytest.mark.parametrize("field", ["left", "right", "feature_idx"])
def test_a_tree_that_leads_out_of_its_arrays_is_not_served(field: str) -> None:
    X, label, _ = numbers()
    model = HistGradientBoostingClassifier(max_iter=2, categorical_features=[0]).fit(X, label)
    manifest = convert(model, X).manifest()
    model._predictors[1][0].nodes[field][0] = 1_000_000
    with pytest.raises(HomeostatError) as error:
        predictor_of(manifest, {"model.skops": skops.io.dumps(model)})
    assert code_of(error) == "package.unreadable"


def test_serving_onnx_loads_little_and_calls_nobody(tmp_path: Path, conversion: Conversion) -> None:
    digest, _ = write(Objects(tmp_path / "objects"), conversion.manifest(), conversion.files)
    program = """
import sys, threading, psutil
from homeostat.packages.loader import load
predictor = load(sys.argv[1], sys.argv[2])
for _ in range(50):
    predictor.predict(predictor.example(1), 1)
heavy = {"sklearn", "skl2onnx", "skops", "polars", "pandas", "scipy", "obstore", "deltalake", "sqlalchemy", "onnx"}
process = psutil.Process()
print(sorted(heavy & set(sys.modules)), process.net_connections(), process.num_threads())
"""
    home = tmp_path / "user"
    home.mkdir()
    # without CI, under which ONNX Runtime is quiet by itself and the test would prove nothing
    ours = {k: v for k, v in os.environ.items() if not k.startswith(("CI", "ORT_", "GITHUB", "TF_BUILD"))}
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "objects"), digest],
        env=ours | {"HOME": str(home), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[] [] 1", done.stdout + done.stderr
    assert list(home.iterdir()) == []  # with telemetry on it keeps a device id and a cache there


def test_a_text_column_feeds_lists_and_nulls() -> None:
    frame = pl.DataFrame({"kind": ["a", "b", None] * 50, "amount": [1.0, 2.0, 3.0] * 50})
    from sklearn.compose import make_column_transformer
    from sklearn.preprocessing import OneHotEncoder

    model = make_pipeline(
        make_column_transformer((OneHotEncoder(sparse_output=False), ["kind"]), remainder="passthrough"),
        LinearRegression(),
    ).fit(frame, np.array([1.0, 5.0, -2.0] * 50))
    predictor = predictor_of((made := convert(model, frame)).manifest(), made.files)
    answer = predictor.predict({"kind": ["a", None], "amount": [1.0, 3.0]}, 2)
    assert answer["value"] == pytest.approx([1.0, -2.0], abs=1e-4)
