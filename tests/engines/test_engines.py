"""Both engines pass the public conformance suite; the forked one also survives the death of each of its processes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

import homeostat
from homeostat.engines.local import Local
from homeostat.engines.processes import Processes, worker_environment
from homeostat.pipelines.engine import Engine
from homeostat.testing.engines import Answer, EngineConformance, Job, Meeting, ended, make

LIGHT = ("homeostat.engines.calls", "numpy")


class TestLocal(EngineConformance):
    @pytest.fixture
    def engine(self, tmp_path: Path) -> Iterator[Engine]:
        engine = Local(tmp_path / "home", workers=2)
        yield engine
        engine.close()


class TestProcesses(EngineConformance):
    isolated = True

    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
        engine = Processes(tmp_path_factory.mktemp("home"), workers=2, preload=LIGHT)
        yield engine
        engine.close()

    @pytest.fixture
    def own_engine(self, tmp_path: Path) -> Iterator[Engine]:
        engine = Processes(tmp_path / "home", workers=2, preload=LIGHT)
        yield engine
        engine.close()

    def test_close_loses_running_and_waiting_calls(self, own_engine: Engine, tmp_path: Path) -> None:  # type: ignore[override]
        super().test_close_loses_running_and_waiting_calls(own_engine, tmp_path)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Processes]:
    engine = Processes(tmp_path / "home", workers=2, preload=LIGHT)
    yield engine
    engine.close()


def wait_for_end(*pids: int) -> None:
    """Wait until each process is gone (or a zombie that nobody reaps here)."""
    for pid in pids:
        try:
            psutil.Process(pid).wait(timeout=30)
        except psutil.NoSuchProcess:
            pass


def test_a_killed_server_loses_its_calls_and_workers_and_the_next_call_starts_another(
    engine: Processes, tmp_path: Path
) -> None:
    meeting = Meeting(tmp_path)
    running = engine.submit(meeting.call())
    worker = meeting.arrived()
    server = engine.server_pid
    assert server is not None
    os.kill(server, signal.SIGKILL)
    assert ended(running).state == "lost"
    wait_for_end(worker)
    assert ended(engine.submit(make("echo"))).state == "succeeded"
    assert engine.server_pid not in (None, server)


def test_calls_that_waited_are_run_by_the_next_server(tmp_path: Path) -> None:
    engine = Processes(tmp_path / "home", workers=1, preload=LIGHT)
    meeting = Meeting(tmp_path)
    running = engine.submit(meeting.call())
    meeting.arrived()
    waiting = engine.submit(make("echo", Job(text="still here")))
    assert engine.server_pid is not None
    os.kill(engine.server_pid, signal.SIGKILL)
    assert ended(running).state == "lost"
    assert msgspec.msgpack.decode(ended(waiting).result, type=Answer).text == "still here"
    engine.close()


def test_at_most_so_many_workers_at_a_time(engine: Processes, tmp_path: Path) -> None:
    meetings = [Meeting(tmp_path, f"gate{number}") for number in range(2)]
    held = [engine.submit(meeting.call()) for meeting in meetings]
    for meeting in meetings:
        meeting.arrived()
    third = engine.submit(make("echo"))
    server = psutil.Process(engine.server_pid)
    assert len(server.children()) == 2 and not third.done()
    meetings[0].release()
    assert ended(held[0]).state == "succeeded"
    assert ended(third).state == "succeeded"
    meetings[1].release()
    assert ended(held[1]).state == "succeeded"


def test_a_killed_control_takes_server_and_workers_along(tmp_path: Path) -> None:
    meeting = Meeting(tmp_path)
    program = f"""
