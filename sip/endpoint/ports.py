"""What the shell needs of the engine and of name resolution, as Protocols.

``sip.engine.SipEngine`` satisfies :class:`Engine`; the unit tests drive the shell with a recorder.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from sip.events import Event
from sip.flow import Address, Flow, Target

Monotonic = Callable[[], float]
"""Reads the clock that every ``now`` comes from."""
OnEvents = Callable[[list[Event], float], None]
"""Call control: gets a batch of engine events and the time they were produced at."""


class Engine(Protocol):
    """The sans-I/O engine, seen from its shell."""

    def add_listener(self, transport: str, local: Address) -> None: ...
    def receive_datagram(self, data: bytes, flow: Flow, now: float) -> None: ...
    def flow_opened(self, flow: Flow, now: float) -> None: ...
    def receive_stream(self, flow: Flow, data: bytes, now: float) -> int: ...
    def flow_closed(self, flow: Flow, now: float) -> None: ...
    def transport_failed(self, target_or_flow: Target | Flow, token: Any, now: float) -> None: ...
    def resolved(self, query: int, targets: list[Target], now: float) -> None: ...
    def handle_timers(self, now: float) -> None: ...
    def next_timer(self) -> float | None: ...
    def receive_forwarded(self, data: bytes, flow: Flow, now: float) -> None: ...
    def open_stream(self, transport: str, remote: Address) -> Flow | None: ...
    def outputs(self) -> Sequence[Any]: ...
    def events(self) -> list[Event]: ...


class Peers(Protocol):
    """The other nodes of a cluster, seen from the shell of this one's engine."""

    def transmit(self, flow: Flow, data: bytes, token: object) -> bool:
        """Have the node that `flow` ends at send over it; False if that node cannot be reached.

        What cannot be sent there comes back later (:meth:`SipEndpoint.undelivered`).
        """
        ...

    def forward(self, node: str, flow: Flow, data: bytes) -> None:
        """Hand `node` a message that came here over `flow` and is its own; may be lost."""
        ...
