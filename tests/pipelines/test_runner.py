"""Runs on the local engine: order, cache, params, errors, actions, tracking, cancel, resume."""

from __future__ import annotations

import threading
from typing import Any

import msgspec
import pytest
from pipeline_home import FLOW, Home

from homeostat.foundation import events
from homeostat.foundation.errors import HomeostatError
from homeostat.pipelines import definitions, runs
from homeostat.pipelines.records import Pipeline, Step, StepContext
from homeostat.tracking import runs as tracking_runs

NAMES = ("numbers", "doubled", "squared", "total")


def test_a_graph_of_plain_functions_runs_to_its_result(home: Home) -> None:
    home.define(*NAMES)
    run = home.run()
    assert (run.state, run.result, run.error) == ("succeeded", {"total": 26.0}, None)
    assert set(home.states(run).values()) == {"succeeded"}
    steps = home.steps(run)
    assert steps["total"].inputs == {"doubled": steps["doubled"].output, "squared": steps["squared"].output}
    assert all(step.attempt == 1 and step.started_at and step.finished_at for step in steps.values())
    assert home.trace()[0] == "numbers" and home.trace()[-1] == "total"
    with home.database.read() as reader:
        told = [event.kind for event in events.read_after(reader)]
    assert told == ["pipelines.pipeline_defined", "pipelines.run_started", "pipelines.run_finished"]


def test_what_was_made_before_is_not_made_again(home: Home) -> None:
    home.define(*NAMES)
    first = home.run()
    again = home.run()
    assert again.result == first.result
    assert set(home.states(again).values()) == {"cached"}
    assert len(home.trace()) == 4
    changed = home.run(params={"scale": 2.0})
    assert changed.result == {"total": 52.0}
    assert home.states(changed) == {"numbers": "cached", "doubled": "cached", "squared": "cached", "total": "succeeded"}
    home.run(params={"count": 5})
    assert home.trace()[5:].count("total") == 1 and len(home.trace()) == 9


def test_other_code_is_other_content(home: Home) -> None:
    home.define(*NAMES)
    home.run()
    home.define(*NAMES, source=FLOW.replace("2 * number", "3 * number"))
    run = home.run()
    assert run.result == {"total": 32.0}
    assert set(home.states(run).values()) == {"succeeded"}


def test_a_lost_object_is_made_again(home: Home) -> None:
    home.define(*NAMES)
    made = home.steps(home.run())["doubled"].output
    assert made is not None
    home.objects.path_of(made).unlink()
    assert home.states(home.run())["doubled"] == "succeeded"
    assert home.objects.has(made)


def test_params_are_checked_and_taken_as_their_defaults_are(home: Home) -> None:
    home.define(*NAMES)
    assert home.run(params={"count": "3", "scale": "0.5"}).params == {"count": 3, "scale": 0.5}
    for given, code in (({"cuont": 3}, "pipelines.unknown_param"), ({"count": "many"}, "pipelines.bad_param")):
        with pytest.raises(HomeostatError) as caught:
            home.run(params=given)
        assert caught.value.code == code and caught.value.field == next(iter(given))
    with home.database.read() as reader:
        assert len(runs.listing(reader)) == 1


def test_a_failed_step_fails_the_run_with_the_users_line(home: Home, capfd: pytest.CaptureFixture[str]) -> None:
    broken = FLOW.replace("return [2 * number for number in numbers]", "return numbers['a']")
    line = next(n for n, text in enumerate(broken.splitlines(), 1) if "numbers['a']" in text)
    home.define(*NAMES, source=broken)
    run = home.run()
    assert run.state == "failed" and run.error is not None
    assert run.error.startswith(f"step 'doubled': flow.py, line {line}: TypeError: list indices")
    states = home.states(run)
    assert (states["doubled"], states["total"]) == ("failed", "skipped")
    assert "numbers['a']" in capfd.readouterr().err
    with home.database.read() as reader:
        failed = events.read_after(reader, kinds=["pipelines.step_failed"])
    assert len(failed) == 1 and failed[0].payload is not None and failed[0].payload["step"] == "doubled"


def test_resume_goes_on_at_the_step_that_failed_with_the_mended_file(home: Home) -> None:
    home.define(*NAMES, source=FLOW.replace("return {", "raise ValueError('no')\n    return {"))
    run = home.run()
    assert run.state == "failed"
    home.runner.resume(run.id, actor="person:ada")
    assert home.runner.wait(run.id, 60).state == "failed"
    assert home.trace() == [*home.trace()[:3], "total", "total"]
    home.define(*NAMES)
    home.runner.resume(run.id, actor="person:ada")
    mended = home.runner.wait(run.id, 60)
    assert (mended.state, mended.result, mended.error) == ("succeeded", {"total": 26.0}, None)
    with pytest.raises(HomeostatError) as caught:
        home.runner.resume(run.id, actor="person:ada")
    assert caught.value.code == "pipelines.nothing_to_resume"


