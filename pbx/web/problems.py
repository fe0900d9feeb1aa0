"""Errors as RFC 9457 problem details: one shape for all of them, whoever raises."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketState

from pbx.kernel.errors import (
    BadFilter,
    BadPosition,
    Conflict,
    DomainError,
    LogUnavailable,
    PositionUnknown,
)

MEDIA_TYPE: Final = "application/problem+json"

_TYPE: Final = "urn:ringlog:problem:"
_BY_ERROR: Final[dict[type[Exception], tuple[int, str, str]]] = {
    BadFilter: (400, "bad-filter", "The filter names what does not exist"),
    BadPosition: (400, "bad-position", "This is no position"),
    PositionUnknown: (410, "position-unknown", "The log does not reach so far"),
    DomainError: (422, "refused", "A rule refuses this"),
    Conflict: (409, "conflict", "Somebody else was faster"),
    LogUnavailable: (503, "log-unavailable", "The event log is not available"),
}


class Problem(Exception):
    """Ends a request with this answer."""

    def __init__(
        self,
        status: int,
        name: str,
        title: str,
        detail: str = "",
        *,
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        """`name` is the last part of the problem's type; `members` are extensions."""
        super().__init__(f"{status} {title}: {detail}")
        self.status = status
        self.headers = dict(headers or {})
        self.body: dict[str, Any] = {"type": _TYPE + name, "title": title, "status": status}
        if detail:
            self.body["detail"] = detail
        self.body.update(members)

    def encoded(self) -> bytes:
        """The body."""
        return msgspec.json.encode(self.body)

    def response(self) -> Response:
        """The answer."""
        return Response(self.encoded(), self.status, headers=self.headers, media_type=MEDIA_TYPE)


def problem_of(error: Exception) -> Problem:
    """The problem an error of ours or of the framework means; 500 without details for others."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, HTTPException):
        phrase = HTTPStatus(error.status_code).phrase
        detail = error.detail if error.detail != phrase else ""
        name = phrase.lower().replace(" ", "-")
        return Problem(error.status_code, name, phrase, detail, headers=error.headers)
    for kind, (status, name, title) in _BY_ERROR.items():
        if isinstance(error, kind):
            headers = {"Retry-After": "5"} if status == 503 else {}
            return Problem(status, name, title, str(error), headers=headers)
    return Problem(500, "internal", "Something is wrong here; the server's log says what")


async def answer(connection: HTTPConnection, error: Exception) -> Response | None:
    """Handler of every exception, of requests and of WebSockets before and after the handshake."""
    problem = problem_of(error)
    if not isinstance(connection, WebSocket):
        return problem.response()
    if connection.application_state is not WebSocketState.CONNECTING:
        await connection.close(1011, problem.body["title"])
    elif "websocket.http.response" in connection.scope.get("extensions", {}):
        await connection.send_denial_response(problem.response())
    else:
        await connection.close(1008, problem.body["title"])
    return None


HANDLED: Final[tuple[type[Exception], ...]] = (Problem, HTTPException, *_BY_ERROR)
"""What is answered without a trace in the log."""
