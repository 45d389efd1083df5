"""Copies of a home: made while it is in use, whole enough to start from.

Order is what makes it whole. The database is copied first, in one consistent snapshot. Objects never change, and tables
only gain versions, so what is copied after may hold more than the database knows of, never less: refs do not point at
it, and taking a segment or a batch of labels in again skips what a table has.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from homeostat.foundation import migrations
from homeostat.foundation.errors import Kind, entry

NOT_EMPTY = entry(
    "backups.not_empty", Kind.CONFLICT, "{path} is there already and is not empty", "name a place that is new or empty"
)
NO_BACKUP = entry(
    "backups.none", Kind.NOT_FOUND, "{path} holds no backup of a home", "name the folder that `homeostat backup` made"
)

DATABASE = "homeostat.db"
_FOLDERS = ("objects", "tables", "inference/segments")
_KEYS = ("audit.key", "token")


def back_up(home: Path, database_url: str, target: Path) -> int:
    """Copy the home into `target`, a new or empty folder; returns the number of files. Safe while everything runs."""
    if target.exists() and any(target.iterdir()):
        raise NOT_EMPTY(field="path", path=target)
    target.mkdir(parents=True, exist_ok=True, mode=0o700)
    migrations.back_up(database_url, target / DATABASE)
    for name in _KEYS:
        if (home / name).exists():
            shutil.copy2(home / name, target / name)
    return 1 + len(_KEYS) + sum(_copy(home / folder, target / folder) for folder in _FOLDERS)


def restore(backup: Path, home: Path) -> None:
    """Make a home from a backup. `home` must be new or empty, and no server may run on it."""
    if not (backup / DATABASE).is_file():
        raise NO_BACKUP(field="path", path=backup)
    if home.exists() and any(home.iterdir()):
        raise NOT_EMPTY(field="home", path=home)
    shutil.copytree(backup, home, dirs_exist_ok=True)
    home.chmod(0o700)


def _copy(source: Path, target: Path) -> int:
    """Copy a tree: Delta logs before the files they name, and what vanishes on the way is not missed."""
    count = 0
    logs_first = sorted(
        (p for p in source.rglob("*") if p.is_file()), key=lambda p: (0 if "_delta_log" in p.parts else 1, p)
    )
    for path in logs_first:
        goal = target / path.relative_to(source)
        goal.parent.mkdir(parents=True, exist_ok=True)
        try:
            if source.name == "objects":
                os.link(path, goal)  # an object never changes, so one copy on the disk can serve both
            else:
                shutil.copy2(path, goal)
        except FileNotFoundError:
            continue
        except OSError:
            shutil.copy2(path, goal)
        count += 1
    return count
