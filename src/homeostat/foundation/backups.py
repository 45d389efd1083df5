"""Copies of a home: made while it is in use, whole enough to start from.

Order is what makes it whole: what is named is copied after what names it. Segments come first, so that whatever was
acknowledged before the backup began is either still in one or already in a table; then the database, in one consistent
snapshot; then the logs of the tables, then the files that those logs name; objects, which everything names, last. What
is copied later may hold more than the database knows of, never less: refs do not point at it, and taking a segment or a
batch of labels in again skips what a table has.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from homeostat.foundation import migrations
from homeostat.foundation.errors import Kind, entry

NOT_EMPTY = entry(
    "backups.not_empty", Kind.CONFLICT, "{path} is there already and is not empty", "name a place that is new or empty"
)
INSIDE = entry(
    "backups.inside",
    Kind.INVALID,
    "{path} lies inside the home, and would be lost with it",
    "name a place outside the home, best on another disk",
)
NO_BACKUP = entry(
    "backups.none", Kind.NOT_FOUND, "{path} holds no backup of a home", "name the folder that `homeostat backup` made"
)

DATABASE = "homeostat.db"
_SEGMENTS = "inference/segments"
_KEYS = ("audit.key", "token")
_LOG = "_delta_log"


def back_up(home: Path, database_url: str, target: Path) -> int:
    """Copy the home into `target`, a new or empty folder; returns the number of files. Safe while everything runs."""
    if target.exists() and any(target.iterdir()):
        raise NOT_EMPTY(field="path", path=target)
    if target.resolve().is_relative_to(home.resolve()):
        raise INSIDE(field="path", path=target)
    target.mkdir(parents=True, exist_ok=True, mode=0o700)
    count = _copy(home, target, _files(home / _SEGMENTS))
    migrations.back_up(database_url, target / DATABASE)
    (target / DATABASE).chmod(0o600)
    count += 1 + _copy(home, target, [home / name for name in _KEYS])
    count += _copy(home, target, [p for p in _files(home / "tables") if _LOG in p.parts])
    # listed only now, so that it holds every file that the logs above name
    count += _copy(home, target, [p for p in _files(home / "tables") if _LOG not in p.parts])
    objects = [p for p in _files(home / "objects") if p.parent.name != "incoming"]
    return count + _copy(home, target, objects, link=True)


def restore(backup: Path, home: Path) -> None:
    """Make a home from a backup, whole or not at all. `home` must be new or empty, and no server may run on it."""
    if not (backup / DATABASE).is_file():
        raise NO_BACKUP(field="path", path=backup)
    if home.exists() and any(home.iterdir()):
        raise NOT_EMPTY(field="home", path=home)
    home.parent.mkdir(parents=True, exist_ok=True)
    growing = home.with_name(f"{home.name}.restoring")
    shutil.rmtree(growing, ignore_errors=True)  # what an earlier restore that was killed left behind
    shutil.copytree(backup, growing)
    growing.chmod(0o700)
    growing.replace(home)


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file())


def _copy(home: Path, target: Path, files: Iterable[Path], *, link: bool = False) -> int:
    """Copy files to the same places below `target`; what vanishes on the way is not missed.

    With `link` a copy on the same disk shares its bytes with the original: only for what never changes.
    """
    count = 0
    for path in files:
        goal = target / path.relative_to(home)
        goal.parent.mkdir(parents=True, exist_ok=True)
        try:
            if not link or not _linked(path, goal):
                shutil.copy2(path, goal)
        except FileNotFoundError:
            continue
        count += 1
    return count


def _linked(path: Path, goal: Path) -> bool:
    try:
        os.link(path, goal)
    except FileNotFoundError:
        raise
    except OSError:  # another disk, or one without links
        return False
    return True
