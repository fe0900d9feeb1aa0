"""``/sys/NAME.wcgp`` over HTTP: who may ask, how often, and what the answer may do in a browser.

Everybody who reaches the listener may ask: that is what such a page is for. So visitors are
counted by their address, runs have threads of their own and a bounded queue, and nothing that a
program says about itself is shown when it breaks down.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Final

from starlette.requests import Request
from starlette.responses import Response as HttpResponse
from starlette.routing import BaseRoute, Route

from pbx.admin.service import AdminService
from pbx.blobs import BlobStore
from pbx.kernel.clock import Clock
from pbx.script.builtins.registry import Environment
from pbx.script.environment import ApplicationFiles, ProgramStore
from pbx.script.errors import CompileError, ModuleMissing, ProgramException
from pbx.web.auth import without_token
from pbx.web.problems import Problem
from pbx.webprograms.commands import TaskCommands
from pbx.webprograms.exchange import Asked, Response
from pbx.webprograms.files import SUFFIX, ServerEnvironment, program_in
from pbx.webprograms.limits import CallLimits, Windows
from pbx.webprograms.running import Run, RunFailed, ServerFiles

log = logging.getLogger("pbx.webprograms")

PREFIX: Final = "/sys/"
THREADS: Final = 2
"""Runs at once: as many as there are cores to a small server."""
MAX_WAITING: Final = 16
"""Requests that run or wait for a thread; more are told to come back."""
POLICY: Final = (
    "sandbox allow-forms allow-top-navigation-by-user-activation; default-src 'none'; "
    "style-src 'unsafe-inline'; img-src 'self' data:; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
"""A page shows what a visitor typed, and published programs do not escape it. It stands beside the
administration: without this a script in it would be one of the administration's own pages."""


class WebPrograms:
    """The endpoint."""

    def __init__(
        self,
        service: AdminService,
        blobs: BlobStore,
        clock: Clock,
        entropy: Random,
        *,
        requests_a_minute: int,
        calls_a_minute: int,
    ) -> None:
        """`requests_a_minute` are those of one address; 0 switches web programs off."""
        self._service = service
        self._clock = clock
        self._entropy = entropy
        self._environment = ServerEnvironment(service.log, blobs)
        self._files = ServerFiles(self._environment.read)
        self._store = ProgramStore()
        self._most = requests_a_minute
        self._visitors = Windows()
        self._calls = CallLimits(calls_a_minute)
        self._executor = ThreadPoolExecutor(THREADS, "webprogram")
        self._waiting = 0

    @property
    def routes(self) -> list[BaseRoute]:
        """One route for all programs."""

        @without_token("pages for everybody; what they may do is bounded here")
        async def endpoint(request: Request) -> HttpResponse:
            return await self._answer(request)

        methods = ["GET", "HEAD", "POST"]
        return [Route(PREFIX + "{path:path}", endpoint=endpoint, methods=methods)]

    def close(self) -> None:
        """Release the threads."""
        self._executor.shutdown(cancel_futures=True)

    async def _answer(self, request: Request) -> HttpResponse:
        name = program_in(request.path_params["path"])
        if not self._most:
            raise _no_program("web programs are switched off: web.program_requests_a_minute is 0")
        visitor = request.client.host if request.client else ""
        now = self._clock.monotonic()
        if wait_s := self._visitors.wait_s(visitor, self._most, now):
            raise Problem(
                429,
                "too-many-requests",
                "Too many requests from this address",
                f"web programs answer {self._most} a minute",
                headers={"Retry-After": str(int(wait_s) + 1)},
            )
        self._visitors.count(visitor, now)
        if not name:
            raise _no_program(f"the name of a program ends in {SUFFIX}")
        if not from_own_page(request.headers):
            raise Problem(
                403,
                "another-page",
                "Another page has asked for this",
                "web programs answer visitors who follow a link or send a form themselves",
            )
        asked = await asked_of(request)
        if self._waiting >= MAX_WAITING:
            raise Problem(
                503,
                "busy",
                "Too many pages are being made",
                "try again in a few seconds",
                headers={"Retry-After": "5"},
            )
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            response = await loop.run_in_executor(self._executor, lambda: self.respond(name, asked))
        finally:
            self._waiting -= 1
        headers = [
            *response.fields,
            ("Content-Type", response.content_type),
            ("Content-Security-Policy", POLICY),
        ]
        answer = HttpResponse(response.body, response.code)
        answer.raw_headers = [
            *((key.lower().encode("latin-1"), value.encode()) for key, value in headers),
            (b"content-length", str(len(response.body)).encode()),
        ]
        return answer

    def respond(self, name: str, asked: Asked) -> Response:
        """Run a program; blocks. Raises :class:`Problem`."""
        self._environment.refresh()
        files = ApplicationFiles(self._files, "")
        file = name + SUFFIX
        commands = TaskCommands(
            self._service, self._calls, self._clock.monotonic, program=file, visitor=asked.remote
        )
        try:
            program = self._store.program(files, name, None, Environment.WEB)
            run = Run(
                file, program, self._store, self._files, asked, commands, self._clock, self._entropy
            )
        except ModuleMissing:
            raise _no_program(f"no {file} is stored: pbx env put {file}") from None
        except (CompileError, ProgramException) as error:
            # One without sysEntry belongs to sessions, and is none of this address.
            log.warning("%s cannot run: %s", file, " ".join(str(error).split())[:1000])
            raise _broken() from None
        try:
            return run.run()
        except RunFailed as error:
            log.warning("%s failed: %s", file, " ".join(str(error).split())[:1000])
            raise _broken() from None


def from_own_page(headers: Mapping[str, str]) -> bool:
    """Whether a visitor asks for the page by himself (Fetch Metadata, W3C §2).

    A page of others must not have the browsers of its readers start calls, as an image or a form
    that sends itself would. Links and forms of others that a reader uses are welcome; what is no
    browser, or an old one, says nothing.
    """
    site = headers.get("sec-fetch-site")
    if site is None:
        # An old browser still names the page that a POST comes from.
        origin = headers.get("origin", "")
        return origin in ("", "null") or origin.partition("://")[2] == headers.get("host", "")
    if site in ("none", "same-origin"):
        return True
    return (
        headers.get("sec-fetch-mode") == "navigate"
        and headers.get("sec-fetch-dest") == "document"
        and headers.get("sec-fetch-user") == "?1"
    )


async def asked_of(request: Request) -> Asked:
    """What a program may know of a request."""
    scope = request.scope
    server = scope.get("server") or ("127.0.0.1", 80)
    raw_path = scope.get("raw_path") or request.url.path.encode()
    return Asked(
        request.method,
        raw_path.partition(b"?")[0].decode("latin-1"),
        scope.get("query_string", b"").decode("latin-1"),
        dict(request.headers),
        await request.body(),
        remote=request.client.host if request.client else "",
        local=server[0],
        local_port=server[1] or 80,
        secure=request.url.scheme == "https",
    )


def _no_program(detail: str) -> Problem:
    return Problem(404, "no-program", "There is no such web program", detail)


def _broken() -> Problem:
    return Problem(
        500, "program-failed", "The program does not work", "the server's log says what is wrong"
    )


__all__ = ["POLICY", "PREFIX", "WebPrograms", "asked_of", "from_own_page"]
