"""The client side against a real server: finding one, starting one, and the three lines."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import psutil
import pytest
from project_world import trips
from sklearn.linear_model import LinearRegression, LogisticRegression

import homeostat as hs
from homeostat.foundation.errors import HomeostatError, Kind
from homeostat.foundation.settings import load
from homeostat.project import register
from homeostat.project.connection import Connection
from homeostat.project.locate import Embedded, open_connection, read_lock, start_embedded


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    """A control plane over a fresh home."""
    running = start_embedded(load({"home": str(tmp_path_factory.mktemp("home"))}))
    yield running
    running.stop()


@pytest.fixture
def home(server: Embedded, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of the server, which the settings name."""
    monkeypatch.setenv("HOMEOSTAT_HOME", str(server.ready["home"]))
    return Path(str(server.ready["home"]))


@pytest.fixture
def connection(home: Path) -> Connection:
    """A connection found by the home's lock."""
    return open_connection(load(), start=False)


def test_the_server_is_found_by_the_lock_of_its_home(server: Embedded, home: Path, connection: Connection) -> None:
    held = read_lock(home)
    assert held is not None and connection.address == held["address"] == server.ready["address"]
    assert connection.get("/status")["home"] == str(home)
    assert (home / "token").stat().st_mode & 0o077 == 0


def test_a_home_without_a_server_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(HomeostatError) as caught:
        open_connection(load({"home": str(tmp_path)}), start=False)
    assert caught.value.kind is Kind.UNAVAILABLE
    (tmp_path / "lock").write_text('{"address": "http://127.0.0.1:1", "pid": 999999999}')
    assert read_lock(tmp_path) is None
    (tmp_path / "lock").write_text("not json")
    assert read_lock(tmp_path) is None


def test_errors_come_back_as_they_were_raised(connection: Connection) -> None:
    with pytest.raises(HomeostatError) as missing:
        connection.get("/models/nobody")
    assert missing.value.kind is Kind.NOT_FOUND and missing.value.code.startswith("models.") and missing.value.hint
    with pytest.raises(HomeostatError) as unknown:
        connection.post("/datasets", {"name": "d", "source": {}, "sauce": 1})
    assert unknown.value.kind is Kind.INVALID and "sauce" in str(unknown.value)
    with pytest.raises(HomeostatError) as denied:
        Connection(connection.address, "hs_wrong").get("/models")
    assert denied.value.kind is Kind.UNAUTHENTICATED
    with pytest.raises(HomeostatError) as nobody:
        Connection("http://127.0.0.1:9").get("/models")
    assert nobody.value.code == "connection.unreachable"
    with pytest.raises(HomeostatError) as address:
        Connection("127.0.0.1:8700")
    assert address.value.code == "connection.bad_address"


def test_objects_and_streams_go_both_ways(connection: Connection) -> None:
    data = os.urandom(300_000)
    digest = connection.put_object(data)
    assert connection.get_bytes(f"/objects/{digest}") == data
    assert b"".join(connection.stream(f"/objects/{digest}")) == data
    with pytest.raises(HomeostatError):
        next(connection.stream(f"/objects/{'0' * 64}"))


def test_three_lines_put_a_model_under_the_loop(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    frame = trips(2000)
    X, y = frame.select("km", "hour"), frame["late"].to_numpy()
    estimator = LogisticRegression().fit(X[:1500], y[:1500])
    m = hs.register(estimator, X[:1500], y[:1500], name="late")
    d = hs.deploy(m)
    p = hs.predict(m, X[:3])
    assert (m.model, m.version, m.format) == ("late", 1, "onnx")
    assert len(m.missing) == 2 and "held_out" in m.missing[0] and m.missing[0] in repr(m)
    assert d.state in ("live", "baking") and d.screen in repr(d) and d.screen in d._repr_html_()
    assert p.score == pytest.approx(estimator.predict_proba(X[:3])[:, 1].tolist(), abs=1e-5)
    assert len(p) == len(set(p.ids)) == 3 and p.ids[0] in p._repr_html_()
    answered = subprocess.run(d.curl, shell=True, capture_output=True, text=True, check=True).stdout
    assert '"model_version":"1"' in answered and (home / "token").read_text() not in d.curl


def test_rows_it_has_not_seen_say_how_often_it_errs(connection: Connection, home: Path) -> None:
    frame = trips(2000)
    X, y = frame.select("km", "hour").to_numpy(), frame["late"].to_numpy()
    estimator = LogisticRegression().fit(X[:1000], y[:1000])
    m = hs.register(estimator, X[:1000], y[:1000], name="known", held_out=(X[1000:], y[1000:]))
    profile = connection.get(f"/packages/{m.package}")["profile"]
    assert profile["held_out_rows"] == 1000 and profile["misses"] is not None and len(m.missing) == 1
    with pytest.raises(HomeostatError, match="X has 1000 rows and y has 999"):
        hs.register(estimator, X[:1000], y[:999], name="known")


def test_a_regression_gives_values(home: Path) -> None:
    random = np.random.default_rng(0)
    X = pl.DataFrame({"a": random.random(500), "b": random.random(500)})
    y = (X["a"] * 3 + X["b"]).to_numpy()
    m = hs.register(LinearRegression().fit(X, y), X, y, name="value")
    assert hs.deploy("value@1").model == "value"
    assert hs.predict(m, X[:2]).value == pytest.approx(y[:2].tolist(), rel=1e-4)
    with pytest.raises(HomeostatError) as missing:
        hs.predict("value", X.select("a"))
    assert missing.value.code == "project.no_input_column"


def test_what_cannot_be_deployed_is_told(home: Path) -> None:
    for wrong in (3, "value@newest"):
        with pytest.raises(HomeostatError) as caught:
            hs.deploy(wrong)  # type: ignore[arg-type]
        assert caught.value.code == "project.not_deployable"
    with pytest.raises(HomeostatError) as nobody:
        hs.deploy("nobody")
    assert nobody.value.kind is Kind.NOT_FOUND
    register._sessions.clear()


def test_an_embedded_server_ends_with_its_parent(tmp_path: Path) -> None:
    program = (
        "import sys, homeostat.project.locate as l; from homeostat.foundation.settings import load\n"
        f"c = l.open_connection(load({{'home': {str(tmp_path)!r}}}))\n"
        "print(c.get('/status')['home'], flush=True); sys.stdin.read()"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert parent.stdin is not None and parent.stdout is not None
    try:
        assert parent.stdout.readline().strip() == str(tmp_path)
        held = read_lock(tmp_path)
        assert held is not None
        control = psutil.Process(held["pid"])
        below = [control, *control.children(recursive=True)]
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
        _, alive = psutil.wait_procs(below, timeout=20)
        assert not alive
    finally:
        parent.stdin.close()
        parent.stdout.close()


def test_two_that_start_at_once_share_one_server(tmp_path: Path) -> None:
    program = (
        "import sys, homeostat.project.locate as l; from homeostat.foundation.settings import load\n"
        f"c = l.open_connection(load({{'home': {str(tmp_path)!r}}}))\n"
        "print(c.get('/status')['address'], flush=True); sys.stdin.read()"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    try:
        assert len({p.stdout.readline() for p in both if p.stdout is not None}) == 1
    finally:
        for each in both:
            each.communicate()


def test_a_connection_that_the_server_closed_meanwhile_is_opened_anew(connection: Connection) -> None:
    connection.get("/models")
    assert connection._open is not None and connection._open.sock is not None
    connection._open.sock.shutdown(2)  # as an idle time-out of the server looks from here
    assert connection.post("/audit/verify")