def test_a_hundred_steps_at_once(home: Home) -> None:
    source = "def start():\n    return 1\n\n"
    source += "".join(f"def part{n}(start):\n    return start + {n}\n\n" for n in range(100))
    source += f"def joined({', '.join(f'part{n}' for n in range(100))}):\n    return {{'sum': part0 + part99}}\n"
    home.define("start", *(f"part{n}" for n in range(100)), "joined", source=source)
    run = home.run()
    assert run.result == {"sum": 101}
    assert set(home.states(home.run()).values()) == {"cached"}


def test_steps_whose_inputs_are_there_run_beside_each_other(home: Home) -> None:
    source = (
        "import threading\nmeet = threading.Barrier(2)\n"
        "def left():\n    meet.wait(30)\n    return 1\n\ndef right():\n    meet.wait(30)\n    return 2\n"
    )
    home.define("left", "right", source=source)
    assert home.run().state == "succeeded"


def test_outputs_of_every_kind_and_no_other(home: Home) -> None:
    source = """
import numpy as np, polars as pl
def frame(): return pl.DataFrame({"a": [1.0, None, float("nan")], "b": ["x", "y", "z"]})
def array(): return np.arange(6.0).reshape(2, 3)
def data(): return b"\\x00\\xff"
def value(): return {"n": np.float64(0.5), "l": (1, np.int64(2)), "t": True}
def joined(frame, array, data, value):
    assert frame.shape == (3, 2) and frame["a"].is_nan().sum() == 1 and array.shape == (2, 3)
    return {"rows": frame.height, "sum": array.sum(), "bytes": len(data), **value}
def odd(): return object()
def keyed(): return {1: 2}
def objects(): return np.array([object()])
"""
    home.define("frame", "array", "data", "value", "joined", source=source)
    run = home.run()
    assert run.result == {"rows": 3, "sum": 15.0, "bytes": 2, "n": 0.5, "l": [1, 2], "t": True}
    kinds = {name: step.output_kind for name, step in home.steps(run).items()}
    assert kinds == {"frame": "arrow", "array": "numpy", "data": "bytes", "value": "json", "joined": "json"}
    for name, words in (("odd", "builtins.object"), ("keyed", "the key 1"), ("objects", "Python objects")):
        home.define(name, source=source)
        run = home.run()
        assert run.state == "failed" and words in str(run.error)


def test_actions_of_control_get_inputs_and_context(home: Home) -> None:
    seen: list[StepContext] = []

    def register(context: StepContext) -> Any:
        seen.append(context)
        return {"version": context.inputs["made"]["total"] + 1}

    home.actions["register"] = register
    home.runner.close()
    home.open()
    flow = home.define(*NAMES)
    last = Step(name="register", function="control:register", inputs={"made": "total"}, cache=False, settings={"a": 1})
    home.keep(msgspec.structs.replace(flow, steps=(*flow.steps, last)))
    for _ in range(2):
        run = home.run(context={"rule": "shown_better"})
        assert run.result == {"version": 27.0}
    assert len(seen) == 2
    told = seen[0]
    assert (told.settings, told.context, told.actor) == ({"a": 1}, {"rule": "shown_better"}, "person:ada")
    assert told.step_run_id == home_step_id(home, told)


def home_step_id(home: Home, told: StepContext) -> str:
    with home.database.read() as reader:
        return next(step.id for step in runs.steps(reader, told.pipeline_run_id) if step.step == "register")


def test_actions_that_fail_or_are_not_there_fail_their_step(home: Home) -> None:
    def stumble(context: StepContext) -> Any:
        raise ZeroDivisionError("by zero")

    home.actions["stumble"] = stumble
    home.runner.close()
    home.open()
    home.keep(Pipeline(name="a", steps=(Step(name="s", function="control:stumble", cache=False),)))
    home.keep(Pipeline(name="b", steps=(Step(name="s", function="control:nothing", cache=False),)))
    run = home.run("a")
    assert run.state == "failed" and "ZeroDivisionError: by zero" in str(run.error)
    log = home.steps(run)["s"].log
    assert log is not None and b"in stumble" in home.objects.get_bytes(log)
    assert "which it does not do" in str(home.run("b").error)


def tracked(home: Home, body: str) -> None:
    flow = home.define("train", source=f"import os\ndef train(*, depth: int = 3):\n    {body}\n")
    step = msgspec.structs.replace(flow.steps[0], settings={"tracked": True, "experiment": "trees"})
    home.keep(msgspec.structs.replace(flow, steps=(step,)))


