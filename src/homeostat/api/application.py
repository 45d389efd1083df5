"""The ASGI application over a wired Homeostat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from litestar import Litestar, Router
from litestar.config.app import AppConfig
from litestar.datastructures import State
from litestar.di import Provide
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme
from litestar.types import ControllerRouterHandler

from homeostat.api import (
    access,
    bodies,
    datasets,
    decisions,
    definitions,
    endpoints,
    errors,
    events,
    incidents,
    keep,
    models,
    objects,
    pipelines,
    principals,
    process,
    runs,
    sign_in,
)

if TYPE_CHECKING:
    from homeostat.app import Homeostat

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
}


def create(
    home: Homeostat,
    extra_handlers: Sequence[ControllerRouterHandler] = (),
    error_page: errors.ErrorPage | None = None,
) -> Litestar:
    """The application; `extra_handlers` (the screens) stand under the same guard and must declare what they need.

    `error_page` shows an error to a browser that asked for a page; without it everybody gets JSON.
    `home` is open; whether its loop runs is not this application's concern.
    """
    api = Router(
        path="/api/v1",
        route_handlers=[
            *process.API_ROUTES,
            *definitions.ROUTES,
            *datasets.ROUTES,
            *pipelines.ROUTES,
            *models.ROUTES,
            *objects.ROUTES,
            *runs.ROUTES,
            *endpoints.ROUTES,
            *incidents.ROUTES,
            *decisions.ROUTES,
            *principals.ROUTES,
            *events.ROUTES,
            *keep.ROUTES,
            *sign_in.API_ROUTES,
        ],
    )
    app = Litestar(
        route_handlers=[api, *process.ROUTES, *sign_in.ROUTES, *extra_handlers],
        guards=[access.guard],
        dependencies={"caller": Provide(access.caller_of, sync_to_thread=False)},
        exception_handlers={Exception: errors.respond},
        request_class=bodies.StrictRequest,
        request_max_body_size=bodies.LARGEST,
        response_headers=_HEADERS,
        openapi_config=_openapi(),
        state=State({"home": home, "hosts": access.hosts_of(home), "error_page": error_page}),
        logging_config=None,
        on_app_init=[_quiet],
    )
    access.check_routes(app)
    return app


def _openapi() -> OpenAPIConfig:
    scheme = SecurityScheme(type="http", scheme="bearer", description="A token made with POST /api/v1/tokens")
    return OpenAPIConfig(
        title="Homeostat",
        version=process.VERSION,
        description="Keeps machine-learning models healthy in production.",
        use_handler_docstrings=True,
        components=Components(security_schemes={"token": scheme}),
        security=[{"token": []}],
        # Litestar adds a page of its own for the schema; it stands aside of the documented address, under the guard.
        openapi_router=Router(
            path="/api/v1/openapi", route_handlers=[], opt=access.needs(access.SIGNED_IN), include_in_schema=False
        ),
        render_plugins=[process.SCHEMA],
    )


def _quiet(config: AppConfig) -> AppConfig:
    config.debug = False  # a traceback is for the log, never for the caller
    return config
