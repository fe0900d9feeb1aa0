"""Nobody gets in without a token: authentication before routing, scopes at each route.

A token comes as ``Authorization: Bearer …`` (RFC 6750 §2.1), or, where a browser's WebSocket
cannot set headers, as a subprotocol ``bearer.TOKEN`` beside ``ringlog.v1``. Never in a URL: those
end up in logs. Every failure is the same 401, whatever path was asked for; failures of one source
are counted and beyond a rate answered 429. A good token is never held up by somebody else's bad
ones from the same address.
"""

from __future__ import annotations

import functools
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final, TypeVar

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.routing import BaseRoute, Match, Mount, Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from pbx.domain.tokens import SCOPES
from pbx.tokens import Principal
from pbx.web.problems import MEDIA_TYPE, Problem
from pbx.web.services import Services

log = logging.getLogger("pbx.web.auth")

SUBPROTOCOL: Final = "ringlog.v1"
BEARER_SUBPROTOCOL: Final = "bearer."
MAX_SOURCES: Final = 10_000
"""Addresses whose failures are counted: 1 MB. The oldest is forgotten first."""

_SCOPE: Final = "_ringlog_scope"
_NONE: Final = "none"

UNAUTHORIZED: Final = Problem(
    401,
    "unauthorized",
    "A valid token is needed",
    "Send `Authorization: Bearer TOKEN`; an administrator makes one with: pbx token create",
    headers={"WWW-Authenticate": 'Bearer realm="ringlog"', "Cache-Control": "no-store"},
)


class Failures:
    """Failed log-ins by source, in windows of time."""

    def __init__(self, most: int, window_s: float) -> None:
        self._most = most
        self._window_s = window_s
        self._counts: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def failed(self, source: str, now: float) -> float:
        """Count one; returns for how many seconds more would be too many, 0 while they are not."""
        began, count = self._counts.pop(source, (now, 0))
        if now - began >= self._window_s:
            began, count = now, 0
        self._counts[source] = (began, count + 1)
        if len(self._counts) > MAX_SOURCES:
            self._counts.popitem(last=False)
        if count == self._most:
            log.warning("%s shows wrong tokens again and again", source)
        return 0.0 if count < self._most else began + self._window_s - now


class Authenticated:
    """ASGI middleware that puts a :class:`Principal` into the scope, or answers by itself."""

    def __init__(
        self, app: ASGIApp, services: Services, open_to_all: Sequence[BaseRoute] = ()
    ) -> None:
        self._app = app
        self._services = services
        self._open_to_all = open_to_all
        limits = services.limits
        self._failures = Failures(limits.failed_logins, limits.failed_logins_s)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or self._is_open(scope):
            await self._app(scope, receive, send)
            return
        principal = self._principal(scope)
        if principal is None:
            await refuse(self._refusal(scope), scope, send)
            return
        scope["principal"] = principal
        await self._app(scope, receive, send)

    def _is_open(self, scope: Scope) -> bool:
        return any(route.matches(scope)[0] is not Match.NONE for route in self._open_to_all)

    def _principal(self, scope: Scope) -> Principal | None:
        text = _shown_token(scope)
        if not text:
            return None
        return self._services.tokens.check(text, self._services.clock.wall_ns())

    def _refusal(self, scope: Scope) -> Problem:
        client = scope.get("client")
        source = client[0] if client else ""
        wait_s = self._failures.failed(source, self._services.clock.monotonic())
        if not wait_s:
            return UNAUTHORIZED
        return Problem(
            429,
            "too-many-failures",
            "Too many requests without a valid token",
            headers={"Retry-After": str(int(wait_s) + 1), "Cache-Control": "no-store"},
        )


def _shown_token(scope: Scope) -> str:
    headers = Headers(scope=scope)
    scheme, _, text = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return text.strip()
    if scope["type"] == "websocket":
        for offered in scope.get("subprotocols", ()):
            if offered.startswith(BEARER_SUBPROTOCOL):
                return str(offered.removeprefix(BEARER_SUBPROTOCOL))
    return ""


async def refuse(problem: Problem, scope: Scope, send: Send) -> None:
    """Send `problem` as the answer to a request or to a WebSocket's handshake."""
    body = problem.encoded()
    headers = [
        (b"content-type", MEDIA_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
        *((name.lower().encode(), value.encode()) for name, value in problem.headers.items()),
    ]
    kind = "http.response"
    if scope["type"] == "websocket":
        if "websocket.http.response" not in scope.get("extensions", {}):
            await send({"type": "websocket.close", "code": 1008, "reason": "no valid token"})
            return
        kind = "websocket.http.response"
    await send({"type": f"{kind}.start", "status": problem.status, "headers": headers})
    await send({"type": f"{kind}.body", "body": body, "more_body": False})


def principal_of(connection: HTTPConnection) -> Principal:
    """Who a request comes from."""
    principal = connection.scope["principal"]
    assert isinstance(principal, Principal)
    return principal


C = TypeVar("C", bound=HTTPConnection)
R = TypeVar("R")
Endpoint = Callable[[C], Awaitable[R]]


def requires(scope: str | None) -> Callable[[Endpoint[C, R]], Endpoint[C, R]]:
    """Let only principals with `scope` reach an endpoint; None takes any valid token.

    Every route must say so: :func:`check_routes` refuses those that do not.
    """
    assert scope is None or scope in SCOPES

    def guard(endpoint: Endpoint[C, R]) -> Endpoint[C, R]:
        @functools.wraps(endpoint)
        async def guarded(connection: C) -> R:
            if scope is not None:
                require_scope(principal_of(connection), scope)
            return await endpoint(connection)

        setattr(guarded, _SCOPE, scope or "any")
        return guarded

    return guard


def require_scope(principal: Principal, scope: str) -> None:
    """Raises :class:`Problem` (403) unless a token has `scope`."""
    if not principal.may(scope):
        raise Problem(
            403,
            "scope-needed",
            "This token may not do that",
            f"the scope {scope} is needed: pbx token create … --scope {scope}",
        )


def without_token(why: str) -> Callable[[Endpoint[C, R]], Endpoint[C, R]]:
    """Let everybody reach an endpoint, which says `why`: it asks for another proof by itself, or
    tells what is the same on every server."""
    assert why

    def mark(endpoint: Endpoint[C, R]) -> Endpoint[C, R]:
        setattr(endpoint, _SCOPE, _NONE)
        return endpoint

    return mark


def open_routes(routes: Iterable[BaseRoute]) -> list[BaseRoute]:
    """Those that :func:`without_token` opened."""
    return [
        route
        for route in routes
        if isinstance(route, Route) and getattr(route.endpoint, _SCOPE, None) == _NONE
    ]


def check_routes(routes: Iterable[BaseRoute]) -> None:
    """Raises ``TypeError`` for a route whose endpoint does not say whom it lets in."""
    for route in routes:
        if isinstance(route, Mount):
            check_routes(route.routes)
        elif not isinstance(route, Route | WebSocketRoute) or not _declared(route.endpoint):
            raise TypeError(f"{route} does not say whom it lets in: decorate it with requires()")


def _declared(endpoint: Any) -> bool:
    return getattr(endpoint, _SCOPE, None) is not None


def tenant_for(principal: Principal, wanted: str | None) -> str | None:
    """The domain whose data `principal` may see, having asked for `wanted`; None is all.

    Raises :class:`Problem` if that is another one's.
    """
    if not principal.domain:
        return wanted
    if wanted not in (None, principal.domain):
        raise Problem(
            403, "tenant", "This token is for another domain", f"it sees {principal.domain} only"
        )
    return principal.domain
