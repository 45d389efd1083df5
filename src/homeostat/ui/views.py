"""What a screen's handler is given: who looks, at which project, and how to render a page."""

from __future__ import annotations

import gzip
import threading
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote, urlencode

import jinja2
from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.response import Redirect

from homeostat.foundation.clock import iso
from homeostat.foundation.database import Reader, Transaction
from homeostat.foundation.errors import Kind, entry
from homeostat.governance import approvals, sign_in
from homeostat.governance.access import needs
from homeostat.governance.records import Principal
from homeostat.ui import assets, charts, formats

if TYPE_CHECKING:
    from collections.abc import Callable

    from litestar.handlers import HTTPRouteHandler

    from homeostat.app import Homeostat

NO_REASON = entry(
    "ui.no_reason", Kind.INVALID, "nobody said why; it is kept with the act", "go back and write a few words"
)

_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
_COMPRESS_FROM = 2_000  # bytes; less is one packet anyway

NAVIGATION = (
    ("Loop", "/"),
    ("Data", "/datasets"),
    ("Pipelines", "/pipelines"),
    ("Runs", "/runs"),
    ("Models", "/models"),
    ("Endpoints", "/endpoints"),
    ("Incidents", "/incidents"),
    ("Approvals", "/approvals"),
    ("Decisions", "/decisions"),
    ("Audit", "/audit"),
)


class Caller(Protocol):
    """What the guard found out about who is calling (see `api.access.Caller`)."""

    home: Homeostat
    principal: Principal
    project: str

    @property
    def name(self) -> str:
        """The principal's name."""

    def may(self, permission: str, endpoint: str | None = None) -> bool:
        """Whether the caller has the permission in its project."""

    def require(self, *permissions: str, endpoint: str | None = None) -> None:
        """Raise `access.denied` unless the caller has one of the permissions."""

    def read(self) -> AbstractContextManager[Reader]:
        """A view of the caller's project."""

    def write(self, reason: str | None = None) -> AbstractContextManager[Transaction]:
        """A transaction in the caller's name and project."""


class View:
    """One request for a screen."""

    def __init__(self, request: Request[Any, Any, Any], caller: Caller) -> None:
        self.request = request
        self.caller = caller
        self.home = caller.home
        self.project = caller.project
        self.now = caller.home.clock.now()

    def read(self) -> AbstractContextManager[Reader]:
        """A view of the project's rows."""
        return self.caller.read()

    def url(self, path: str, **query: Any) -> str:
        """The address of a screen of this project; parts that are None are left out of the query."""
        named = {} if self.project == "default" else {"project": self.project}
        asked = named | {name: value for name, value in query.items() if value is not None}
        return quote(path) + (f"?{urlencode(asked)}" if asked else "")

    def page(self, template: str, title: str, **context: Any) -> Response[bytes]:
        """The page, with how many questions wait for a person in its navigation."""
        with self.read() as reader:
            waiting = len(approvals.listing(reader, "waiting"))
        return render(self.request, template, title=title, view=self, waiting=waiting, **context)

    def back_to(self, path: str, **query: Any) -> Redirect:
        """After an act: on to the page that shows what came of it."""
        return Redirect(self.url(path, **query), status_code=303)


def view_of(request: Request[Any, Any, Any]) -> View:
    """The dependency `view`."""
    return View(request, request.state.caller)


Viewing = NamedDependency[View]


def screen(path: str, *permissions: str) -> Callable[[Callable[..., Any]], HTTPRouteHandler]:
    """A page at `path`, for who may read (or has one of `permissions`)."""
    opt = needs(*(permissions or ("read",)))
    return get(path, opt=opt, sync_to_thread=True, include_in_schema=False)


def act(path: str, *permissions: str) -> Callable[[Callable[..., Any]], HTTPRouteHandler]:
    """A form's target at `path`, for who has one of `permissions`."""
    return post(path, opt=needs(*permissions), sync_to_thread=True, include_in_schema=False, status_code=303)


def reason_in(form: dict[str, str]) -> str:
    """The reason that a form was sent with; raises `ui.no_reason`."""
    reason = form.get("reason", "").strip()
    if not reason:
        raise NO_REASON(field="reason")
    return reason[:2000]


@cache
def environment() -> jinja2.Environment:
    """The templates: everything is escaped, and a name that is not there is an error."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters.update(formats.FILTERS)
    made.filters["iso"] = iso
    made.globals.update(
        asset=assets.address,
        plural=formats.plural,
        ago=formats.ago,
        moment=formats.moment,
        clock=formats.clock,
        spark=charts.spark,
        navigation=NAVIGATION,
    )
    return made


@cache
def _compile_the_rest() -> None:
    """Once a first page was asked for, others will be: compile their templates meanwhile."""

    def compile_all() -> None:
        for name in environment().list_templates():
            environment().get_template(name)

    threading.Thread(target=compile_all, name="templates", daemon=True).start()


def render(request: Request[Any, Any, Any], template: str, *, status: int = 200, **context: Any) -> Response[bytes]:
    """A template as a response that may load and run nothing but our own files.

    Without a `view` in the context (nobody is known yet, or there is no such page) the page stands still.
    """
    view: View | None = context.get("view")
    around = {
        "view": view,
        "live": view is not None and status == 200,
        "path": request.url.path,
        "here": _here(request),
        "url": view.url if view else quote,
        "may": view.caller.may if view else _nobody_may,
        "now": view.now if view else 0,
        "project": view.project if view else "default",
        "principal": view.caller.name if view else "",
        "signed_in": sign_in.cookie_name(request.headers.get("host", "")) in request.cookies,
        "waiting": 0,
    }
    body = environment().get_template(template).render(around | context).encode()
    _compile_the_rest()
    headers = {
        "Content-Security-Policy": _POLICY,
        "Cache-Control": "no-store",
        "Vary": "Accept-Encoding, Cookie",
        "Cross-Origin-Opener-Policy": "same-origin",
    }
    if len(body) >= _COMPRESS_FROM and assets.accepts_gzip(request):
        body, headers["Content-Encoding"] = gzip.compress(body, 5, mtime=0), "gzip"
    return Response(body, status_code=status, headers=headers, media_type="text/html; charset=utf-8")


def _nobody_may(permission: str, endpoint: str | None = None) -> bool:
    return False


def _here(request: Request[Any, Any, Any]) -> str:
    """This very address, to fetch the page again."""
    return quote(request.url.path) + (f"?{request.url.query}" if request.url.query else "")
