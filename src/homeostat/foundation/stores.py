"""What a worker works with: the home's folder, its objects and its tables. Worker-side only (it loads polars)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from homeostat.foundation.objects import Objects
from homeostat.foundation.tables import Tables


@dataclass(frozen=True)
class Stores:
    """Bulk state by digest and by version. Workers write here and report digests; only control writes rows."""

    home: Path
    objects: Objects
    tables: Tables

    @classmethod
    def at(cls, home: Path, objects_url: str | None = None) -> Stores:
        """The stores of a home."""
        return cls(home, Objects(objects_url or home / "objects"), Tables(home / "tables"))
