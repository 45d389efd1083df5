"""Taking the prediction log in, exactly once: from segments to the endpoint's predictions table.

Control remembers for each segment the offset up to which it was taken. A worker reads on from there and appends to the
table, each append sealed with (segment, offset) as its app transaction; only then does control move the offset,
together with the watermark, in one transaction. A crash between the two repeats the worker's part, which skips what is
there. A job is bounded, so that a log that grew while control was away is taken in piece by piece.

A sealed segment that was taken in whole is removed. One whose rest cannot be read (a damaged disk: what the inference
process itself leaves behind is always whole) is set aside as `<stem>.damaged`, for a person to look at.
"""

from __future__ import annotations

import logging
from pathlib import Path

import sqlalchemy as sa

from homeostat.foundation.database import Database
from homeostat.foundation.killpoints import passing
from homeostat.inference import wire
from homeostat.pipelines.engine import Engine, call
from homeostat.serving import endpoints, tables
from homeostat.serving.records import IntakeJob, IntakeResult, SegmentPart, Taken

log = logging.getLogger("homeostat.intake")

_LARGEST_JOB = 64 << 20  # bytes of segments handed to one worker


def step(database: Database, engine: Engine, directory: Path, *, actor: str = "service:loop") -> tuple[Taken, ...]:
    """Take in whatever the segments below `directory` hold that was not taken yet; returns what that was."""
    with database.read() as reader:
        offsets = {row.stem: row.taken for row in reader.execute(sa.select(tables.segments))}
        names = endpoints.names(reader)
    listed = wire.segments(directory / "segments")
    parts = _parts(listed, offsets)
    if parts:
        job = IntakeJob(parts=tuple(parts), names=names)
        result = call(engine, "homeostat.serving.intake_table:take", job, IntakeResult, label="intake")
        passing("intake.returned")
        _remember(database, result, actor)
        passing("intake.remembered")
        offsets |= result.ends
    asked = {part.stem for part in parts}
    for stem, path, sealed in listed:
        if not sealed or path.suffix != ".sealed":
            continue
        if not _has_more(path, offsets.get(stem, 0)):
            path.unlink(missing_ok=True)
        elif stem in asked and stem not in result.ends:
            log.error("segment %s cannot be read beyond offset %d; it is set aside", path, offsets.get(stem, 0))
            path.rename(path.with_suffix(".damaged"))
    return result.taken if parts else ()


def _parts(listed: list[tuple[str, Path, bool]], offsets: dict[str, int]) -> list[SegmentPart]:
    """What was not taken in yet, the oldest first, up to the size of one job."""
    parts: list[SegmentPart] = []
    size = 0
    for stem, path, _ in listed:
        start = offsets.get(stem, 0)
        if size < _LARGEST_JOB and _has_more(path, start):
            parts.append(SegmentPart(stem=stem, path=str(path), start=start))
            size += _length(path) - start
    return parts


def _length(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # sealed meanwhile: the worker finds it under its new name
        return 0


def _remember(database: Database, result: IntakeResult, actor: str) -> None:
    with database.write(actor=actor) as tx:
        for stem, end in result.ends.items():
            moved = tx.execute(sa.update(tables.segments).where(tables.segments.c.stem == stem).values(taken=end))
            if not moved.rowcount:
                tx.execute(sa.insert(tables.segments).values(project="", stem=stem, taken=end))
        for taken in result.taken:
            tx.project = taken.project
            endpoints.see(tx, taken)


def _has_more(path: Path, offset: int) -> bool:
    """Whether a record begins at `offset`: its length is written last, so anything but zero is a whole record."""
    try:
        with path.open("rb") as file:
            file.seek(max(offset, len(wire.HEADER)))
            return file.read(4).strip(b"\0") != b""
    except FileNotFoundError:  # sealed meanwhile: the next pass finds it under its new name
        return False
