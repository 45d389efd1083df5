"""The files a page loads: read once, named by their content, compressed once, cached by browsers for ever."""

from __future__ import annotations

import gzip
from functools import cache
from pathlib import Path
from typing import Any

from blake3 import blake3
from litestar import Request, Response, get
from litestar.params import FromPath
from msgspec import Struct

from homeostat.foundation.errors import Kind, entry
from homeostat.governance.access import PUBLIC, needs

NO_ASSET = entry("ui.no_asset", Kind.NOT_FOUND, "there is no file {name!r} among the screens' own", "reload the page")

_FOLDER = Path(__file__).parent / "static"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".LICENSE": "text/plain; charset=utf-8",
}


class Asset(Struct, frozen=True):
    """One file: its bytes, and those compressed."""

    name: str
    kind: str
    body: bytes
    packed: bytes
    digest: str


@cache
def assets() -> dict[str, Asset]:
    """Every file by its path below `static`; only these are ever served, so no path can lead elsewhere."""
    found = {}
    for path in sorted(_FOLDER.rglob("*")):
        if path.suffix in _TYPES:
            body, name = path.read_bytes(), path.relative_to(_FOLDER).as_posix()
            packed = gzip.compress(body, 9, mtime=0)
            found[name] = Asset(name, _TYPES[path.suffix], body, packed, blake3(body).hexdigest()[:16])
    return found


def address(name: str) -> str:
    """Where a browser finds the file: with its digest, so that another content is another address."""
    return f"/static/{name}?{assets()[name].digest}"


def accepts_gzip(request: Request[Any, Any, Any]) -> bool:
    """Whether the browser takes gzip."""
    return "gzip" in request.headers.get("accept-encoding", "")


@get("/static/{name:path}", opt=needs(PUBLIC), sync_to_thread=False, include_in_schema=False)
def static(request: Request[Any, Any, Any], name: FromPath[str]) -> Response[bytes]:
    """A file of the screens'. Public: the page that asks one to sign in loads them too."""
    asset = assets().get(name.removeprefix("/"))
    if asset is None:
        raise NO_ASSET(field="name", name=name[:100])
    headers = {"Cache-Control": "no-cache", "ETag": f'"{asset.digest}"', "Vary": "Accept-Encoding"}
    if request.url.query == asset.digest:
        headers["Cache-Control"] = "public, max-age=31536000, immutable"
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(b"", status_code=304, headers=headers, media_type=asset.kind)
    if not accepts_gzip(request):
        return Response(asset.body, headers=headers, media_type=asset.kind)
    return Response(asset.packed, headers=headers | {"Content-Encoding": "gzip"}, media_type=asset.kind)
