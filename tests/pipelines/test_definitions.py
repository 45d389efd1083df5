"""What a graph must be: checks, plain functions to steps, cache keys, schedules by event time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace
from pipeline_home import Home

from homeostat.foundation import events
from homeostat.foundation.clock import DAY
from homeostat.foundation.errors import HomeostatError
from homeostat.pipelines import cache, definitions, runs, schedules
from homeostat.pipelines.graph import steps_of
from homeostat.pipelines.records import Pipeline, Step


def step(name: str, *sources: str, function: str = "control:act") -> Step:
    return Step(name=name, function=function, inputs={source: source for source in sources})


@pytest.mark.parametrize(
    ("code", "steps", "words"),
    [
        ("pipelines.no_steps", (), "no steps"),
        ("pipelines.duplicate_step", (step("a"), step("a")), "'a'"),
        ("pipelines.unknown_input", (step("a"), step("b", "c")), "one of: a"),
        ("pipelines.cycle", (step("a", "c"), step("b", "a"), step("c", "b"), step("d")), "a -> b -> c -> a"),
        ("pipelines.cycle", (step("a", "a"),), "a -> a"),
        ("pipelines.bad_function", (step("a", function="os.system"),), "os.system"),
        ("pipelines.no_code", (step("a", function="project:a"),), "'a'"),
        ("name.invalid", (step("../a"),), "../a"),
    ],
)
def test_a_bad_graph_is_refused_and_nothing_is_kept(home: Home, code: str, steps: tuple[Step, ...], words: str) -> None:
    with pytest.raises(HomeostatError) as caught:
        home.keep(Pipeline(name="p", steps=steps))
    assert caught.value.code == code and caught.value.field
    assert words in f"{caught.value} {caught.value.hint}"
    with home.database.read() as reader:
        assert definitions.listing(reader) == [] and events.read_after(reader) == []


def test_circles_are_named_whichever_way_they_are_walked(home: Home) -> None:
    circle = (step("x", "w"), step("y", "x"), step("z", "y"), step("w", "z", "free"), step("free"))
    with pytest.raises(HomeostatError) as caught:
        definitions.check(Pipeline(name="p", steps=circle))
    path = str(caught.value).partition(": ")[2].rpartition(": ")[2].split(" -> ")
    assert path[0] == path[-1] and set(path) == {"x", "y", "z", "w"}


def test_saying_the_same_again_changes_nothing(home: Home) -> None:
    pipeline = Pipeline(name="p", steps=(step("a"), step("b", "a")))
    for _ in range(2):
        home.keep(pipeline)
    home.keep(replace(pipeline, schedule=DAY))
    with home.database.read() as reader:
        assert definitions.get(reader, "p").schedule == DAY
        assert [e.kind for e in events.read_after(reader)] == ["pipelines.pipeline_defined"] * 2


def rows(*, days: int = 3) -> None: ...
def model(rows: Any, *, depth: int = 2) -> None: ...
def lost(nowhere: Any) -> None: ...
def open_ended(*args: Any) -> None: ...
def bare(*, depth: int) -> None: ...


def test_functions_become_steps_by_their_names() -> None:
    made = {step.name: step for step in steps_of([rows, model])}
    assert made["model"].inputs == {"rows": "rows"} and made["model"].params == {"depth": 2}
    assert made["rows"].function == "project:rows" and len(made["rows"].code_digest) == 64
    given = steps_of([model], given={"rows": "rows_transactions"})
    assert given[0].inputs == {"rows": "rows_transactions"}


@pytest.mark.parametrize(
    ("functions", "code"),
    [
        ([lost], "pipelines.unknown_parameter"),
        ([open_ended], "pipelines.open_signature"),
        ([bare], "pipelines.param_without_default"),
        ([rows, rows], "pipelines.duplicate_step"),
        ([len], "pipelines.no_source"),
    ],
)
def test_functions_that_are_no_steps_say_why(functions: list[Callable[..., Any]], code: str) -> None:
    with pytest.raises(HomeostatError) as caught:
        steps_of(functions)
    assert caught.value.code in (code, "pipelines.unknown_parameter" if functions == [len] else code)
    assert caught.value.field and caught.value.hint


def test_everything_an_output_depends_on_is_in_its_key() -> None:
    own = step("a", function="project:a")
    platform = step("a", function="homeostat.somewhere:a")
    key = cache.key_of(own, {"p": 1, "q": 2}, {"x": "d1"}, {})
    assert key == cache.key_of(replace(own, name="b"), {"q": 2, "p": 1}, {"x": "d1"}, {"since": 3})
    others = [
        cache.key_of(replace(own, function="project:b"), {"p": 1, "q": 2}, {"x": "d1"}, {}),
        cache.key_of(replace(own, code_digest="c"), {"p": 1, "q": 2}, {"x": "d1"}, {}),
        cache.key_of(replace(own, settings={"s": 1}), {"p": 1, "q": 2}, {"x": "d1"}, {}),
        cache.key_of(own, {"p": 1, "q": 3}, {"x": "d1"}, {}),
        cache.key_of(own, {"p": 1, "q": 2}, {"x": "d2"}, {}),
        cache.key_of(own, {"p": 1, "q": 2}, {"y": "d1"}, {}),
        cache.key_of(platform, {"p": 1, "q": 2}, {"x": "d1"}, {}),
        cache.key_of(platform, {"p": 1, "q": 2}, {"x": "d1"}, {"since": 3}),
    ]
    assert len({key, *others}) == 9


def test_schedules_count_in_event_time(home: Home) -> None:
    home.actions["act"] = lambda context: {}
    home.runner.close()
    home.open()
    home.keep(Pipeline(name="weekly", steps=(step("a"),), schedule=7 * DAY))
    home.keep(Pipeline(name="never", steps=(step("a"),)))

    def due(watermark: Any) -> list[tuple[str, int]]:
        with home.database.read() as reader:
            return [(found.pipeline, found.event_at) for found in schedules.due(reader, watermark)]

    assert due(100 * DAY) == [("weekly", 100 * DAY)]
    assert due({"never": 100 * DAY}) == []
    home.run("weekly", context={"event_at": 100 * DAY})
    assert due(107 * DAY - 1) == []
    assert due({"weekly": 107 * DAY}) == [("weekly", 107 * DAY)]
    with home.database.write(actor="x") as tx:
        runs.start(tx, "weekly", {}, trigger="schedule", context={"event_at": 107 * DAY})
    assert due(200 * DAY) == []
