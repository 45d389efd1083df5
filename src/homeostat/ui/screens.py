"""The screens' door: the route handlers, and the page that shows an error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from litestar import Request, Response, Router
from litestar.di import Provide

from homeostat.foundation.errors import HomeostatError, Kind
from homeostat.ui import (
    assets,
    audit,
    changes,
    datasets,
    decisions,
    endpoints,
    home,
    incidents,
    leaving,
    models,
    pipelines,
    runs,
)
from homeostat.ui.views import View, environment, render, view_of

if TYPE_CHECKING:
    from homeostat.app import Homeostat

_SAID = {
    Kind.UNAUTHENTICATED: "You are not signed in.",
    Kind.DENIED: "You may not do that.",
    Kind.NOT_FOUND: "That is not here.",
    Kind.INVALID: "That could not be understood.",
    Kind.USAGE: "That could not be understood.",
    Kind.TOO_LARGE: "That is too large.",
    Kind.CONFLICT: "That does not fit how things are now.",
    Kind.REFUSED: "That was refused.",
    Kind.WAITING: "That waits.",
    Kind.UNAVAILABLE: "That is not available now.",
    Kind.FAILED: "Something failed inside Homeostat.",
}


def handlers(app_home: Homeostat) -> list[Router]:
    """Every route of the screens, for `api.application.create`; files and templates are read here, once."""
    assets.assets()
    environment().get_template("home.html")
    found = Router(
        path="/",
        route_handlers=[
            *home.ROUTES,
            *datasets.ROUTES,
            *pipelines.ROUTES,
            *runs.ROUTES,
            *models.ROUTES,
            *endpoints.ROUTES,
            *incidents.ROUTES,
            *decisions.ROUTES,
            *audit.ROUTES,
            assets.static,
            changes.changes,
            leaving.leave,
        ],
        dependencies={"view": Provide(view_of, sync_to_thread=False)},
    )
    return [found]


def error_page(request: Request[Any, Any, Any], error: HomeostatError, status: int) -> Response[Any]:
    """What a browser shows of an error: the rule, the fix, and the way back."""
    # Where the guard had found out who calls, the page keeps its navigation.
    caller = getattr(request.state, "caller", None)
    return render(
        request,
        "error.html",
        status=status,
        view=View(request, caller) if caller is not None else None,
        title=_SAID[error.kind].rstrip("."),
        sentence=_SAID[error.kind],
        error=error,
        sign_in=error.kind is Kind.UNAUTHENTICATED,
        status_code=status,
    )