import os
from pathlib import Path
from homeostat.engines.processes import Processes
from homeostat.testing.engines import Job, make
engine = Processes(Path({str(tmp_path / "home")!r}), preload=("homeostat.engines.calls",))
future = engine.submit(make("meet", Job(path={str(meeting.path)!r})))
os.read(0, 1)
"""
    control = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE)
    worker = meeting.arrived()
    server = psutil.Process(worker).ppid()
    assert psutil.Process(server).ppid() == control.pid
    control.kill()
    control.communicate()
    wait_for_end(server, worker)
    assert not psutil.pid_exists(server) or psutil.Process(server).status() == psutil.STATUS_ZOMBIE


def test_an_idle_server_goes_and_comes_back(tmp_path: Path) -> None:
    engine = Processes(tmp_path / "home", idle_seconds=0.05, preload=LIGHT)
    assert ended(engine.submit(make("echo"))).state == "succeeded"
    server = engine.server_pid
    if server is not None:
        wait_for_end(server)
    assert ended(engine.submit(make("echo"))).state == "succeeded"
    assert engine.server_pid != server
    engine.close()


def test_a_server_that_cannot_start_loses_the_call_instead_of_hanging(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken_module.py").write_text("raise RuntimeError('this installation is broken')\n")
    sys.path.append(str(tmp_path))
    engine = Processes(tmp_path / "home", preload=("broken_module",))
    try:
        assert ended(engine.submit(make("echo"))).state == "lost"
        assert ended(engine.submit(make("echo"))).state == "lost"
    finally:
        engine.close()
        sys.path.remove(str(tmp_path))
    assert "this installation is broken" in capfd.readouterr().err


def test_what_a_worker_started_ends_with_it(engine: Processes) -> None:
    outcome = ended(engine.submit(make_local("spawn_sleeper")))
    wait_for_end(msgspec.msgpack.decode(outcome.result, type=Answer).pid)


def test_workers_do_not_share_random_numbers(engine: Processes) -> None:
    outcomes = [ended(engine.submit(make_local("draw"))) for _ in range(2)]
    first, second = (msgspec.msgpack.decode(outcome.result, type=Answer).text for outcome in outcomes)
    assert first != second


def test_the_users_thread_settings_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    share = max(1, len(os.sched_getaffinity(0)) // 2)
    assert worker_environment(2)["OMP_NUM_THREADS"] == str(share)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert worker_environment(2)["OMP_NUM_THREADS"] == "7"


def test_control_side_modules_load_no_heavy_library() -> None:
    program = (
        "import sys, homeostat.engines.processes, homeostat.pipelines.engine\n"
        "heavy = {'polars', 'numpy', 'sklearn', 'deltalake', 'onnxruntime'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_server_preloads_every_worker_function_and_starts_no_pool() -> None:
    package = Path(homeostat.__file__).parent
    sources = [path for path in package.rglob("*.py") if "testing" not in path.parts]
    named = {m for path in sources for m in re.findall(r'"(homeostat\.[a-z_.]+):[a-z_]+"', path.read_text())}
    program = (
        "import os, sys\n"
        "from homeostat.engines.forkserver import PRELOADED, preload\n"
        "preload(list(PRELOADED))\n"
        f"missing = set({sorted(named)!r}) - set(sys.modules)\n"
        "assert not missing, missing\n"
        "names = {open(f'/proc/self/task/{t}/comm').read().strip() for t in os.listdir('/proc/self/task')}\n"
        "own = {'jemalloc_bg_thd', 'polars-ooc-clea', open('/proc/self/comm').read().strip()}\n"
        "assert names <= own, names\n"
        "assert len([t for t in os.listdir('/proc/self/task')]) <= 6\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, env=worker_environment(2))


def test_the_libraries_work_after_the_fork(tmp_path: Path) -> None:
    """polars (rayon), deltalake (tokio), scikit-learn (OpenMP), ONNX Runtime: imported before, used only after."""
    engine = Processes(tmp_path / "home", workers=2)
    try:
        futures = [engine.submit(make_local("use_everything")) for _ in range(2)]
        for future in futures:
            outcome = ended(future)
            assert outcome.state == "succeeded", outcome.error
            assert msgspec.msgpack.decode(outcome.result, type=Answer).text == "polars deltalake sklearn onnxruntime"
    finally:
        engine.close()


def make_local(function: str):  # type: ignore[no-untyped-def]
    """A call of a function in `in_worker.py` beside this file."""
    call = make(function)
    return msgspec.structs.replace(call, function=f"in_worker:{function}")
