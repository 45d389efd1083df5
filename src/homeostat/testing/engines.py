"""The conformance suite of the plug point "engine" (`homeostat.pipelines.engine`).

Subclass `EngineConformance` in a test module and give it a fixture `engine` that makes one over an empty home and
closes it afterwards. `isolated` says whether each call has a process of its own::

    class TestMine(EngineConformance):
        isolated = True

        @pytest.fixture
        def engine(self, tmp_path):
            engine = Mine(tmp_path)
            yield engine
            engine.close()
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from homeostat.foundation.errors import HomeostatError, Kind, entry
from homeostat.foundation.stores import Stores
from homeostat.pipelines.engine import Engine, call
from homeostat.pipelines.records import Call, Outcome

REFUSAL = entry("testing.refusal", Kind.REFUSED, "{what} is refused", "ask for less")
PATIENCE = 60.0


class Job(Struct, frozen=True, kw_only=True):
    """What the suite's functions are asked to do."""

    text: str = ""
    path: str = ""
    size: int = 0


class Answer(Struct, frozen=True, kw_only=True):
    """What they answer."""

    text: str
    pid: int


def echo(job: Job, stores: Stores) -> Answer:
    """Answers what it was told, `size` times."""
    return Answer(text=job.text * max(1, job.size), pid=os.getpid())


def speak(job: Job, stores: Stores) -> Answer:
    """Prints to both channels."""
    print(job.text)
    print(job.text.upper(), file=sys.stderr)
    return Answer(text="", pid=os.getpid())


def flood(job: Job, stores: Stores) -> Answer:
    """Prints `size` lines."""
    for number in range(job.size):
        print(f"line {number} {'.' * 90}")
    return Answer(text="", pid=os.getpid())


def variable(job: Job, stores: Stores) -> Answer:
    """Answers the environment variable that `text` names."""
    return Answer(text=os.environ.get(job.text, "(not set)"), pid=os.getpid())


def keep(job: Job, stores: Stores) -> Answer:
    """Stores `text` as an object and answers its digest."""
    return Answer(text=stores.objects.put_bytes(job.text.encode()), pid=os.getpid())


def plain(job: dict[str, Any], stores: Stores) -> dict[str, Any]:
    """Takes and answers a dict, as a function without structs does."""
    return {"keys": sorted(job)}


def refuse(job: Job, stores: Stores) -> Answer:
    """Raises an error of the catalogue."""
    raise REFUSAL(field="text", what=job.text)


def stumble(job: Job, stores: Stores) -> Answer:
    """Raises an error of Python's."""
    raise ZeroDivisionError(job.text)


def leave(job: Job, stores: Stores) -> Answer:
    """Calls sys.exit, as a script would."""
    sys.exit(3)


def die(job: Job, stores: Stores) -> Answer:
    """Dies without a word."""
    print("last words")
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")


def meet(job: Job, stores: Stores) -> Answer:
    """Announces itself at the named pipe `path` + ".here", then waits until somebody opens `path`."""
    with Path(job.path + ".here").open("w") as here:
        here.write(str(os.getpid()))
    with Path(job.path).open() as gate:
        gate.read()
    return Answer(text=job.text, pid=os.getpid())


class Meeting:
    """Holds a `meet` call: `arrived` returns its pid once it runs, `release` lets it end."""

    def __init__(self, folder: Path, name: str = "gate") -> None:
        self.path = folder / name
        os.mkfifo(self.path)
        os.mkfifo(f"{self.path}.here")

    def call(self) -> Call:
        """The call to submit."""
        return make("meet", Job(path=str(self.path), text="met"))

    def arrived(self) -> int:
        """Wait until the call runs."""
        with Path(f"{self.path}.here").open() as here:
            return int(here.read())

    def release(self) -> None:
        """Let the call end; waits until it stands at the gate."""
        with self.path.open("w"):
            pass


def make(function: str, job: Any = None, **fields: Any) -> Call:
    """A call of one of this module's functions."""
    payload = msgspec.msgpack.encode(Job() if job is None else job)
    return Call(function=f"{__name__}:{function}", payload=payload, label=function, **fields)


def ended(future: Future[Outcome]) -> Outcome:
    """The outcome, waited for with patience."""
    return future.result(timeout=PATIENCE)


