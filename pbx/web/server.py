"""Uvicorn's server under our supervisor: sockets are ours, so are signals and the end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator

import uvicorn
from starlette.types import ASGIApp

from pbx.settings import WebSettings
from pbx.web.connections import HEADER_BYTES, MESSAGE_BYTES, Guard, Places

CLOSE_S = 2
"""Time for answers that are under way when the role stops."""
BACKLOG = 128
"""Connections the kernel holds until they are accepted."""
TICK_S = 1.0
"""How often the Date header is made anew."""


class WebServer(uvicorn.Server):
    """Serves one application on any number of listeners, added before or while it runs."""

    def __init__(self, app: ASGIApp, settings: WebSettings, *, handshake_s: float) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                loop="asyncio",
                http="h11",
                ws="websockets-sansio",
                ws_max_size=MESSAGE_BYTES,
                ws_per_message_deflate=False,  # memory a connection, and nothing to gain
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                h11_max_incomplete_event_size=HEADER_BYTES,
                timeout_keep_alive=int(settings.idle_s),
                timeout_graceful_shutdown=CLOSE_S,
                workers=1,
            )
        )
        self._guard = Guard(
            Places(settings.connections, settings.connections_per_source),
            request_s=settings.request_s,
            stall_s=settings.stall_s,
        )
        self._handshake_s = handshake_s
        self._stop = asyncio.Event()
        self.servers = []

    async def listen(self, opened: socket.socket, tls: ssl.SSLContext | None) -> None:
        """Take connections from a bound socket."""
        self.servers.append(
            await asyncio.get_running_loop().create_server(
                lambda: self._guard.http(self.config, self.server_state, {}),
                sock=opened,
                ssl=tls,
                backlog=BACKLOG,
                ssl_handshake_timeout=self._handshake_s if tls is not None else None,
            )
        )

    def stop(self) -> None:
        """Have :meth:`serve` return."""
        self._stop.set()

    # What uvicorn would do by itself and is done elsewhere here.

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Nothing: the listeners are there."""
        self.started = True

    async def main_loop(self) -> None:
        """Until :meth:`stop`."""
        while not self._stop.is_set():
            await self.on_tick(0)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK_S):
                    await self._stop.wait()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The role has its own handlers."""
        yield
