"""The one translation from the error catalogue to HTTP; what is not in the catalogue says no more than "internal"."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from litestar import Request, Response
from litestar.exceptions import HTTPException

from homeostat.foundation.errors import INTERNAL, HomeostatError, Kind, entry

NO_ROUTE = entry(
    "api.no_route",
    Kind.NOT_FOUND,
    "there is nothing at {method} {path}",
    "see what there is at /api/v1/openapi.json",
)
WRONG_METHOD = entry(
    "api.wrong_method",
    Kind.INVALID,
    "{path} does not take {method}",
    "see what it takes at /api/v1/openapi.json",
)
BAD_BODY = entry("api.bad_body", Kind.INVALID, "the request's body is not what is asked for: {why}", "{fix}")
BAD_PARAMETER = entry(
    "api.bad_parameter", Kind.INVALID, "{name} in the {place}: {why}", "see its type at /api/v1/openapi.json"
)
TOO_LARGE = entry(
    "api.too_large",
    Kind.TOO_LARGE,
    "the request's body is larger than this route takes",
    "send it in parts; files go to PUT /api/v1/objects",
)

# How an error is shown to a browser that asked for a page; given to `application.create` by whoever has screens.
ErrorPage = Callable[[Request[Any, Any, Any], HomeostatError, int], Response[Any]]

_log = logging.getLogger(__name__)


def respond(request: Request[Any, Any, Any], exception: Exception) -> Response[Any]:
    """The response that tells of `exception`: an error of the catalogue under its own status, anything else as 500.

    JSON, but for a person whose browser asked for a page: two lines of text.
    """
    error = catalogued(request, exception)
    if error.entry is INTERNAL:
        _log.error("%s %s failed", request.method, request.url.path, exc_info=exception)
    headers = {"Cache-Control": "no-store"}
    if error.kind is Kind.UNAUTHENTICATED:
        headers["WWW-Authenticate"] = "Bearer"
    status = exception.status_code if isinstance(exception, HTTPException) else error.kind.status
    show: ErrorPage | None = request.app.state.get("error_page")
    if show is not None and _asks_for_a_page(request):
        return show(request, error, status)
    if "text/html" in request.headers.get("accept", "") and not request.url.path.startswith("/api/"):
        return Response(f"{error}\n\n{error.hint}\n", status_code=status, headers=headers, media_type="text/plain")
    return Response({"error": error.as_dict()}, status_code=status, headers=headers, media_type="application/json")


def catalogued(request: Request[Any, Any, Any], exception: Exception) -> HomeostatError:
    """`exception` as an error of the catalogue; what Litestar says of a request is put in our words."""
    if isinstance(exception, HomeostatError):
        return exception
    if isinstance(exception, HTTPException) and exception.status_code < 500:
        return _of_litestar(request, exception)
    return INTERNAL(what=type(exception).__name__)


def _asks_for_a_page(request: Request[Any, Any, Any]) -> bool:
    if request.url.path.startswith("/api/") or "authorization" in request.headers:
        return False
    return "text/html" in request.headers.get("accept", "")


def _of_litestar(request: Request[Any, Any, Any], exception: HTTPException) -> HomeostatError:
    path, method = request.url.path, request.method
    if exception.status_code == 404:
        return NO_ROUTE(method=method, path=path[:200])
    if exception.status_code == 405:
        return WRONG_METHOD(method=method, path=path[:200])
    if exception.status_code == 413:
        return TOO_LARGE(field="body")
    found = exception.extra[0] if isinstance(exception.extra, list) and exception.extra else {}
    key, place = str(found.get("key", "body")), found.get("source", "request")
    if key == "data":
        return BAD_BODY(field="body", why="there is none", fix="send a JSON object")
    name = _name_outside(request, key)
    why = found.get("message", exception.detail)
    return BAD_PARAMETER(field=name, name=name, place=getattr(place, "value", place), why=why)


def _name_outside(request: Request[Any, Any, Any], key: str) -> str:
    """What a handler's parameter is called in the request."""
    handler = request.scope.get("route_handler")
    parsed = handler.parsed_fn_signature.parameters.get(key) if handler is not None else None
    return str(getattr(parsed and parsed.kwarg_definition, "name", None) or key)
