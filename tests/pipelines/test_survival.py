"""kill -9 of control, of the worker server and of workers: the run goes on where it was and ends the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from pipeline_home import FLOW, Home

from homeostat.engines.processes import Processes
from homeostat.foundation import events
from homeostat.testing.engines import Meeting

LIGHT = ("homeostat.engines.calls", "homeostat.pipelines.steps")
NAMES = ("numbers", "doubled", "squared", "total")

# A control process that advances the flow of a home. It kills itself where its `allowed` commits are used up: before
# the next one, or right after the last one.
CONTROL = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from pipeline_home import Home
from homeostat.foundation.database import Database
from homeostat.pipelines import runs

allowed, before = int(sys.argv[1]), sys.argv[2] == "before"
commit = Database._commit

def counted(self):
    global allowed
    writes = self._group is not None and self._group.size > 0
    if writes and before and allowed <= 0:
        os.kill(os.getpid(), signal.SIGKILL)
    commit(self)
    if writes:
        allowed -= 1
        if not before and allowed <= 0:
            os.kill(os.getpid(), signal.SIGKILL)

home = Home(Path({folder!r}))
Database._commit = counted
home.runner.advance()
with home.database.read() as reader:
    run = runs.listing(reader)[0]
home.runner.wait(run.id, 60)
home.close()
"""


def outputs(home: Home, run_id: str) -> dict[str, str | None]:
    from homeostat.pipelines import runs

    with home.database.read() as reader:
        return {step.step: step.output for step in runs.steps(reader, run_id)}


def enter(home: Home) -> str:
    """Enter a run that no runner has begun."""
    from homeostat.pipelines import runs

    with home.database.write(actor="person:ada") as tx:
        return runs.start(tx, "flow", {}, trigger="person").id


def controls_until_done(home: Home, allowed: int, when: str) -> int:
    """Start controls that die after `allowed` commits, one after the other, until one lives to the end of the run."""
    program = CONTROL.format(tests=str(Path(__file__).parent), folder=str(home.folder))
    for count in range(1, 20):
        ended = subprocess.run([sys.executable, "-c", program, str(allowed), when], timeout=60)
        if ended.returncode == 0:
            return count
        assert ended.returncode == -signal.SIGKILL
    raise AssertionError("the run never ended")


# One commit each would be no progress: a step is begun, and begun again. Two is the least that moves on.
@pytest.mark.parametrize(
    ("allowed", "when"),
    [
        (2, "after"),
        *(pytest.param(n, w, marks=pytest.mark.slow) for n, w in ((2, "before"), (3, "after"), (3, "before"))),
    ],
)
def test_control_killed_around_any_commit(home: Home, tmp_path: Path, allowed: int, when: str) -> None:
    home.define(*NAMES)
    undisturbed = home.run()
    wanted = outputs(home, undisturbed.id)
    (tmp_path / "other").mkdir()
    other = Home(tmp_path / "other")
    try:
        other.define(*NAMES)
        run_id = enter(other)
        deaths = controls_until_done(other, allowed, when) - 1
        assert deaths >= 1
        assert outputs(other, run_id) == wanted
        with other.database.read() as reader:
            finished = events.read_after(reader, kinds=["pipelines.run_finished"])
            assert events.verify(reader).intact
        assert [event.payload["state"] for event in finished if event.payload] == ["succeeded"]
        # A step may be called again by the control after the one that was killed, never after it was done.
        assert len(other.trace()) <= 4 + 2 * deaths
    finally:
        other.close()


def in_processes(home: Home) -> Processes:
    """Give the home forked workers instead of threads."""
    home.close()
    engine = Processes(home.path, workers=2, preload=LIGHT)
    home.open(engine)
    return engine


def test_a_killed_worker_costs_an_attempt_and_no_more(home: Home) -> None:
    in_processes(home)
    dies_twice = FLOW.replace(
        "return [2 * number for number in numbers]",
        "import os\n    if TRACE.read_text().split().count('doubled') < 3: os.kill(os.getpid(), 9)\n"
        "    return [2 * number for number in numbers]",
    )
    home.define(*NAMES, source=dies_twice)
    run = home.run()
    assert (run.state, run.result) == ("succeeded", {"total": 26.0})
    step = home.steps(run)["doubled"]
    assert (step.attempt, step.lost) == (3, 2)
    assert sorted(home.trace()) == ["doubled"] * 3 + ["numbers", "squared", "total"]


