"""Settings, and where each came from: flags over `HOMEOSTAT_*` over a file over the default.

The file is `homeostat.toml`, or the table `[tool.homeostat]` in `pyproject.toml`, in the working folder or the nearest
one above it. `homeostat config show --origin` prints every setting with its origin; `docs/reference/settings.md` lists
them and a test keeps that list whole.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from homeostat.foundation.errors import Kind, entry

UNKNOWN_SETTING = entry(
    "settings.unknown", Kind.INVALID, "{name!r} is not a setting (found in {origin})", "use one of: {known}"
)
BAD_SETTING = entry(
    "settings.bad_value", Kind.INVALID, "{name} must be {rule}, not {value!r} (from {origin})", "set it to {example!r}"
)
UNREADABLE_FILE = entry(
    "settings.unreadable_file", Kind.INVALID, "{path} cannot be read as settings: {why}", "mend the file, or remove it"
)


@dataclass(frozen=True)
class Setting:
    """One setting: its name, default, and the sentence that documents it."""

    name: str
    default: str | int | bool
    about: str


SETTINGS: tuple[Setting, ...] = (
    Setting("home", ".homeostat", "directory that holds all state"),
    Setting("project", "default", "the project that names belong to"),
    Setting("file", "", "the project file; empty: project.py, or the only file here that imports homeostat"),
    Setting("database", "", "database address; empty: SQLite in the home"),
    Setting("objects", "", "object store address; empty: a folder in the home"),
    Setting("host", "127.0.0.1", "address the control plane listens on"),
    Setting("port", 8700, "port of the control plane; 0 takes a free one"),
    Setting("inference_port", 8701, "port of the inference plane; 0 takes a free one"),
    Setting("auth", True, "ask every caller for a token; false is taken only on a loopback address"),
    Setting(
        "server", "", "address of a running control plane; empty: the one that holds the home, else an embedded one"
    ),
    Setting("token", "", "token to present to the server; empty: the one kept in the home"),
    Setting("workers", 2, "how many worker processes may run steps at the same time"),
    Setting("loop_interval_ms", 500, "pause of the control loop between two passes when nothing happens"),
    Setting("worker_idle_seconds", 30, "how long the preloaded worker server stays up with nothing to do"),
)

_BY_NAME = {s.name: s for s in SETTINGS}


@dataclass(frozen=True)
class Settings:
    """The resolved settings; `origin[name]` says a value's source: "default", "flag", "HOMEOSTAT_PORT", a file."""

    home: Path
    project: str
    file: str
    database: str
    objects: str
    host: str
    port: int
    inference_port: int
    auth: bool
    server: str
    token: str
    workers: int
    loop_interval_ms: int
    worker_idle_seconds: int
    origin: Mapping[str, str]

    @property
    def database_url(self) -> str:
        """The database address to connect to."""
        return self.database or f"sqlite:///{self.home / 'homeostat.db'}"

    @property
    def objects_url(self) -> str:
        """The object store: an address with a scheme, or a local folder."""
        return self.objects or str(self.home / "objects")


def load(
    flags: Mapping[str, Any] | None = None, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Settings:
    """Resolve every setting. `flags` holds only what was given (None means not given).

    A relative `home` is taken from the folder of the file that set it, else from `cwd`.
    """
    env = os.environ if env is None else env
    cwd = (cwd or Path.cwd()).resolve()
    path, from_file = _read_file(cwd)
    values: dict[str, Any] = {}
    origin: dict[str, str] = {}
    for setting in SETTINGS:
        variable = f"HOMEOSTAT_{setting.name.upper()}"
        candidates = (
            ("flag", (flags or {}).get(setting.name)),
            (variable, env.get(variable)),
            (str(path), from_file.get(setting.name)),
            ("default", setting.default),
        )
        where, raw = next((w, v) for w, v in candidates if v is not None)
        values[setting.name] = _parse(setting, raw, where)
        origin[setting.name] = where
    base = path.parent if path and origin["home"] == str(path) else cwd
    values["home"] = (base / Path(str(values["home"])).expanduser()).resolve()
    return Settings(**values, origin=origin)


def _read_file(cwd: Path) -> tuple[Path | None, dict[str, Any]]:
    for folder in (cwd, *cwd.parents):
        for name in ("homeostat.toml", "pyproject.toml"):
            path = folder / name
            if not path.is_file():
                continue
            try:
                content = tomllib.loads(path.read_text())
            except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as why:
                raise UNREADABLE_FILE(field=name, path=path, why=why) from None
            tool = content.get("tool")
            table = content if name == "homeostat.toml" else tool.get("homeostat") if isinstance(tool, dict) else None
            if table is None:
                continue
            if not isinstance(table, dict):
                raise UNREADABLE_FILE(field=name, path=path, why="tool.homeostat is not a table")
            for key in table:
                if key not in _BY_NAME:
                    raise UNKNOWN_SETTING(field=key, name=key, origin=path, known=", ".join(_BY_NAME))
            return path, table
    return None, {}


def _parse(setting: Setting, raw: Any, where: str) -> Any:
    wanted = type(setting.default)
    if isinstance(raw, Path):
        raw = str(raw)
    if wanted is bool and isinstance(raw, str) and raw.lower() in ("1", "true", "yes", "on", "0", "false", "no", "off"):
        return raw.lower() in ("1", "true", "yes", "on")
    if wanted is int and isinstance(raw, str) and raw.strip().isdecimal() and len(raw) <= 18:
        raw = int(raw)
    most = 65_535 if setting.name.endswith("port") else None
    if type(raw) is wanted and not (isinstance(raw, int) and (raw < 0 or (most is not None and raw > most))):
        return raw
    number = "a whole number, zero or more" if most is None else f"a whole number from 0 to {most}"
    rule = {bool: "true or false", int: number, str: "text"}[wanted]
    raise BAD_SETTING(
        field=setting.name, name=setting.name, rule=rule, value=raw, origin=where, example=setting.default
    )
