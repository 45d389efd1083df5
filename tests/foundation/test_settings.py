"""Settings: who wins, where a value came from, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from homeostat.foundation.errors import HomeostatError
from homeostat.foundation.settings import SETTINGS, load


def test_flags_win_over_the_environment_over_the_file_over_the_default(tmp_path: Path) -> None:
    (tmp_path / "homeostat.toml").write_text('port = 1\nworkers = 3\nproject = "of-file"\nhost = "::1"')
    env = {"HOMEOSTAT_PORT": "2", "HOMEOSTAT_WORKERS": " 4 ", "HOMEOSTAT_AUTH": "no"}
    found = load({"port": 3, "host": None}, env, tmp_path)
    assert (found.port, found.workers, found.project, found.auth, found.host) == (3, 4, "of-file", False, "::1")
    assert [found.origin[name] for name in ("port", "workers", "project", "server")] == [
        "flag", "HOMEOSTAT_WORKERS", str(tmp_path / "homeostat.toml"), "default",
    ]  # fmt: skip
    assert set(found.origin) == {s.name for s in SETTINGS}


def test_the_file_is_the_nearest_above_and_homes_are_taken_from_where_they_were_set(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (tmp_path / "homeostat.toml").write_text('home = "far"')
    (tmp_path / "a" / "pyproject.toml").write_text("[project]\nname = 'x'")
    assert load({}, {}, inner).home == tmp_path / "far"
    (tmp_path / "a" / "pyproject.toml").write_text("[tool.homeostat]\nhome = 'near'")
    assert load({}, {}, inner).home == tmp_path / "a" / "near"
    assert load({}, {"HOMEOSTAT_HOME": "here"}, inner).home == inner / "here"
    assert load({"home": tmp_path / "flag"}, {}, inner).home == tmp_path / "flag"
    assert load({}, {}, Path("/")).home == Path("/.homeostat")


def test_addresses_follow_the_home_unless_they_are_given(tmp_path: Path) -> None:
    found = load({}, {}, tmp_path)
    assert found.database_url == f"sqlite:///{tmp_path}/.homeostat/homeostat.db"
    assert found.objects_url == f"{tmp_path}/.homeostat/objects"
    given = load({"database": "sqlite:////x.db", "objects": "s3://bucket"}, {}, tmp_path)
    assert (given.database_url, given.objects_url) == ("sqlite:////x.db", "s3://bucket")


@pytest.mark.parametrize(
    ("name", "value"),
    [("port", "-1"), ("port", "70000"), ("inference_port", 65_536), ("port", "²"), ("port", "8_0"), ("port", ""),
     ("port", "9" * 5000), ("port", 1.5), ("port", True), ("workers", "two"), ("auth", "maybe"), ("auth", 1),
     ("project", 3)],
)  # fmt: skip
def test_a_value_that_will_not_do_is_named_with_its_origin(tmp_path: Path, name: str, value: Any) -> None:
    env = {f"HOMEOSTAT_{name.upper()}": value} if isinstance(value, str) else {}
    with pytest.raises(HomeostatError) as caught:
        load({} if env else {name: value}, env, tmp_path)
    assert caught.value.code == "settings.bad_value" and caught.value.field == name
    assert (f"HOMEOSTAT_{name.upper()}" if env else "flag") in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("homeostat.toml", "prot = 1", "settings.unknown"),
        ("homeostat.toml", "port =", "settings.unreadable_file"),
        ("homeostat.toml", "port = '70000'", "settings.bad_value"),
        ("pyproject.toml", "[tool.homeostat]\nhom = 1", "settings.unknown"),
        ("pyproject.toml", "[tool]\nhomeostat = 3", "settings.unreadable_file"),
    ],
)
def test_a_file_that_will_not_do_is_named(tmp_path: Path, name: str, content: str, code: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(HomeostatError) as caught:
        load({}, {}, tmp_path)
    assert caught.value.code == code and str(tmp_path / name) in str(caught.value)


def test_a_file_of_others_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("tool = 3")
    assert load({}, {}, tmp_path).origin["port"] == "default"
    (tmp_path / "homeostat.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(HomeostatError, match=r"homeostat\.toml"):
        load({}, {}, tmp_path)
