"""``/CLI/``: one command of the command protocol a request (CLI reference §1.2).

Authentication is Basic with an account's password, as on port 106, so the middleware for tokens
stands aside. Everything is :func:`pbx.admin.http.http_command`; guessing is made slow and locked by
the service's own guard, here by keeping the answer back.
"""

from __future__ import annotations

import asyncio
import re
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from pbx.admin.http import TEXT, HttpRequest, http_command
from pbx.rest.backend import Backend
from pbx.web.auth import without_token

PATH: Final = "/CLI/"
MAX_HELD: Final = 100
"""Answers kept back at once. More wrong logins than that come from many addresses: each is still
counted toward its lock, and answered at once."""


class AnyCaseRoute(Route):
    """Its path is taken in any letter case."""

    def __init__(self, path: str, **more: object) -> None:
        super().__init__(path, **more)  # type: ignore[arg-type]
        self.path_regex = re.compile(self.path_regex.pattern, re.IGNORECASE)


class CommandLine:
    """The endpoint over the command service."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._held = 0

    @property
    def routes(self) -> list[BaseRoute]:
        """With and without the slash at the end."""

        @without_token("it asks for name and password by itself")
        async def endpoint(request: Request) -> Response:
            return await self._answer(request)

        return [
            AnyCaseRoute(path, endpoint=endpoint, methods=["GET", "POST"])
            for path in (PATH, PATH.rstrip("/"))
        ]

    async def _answer(self, request: Request) -> Response:
        if request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            # A browser that remembers a password sends it along with what other pages make it ask.
            return Response("not from another page\n", 403, headers={"Content-Type": TEXT})
        wanted = HttpRequest(
            request.method,
            request.scope.get("query_string", b""),
            await request.body(),
            request.headers.get("content-type", ""),
            request.headers.get("authorization", ""),
            request.client.host if request.client else "",
            request.url.scheme == "https",
        )
        service = self._backend.service
        reply = await self._backend.in_thread(lambda: http_command(service, wanted))
        if reply.delay_s and self._held < MAX_HELD:
            self._held += 1
            try:
                await asyncio.sleep(reply.delay_s)
            finally:
                self._held -= 1
        headers = {"Content-Type": TEXT, **dict(reply.headers)}
        return Response(reply.body, reply.status, headers=headers)
