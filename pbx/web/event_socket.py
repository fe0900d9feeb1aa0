"""``/events/ws``: events over a WebSocket, as fast as their reader acknowledges them.

The query is that of ``GET /events`` with ``window`` in place of ``limit``: at most so many events
are on their way without an acknowledgement.

=====================================  ============================================================
``{"event": {…}}``                     server: one event, an envelope
``{"heartbeat": {"position": "…"}}``   server: nothing to tell up to here; resume from this position
``{"ack": "POSITION"}``                client: this event and those before it are done with
=====================================  ============================================================

Close codes besides those of RFC 6455 §7.4.1: 4400 the client broke these rules, 4401 the token is
no longer good, 4408 nothing was acknowledged for ``web.stall_s``, 4410 the position is unknown,
4503 the log is not available.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

import anyio
import msgspec
from starlette.routing import BaseRoute, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from pbx.eventlog.batches import BATCH
from pbx.kernel.errors import LogError, PositionUnknown
from pbx.web.auth import SUBPROTOCOL, principal_of, requires
from pbx.web.feed_request import FeedRequest, feed_request
from pbx.web.services import Services, services_of


class _Ack(msgspec.Struct, forbid_unknown_fields=True):
    ack: str


class _Close(Exception):
    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


_ACK: Final = msgspec.json.Decoder(_Ack)
CLOSING: Final = _Close(1001, "the server stops")


class Window:
    """Which events are on their way."""

    def __init__(self, size: int, now: float) -> None:
        self.size = size
        self.moved_at = now
        """When something was last sent or acknowledged."""
        self._tokens: deque[str] = deque()
        self._opened = asyncio.Event()

    @property
    def room(self) -> int:
        """How many more may be sent."""
        return self.size - len(self._tokens)

    def sent(self, token: str, now: float) -> None:
        """One more is on its way."""
        self.moved_at = now
        self._tokens.append(token)

    def acknowledged(self, token: str, now: float) -> None:
        """Everything up to `token` is done with. Raises ``ValueError`` if it is not on its way."""
        if token not in self._tokens:
            raise ValueError(token)
        while self._tokens.popleft() != token:
            pass
        self.moved_at = now
        self._opened.set()

    def stalled(self, now: float, stall_s: float) -> bool:
        """Whether the window has been full for too long. (Dead peers are found by pings.)"""
        return not self.room and now - self.moved_at >= stall_s

    async def wait_opened(self, timeout_s: float) -> None:
        """Wait for an acknowledgement."""
        self._opened.clear()
        try:
            async with asyncio.timeout(timeout_s):
                await self._opened.wait()
        except TimeoutError:
            pass


@requires("events:read")
async def event_socket(socket: WebSocket) -> None:
    """Events until the reader or the server leaves."""
    services = services_of(socket)
    wanted = feed_request(socket)
    wanted.filter.read(services.log, wanted.after, 1)  # refuses a bad position with a status
    with services.feed_place():
        offered = socket.scope.get("subprotocols", ())
        await socket.accept(SUBPROTOCOL if SUBPROTOCOL in offered else None)
        window = Window(wanted.window, services.clock.monotonic())
        try:
            async with anyio.create_task_group() as group:  # as the framework's own are
                group.start_soon(_receive, socket, services, window)
                group.start_soon(_send, socket, services, wanted, window)
        except* _Close as closes:
            first = _first(closes)
            if socket.client_state is WebSocketState.CONNECTED:
                await socket.close(first.code, first.reason)
        except* WebSocketDisconnect:
            pass


def _first(group: BaseExceptionGroup[_Close]) -> _Close:
    for error in group.exceptions:
        return _first(error) if isinstance(error, BaseExceptionGroup) else error
    raise AssertionError("an empty group")


async def _receive(socket: WebSocket, services: Services, window: Window) -> None:
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1006))
        text = message.get("text") or ""
        try:
            window.acknowledged(_ACK.decode(text).ack, services.clock.monotonic())
        except msgspec.DecodeError:
            raise _Close(4400, 'send {"ack": "POSITION"} and nothing else') from None
        except ValueError:
            raise _Close(4400, "that event is not waiting for an acknowledgement") from None


async def _send(socket: WebSocket, services: Services, wanted: FeedRequest, window: Window) -> None:
    clock, settings = services.clock, services.settings
    principal = principal_of(socket)
    after = wanted.after
    said = clock.monotonic()
    while True:
        if services.closing.is_set():
            raise CLOSING
        if not services.tokens.still(principal, clock.wall_ns()):
            raise _Close(4401, "the token is no longer good")
        if window.stalled(clock.monotonic(), settings.stall_s):
            raise _Close(4408, f"nothing was acknowledged for {settings.stall_s:g} s")
        if not window.room:
            await window.wait_opened(min(1.0, settings.stall_s))
            continue
        try:
            seen = services.log.feed_head()
            batch = await services.next_batch(wanted.filter, after, min(window.room, BATCH))
        except PositionUnknown as error:
            raise _Close(4410, str(error)[:120]) from error
        except LogError as error:
            raise _Close(4503, "the event log is not available") from error
        after = batch.after
        for item in batch.events:
            window.sent(item.token, clock.monotonic())
            await socket.send_text('{"event":' + item.body.decode() + "}")
            said = clock.monotonic()
        silent_s = clock.monotonic() - said
        if silent_s >= settings.heartbeat_s:
            heartbeat = msgspec.json.encode({"heartbeat": {"position": after}})
            await socket.send_text(heartbeat.decode())
            said, silent_s = clock.monotonic(), 0.0
        if not batch.more:
            await services.watch.wait_beyond(
                seen, min(settings.heartbeat_s - silent_s, settings.stall_s)
            )


ROUTES: Final[list[BaseRoute]] = [WebSocketRoute("/events/ws", event_socket)]
