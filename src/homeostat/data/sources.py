"""Where a dataset's rows come from: files by path or glob.

A file is known by its path as the pattern gives it, with "/" between folders: relative to the source's base where the
pattern is relative, so that moving a project with its data changes nothing.
"""

from __future__ import annotations

import glob
import os
from pathlib import Path, PurePath

from homeostat.data.records import Source
from homeostat.foundation.errors import Kind, entry

BAD_PATTERN = entry(
    "data.bad_pattern",
    Kind.INVALID,
    "{pattern!r} is not a file pattern: text, not empty, without NUL or a drive of its own",
    "write it as 'data/*.parquet'",
)
NO_FILES = entry(
    "data.no_files",
    Kind.NOT_FOUND,
    "dataset {dataset!r}: no file matches {pattern!r} (from {base})",
    "check the path; a pattern is relative to the project's folder",
)
A_FOLDER = entry(
    "data.pattern_is_a_folder",
    Kind.INVALID,
    "{pattern!r} is a folder",
    "say which files in it: {pattern}/*.parquet or {pattern}/*.csv",
)


def files(pattern: str | os.PathLike[str], *, base: str | os.PathLike[str] = "") -> Source:
    """Files by path or glob (`*`, `?`, `[ab]`, `**` for any folders), CSV or Parquet.

    A relative pattern starts from `base`, by default the project's folder. Raises `data.bad_pattern`.
    """
    return check(Source(pattern=os.fspath(pattern), base=os.fspath(base)))


def check(source: Source) -> Source:
    """Return `source` if its pattern can name files, else raise `data.bad_pattern`."""
    pattern = source.pattern
    if not isinstance(pattern, str) or not pattern.strip() or "\0" in pattern or "\0" in source.base:
        raise BAD_PATTERN(field="source.pattern", pattern=str(pattern)[:200])
    return source


def expand(source: Source) -> list[tuple[str, Path]]:
    """The files that match now, as (path in the source, path on disk), in order of the first; folders are left out.

    Raises `data.pattern_is_a_folder` where the pattern is the plain path of a folder.
    """
    check(source)
    base = Path(source.base or ".").resolve()
    if "://" not in source.pattern and (base / source.pattern).is_dir():
        raise A_FOLDER(field="source.pattern", pattern=source.pattern.rstrip("/"))
    if (base / source.pattern).is_file():  # a plain path may hold the letters of a glob, such as "[1].csv"
        found = [source.pattern]
    else:
        # pathlib's glob takes no absolute pattern and meets hidden files; this one does neither.
        found = glob.glob(source.pattern, root_dir=base, recursive=True)  # noqa: PTH207
    named = {PurePath(name).as_posix(): base / name for name in found if (base / name).is_file()}
    return sorted(named.items())
