"""The UCI bike sharing data as this example needs it: columns, times, labels, and one file a day.

The data is not part of the project. Name its Parquet file (UCI's hour.csv, columns as there) in the setting
`HOMEOSTAT_EXAMPLE_BIKES`.

    python rides.py DIR     writes the first tenth of the hours into DIR, a file a day
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import polars as pl

SETTING = "HOMEOSTAT_EXAMPLE_BIKES"
LABEL_DELAY = 86_400_000_000  # microseconds until an hour's count is known
BUSY = 142  # rentals an hour: the median of the two years
LEFT_OUT = ("instant", "dteday", "yr", "casual", "registered", "cnt")  # what the label is made of, or stands for time


def read(path: str | Path | None = None) -> pl.DataFrame:
    """All hours in time order: `hour_id`, `at` (UTC), `day` (days since the first), UCI's features, `busy`.

    `path` defaults to the setting HOMEOSTAT_EXAMPLE_BIKES. Raises SystemExit with one line where there is no file.
    """
    found = path or os.environ.get(SETTING)
    if not found or not Path(found).is_file():
        raise SystemExit(f"error: no bike data at {found!r}\nhint: {SETTING}=/path/to/bike_hour.parquet")
    raw = pl.read_parquet(found).sort("instant")
    date = pl.col("dteday").str.to_date("%d/%m/%y")
    return raw.select(
        pl.format("h{}", pl.col("instant").cast(pl.String).str.zfill(5)).alias("hour_id"),
        (date.cast(pl.Datetime("us", "UTC")) + pl.duration(hours=pl.col("hr"))).alias("at"),
        (date - date.min()).dt.total_days().alias("day"),
        pl.exclude(*LEFT_OUT),
        (pl.col("cnt") > BUSY).cast(pl.Int64).alias("busy"),
    )


def split(rides: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The first tenth of the rows, to train on, and the rest, to replay."""
    first = rides.height // 10
    return rides[:first], rides[first:]


def write_days(rides: pl.DataFrame, folder: Path) -> list[Path]:
    """Write one Parquet file a day into `folder`; a day already begun by an earlier call gets a second file."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for part in rides.partition_by("day", maintain_order=True):
        path = folder / f"hours-{part['at'][0]:%Y-%m-%dT%H}.parquet"
        part.write_parquet(path)
        written.append(path)
    return written


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("error: name a folder\nhint: python rides.py data")
    print(f"{len(write_days(split(read())[0], Path(sys.argv[1])))} files in {sys.argv[1]}")
