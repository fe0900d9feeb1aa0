"""Two engines joined in memory: what one transmits the other receives, in virtual time.

The network is a list of datagrams that the test moves by hand (`transfer`, `drop`, `duplicate`,
`reorder`, `roundtrip`) or lets run (`run_until`, `settle`). Nothing is delivered unless asked, so
a test decides about every single message. Addresses are those of the examples of RFC 3665.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import TypeVar

from sip.core import CloseFlow, EngineConfig, Resolve, Transmit
from sip.dialog.invite import InviteUsage
from sip.engine import SipEngine
from sip.events import Event, InviteReceived
from sip.flow import Flow, Target

E = TypeVar("E")

ALICE = ("192.0.2.101", 5060)
BOB = ("192.0.2.201", 5060)
OFFER = b"v=0\r\no=alice 1 1 IN IP4 192.0.2.101\r\ns=-\r\n"
ANSWER = b"v=0\r\no=bob 1 1 IN IP4 192.0.2.201\r\ns=-\r\n"


@dataclass(eq=False)
class Packet:
    """One datagram on its way."""

    sender: Side
    receiver: Side
    flow: Flow
    data: bytes
    token: object = None

    @property
    def line(self) -> str:
        """The start line, in brief: "INVITE", "ACK", "200 INVITE"."""
        head = self.data.split(b"\r\n", 1)[0].decode()
        if not head.startswith("SIP/2.0"):
            return head.split(" ", 1)[0]
        lines = self.data.decode("utf-8", "replace").split("\r\n")
        cseq = next((line for line in lines if line.startswith("CSeq:")), "?")
        return f"{head.split(' ')[1]} {cseq.rpartition(' ')[2]}"


@dataclass(eq=False)
class Side:
    """One engine and what it told its user."""

    name: str
    address: tuple[str, int]
    engine: SipEngine
    events: list[Event] = field(default_factory=list)
    on_event: Callable[[Event], None] | None = None
    queries: list[Resolve] = field(default_factory=list)
    closed: list[CloseFlow] = field(default_factory=list)

    def take(self, kind: type[E]) -> E:
        """The oldest event of this kind, which must be there; older ones of others stay."""
        for event in self.events:
            if isinstance(event, kind):
                self.events.remove(event)
                return event
        raise AssertionError(f"{self.name} has no {kind.__name__}: {self.events}")

    def has(self, kind: type[object]) -> bool:
        return any(isinstance(event, kind) for event in self.events)


class EnginePair:
    """`alice` calls, `bob` answers; `wire` holds what was transmitted and not yet delivered."""

    def __init__(
        self,
        alice: EngineConfig | None = None,
        bob: EngineConfig | None = None,
        *,
        seed: int = 1,
        transport: str = "udp",
    ) -> None:
        self.now = 1000.0
        self.transport = transport
        self.rng = Random(seed)
        self.alice = Side("alice", ALICE, SipEngine(alice or EngineConfig(), Random(seed + 1)))
        self.bob = Side("bob", BOB, SipEngine(bob or EngineConfig(), Random(seed + 2)))
        self.sides = (self.alice, self.bob)
        self.wire: list[Packet] = []
        self.trace: list[tuple[float, str, str]] = []
        """(time, sender, line) of everything transmitted."""
        for side in self.sides:
            side.engine.add_listener(transport, side.address)
        if transport != "udp":
            for side in self.sides:
                side.engine.flow_opened(self.flow(side), self.now)

    def other(self, side: Side) -> Side:
        return self.bob if side is self.alice else self.alice

    def flow(self, side: Side) -> Flow:
        """The flow between both, as `side` sees it."""
        serial = 0 if self.transport == "udp" else 1
        return Flow(self.transport, side.address, self.other(side).address, serial)

    # -- moving messages

    def collect(self) -> None:
        """Fetch outputs and events of both engines."""
        again = True
        while again:
            again = False
            for side in self.sides:
                for output in side.engine.outputs():
                    again = True
                    if isinstance(output, Transmit):
                        self._transmitted(side, output)
                    elif isinstance(output, Resolve):
                        side.queries.append(output)
                    elif isinstance(output, CloseFlow):
                        side.closed.append(output)
                for event in side.engine.events():
                    again = True
                    if side.on_event is not None:
                        side.on_event(event)
                    else:
                        side.events.append(event)

    def _transmitted(self, side: Side, output: Transmit) -> None:
        other = self.other(side)
        to = output.to
        remote = (to.host, to.port) if isinstance(to, Target) else to.remote
        packet = Packet(side, other, self.flow(other), output.data, output.token)
        self.trace.append((round(self.now - 1000.0, 3), side.name, packet.line))
        if remote == other.address:
            self.wire.append(packet)

    def deliver(self, packet: Packet) -> None:
        engine = packet.receiver.engine
        if packet.flow.transport == "udp":
            engine.receive_datagram(packet.data, packet.flow, self.now)
        else:
            engine.receive_stream(packet.flow, packet.data, self.now)
        self.collect()

    def transfer(self, expected: str | None = None) -> Packet:
        """Deliver the oldest packet; `expected` is its line."""
        self.collect()
        assert self.wire, f"nothing on the wire, expected {expected}"
        packet = self.wire.pop(0)
        if expected is not None:
            assert packet.line == expected, f"{packet.line} on the wire, expected {expected}"
        self.deliver(packet)
        return packet

    def roundtrip(self, limit: int = 200) -> list[str]:
        """Deliver until nothing is on the wire; gives the lines in order."""
        lines = []
        self.collect()
        while self.wire:
            lines.append(self.transfer().line)
            assert len(lines) < limit, f"the engines talk without end: {lines[-10:]}"
        return lines

    def drop(self, expected: str | None = None) -> Packet:
        """Lose the oldest packet."""
        self.collect()
        packet = self.wire.pop(0)
        if expected is not None:
            assert packet.line == expected, f"{packet.line} on the wire, expected {expected}"
        return packet

    def drop_all(self) -> list[str]:
        """Lose everything on the wire."""
        self.collect()
        lines = [packet.line for packet in self.wire]
        self.wire.clear()
        return lines

    def duplicate(self) -> None:
        """Deliver the oldest packet, and leave it on the wire."""
        self.collect()
        self.deliver(self.wire[0])

    def reorder(self) -> None:
        """Let the second packet overtake the first."""
        self.collect()
        self.wire[0], self.wire[1] = self.wire[1], self.wire[0]

    # -- moving time

    def next_deadline(self) -> float | None:
        self.collect()
        deadlines = [side.engine.next_timer() for side in self.sides]
        return min((d for d in deadlines if d is not None), default=None)

    def advance(self, seconds: float, *, deliver: bool = True) -> None:
        """Let time pass; timers fire at their moments, messages flow if `deliver`."""
        end = self.now + seconds
        while True:
            if deliver:
                self.roundtrip()
            deadline = self.next_deadline()
            if deadline is None or deadline > end:
                break
            self.now = max(self.now, deadline)
            for side in self.sides:
                side.engine.handle_timers(self.now)
                self.collect()
        self.now = end

    def settle(self, seconds: float = 200.0) -> None:
        """Let everything that lingers end."""
        self.advance(seconds)

    # -- the usual beginning of a test

    def call(self, body: bytes = OFFER, **arguments: object) -> InviteUsage:
        """Alice calls Bob; the INVITE is on the wire."""
        return self.alice.engine.invite(
            "sip:bob@192.0.2.201",
            to="<sip:bob@biloxi.example.com>",
            from_='"Alice" <sip:alice@atlanta.example.com>',
            now=self.now,
            body=body,
            contact_user="alice",
            **arguments,  # type: ignore[arg-type]
        )

    def ringing(self, body: bytes = OFFER, **arguments: object) -> tuple[InviteUsage, InviteUsage]:
        """The INVITE arrived, Bob rings, Alice knows."""
        caller = self.call(body, **arguments)
        self.transfer("INVITE")
        callee = self.bob.take(InviteReceived).usage
        callee.provisional(180, now=self.now)
        self.transfer("180 INVITE")
        return caller, callee

    def established(
        self, body: bytes = OFFER, answer: bytes = ANSWER, **arguments: object
    ) -> tuple[InviteUsage, InviteUsage]:
        """A confirmed call with nothing on the wire and no events left."""
        caller, callee = self.ringing(body, **arguments)
        callee.accept(answer, now=self.now)
        self.transfer("200 INVITE")
        self.transfer("ACK")
        self.alice.events.clear()
        self.bob.events.clear()
        return caller, callee

    def sizes(self) -> dict[str, int]:
        """Table sizes of both engines together (counters left out)."""
        tables = (
            "client_transactions",
            "server_transactions",
            "merged",
            "dialogs",
            "subscribers",
            "usages",
            "timers",
            "queries",
        )
        statistics = [side.engine.statistics() for side in self.sides]
        return {name: sum(s[name] for s in statistics) for name in tables}

    def assert_empty(self) -> None:
        """Nothing is left of anything."""
        sizes = self.sizes()
        assert not any(sizes.values()), sizes
