"""Models, versions and aliases."""

from __future__ import annotations

import threading

import pytest

from homeostat.foundation import events
from homeostat.foundation.database import Database
from homeostat.foundation.errors import HomeostatError, Kind
from homeostat.foundation.ids import digest_of
from homeostat.registry import aliases, models, versions

PACKAGE, OTHER = digest_of(b"one"), digest_of(b"two")


def test_versions_count_from_one_and_keep_what_they_are_made_of(database: Database) -> None:
    with database.write(actor="person:ada") as tx:
        first = versions.register(
            tx, "fraud", PACKAGE, run_id="r1", dataset="transactions", dataset_version="d1", missing=["pipeline"]
        )
        second = versions.register(tx, "fraud", OTHER, format="skops", missing=("signature",))
    assert (first.number, second.number) == (1, 2)
    assert (first.state, second.state) == ("complete", "incomplete"), "a pipeline is not needed to be blessed"
    assert (first.created_by, first.run_id, first.missing) == ("person:ada", "r1", ("pipeline",))
    with database.read() as reader:
        assert versions.get(reader, "fraud") == second
        assert versions.get(reader, "fraud", 1) == first
        assert versions.listing(reader, "fraud") == [second, first]
        assert models.get(reader, "fraud").newest == 2
        told = events.read_after(reader, subject="model/fraud")
    assert [event.kind for event in told] == ["registry.model_created", *["registry.version_registered"] * 2]
    assert told[1].subject == "model/fraud/1" and told[1].payload and told[1].payload["package"] == PACKAGE


def test_a_request_registers_once(database: Database) -> None:
    with database.write(actor="a") as tx:
        first = versions.register(tx, "fraud", PACKAGE, request="run-7")
        assert versions.register(tx, "fraud", PACKAGE, request="run-7") == first
        with pytest.raises(HomeostatError) as raised:
            versions.register(tx, "fraud", OTHER, request="run-7")
        assert raised.value.kind is Kind.CONFLICT
        assert versions.register(tx, "fraud", PACKAGE).number == 2, "without a request each is a new version"
        assert versions.register(tx, "other", PACKAGE, request="run-7").number == 1


def test_numbers_are_dense_under_contention_and_failure(database: Database) -> None:
    made: list[int] = []

    def register(n: int) -> None:
        try:
            with database.write(actor="a") as tx:
                made.append(versions.register(tx, "fraud", PACKAGE, request=f"request-{n // 2}").number)
                if n % 5 == 0:
                    made.pop()
                    raise RuntimeError("cut off")
        except RuntimeError:
            pass

    threads = [threading.Thread(target=register, args=(n,)) for n in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as reader:
        numbers = sorted(version.number for version in versions.listing(reader, "fraud"))
    assert numbers == list(range(1, 16)), "one for each request, no gap"


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "x" * 129, "a..b"])
def test_bad_names_are_refused_and_change_nothing(database: Database, name: str) -> None:
    with database.write(actor="a") as tx:
        for attempt in (lambda: versions.register(tx, name, PACKAGE), lambda: models.ensure(tx, name)):
            with pytest.raises(HomeostatError) as raised:
                attempt()
            assert raised.value.code == "name.invalid"
        assert models.listing(tx) == []


@pytest.mark.parametrize("package", ["", "abc", "G" * 64, "../" + "a" * 61])
def test_a_package_is_named_by_its_digest(database: Database, package: str) -> None:
    with database.write(actor="a") as tx:
        with pytest.raises(HomeostatError) as raised:
            versions.register(tx, "fraud", package)
        assert raised.value.field == "package"
        assert models.listing(tx) == []


def test_what_is_not_there_is_not_found(database: Database) -> None:
    with database.write(actor="a") as tx:
        models.ensure(tx, "empty")
        versions.register(tx, "fraud", PACKAGE)
        for attempt, code in (
            (lambda: models.get(tx, "none"), "models.missing"),
            (lambda: versions.get(tx, "none"), "models.missing"),
            (lambda: versions.listing(tx, "none"), "models.missing"),
            (lambda: versions.get(tx, "empty"), "models.no_versions"),
            (lambda: versions.get(tx, "fraud", 2), "models.version_missing"),
            (lambda: aliases.resolve(tx, "fraud", "champion"), "models.alias_missing"),
            (lambda: aliases.set(tx, "fraud", "champion", 2), "models.version_missing"),
        ):
            with pytest.raises(HomeostatError) as raised:
                attempt()
            assert (raised.value.code, raised.value.kind) == (code, Kind.NOT_FOUND)


def test_descriptions_and_tags_may_change(database: Database) -> None:
    with database.write(actor="a") as tx:
        made = versions.register(tx, "fraud", PACKAGE)
        changed = versions.update(tx, "fraud", 1, description="the first", tags={"team": "risk"})
        assert (changed.description, changed.tags, changed.package) == ("the first", {"team": "risk"}, made.package)
        assert versions.update(tx, "fraud", 1, description="the first") == versions.get(tx, "fraud", 1) == changed
        assert models.describe(tx, "fraud", tags={"a": "b"}).tags == models.get(tx, "fraud").tags == {"a": "b"}
        kinds = [event.kind for event in events.read_after(tx)]
    assert kinds.count("registry.version_described") == 1 and kinds.count("registry.model_described") == 1


def test_an_alias_points_at_one_version(database: Database) -> None:
    with database.write(actor="a") as tx:
        versions.register(tx, "fraud", PACKAGE)
        versions.register(tx, "fraud", OTHER)
        assert aliases.set(tx, "fraud", "champion", 1).aliases == ("champion",)
        aliases.set(tx, "fraud", "champion", 1)
        assert aliases.set(tx, "fraud", "champion", 2).aliases == ("champion",)
        aliases.set(tx, "fraud", "blue", 2)
        assert aliases.resolve(tx, "fraud", "champion").number == 2
        assert [v.aliases for v in versions.listing(tx, "fraud")] == [("blue", "champion"), ()]
        aliases.delete(tx, "fraud", "champion")
        aliases.delete(tx, "fraud", "champion")
        assert versions.get(tx, "fraud").aliases == ("blue",)
        moves = [event.payload for event in events.read_after(tx, kinds=["registry.alias_moved"])]
    assert [(m["before"], m["number"]) for m in moves if m] == [(None, 1), (1, 2), (None, 2), (2, None)]


@pytest.mark.parametrize("alias", ["1", "v2", "V3", "latest", "Newest", "a/b", ""])
def test_an_alias_cannot_be_read_as_something_else(database: Database, alias: str) -> None:
    with database.write(actor="a") as tx:
        versions.register(tx, "fraud", PACKAGE)
        with pytest.raises(HomeostatError) as raised:
            aliases.set(tx, "fraud", alias, 1)
        assert raised.value.field == "alias"


def test_projects_do_not_see_each_other(database: Database) -> None:
    with database.write(actor="a", project="a") as tx:
        versions.register(tx, "fraud", PACKAGE)
        aliases.set(tx, "fraud", "champion", 1)
    with database.write(actor="a", project="b") as tx:
        assert models.listing(tx) == []
        assert versions.register(tx, "fraud", OTHER).number == 1
        assert versions.get(tx, "fraud").aliases == ()
