"""The web role: the API over HTTP and WebSocket. Calls do not know that it exists.

It is started when calls are answered, and opens no address that others can reach before somebody
holds a token.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import signal
import socket
import ssl
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from starlette.routing import BaseRoute

from pbx.eventlog import open_log
from pbx.eventlog.watch import FeedWatch
from pbx.kernel.clock import Clock, SystemClock
from pbx.kernel.errors import LogError
from pbx.roles import Fatal, RoleContext
from pbx.settings import host_port, parse_host_port
from pbx.tokens import TokenDirectory
from pbx.web.app import make_app
from pbx.web.server import WebServer
from pbx.web.services import Services

log = logging.getLogger("pbx.web")

READERS: Final = 4
"""Threads that read the log: SQLite serves one at a time, the rest of them encodes."""
SEND_BUFFER_BYTES: Final = 131_072
"""1 MB/s over a way of 100 ms: ten times what 200 calls a second make."""
LOOK_S: Final = 60.0
"""How often an address that waits for a first token looks again though nothing was appended."""


def run(context: RoleContext, routes: Sequence[BaseRoute] = ()) -> int:
    """Be the web role until SIGTERM; `routes` are those of other parts."""
    try:
        return asyncio.run(_serve(context, routes, SystemClock()))
    except LogError as error:
        raise Fatal(str(error)) from error


async def _serve(context: RoleContext, routes: Sequence[BaseRoute], clock: Clock) -> int:
    settings = context.settings
    # Uvicorn's notices are about its own life, which the supervisor tells.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    with contextlib.ExitStack() as stack:
        shown = stack.enter_context(contextlib.closing(open_log(context.data.path, unseal=False)))
        # Hashes of tokens are sealed. No route gets this one.
        keyed = stack.enter_context(contextlib.closing(open_log(context.data.path)))
        services = Services(
            log=shown,
            tokens=TokenDirectory(keyed),
            watch=FeedWatch(shown),
            clock=clock,
            executor=stack.enter_context(ThreadPoolExecutor(READERS, "reader")),
            settings=settings.web,
            limits=settings.limits,
        )
        server = WebServer(
            make_app(services, routes),
            settings.web,
            handshake_s=settings.limits.tls_handshake_s,
        )
        listeners = Listeners(context, server, services)
        _on_signals(services, server, listeners)
        waiting = asyncio.create_task(listeners.open())
        await listeners.opened.wait()
        if waiting.done():
            waiting.result()
        context.ready()
        await server.serve()
        waiting.cancel()
        await services.watch.close()
    return 0


def _on_signals(services: Services, server: WebServer, listeners: Listeners) -> None:
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()

    def stop() -> None:
        services.closing.set()
        tasks.add(asyncio.create_task(services.watch.close()))  # wakes the feeds
        server.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    loop.add_signal_handler(signal.SIGHUP, listeners.reload)


class Listeners:
    """Opens what the settings name, as soon as that is safe."""

    def __init__(self, context: RoleContext, server: WebServer, services: Services) -> None:
        self._context = context
        self._server = server
        self._services = services
        self._tls: ssl.SSLContext | None = None
        self.opened = asyncio.Event()
        """Everything is open that may be for now."""

    async def open(self) -> None:
        """Open loopback addresses now, others once a token exists. Raises :class:`Fatal`."""
        web = self._context.settings.web
        wanted = [(web.admin_listen, "http"), (web.admin_tls_listen, "https")]
        places = [(*parse_host_port(text), scheme) for text, scheme in wanted if text != "off"]
        try:
            late = []
            for place in places:
                if self._may_open(place[0]):
                    await self._open(*place)
                else:
                    late.append(place)
                    log.warning(
                        "%s is not opened before there is a token for it: pbx token create NAME",
                        host_port(place[0], place[1]),
                    )
        finally:
            self.opened.set()
        for place in late:
            seen = self._services.log.feed_head()
            while not self._may_open(place[0]):
                await self._services.watch.wait_beyond(seen, LOOK_S)
                seen = self._services.log.feed_head()
            try:
                await self._open(*place)
            except Fatal as error:
                log.error("%s", error)

    def _may_open(self, host: str) -> bool:
        if ipaddress.ip_address(host).is_loopback:
            return True
        try:
            return self._services.tokens.any_usable(self._services.clock.wall_ns())
        except LogError as error:
            log.error("%s", error)
            return False

    async def _open(self, host: str, port: int, scheme: str) -> None:
        tls = self._tls_context() if scheme == "https" else None
        try:
            opened = _bound(host, port)
        except OSError as error:
            raise Fatal(
                f"cannot listen on {host_port(host, port)}: {error.strerror or error}; stop what "
                "uses it, or name another: --admin HOST:PORT, or --admin off"
            ) from error
        port = opened.getsockname()[1]
        await self._server.listen(opened, tls)
        self._context.listening(f"admin {host_port(host, port)}/{scheme}")

    def _files(self) -> tuple[Path, Path]:
        web, sip = self._context.settings.web, self._context.settings.sip
        for certificate, key in (
            (web.tls_certificate, web.tls_key),
            (sip.tls_certificate, sip.tls_key),
        ):
            if certificate:
                return Path(certificate), Path(key or certificate)
        from sip.endpoint.tls import ensure_self_signed

        names = [self._context.settings.server.advertised or socket.gethostname()]
        return ensure_self_signed(self._context.data.path / "tls", names)

    def _tls_context(self) -> ssl.SSLContext:
        certificate, key = self._files()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(certificate, key)
        except OSError as error:
            raise Fatal(f"cannot use the TLS certificate {certificate}: {error}") from error
        self._tls = context
        return context

    def reload(self) -> None:
        """Read the certificate again; connections that are open keep the old one."""
        if self._tls is None:
            return
        certificate, key = self._files()
        try:
            # Into a context of its own first: a bad file must not spoil the one in force.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
            self._tls.load_cert_chain(certificate, key)
            log.info("the TLS certificate was read again")
        except OSError as error:
            log.error("the TLS certificate stays as it was: %s: %s", certificate, error)


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named asyncio switches Nagle off; else an answer waits 40 ms for an ACK.
    opened = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        # Inherited by each connection: what a reader that takes nothing costs the kernel. Left to
        # itself that grows to some 4 MB.
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        opened.bind((host, port))
    except OSError:
        opened.close()
        raise
    opened.setblocking(False)
    return opened
