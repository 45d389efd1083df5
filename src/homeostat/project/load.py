"""A project file on disk, to definitions.

Which file: the one that the setting `file` names, else `project.py`, else the single file of the folder that imports
homeostat. It is executed as the module `homeostat_project` with its folder first on `sys.path`, as a worker does it
later from the snapshot.
"""

from __future__ import annotations

import os
import re
import sys
import traceback
import types
from pathlib import Path
from typing import Protocol

from homeostat.foundation.errors import HomeostatError, Kind, entry
from homeostat.foundation.ids import digest_of
from homeostat.project.assembly import assemble
from homeostat.project.definitions import Collector, Definitions, collecting

NO_PROJECT = entry(
    "project.no_file",
    Kind.NOT_FOUND,
    "there is no project in {folder}: no project.py, and no other file that imports homeostat",
    "write one with: homeostat init {folder}",
)
SEVERAL_FILES = entry(
    "project.several_files",
    Kind.USAGE,
    "several files in {folder} import homeostat: {files}",
    "name the one that is the project: homeostat run --file FILE, or call it project.py",
)
BROKEN_FILE = entry(
    "project.broken_file",
    Kind.INVALID,
    "{file} cannot be run: line {line}: {why}",
    "mend that line; python {file} shows the whole error",
)

MODULE = "homeostat_project"
_IMPORTS_HOMEOSTAT = re.compile(r"^\s*(import|from)\s+homeostat\b", re.MULTILINE)


class Snapshots(Protocol):
    """Where the source goes: `put_object(bytes) -> digest` (a Connection has it)."""

    def put_object(self, data: bytes) -> str:
        """Store bytes, give their digest."""
        ...


def find(folder: Path) -> Path:
    """The project file of `folder` (or `folder` itself when it is a file)."""
    if folder.is_file():
        return folder.resolve()
    named = folder / "project.py"
    if named.is_file():
        return named.resolve()
    found = [p for p in sorted(folder.glob("*.py")) if _IMPORTS_HOMEOSTAT.search(p.read_text(errors="replace"))]
    if not found:
        raise NO_PROJECT(field="project", folder=folder)
    if len(found) > 1:
        raise SEVERAL_FILES(field="project", folder=folder, files=", ".join(p.name for p in found))
    return found[0].resolve()


def load(path: Path, snapshots: Snapshots | None = None) -> Definitions:
    """Run the project file at `path` and give what it declares; with `snapshots` its source is stored as an object.

    Raises `project.broken_file` (file, line, cause) when the file does not run, or the error of the declaration at
    fault. Nothing is stored unless all of it is well.
    """
    source = path.read_bytes()
    into = Collector(path.parent)
    with collecting(into):
        execute(source, path)
    code_digest = digest_of(source + _local_modules(path.parent, set(sys.modules)))
    assemble(into, code=None, code_path=str(path), code_digest=code_digest)
    code = snapshots.put_object(source) if snapshots is not None else digest_of(source)
    return assemble(into, code=code, code_path=str(path), code_digest=code_digest)


def execute(source: bytes, path: Path) -> types.ModuleType:
    """Run `source` as the module of the file at `path`, its folder first on `sys.path`; gives the module."""
    module = types.ModuleType(MODULE)
    module.__file__ = str(path)
    sys.modules[MODULE] = module
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)
    except HomeostatError:
        raise
    except Exception as why:  # whatever the user's file raises is told as one line that points into it
        raise BROKEN_FILE(field=path.name, file=path.name, line=_line(why, path), why=_words(why)) from why
    return module


def _line(why: Exception, path: Path) -> int:
    if isinstance(why, SyntaxError) and why.lineno is not None:
        return why.lineno
    lines = [f.lineno for f in traceback.extract_tb(why.__traceback__) if f.filename == str(path)]
    return next((line for line in reversed(lines) if line is not None), 0)


def _words(why: Exception) -> str:
    said = why.msg if isinstance(why, SyntaxError) else str(why)
    return f"{type(why).__name__}: {' '.join(said.split())}"


def _local_modules(folder: Path, names: set[str]) -> bytes:
    """The sources of the modules below `folder` that the file imports: they are part of its functions' code."""
    start = f"{folder}{os.sep}"
    files = {
        str(file)
        for name in names
        if name != MODULE and (file := getattr(sys.modules.get(name), "__file__", None)) and file.startswith(start)
    }
    return b"".join(Path(file).read_bytes() for file in sorted(files) if file.endswith(".py"))
