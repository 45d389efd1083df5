"""What may be logged: the rules for keys, values and paths, and their errors."""

from __future__ import annotations

import posixpath
import re

from homeostat.foundation.errors import Kind, entry

LONGEST_KEY = 250
LONGEST_PARAM = 6_000
LONGEST_TAG = 8_000
LONGEST_PATH = 1_000
LARGEST_BATCH = 100_000
INT64 = range(-(1 << 63), 1 << 63)

BAD_KEY = entry(
    "tracking.bad_key",
    Kind.INVALID,
    "{key!r} is not a {kind} key: 1 to 250 letters, digits, spaces and _ - . / :, no '..' and no '/' at either end",
    "choose a key such as 'loss' or 'valid/loss'",
)
BAD_LABEL = entry(
    "tracking.bad_name",
    Kind.INVALID,
    "{name!r} is not a name for {kind}: 1 to 250 printable characters, no space at either end",
    "choose a name such as 'fraud'",
)
TOO_LONG = entry(
    "tracking.too_long",
    Kind.INVALID,
    "the {kind} {key!r} is {length:,} characters long; at most {most:,} are kept",
    "log it as an artifact",
)
BAD_PATH = entry(
    "tracking.bad_path",
    Kind.INVALID,
    "{path!r} is not an artifact path: relative, with '/' between its parts, no '..', at most 1,000 characters",
    "use a path such as 'plots/roc.png'",
)
BAD_NUMBER = entry(
    "tracking.bad_number",
    Kind.INVALID,
    "{name} of metric {key!r} must be a {rule}, not {value!r}",
    "send a number",
)
TOO_MANY = entry(
    "tracking.too_many",
    Kind.TOO_LARGE,
    "one batch holds at most {most:,} {kind}, this one has {count:,}",
    "send them in several batches",
)

_KEY = re.compile(r"[\w.\-/: ]{1,250}")


def check_key(kind: str, key: str) -> str:
    """Return `key` if it may name a metric, param or tag; MLflow's rule, so that its clients' keys all fit."""
    fits = isinstance(key, str) and _KEY.fullmatch(key)
    if not fits or posixpath.normpath(key) != key or key.startswith(("/", "..")) or "/.." in key or key == ".":
        raise BAD_KEY(field="key", kind=kind, key=str(key)[:300])
    return key


def check_label(kind: str, name: str) -> str:
    """Return `name` if it may name an experiment or a run: a text that people read, never a path."""
    if not isinstance(name, str) or not 1 <= len(name) <= LONGEST_KEY or not name.isprintable() or name != name.strip():
        raise BAD_LABEL(field="name", kind=kind, name=str(name)[:300])
    return name


def check_value(kind: str, key: str, value: object, most: int) -> str:
    """`value` as the text that is kept; raises `tracking.too_long` beyond `most` characters."""
    text = value if isinstance(value, str) else str(value)
    if len(text) > most:
        raise TOO_LONG(field=key, kind=kind, key=key, length=len(text), most=most)
    return text


def check_path(path: str) -> str:
    """Return `path` if it may name an artifact within its run; the guard against path traversal."""
    parts = path.split("/") if isinstance(path, str) else []
    fits = bool(parts) and len(path) <= LONGEST_PATH and path.isprintable() and "\\" not in path
    if not fits or any(part in ("", ".", "..") or len(part) > 255 for part in parts) or path[1:2] == ":":
        raise BAD_PATH(field="path", path=str(path)[:300])
    return path


def check_count(kind: str, count: int) -> None:
    """Raise `tracking.too_many` when a batch is larger than one transaction should carry."""
    if count > LARGEST_BATCH:
        raise TOO_MANY(field=kind, kind=kind, count=count, most=LARGEST_BATCH)