def test_a_tracked_step_has_a_run_fed_from_its_output(home: Home) -> None:
    digest = home.objects.put_bytes(b"picture")
    tracked(
        home,
        "return {'metrics': {'ap': 0.5}, 'params': {'solver': 'x'}, 'tags': {'by': 'ada'},"
        f" 'artifacts': {{'roc.png': '{digest}'}}, 'run': os.environ['HOMEOSTAT_RUN_ID']}}",
    )
    run = home.run()
    step = home.steps(run)["train"]
    assert run.state == "succeeded" and run.result["run"] == step.id
    with home.database.read() as reader:
        found = tracking_runs.get(reader, step.id)
        assert tracking_runs.listing(reader, "trees") == [found]
    assert (found.state, found.metrics, found.step_run_id) == ("FINISHED", {"ap": 0.5}, step.id)
    assert found.params == {"depth": "3", "solver": "x"} and found.tags == {"by": "ada"}
    assert home.states(home.run())["train"] == "cached"
    with home.database.read() as reader:
        assert len(tracking_runs.listing(reader)) == 1


@pytest.mark.parametrize("body", ["raise ValueError('no')", "return {'metrics': {'../x': 1}}", "return {'metrics': 3}"])
def test_a_tracked_step_that_fails_has_a_failed_run(home: Home, body: str) -> None:
    tracked(home, body)
    run = home.run()
    assert run.state == "failed"
    with home.database.read() as reader:
        assert tracking_runs.get(reader, home.steps(run)["train"].id).state == "FAILED"


def test_cancel_ends_a_run_at_once_and_its_late_outcome_is_not_heard(home: Home) -> None:
    begun, go = threading.Event(), threading.Event()

    def hold(context: StepContext) -> Any:
        begun.set()
        go.wait(30)
        return {}

    home.actions["hold"] = hold
    home.runner.close()
    home.open()
    steps = (
        Step(name="held", function="control:hold", cache=False),
        Step(name="after", function="control:hold", inputs={"x": "held"}, cache=False),
    )
    home.keep(Pipeline(name="p", steps=steps))
    run = home.runner.start("p", {}, trigger="person", actor="person:ada")
    assert begun.wait(30)
    cancelled = home.runner.cancel(run.id, actor="person:bob")
    assert (cancelled.state, cancelled.error) == ("cancelled", "cancelled by person:bob")
    assert set(home.states(run).values()) == {"skipped"}
    go.set()
    home.runner.resume(run.id, actor="person:ada")
    assert home.runner.wait(run.id, 60).state == "succeeded"
    with pytest.raises(HomeostatError) as caught:
        home.runner.cancel(run.id, actor="person:ada")
    assert caught.value.code == "pipelines.not_running"


def test_a_decision_starts_one_run(home: Home) -> None:
    home.define(*NAMES)
    first = home.run(decision_id="d1")
    assert home.run(decision_id="d1").id == first.id
    with home.database.read() as reader:
        assert runs.of_decision(reader, "d1") == first
        assert runs.of_decision(reader, "d2") is None
        assert runs.projects(reader) == []


def test_a_run_keeps_the_pipeline_it_was_started_with(home: Home) -> None:
    go = threading.Event()

    def hold(context: StepContext) -> Any:
        go.wait(30)
        return {"done": True}

    home.actions["hold"] = hold
    home.runner.close()
    home.open()
    home.keep(Pipeline(name="p", steps=(Step(name="held", function="control:hold", cache=False),)))
    run = home.runner.start("p", {}, trigger="person", actor="person:ada")
    home.keep(Pipeline(name="p", steps=(Step(name="other", function="control:hold", cache=False),)))
    go.set()
    assert home.runner.wait(run.id, 60).result == {"done": True}
    assert list(home.states(run)) == ["held"]


def test_unknown_things_say_so(home: Home) -> None:
    with home.database.read() as reader:
        for function, name, code in (
            (definitions.get, "nothing", "pipelines.no_pipeline"),
            (runs.get, "0" * 32, "pipelines.no_run"),
        ):
            with pytest.raises(HomeostatError) as caught:
                function(reader, name)
            assert caught.value.code == code
    with pytest.raises(HomeostatError):
        home.run("nothing")


def test_waiting_may_end_before_the_run_does(home: Home) -> None:
    go = threading.Event()
    home.actions["hold"] = lambda context: go.wait(30)
    home.runner.close()
    home.open()
    home.keep(Pipeline(name="p", steps=(Step(name="held", function="control:hold", cache=False),)))
    run = home.runner.start("p", {}, trigger="person", actor="person:ada")
    with pytest.raises(HomeostatError) as caught:
        home.runner.wait(run.id, 0.01)
    assert caught.value.code == "pipelines.wait_timed_out"
    go.set()
    assert home.runner.wait(run.id, 60).state == "succeeded"
