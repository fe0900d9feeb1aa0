"""Connections that cannot be held by doing nothing: bounds below HTTP, over uvicorn's protocols.

- A connection has a place, of all and of its source's, or is closed at once.
- Headers arrive within ``request_s``, from the first byte on, or it is cut.
- A peer that takes nothing for ``stall_s`` while we have something for it is cut: its buffer
  (64 KB, asyncio's high-water mark, and one batch) is all it ever costs.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState

from pbx.web.problems import MEDIA_TYPE, Problem

HEADER_BYTES: Final = 32_768
"""Request line and headers; a vector position of a hundred partitions fits."""
MESSAGE_BYTES: Final = 8192
"""A WebSocket message from a client: an acknowledgement."""


class Places:
    """Who has how many connections."""

    def __init__(self, most: int, most_per_source: int) -> None:
        self._most = most
        self._most_per_source = most_per_source
        self._by_source: Counter[str] = Counter()
        self.taken = 0

    def enter(self, source: str) -> bool:
        """Take a place; False if there is none."""
        if self.taken >= self._most or self._by_source[source] >= self._most_per_source:
            return False
        self.taken += 1
        self._by_source[source] += 1
        return True

    def leave(self, source: str) -> None:
        """Give it back."""
        self.taken -= 1
        self._by_source[source] -= 1
        if not self._by_source[source]:
            del self._by_source[source]


class Guard:
    """The bounds of one listener's connections."""

    def __init__(self, places: Places, *, request_s: float, stall_s: float) -> None:
        self.places = places
        self.request_s = request_s
        self.stall_s = stall_s

    def http(
        self, config: Config, server_state: ServerState, app_state: dict[str, Any]
    ) -> GuardedHttp:
        """A protocol for a new connection."""
        return GuardedHttp(self, config, server_state, app_state)


class _Alarm:
    """Cuts a connection unless it is called off."""

    def __init__(self, delay_s: float, transport: Callable[[], asyncio.Transport]) -> None:
        self._delay_s = delay_s
        self._transport = transport
        self._handle: asyncio.TimerHandle | None = None

    def arm(self) -> None:
        if self._handle is None:
            self._handle = asyncio.get_running_loop().call_later(self._delay_s, self._fire)

    def disarm(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _fire(self) -> None:
        self._handle = None
        self._transport().abort()


class GuardedHttp(H11Protocol):
    """HTTP/1.1 of one connection, within bounds."""

    def __init__(
        self, guard: Guard, config: Config, server_state: ServerState, app_state: dict[str, Any]
    ) -> None:
        super().__init__(config, server_state, app_state)
        self._guard = guard
        self._place = ""
        """The source whose place this connection has; empty: none."""
        self._arrival = _Alarm(guard.request_s, lambda: self.transport)
        self._stall = _Alarm(guard.stall_s, lambda: self.transport)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        source = self.client[0] if self.client else "-"
        if not self._guard.places.enter(source):
            transport.abort()
            return
        self._place = source
        self._arrival.arm()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        waiting = self.conn.their_state is h11.IDLE
        if waiting and self.conn.trailing_data[0] and not self.transport.is_closing():
            self._arrival.arm()
        elif not waiting:
            self._arrival.disarm()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stall.arm()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stall.disarm()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        self._arrival.disarm()
        place, self._place = self._place, ""
        guard = self._guard

        def protocol(
            config: Config, server_state: ServerState, app_state: dict[str, Any]
        ) -> GuardedWebSocket:
            return GuardedWebSocket(guard, place, config, server_state, app_state)

        self.ws_protocol_class = protocol  # type: ignore[assignment] # it is only called
        super().handle_websocket_upgrade(event)

    def connection_lost(self, exc: Exception | None) -> None:
        self._arrival.disarm()
        self._stall.disarm()
        if self._place:
            self._guard.places.leave(self._place)
            self._place = ""
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Not HTTP, or headers that are too long."""
        problem = Problem(400, "bad-request", "This is no HTTP request we understand")
        body = problem.encoded()
        head = (
            f"HTTP/1.1 400 Bad Request\r\nContent-Type: {MEDIA_TYPE}\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        cycle: Any = self.cycle  # None before the first request, whatever its type says
        if cycle is None or cycle.response_complete:  # nothing else is being answered
            self.transport.write(head.encode() + body)
        self.transport.close()


class GuardedWebSocket(WebSocketsSansIOProtocol):
    """A WebSocket in the place of the HTTP connection it was."""

    def __init__(
        self,
        guard: Guard,
        place: str,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
    ) -> None:
        super().__init__(config, server_state, app_state)
        self._guard = guard
        self._place = place
        self._stall = _Alarm(guard.stall_s, lambda: self.transport)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stall.arm()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stall.disarm()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stall.disarm()
        if self._place:
            self._guard.places.leave(self._place)
            self._place = ""
        super().connection_lost(exc)