class EngineConformance:
    """What every engine must do; see the module."""

    isolated = False

    def test_answers_with_a_struct(self, engine: Engine) -> None:
        """A call's answer comes back decoded."""
        answer = call(engine, f"{__name__}:echo", Job(text="hello"), Answer)
        assert answer.text == "hello"
        assert (answer.pid != os.getpid()) == self.isolated

    def test_takes_and_answers_plain_values(self, engine: Engine) -> None:
        """A function without structs gets a dict and may answer one."""
        outcome = ended(engine.submit(make("plain", {"b": 1, "a": 2})))
        assert msgspec.msgpack.decode(outcome.result) == {"keys": ["a", "b"]}

    def test_carries_large_payloads_and_answers(self, engine: Engine) -> None:
        """Megabytes in, megabytes out, several at a time, nobody blocks anybody."""
        futures = [engine.submit(make("echo", Job(text="x" * 1_000_000, size=3))) for _ in range(4)]
        for future in futures:
            assert len(msgspec.msgpack.decode(ended(future).result, type=Answer).text) == 3_000_000

    def test_carries_errors_of_the_catalogue(self, engine: Engine) -> None:
        """A catalogue error arrives with its code, kind, field and hint."""
        try:
            call(engine, f"{__name__}:refuse", Job(text="more"), Answer)
        except HomeostatError as error:
            assert (error.code, error.kind, error.field) == ("testing.refusal", Kind.REFUSED, "text")
            assert error.hint == "ask for less"
        else:
            raise AssertionError("the error was swallowed")

    def test_carries_other_errors_with_their_traceback(self, engine: Engine) -> None:
        """An unexpected error is "internal", one line in the message, the traceback in "detail"."""
        error = ended(engine.submit(make("stumble", Job(text="by zero")))).error
        assert error is not None
        assert error["code"] == "internal" and "ZeroDivisionError: by zero" in error["message"]
        assert "in stumble" in error["detail"]

    def test_survives_sys_exit(self, engine: Engine) -> None:
        """A function that exits has failed; the engine goes on."""
        assert ended(engine.submit(make("leave"))).state == "failed"
        assert ended(engine.submit(make("echo"))).state == "succeeded"

    def test_refuses_unknown_functions(self, engine: Engine) -> None:
        """A name that leads nowhere is an error of the catalogue."""
        for name in ("homeostat.testing.engines:nothing", "homeostat.no_such_module:f", "nonsense"):
            error = ended(engine.submit(Call(function=name, payload=msgspec.msgpack.encode({})))).error
            assert error is not None and error["code"] == "engine.no_function"

    def test_sets_variables_for_one_call_only(self, engine: Engine) -> None:
        """`env` is seen by the call that carries it, and by no other."""
        job = Job(text="HOMEOSTAT_CONFORMANCE")
        told = ended(engine.submit(make("variable", job, env={"HOMEOSTAT_CONFORMANCE": "yes"})))
        untold = ended(engine.submit(make("variable", job)))
        assert msgspec.msgpack.decode(told.result, type=Answer).text == "yes"
        assert msgspec.msgpack.decode(untold.result, type=Answer).text == "(not set)"

    def test_runs_many_calls(self, engine: Engine) -> None:
        """Fifty calls at once all end, each with its own answer."""
        futures = [engine.submit(make("echo", Job(text=str(number)))) for number in range(50)]
        answers = [msgspec.msgpack.decode(ended(future).result, type=Answer).text for future in futures]
        assert answers == [str(number) for number in range(50)]

    def test_takes_calls_from_any_thread_and_from_a_callback(self, engine: Engine) -> None:
        """Submitting from a completion callback, on the engine's own thread, does not lock up."""
        second: Future[Future[Outcome]] = Future()
        engine.submit(make("echo")).add_done_callback(lambda _: second.set_result(engine.submit(make("echo"))))
        assert ended(second.result(timeout=PATIENCE)).state == "succeeded"
        outcomes: list[Outcome] = []
        threads = [threading.Thread(target=lambda: outcomes.append(ended(engine.submit(make("echo"))))) for _ in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [outcome.state for outcome in outcomes] == ["succeeded"] * 4

    def test_close_loses_running_and_waiting_calls(self, engine: Engine, tmp_path: Path) -> None:
        """After `close` every future is complete, and `submit` raises."""
        meeting = Meeting(tmp_path)
        running = engine.submit(meeting.call())
        meeting.arrived()
        waiting = [engine.submit(make("echo")) for _ in range(3)]
        engine.close()
        if not self.isolated:
            meeting.release()  # a thread cannot be killed: let it end
        assert ended(running).state == "lost"
        assert all(ended(future).state in ("lost", "succeeded") for future in waiting)
        try:
            engine.submit(make("echo"))
        except HomeostatError as error:
            assert error.code == "engine.closed"
        else:
            raise AssertionError("a closed engine took a call")

    def test_keeps_the_console_output(self, engine: Engine) -> None:
        """What an isolated call prints, on both channels, is in its outcome's log."""
        if self.isolated:
            log = ended(engine.submit(make("speak", Job(text="words")))).log
            assert "words" in log and "WORDS" in log

    def test_bounds_the_console_output(self, engine: Engine) -> None:
        """A call that prints 10 MB leaves a log with its beginning and its end."""
        if self.isolated:
            log = ended(engine.submit(make("flood", Job(size=100_000)))).log
            assert len(log) < 1_000_000
            assert log.startswith("line 0 ") and "line 99999 " in log

    def test_a_worker_that_dies_is_lost(self, engine: Engine) -> None:
        """kill -9 of a worker is outcome "lost", said through `call` as engine.worker_lost; the next call runs."""
        if not self.isolated:
            return
        outcome = ended(engine.submit(make("die")))
        assert outcome.state == "lost" and "last words" in outcome.log
        try:
            call(engine, f"{__name__}:die", Job(), Answer, label="the doomed")
        except HomeostatError as error:
            assert error.code == "engine.worker_lost" and "the doomed" in str(error)
        else:
            raise AssertionError("a lost worker went unnoticed")
        assert ended(engine.submit(make("echo"))).state == "succeeded"

    def test_objects_written_by_a_call_can_be_read(self, engine: Engine) -> None:
        """A call reaches the home's stores."""
        outcome = ended(engine.submit(make("keep", Job(text="kept"))))
        assert outcome.state == "succeeded"
        assert len(msgspec.msgpack.decode(outcome.result, type=Answer).text) == 64
