"""Bounds on what a request may bring: its body's size and the time that takes.

Headers and connections are bounded below, in ``connections``.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pbx.web.problems import HANDLED, Problem, problem_of

DISCARDED_BYTES: Final = 8 * 1024 * 1024
"""A body that is too large, and not larger than this, is read to its end and forgotten: the
connection would be reset under a client that still sends, and the answer lost with it."""

SAFE_HEADERS: Final = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
)
"""With every answer: they are about somebody's calls, and JSON is no page."""


class Answering:
    """ASGI middleware that answers errors of those behind it as errors of routes are answered."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        except HANDLED as error:
            await problem_of(error).response()(scope, receive, send)


class Bounded:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, *, body_bytes: int, body_s: float) -> None:
        self._app = app
        self._body_bytes = body_bytes
        self._body_s = body_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        length = headers.get("content-length", "0")
        if length.isdigit() and int(length[:20]) > self._body_bytes:
            if "expect" not in headers and int(length[:20]) <= DISCARDED_BYTES:
                await self._discard(receive)
            raise self._too_large()
        await self._app(scope, self._bounded(receive), _with_headers(send))

    def _bounded(self, receive: Receive) -> Receive:
        taken = 0
        whole = False
        deadline = asyncio.get_running_loop().time() + self._body_s

        async def bounded() -> Message:
            nonlocal taken, whole
            if whole:
                return await receive()  # waits for the end of the connection
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise Problem(
                    408,
                    "too-slow",
                    "The body did not arrive in time",
                    headers={"Connection": "close"},
                ) from None
            taken += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if taken > self._body_bytes:
                raise self._too_large()
            return message

        return bounded

    async def _discard(self, receive: Receive) -> None:
        """Take the rest of a body, in the time that a body has."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._body_s):
                while (await receive()).get("more_body", False):
                    pass

    def _too_large(self) -> Problem:
        return Problem(
            413,
            "too-large",
            "The body is too large",
            f"{self._body_bytes} bytes are the limit",
            headers={"Connection": "close"},
        )


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            present = {name.lower() for name, _ in message.get("headers", ())}
            more = [pair for pair in SAFE_HEADERS if pair[0] not in present]
            message = {**message, "headers": [*message.get("headers", ()), *more]}
        await send(message)

    return sending
