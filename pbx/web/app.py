"""The application: routes, and what stands before each of them.

A part that adds routes gives a list of them to :func:`make_app`; each endpoint is an ``async``
function of the request, decorated with :func:`pbx.web.auth.requires` (or, for what needs no token,
:func:`~pbx.web.auth.without_token`), and raises
:class:`~pbx.web.problems.Problem` or an error of ``pbx.kernel.errors`` where it cannot answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import BaseRoute

from pbx.web import event_socket, events, schema_pages
from pbx.web.auth import Authenticated, check_routes, open_routes
from pbx.web.limits import Answering, Bounded
from pbx.web.problems import HANDLED, answer
from pbx.web.services import Services


def make_app(services: Services, routes: Sequence[BaseRoute] = ()) -> Starlette:
    """The ASGI application over `services`, with `routes` besides the feeds and schemas.

    Raises ``TypeError`` for a route that does not say whom it lets in.
    """
    all_routes = [*events.ROUTES, *event_socket.ROUTES, *schema_pages.ROUTES, *routes]
    check_routes(all_routes)
    settings = services.settings
    handlers: dict[Any, Any] = {**dict.fromkeys(HANDLED, answer), Exception: answer}
    app = Starlette(
        routes=all_routes,
        middleware=[
            Middleware(Answering),
            Middleware(Authenticated, services=services, open_to_all=open_routes(all_routes)),
            Middleware(Bounded, body_bytes=settings.body_bytes, body_s=settings.request_s),
        ],
        exception_handlers=handlers,
    )
    app.router.redirect_slashes = False  # a wrong path is a 404, not a guess
    app.state.services = services
    return app
