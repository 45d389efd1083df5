"""Versioned tables on delta-rs. Worker-side only: importing it loads deltalake and polars.

A table is named by a path such as "default/datasets/transactions" under one root. Each append is one Delta version and
carries an app transaction (`writer`, `sequence`): a replay of the same append after a crash is a no-op. Which version
people see is not decided here but by refs (see `foundation.refs`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import TableNotFoundError

from homeostat.foundation.errors import Kind, entry
from homeostat.foundation.killpoints import passing

NO_TABLE = entry("tables.missing", Kind.NOT_FOUND, "table {table!r} has no version yet", "append to it first")


class Tables:
    """All Delta tables below a root folder or address. One writer for each table at a time is the caller's business."""

    def __init__(self, root: str | Path) -> None:
        self.root = str(root)

    def append(
        self,
        table: str,
        frame: pl.DataFrame,
        *,
        writer: str,
        sequence: int,
        partition_by: list[str] | None = None,
        metadata: dict[str, str] | None = None,
        replace: bool = False,
    ) -> int:
        """Append `frame` as the next version; returns the version that holds it.

        `sequence` grows with each append of one `writer`. An append whose sequence is not above the last one taken from
        that writer changes nothing and returns the newest version. New columns are added to the schema. With `replace`
        the new version holds `frame` alone, with its schema; earlier versions stay as they were.
        """
        opened = self._open(table)
        if opened is not None:
            done = opened.transaction_version(writer)
            if done is not None and done >= sequence:
                return int(opened.version())
        properties = CommitProperties(
            custom_metadata=metadata or {}, app_transactions=[Transaction(app_id=writer, version=sequence)]
        )
        path = self._path(table)
        if "://" not in path:
            Path(path).mkdir(parents=True, exist_ok=True)
        passing(f"append.{_area(table)}.before")
        write_deltalake(
            opened if opened is not None else path,
            frame,
            mode="overwrite" if replace else "append",
            partition_by=partition_by if opened is None else None,
            schema_mode="overwrite" if replace else "merge",
            commit_properties=properties,
        )
        passing(f"append.{_area(table)}.after")
        written = self._open(table)
        assert written is not None
        return int(written.version())

    def version(self, table: str) -> int | None:
        """The newest Delta version, or None where nothing was appended yet."""
        opened = self._open(table)
        return None if opened is None else int(opened.version())

    def last_sequence(self, table: str, writer: str) -> int | None:
        """The newest sequence taken from `writer`, or None."""
        opened = self._open(table)
        if opened is None:
            return None
        found = opened.transaction_version(writer)
        return None if found is None else int(found)

    def committed(self, table: str, key: str, value: str) -> tuple[int, dict[str, str]] | None:
        """The newest version whose commit carries `key` = `value` in its metadata, with that metadata; None if none."""
        opened = self._open(table)
        for commit in opened.history() if opened is not None else []:
            if commit.get(key) == value:
                return int(commit["version"]), {k: v for k, v in commit.items() if isinstance(v, str)}
        return None

    def schema(self, table: str) -> dict[str, pl.DataType]:
        """The columns of the newest version with their types; none where nothing was appended yet."""
        opened = self._open(table)
        return {} if opened is None else dict(pl.scan_delta(opened).collect_schema())

    def scan(self, table: str, version: int | None = None) -> pl.LazyFrame:
        """A lazy frame over one version (the newest by default); raises `tables.missing` where there is none."""
        opened = self._open(table, version)
        if opened is None:
            raise NO_TABLE(field="table", table=table)
        return pl.scan_delta(opened)

    def exists(self, table: str) -> bool:
        """Whether the table has a version."""
        return self._open(table) is not None

    def files(self, table: str, version: int | None = None) -> list[str]:
        """Addresses of the Parquet files that make up a version."""
        opened = self._open(table, version)
        return [] if opened is None else [str(uri) for uri in opened.file_uris()]

    def _open(self, table: str, version: int | None = None) -> Any | None:
        try:
            return DeltaTable(self._path(table), version=version)
        except TableNotFoundError:
            return None

    def _path(self, table: str) -> str:
        return f"{self.root}/{table}"


def _area(table: str) -> str:
    """The kind of a table: "datasets", "labels" or "predictions"."""
    return table.split("/")[1] if "/" in table else table
