"""Bodies of requests: strict JSON. A wrong type, a missing or an unknown field is an error that names the field.

msgspec decodes straight into the type that the handler asks for, without coercion ("1" is no number). The records of
the domains do not forbid unknown fields, since older rows must stay readable; a request's unknown field is a mistake
of its sender, so it is looked for here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, TypeVar

import msgspec
from litestar import Request
from msgspec import inspect

from homeostat.api.errors import BAD_BODY
from homeostat.foundation.errors import HomeostatError

T = TypeVar("T")

LARGEST = 64 << 20  # bytes of a JSON body; objects are streamed and have no such limit

_PATH = re.compile(r" - at `(?:key in )?\$\.?(.*)`$")
_NAMED = re.compile(r"(?:missing required|unknown) field `([^`]*)`")


class StrictRequest(Request[Any, Any, Any]):
    """A request whose JSON body is decoded into exactly the type its handler asks for."""

    async def json(self) -> Any:
        """The body as the handler's type; raises `api.bad_body`."""
        wanted = self.route_handler.parsed_data_field
        assert wanted is not None
        return decode(await self.body(), wanted.annotation)


def decode(body: bytes, wanted: Any) -> Any:
    """`body` as a `wanted`; raises `api.bad_body` with the field at fault."""
    try:
        decoded = msgspec.json.decode(body, type=wanted)
        plain = msgspec.json.decode(body)
        unknown = _unknown(plain, inspect.type_info(wanted), "")
        too_big = _too_big(plain, "")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as why:
        raise _fault(str(why), wanted) from None
    if unknown is not None:
        path, known = unknown
        raise BAD_BODY(field=path, why=f"the field {path!r} is not known", fix=f"use some of: {', '.join(known)}")
    if too_big is not None:
        raise BAD_BODY(field=too_big, why="the number does not fit 64 bits", fix="send a smaller number")
    return decoded


def _fault(why: str, wanted: Any) -> HomeostatError:
    at = _PATH.search(why)
    named = _NAMED.search(why)
    parts = [part for part in (at and at[1], named and named[1]) if part]
    field = ".".join(parts) or "body"
    names = _fields(inspect.type_info(wanted))
    fix = f"send a JSON object with some of: {', '.join(names)}" if names else "send valid JSON"
    return BAD_BODY(field=field, why=_PATH.sub("", why), fix=fix)


def _unknown(value: Any, kind: inspect.Type, path: str) -> tuple[str, list[str]] | None:
    """The first field of `value` that `kind` does not have, as (path, what it has instead)."""
    if isinstance(kind, inspect.UnionType):
        kinds = [k for k in kind.types if isinstance(k, inspect.StructType | inspect.CollectionType | inspect.DictType)]
        return _unknown(value, kinds[0], path) if len(kinds) == 1 else None
    if isinstance(kind, inspect.StructType) and isinstance(value, dict):
        known = {field.encode_name: field.type for field in kind.fields}
        for name, below in value.items():
            here = f"{path}.{name}" if path else str(name)
            if name not in known:
                return None if name == kind.tag_field else (here, list(known))
            found = _unknown(below, known[name], here)
            if found is not None:
                return found
    if isinstance(value, list) and isinstance(kind, inspect.CollectionType):
        return _first(_unknown(below, kind.item_type, f"{path}[{n}]") for n, below in enumerate(value))
    if isinstance(value, dict) and isinstance(kind, inspect.DictType):
        return _first(_unknown(below, kind.value_type, f"{path}.{name}") for name, below in value.items())
    return None


def _too_big(value: Any, path: str) -> str | None:
    """Where a whole number is that no database column and no other JSON reader could hold."""
    if isinstance(value, int):
        return None if -(2**63) <= value < 2**63 else path or "body"
    if isinstance(value, dict):
        return _first(_too_big(below, f"{path}.{name}" if path else str(name)) for name, below in value.items())
    if isinstance(value, list):
        return _first(_too_big(below, f"{path}[{n}]") for n, below in enumerate(value))
    return None


def _first(found: Iterable[T | None]) -> T | None:
    return next((one for one in found if one is not None), None)


def _fields(kind: inspect.Type) -> list[str]:
    if isinstance(kind, inspect.UnionType):
        return next((names for k in kind.types if (names := _fields(k))), [])
    return [field.encode_name for field in kind.fields] if isinstance(kind, inspect.StructType) else []
