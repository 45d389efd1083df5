"""Which of the files that match are new, and which of them can be read. Worker-side: it loads polars."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl

from homeostat.data import contracts, reading, sources
from homeostat.data.records import Dataset, Finding, IngestJob, SourceFile
from homeostat.foundation.errors import HomeostatError, Kind, entry

UNREADABLE = entry(
    "data.unreadable_file", Kind.INVALID, "{path}: {why}", "mend the file, or leave it out of the dataset's pattern"
)
MISSING_COLUMN = entry(
    "data.missing_column", Kind.INVALID, "{path}: {why}", "add the column to the file, or change the dataset"
)
RESERVED_COLUMN = entry("data.reserved_column", Kind.INVALID, "{path}: {why}", "rename the column in the file")


@dataclass
class NewFile:
    """A file that is to be taken in: its lineage entry so far, and its cells."""

    source: SourceFile
    raw: pl.DataFrame


def new_files(job: IngestJob) -> tuple[list[NewFile], list[Finding]]:
    """The new files that could be read and hold rows, in order of path, and what was found about the others.

    Where the pattern matches one file and that one cannot be taken in, its finding is raised as an error; among several
    it is reported and the rest goes on. Raises `data.no_files` where nothing matches and nothing was taken in before.
    """
    matching = sources.expand(job.dataset.source)
    if not matching and not job.known:
        source = job.dataset.source
        raise sources.NO_FILES(
            field="source.pattern",
            dataset=job.dataset.name,
            pattern=source.pattern,
            base=source.base or Path.cwd(),
        )
    known = {file.path: file for file in job.known}
    contents = {file.digest: file.path for file in job.known}
    names = {name.casefold(): name for name in job.columns}
    taken: list[NewFile] = []
    findings: list[Finding] = []
    for name, path in matching:
        found = _look(name, path, known.get(name), contents, job.dataset, names)
        if isinstance(found, NewFile):
            contents[found.source.digest] = name
            taken.append(found)
        elif isinstance(found, Finding):
            if len(matching) == 1 and found.kind in _ERRORS:
                raise _error(found)
            findings.append(found)
    return taken, findings


_ERRORS = {
    "unreadable": UNREADABLE,
    "unsettled": UNREADABLE,
    "missing_column": MISSING_COLUMN,
    "reserved_column": RESERVED_COLUMN,
}


def _error(finding: Finding) -> HomeostatError:
    return _ERRORS[finding.kind](field="source.pattern", path=finding.path, why=finding.words)


def _look(
    name: str,
    path: Path,
    before: SourceFile | None,
    contents: dict[str, str],
    dataset: Dataset,
    names: dict[str, str],
) -> NewFile | Finding | None:
    """What one matching file is: new, something to tell of, or nothing new (None)."""
    digest = ""
    try:
        stat = path.stat()
        if before is not None and (before.size, before.modified) == (stat.st_size, stat.st_mtime_ns):
            return None
        digest = reading.digest_of_file(path) if stat.st_size else ""
        if before is not None and before.digest == digest:
            return None
        if before is not None:
            words = "it was taken in before and has changed since; rows once taken in stay as they are"
            return Finding(
                path=name, kind="changed", digest=digest, words=f"{words}: give new rows a file of their own"
            )
        if digest and digest in contents:
            words = f"its content was taken in already, as {contents[digest]}"
            return Finding(path=name, kind="copy", digest=digest, words=words)
        raw = reading.read(path)
        after = path.stat()
    except reading.Empty:
        return Finding(path=name, kind="empty", digest=digest, words="it is empty; it is looked at again next time")
    except reading.Unreadable as why:
        return Finding(path=name, kind="unreadable", digest=digest, words=str(why))
    except OSError as why:
        return Finding(path=name, kind="unreadable", digest=digest, words=why.strerror or str(why))
    if (after.st_size, after.st_mtime_ns) != (stat.st_size, stat.st_mtime_ns):
        words = "it changed while it was read; it is looked at again next time"
        return Finding(path=name, kind="unsettled", digest=digest, words=words)
    wrong = _columns_wrong(raw, dataset, names)
    if wrong is not None:
        return Finding(path=name, kind=wrong[0], digest=digest, words=wrong[1])
    if not raw.height:
        return None
    source = SourceFile(path=name, digest=digest, rows=raw.height, size=stat.st_size, modified=stat.st_mtime_ns)
    return NewFile(source, raw)


def _columns_wrong(
    raw: pl.DataFrame, dataset: Dataset, names: dict[str, str]
) -> tuple[Literal["missing_column", "reserved_column"], str] | None:
    """Why a file's columns cannot be taken in; else notes them in `names` (folded to lower case, as Delta has it)."""
    has = [name for name in raw.columns if name != reading.ROW]
    for name, asker in contracts.needed_columns(dataset).items():
        if name not in has:
            return "missing_column", f"it has no column {name!r}, which {asker} names; it has: {', '.join(has)[:300]}"
    mine: dict[str, str] = {}
    for name in has:
        other = names.get(name.casefold()) or mine.get(name.casefold()) or name
        if other != name:
            return "reserved_column", f"column {name!r} differs from {other!r} only in case"
        if name in contracts.RESERVED or (name == "event_at" and dataset.time != "event_at"):
            return "reserved_column", f"the name {name!r} is kept for the platform's own column"
        mine[name.casefold()] = name
    names.update(mine)
    return None
