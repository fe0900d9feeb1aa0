"""A network in memory: datagrams and streams between addresses, with seeded faults.

Fed by ``send`` of phones and of the simulated server; feeds their receivers through the event
heap of :mod:`tests.support.clock`. Delay, loss, duplication, reordering, corruption and
partitions are drawn from one seeded generator, so a run is repeated exactly by its seed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import NamedTuple, Protocol
from zlib import crc32

from tests.support.clock import Scheduler

Address = tuple[str, int]
DatagramReceiver = Callable[[bytes, Address, Address], None]
"""(data, source, destination)."""


@dataclass(frozen=True, slots=True)
class Faults:
    """Probabilities per datagram, delays in seconds."""

    delay_s: float = 0.005
    jitter_s: float = 0.010
    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    """A reordered datagram is late by up to ``reorder_s`` more."""
    reorder_s: float = 0.200
    corrupt: float = 0.0
    """One to four bytes are overwritten; only on the way to addresses that allow it."""

    @property
    def any(self) -> float:
        return self.loss + self.duplicate + self.reorder + self.corrupt


PERFECT = Faults()
ROUGH = Faults(loss=0.02, duplicate=0.01, reorder=0.02)
AWFUL = Faults(delay_s=0.02, jitter_s=0.08, loss=0.10, duplicate=0.04, reorder=0.06)


class Sighting(NamedTuple):
    """One line of a trace."""

    time: float
    source: Address
    destination: Address
    data: bytes
    fate: str
    """Empty when delivered once, else ``lost`` ``duplicated`` ``late`` ``corrupted`` …"""


class StreamReceiver(Protocol):
    """What a listener or a connecting side gets told about a stream."""

    def stream_opened(self, stream: Stream) -> None: ...
    def stream_data(self, stream: Stream, data: bytes) -> None: ...
    def stream_closed(self, stream: Stream) -> None: ...


class Stream:
    """One side of a TCP-like link: ordered, lossless, delayed, cut into arbitrary segments."""

    __slots__ = (
        "_due",
        "_network",
        "_receiver",
        "id",
        "local",
        "open",
        "peer",
        "remote",
        "waiting",
    )

    def __init__(
        self,
        network: FakeNetwork,
        receiver: StreamReceiver,
        local: Address,
        remote: Address,
        serial: int,
    ) -> None:
        self._network = network
        self._receiver = receiver
        self._due = 0.0
        self.local = local
        self.remote = remote
        self.id = serial
        self.open = True
        self.peer: Stream | None = None
        self.waiting: list[bytes] = []
        """Sent before the connection was there."""

    def send(self, data: bytes) -> None:
        """Queue bytes for the other side; silently dropped when the stream is closed."""
        if not self.open:
            return
        if self.peer is None:
            self.waiting.append(data)
        else:
            self._network.stream_send(self, self.peer, data)

    def close(self) -> None:
        """Close both sides; the other side hears of it after the delay."""
        if self.open:
            self.open = False
            if self.peer is not None:
                self._network.stream_close(self, self.peer)

    def arrival(self, delay_s: float) -> float:
        """The time at which bytes sent now arrive: never before those sent earlier."""
        self._due = due = max(self._due, self._network.clock.now + delay_s)
        return due

    def deliver(self, data: bytes) -> None:
        if self.open:
            self._receiver.stream_data(self, data)

    def deliver_close(self) -> None:
        if self.open:
            self.open = False
            self._receiver.stream_closed(self)

    def abort(self) -> None:
        """Tell the own side that the stream is gone."""
        self.open = False
        self._receiver.stream_closed(self)

    def deliver_open(self) -> None:
        self._receiver.stream_opened(self)


class FakeNetwork:
    """Addresses, receivers and the faults between them."""

    __slots__ = (
        "_blocked",
        "_corruptible",
        "_disturbed",
        "_listeners",
        "_receivers",
        "_rng",
        "_serial",
        "clock",
        "corrupted",
        "counters",
        "digest",
        "faults",
        "scheduler",
        "trace",
    )

    def __init__(self, scheduler: Scheduler, rng: Random, faults: Faults = PERFECT) -> None:
        self.scheduler = scheduler
        self.clock = scheduler.clock
        self.faults = faults
        self.trace: list[Sighting] | None = None
        self.digest = 0
        """CRC-32 over everything sent, in order: equal digests mean equal histories."""
        self.corrupted: list[tuple[float, Address, bytes]] = []
        """(when, source, original) of corrupted datagrams: their calls are excused."""
        self._disturbed: dict[str | tuple[str, str], float] = {}
        self.counters = {
            "datagrams": 0,
            "lost": 0,
            "duplicated": 0,
            "late": 0,
            "corrupted": 0,
            "blocked": 0,
            "unreachable": 0,
            "segments": 0,
        }
        self._rng = rng
        self._receivers: dict[Address, DatagramReceiver] = {}
        self._listeners: dict[Address, StreamReceiver] = {}
        self._corruptible: set[Address] = set()
        self._blocked: set[tuple[str, str]] = set()
        self._serial = 0

    # -- addresses ---------------------------------------------------------------------------

    def attach(
        self, address: Address, receiver: DatagramReceiver, *, corruptible: bool = False
    ) -> None:
        """Bind a receiver. Corruption is only for addresses that say they survive it."""
        self._receivers[address] = receiver
        if corruptible:
            self._corruptible.add(address)

    def detach(self, address: Address) -> None:
        """Unbind: what arrives from now on is lost, like to a dead process."""
        self._receivers.pop(address, None)

    def partition(self, one: str, other: str) -> None:
        """Nothing passes between two hosts until :meth:`heal`."""
        self._blocked.add((one, other))
        self._blocked.add((other, one))

    def heal(self, one: str, other: str) -> None:
        self._blocked.discard((one, other))
        self._blocked.discard((other, one))

    def note_disturbance(self, host: str) -> None:
        """A host lost its memory: silence and strange answers are to be expected."""
        self._disturbed[host] = self.clock.now

    def was_disturbed(self, one: str, other: str, since: float) -> bool:
        """Did a partition or a dead host swallow something between two hosts since then?

        Random loss does not count: retransmission has to cure it.
        """
        get = self._disturbed.get
        never = float("-inf")
        return since <= max(
            get(one, never), get(other, never), get((one, other), never), get((other, one), never)
        )

    # -- datagrams ---------------------------------------------------------------------------

    def send(self, data: bytes, source: Address, destination: Address) -> bool:
        """Carry one datagram, or lose it: then False."""
        rng_random = self._rng.random
        faults = self.faults
        self.digest = crc32(data, self.digest)
        counters = self.counters
        counters["datagrams"] += 1
        now = self.clock.now
        when = now + faults.delay_s + faults.jitter_s * rng_random()
        fate = ""
        if self._blocked and (source[0], destination[0]) in self._blocked:
            fate = "blocked"
            self._disturbed[source[0], destination[0]] = now
        elif faults.any > 0:
            draw = rng_random()
            if draw < faults.any:
                fate, data, when = self._disturb(draw, data, source, destination, when)
        if fate:
            counters[fate] += 1
        if self.trace is not None:
            self.trace.append(Sighting(now, source, destination, data, fate))
        if fate == "lost" or fate == "blocked":
            return False
        self.scheduler.at(when, self._deliver, data, source, destination)
        return True

    def send_media(self, data: bytes, source: Address, destination: Address) -> None:
        """Carry one RTP packet: delayed but never lost, so that silence means one-way audio."""
        if (source[0], destination[0]) not in self._blocked:
            delay = self.faults.delay_s
            self.scheduler.after(delay, self._deliver, data, source, destination)

    def _disturb(
        self, draw: float, data: bytes, source: Address, destination: Address, when: float
    ) -> tuple[str, bytes, float]:
        faults, rng = self.faults, self._rng
        if draw < faults.loss:
            return "lost", data, when
        draw -= faults.loss
        if draw < faults.duplicate:
            again = when + faults.jitter_s * rng.random()
            self.scheduler.at(again, self._deliver, data, source, destination)
            return "duplicated", data, when
        draw -= faults.duplicate
        if draw < faults.reorder or destination not in self._corruptible or not data:
            return "late", data, when + faults.reorder_s * rng.random()
        self.corrupted.append((self.clock.now, source, data))
        spoiled = bytearray(data)
        for _ in range(rng.randint(1, 4)):
            spoiled[rng.randrange(len(spoiled))] = rng.randrange(256)
        return "corrupted", bytes(spoiled), when

    def _deliver(self, data: bytes, source: Address, destination: Address) -> None:
        receiver = self._receivers.get(destination)
        if receiver is None:
            self.counters["unreachable"] += 1
            self._disturbed[destination[0]] = self.clock.now
            return
        receiver(data, source, destination)

    # -- streams -----------------------------------------------------------------------------

    def listen(self, address: Address, receiver: StreamReceiver) -> None:
        self._listeners[address] = receiver

    def unlisten(self, address: Address) -> None:
        self._listeners.pop(address, None)

    def connect(self, local: Address, remote: Address, receiver: StreamReceiver) -> Stream:
        """Open a stream; ``stream_opened`` (or ``stream_closed``, refused) follows."""
        self._serial += 1
        mine = Stream(self, receiver, local, remote, self._serial)
        self.scheduler.at(mine.arrival(self._delay()), self._accept, mine)
        return mine

    def _accept(self, mine: Stream) -> None:
        listener = self._listeners.get(mine.remote)
        if listener is None or (mine.local[0], mine.remote[0]) in self._blocked:
            self.counters["unreachable"] += 1
            self.scheduler.at(mine.arrival(self._delay()), mine.deliver_close)
            return
        theirs = Stream(self, listener, mine.remote, mine.local, mine.id)
        mine.peer, theirs.peer = theirs, mine
        theirs.deliver_open()
        waiting, mine.waiting = mine.waiting, []
        for data in waiting:
            mine.send(data)
        self.scheduler.at(theirs.arrival(self._delay()), mine.deliver_open)

    def stream_send(self, source: Stream, destination: Stream, data: bytes) -> None:
        self.digest = crc32(data, self.digest)
        self.counters["segments"] += 1
        if self.trace is not None:
            self.trace.append(Sighting(self.clock.now, source.local, source.remote, data, ""))
        blocked = bool(self._blocked) and (source.local[0], source.remote[0]) in self._blocked
        # TCP repeats a lost segment: here a loss only costs time.
        delay = self._delay() + (self.faults.reorder_s if self._drawn(self.faults.loss) else 0.0)
        if blocked:
            # The peers would give up after their retransmission limit: here at once.
            self._disturbed[source.local[0], source.remote[0]] = self.clock.now
            source.open = False
            self.scheduler.at(source.arrival(delay), source.abort)
            self.scheduler.at(source.arrival(delay), destination.deliver_close)
            return
        if len(data) > 2 and self._drawn(self.faults.reorder):
            cut = self._rng.randrange(1, len(data))
            self.scheduler.at(source.arrival(delay), destination.deliver, data[:cut])
            data = data[cut:]
        self.scheduler.at(source.arrival(delay), destination.deliver, data)

    def stream_close(self, source: Stream, destination: Stream) -> None:
        self.scheduler.at(source.arrival(self._delay()), destination.deliver_close)

    def _delay(self) -> float:
        return self.faults.delay_s + self.faults.jitter_s * self._rng.random()

    def _drawn(self, probability: float) -> bool:
        return probability > 0 and self._rng.random() < probability