def test_a_step_that_kills_every_worker_fails(home: Home) -> None:
    in_processes(home)
    home.define(
        *NAMES,
        source=FLOW.replace(
            "return [2",
            "print('so far', flush=True); __import__('os').kill(__import__('os').getpid(), 9)\n    return [2",
        ),
    )
    run = home.run()
    assert run.state == "failed" and "died without a word (3 times)" in str(run.error)
    step = home.steps(run)["doubled"]
    assert step.attempt == 3 and step.log is not None
    assert b"so far" in home.objects.get_bytes(step.log)


def test_a_failed_step_keeps_the_workers_console(home: Home) -> None:
    in_processes(home)
    home.define(*NAMES, source=FLOW.replace("return [2", "print('seen:', numbers); 1 / 0\n    return [2"))
    run = home.run()
    assert "ZeroDivisionError: division by zero" in str(run.error)
    log = home.steps(run)["doubled"].log
    assert log is not None
    text = home.objects.get_bytes(log).decode()
    assert "seen: [0, 1, 2, 3]" in text and "1 / 0" in text


def meeting_flow(tmp_path: Path) -> tuple[Meeting, str]:
    """A flow whose step "total" announces itself and waits at a gate when it is called for the first time."""
    meeting = Meeting(tmp_path)
    wait = (
        f"if TRACE.read_text().split().count('total') == 1:\n"
        f"        import os\n"
        f"        with open({str(meeting.path) + '.here'!r}, 'w') as here: here.write(str(os.getpid()))\n"
        f"        open({str(meeting.path)!r}).read()\n"
        f"    return {{"
    )
    return meeting, FLOW.replace("return {", wait)


def test_a_killed_server_loses_its_steps_and_they_are_run_again(home: Home, tmp_path: Path) -> None:
    engine = in_processes(home)
    meeting, source = meeting_flow(tmp_path)
    home.define(*NAMES, source=source)
    started = home.runner.start("flow", {}, trigger="person", actor="person:ada")
    meeting.arrived()
    assert engine.server_pid is not None
    os.kill(engine.server_pid, signal.SIGKILL)
    run = home.runner.wait(started.id, 60)
    assert (run.state, run.result) == ("succeeded", {"total": 26.0})
    assert home.steps(run)["total"].lost == 1


def test_a_killed_control_resumes_at_the_step_it_was_in(home: Home, tmp_path: Path) -> None:
    meeting, source = meeting_flow(tmp_path)
    home.define(*NAMES, source=source)
    run_id = enter(home)
    home.close()
    program = f"""
import os, sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pipeline_home import Home
from homeostat.engines.processes import Processes
home = Home(Path({str(tmp_path)!r}))
home.close()
home.open(Processes(home.path, preload={LIGHT!r}))
home.runner.advance()
os.read(0, 1)
"""
    control = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE)
    meeting.arrived()
    control.kill()
    control.communicate()
    home.open(Processes(home.path, preload=LIGHT))
    home.runner.advance()
    run = home.runner.wait(run_id, 60)
    assert (run.state, run.result) == ("succeeded", {"total": 26.0})
    assert {name: step.attempt for name, step in home.steps(run).items()} == {
        "numbers": 1,
        "doubled": 1,
        "squared": 1,
        "total": 2,
    }
    assert sorted(home.trace()) == ["doubled", "numbers", "squared", "total", "total"]


def test_many_advances_at_once_never_run_a_step_twice(home: Home) -> None:
    home.define(*NAMES)
    run_id = enter(home)
    threads = [threading.Thread(target=lambda: [home.runner.advance() for _ in range(20)]) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert home.runner.wait(run_id, 60).state == "succeeded"
    assert sorted(home.trace()) == sorted(NAMES)
    assert home.runner.advance() in (True, False) and home.runner.advance() is False
