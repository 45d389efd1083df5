"""A copy of a home that is in use is whole; what a restore makes is a home or nothing."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import polars as pl
import pytest

from homeostat.foundation import backups, migrations, refs
from homeostat.foundation.database import Database
from homeostat.foundation.errors import HomeostatError
from homeostat.foundation.stores import Stores

TABLE = "default/datasets/tx"


class House:
    """A home that somebody writes: an object, a table version that names it, a ref that points at the version."""

    def __init__(self, home: Path) -> None:
        self.home = home
        home.mkdir(exist_ok=True)
        self.stores = Stores.at(home)
        self.database = Database(f"sqlite:///{home / 'homeostat.db'}")
        migrations.prepare(self.database)
        (home / "inference" / "segments").mkdir(parents=True, exist_ok=True)
        self.count = 0

    def write(self) -> None:
        self.count += 1
        named = self.stores.objects.put_bytes(os.urandom(2000))
        frame = pl.DataFrame({"n": [self.count]})
        version = self.stores.tables.append(
            TABLE, frame, writer="w", sequence=self.count, metadata={"n": str(self.count), "object": named}
        )
        with self.database.write(actor="service:test") as tx:
            refs.move(tx, TABLE, "main", version)


def test_a_copy_made_while_everything_is_written_is_whole(tmp_path: Path) -> None:
    house = House(tmp_path / "home")
    house.write()
    (house.home / "inference" / "segments" / "0-1-0.seg").write_bytes(b"HSEG0001")
    stop, written = threading.Event(), threading.Event()

    def write_on() -> None:
        while not stop.is_set():
            house.write()
            written.set()

    writer = threading.Thread(target=write_on)
    writer.start()
    try:
        for n in range(3):
            before = house.count
            while house.count < before + 2:
                written.wait()
                written.clear()
            backups.back_up(house.home, house.database.url, tmp_path / f"copy{n}")
    finally:
        stop.set()
        writer.join()
    house.database.close()
    for n in range(3):
        backups.restore(tmp_path / f"copy{n}", tmp_path / f"restored{n}")
        found = House(tmp_path / f"restored{n}")
        with found.database.read() as reader:
            ref = refs.get(reader, TABLE)
        newest = found.stores.tables.version(TABLE)
        assert ref is not None and newest is not None and newest >= ref.version
        assert sorted(found.stores.tables.scan(TABLE).collect()["n"]) == list(range(1, newest + 2))
        committed = found.stores.tables.committed(TABLE, "n", str(newest + 1))
        assert committed is not None and len(found.stores.objects.get_bytes(committed[1]["object"])) == 2000
        assert (found.home / "inference" / "segments" / "0-1-0.seg").is_file()
        found.database.close()


def test_keys_and_rows_are_for_their_owner_alone_and_every_file_is_counted(tmp_path: Path) -> None:
    house = House(tmp_path / "home")
    house.write()
    (house.home / "token").write_text("secret")
    (house.home / "token").chmod(0o600)
    (house.home / "objects" / "incoming" / "half").write_bytes(b"half an object")
    count = backups.back_up(house.home, house.database.url, tmp_path / "copy")
    house.database.close()
    files = [p for p in (tmp_path / "copy").rglob("*") if p.is_file()]
    assert count == len(files) and not any("incoming" in p.parts for p in files)
    assert (tmp_path / "copy").stat().st_mode & 0o077 == 0
    for name in ("token", backups.DATABASE):
        assert (tmp_path / "copy" / name).stat().st_mode & 0o077 == 0


def test_a_backup_goes_to_a_new_place_outside_the_home(tmp_path: Path) -> None:
    house = House(tmp_path / "home")
    house.database.close()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    for target, code in ((tmp_path / "full", "backups.not_empty"), (house.home / "copy", "backups.inside")):
        with pytest.raises(HomeostatError) as caught:
            backups.back_up(house.home, house.database.url, target)
        assert caught.value.code == code
    assert not (house.home / "copy").exists() and [p.name for p in (tmp_path / "full").iterdir()] == ["file"]


def test_a_restore_makes_a_home_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(HomeostatError) as nothing:
        backups.restore(tmp_path, tmp_path / "new")
    assert nothing.value.code == "backups.none" and not (tmp_path / "new").exists()
    house = House(tmp_path / "home")
    house.write()
    backups.back_up(house.home, house.database.url, tmp_path / "copy")
    house.database.close()
    with pytest.raises(HomeostatError) as full:
        backups.restore(tmp_path / "copy", house.home)
    assert full.value.code == "backups.not_empty"
    (tmp_path / "new.restoring").mkdir()  # as a restore that was killed leaves it
    (tmp_path / "new.restoring" / "half").touch()
    (tmp_path / "new").mkdir()
    backups.restore(tmp_path / "copy", tmp_path / "new")
    assert not (tmp_path / "new.restoring").exists() and not (tmp_path / "new" / "half").exists()
    assert (tmp_path / "new").stat().st_mode & 0o077 == 0 and (tmp_path / "new" / backups.DATABASE).is_file()
