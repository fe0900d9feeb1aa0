"""A stand-in for the SIP engine: records what the endpoint feeds it, emits what a test scripts.

It keeps the contract of :class:`sip.endpoint.ports.Engine` and nothing of SIP: "messages" on a
stream end with a newline.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec

from sip.core import Output
from sip.events import Event
from sip.flow import Address, Flow, Target

P = ParamSpec("P")

TEST_S = 10.0
"""Ends a test that waits for something that never comes."""


def in_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run an async test in a loop of its own; an error inside a callback or task fails it."""

    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        errors: list[dict[str, Any]] = []

        async def main() -> None:
            asyncio.get_running_loop().set_exception_handler(
                lambda _, context: errors.append(context)
            )
            async with asyncio.timeout(TEST_S):
                await test(*args, **kwargs)

        asyncio.run(main())
        assert errors == []

    return run


async def eventually(condition: Callable[[], object]) -> None:
    """Give other callbacks their turns until `condition` holds; for what has no event to await."""
    while not condition():  # noqa: ASYNC110 - the condition lies in objects that signal nothing
        await asyncio.sleep(0)


class RecordingEngine:
    """Fill `react` to answer inputs; await :meth:`wait` for a condition on what was recorded."""

    def __init__(self) -> None:
        self.listeners: list[tuple[str, Address]] = []
        self.datagrams: list[tuple[bytes, Flow]] = []
        self.forwarded: list[tuple[bytes, Flow]] = []
        self.opened: list[Flow] = []
        self.closed: list[Flow] = []
        self.stream: dict[Flow, bytes] = {}
        self.failed: list[tuple[Flow | Target, object]] = []
        self.resolutions: list[tuple[int, list[Target]]] = []
        self.times: list[float] = []
        self.timers_fired: list[float] = []
        self.timer: float | None = None
        self.pending: list[Output] = []
        self.pending_events: list[Event] = []
        self.react: Callable[[Flow, bytes], None] = lambda flow, data: None
        self._changed = asyncio.Event()

    async def wait(self, condition: Callable[[], object]) -> None:
        """Until `condition` holds; looked at after every input."""
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    def _note(self, now: float) -> None:
        self.times.append(now)
        self._changed.set()

    def add_listener(self, transport: str, local: Address) -> None:
        self.listeners.append((transport, local))

    def receive_datagram(self, data: bytes, flow: Flow, now: float) -> None:
        self.datagrams.append((data, flow))
        self.react(flow, data)
        self._note(now)

    def flow_opened(self, flow: Flow, now: float) -> None:
        self.opened.append(flow)
        self.stream[flow] = b""
        self._note(now)

    def receive_stream(self, flow: Flow, data: bytes, now: float) -> int:
        self.stream[flow] += data
        self.react(flow, data)
        self._note(now)
        return data.count(b"\n")

    def flow_closed(self, flow: Flow, now: float) -> None:
        self.closed.append(flow)
        self._note(now)

    def transport_failed(self, target_or_flow: Target | Flow, token: Any, now: float) -> None:
        self.failed.append((target_or_flow, token))
        self._note(now)

    def resolved(self, query: int, targets: list[Target], now: float) -> None:
        self.resolutions.append((query, targets))
        self._note(now)

    def receive_forwarded(self, data: bytes, flow: Flow, now: float) -> None:
        self.forwarded.append((data, flow))
        self._note(now)

    def open_stream(self, transport: str, remote: Address) -> Flow | None:
        return next(
            (f for f in self.stream if (f.transport, f.remote) == (transport, remote)), None
        )

    def handle_timers(self, now: float) -> None:
        self.timers_fired.append(now)
        self.timer = None
        self._note(now)

    def next_timer(self) -> float | None:
        return self.timer

    def outputs(self) -> list[Output]:
        outputs, self.pending = self.pending, []
        return outputs

    def events(self) -> list[Event]:
        events, self.pending_events = self.pending_events, []
        return events
