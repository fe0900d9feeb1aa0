"""The media service inside the simulation: the NG service and the relay's core, no sockets.

Fed by :class:`tests.simulation.server.ServerProcess` with NG datagrams, which are delayed and
sometimes lost, and by phones with RTP packets through the fake network. The relay is the
product's own sans-I/O core behind addresses of the fake network.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final

from media.native.core import RelayCore, unpacked
from media.native.relay import Address, Buffer, Relay, RelayEvent, StreamConfig, StreamStats
from media.ng.messages import decode, encode
from media.server.addresses import Interface
from media.server.audio import AudioConfig, AudioService
from media.server.exchange import Exchange
from media.server.ports import Rng
from media.server.service import NgService, ServiceConfig
from pbx.media_role import PROMPTS
from tests.simulation.mail import ROOT, MemoryRecordingWriter, Recordings
from tests.support.clock import Scheduler, Timer
from tests.support.network import FakeNetwork

#: Where the media service lives.
HOST = "10.0.0.2"
#: Of NG datagrams: a Unix socket loses only when its reader restarts.
NG_LOSS = 0.005
NG_DELAY_S = 0.0004
#: Silence after which the service gives a call up.
MEDIA_TIMEOUT_S = 60.0


#: Of the audio path.
TICK_S: Final = 0.02


def _maker(recordings: Recordings) -> Callable[[Relay, Exchange, Rng], AudioService]:
    config = AudioConfig(sound_roots=(PROMPTS,), recording_root=ROOT)

    def make(relay: Relay, exchange: Exchange, rng: Rng) -> AudioService:
        return AudioService(config, relay, exchange, rng, lambda: MemoryRecordingWriter(recordings))

    return make


class SimulatedRelay:
    """``Relay`` over the fake network."""

    def __init__(self, network: FakeNetwork) -> None:
        self._network = network
        self._clock = network.clock
        self._core = RelayCore()
        self.open_ports = 0
        self.happened: Callable[[], None] = lambda: None

    def open(self, host: str, port: int) -> int:
        handle = self._core.open((host, port))
        self.open_ports += 1

        def receive(data: bytes, source: Address, _destination: Address) -> None:
            self._receive(handle, data, source)

        self._network.attach((host, port), receive)
        return handle

    def address(self, handle: int) -> Address:
        return self._core.address(handle)

    def configure(self, handle: int, config: StreamConfig) -> None:
        self._core.configure(handle, config)

    def stats(self, handle: int) -> StreamStats:
        return self._core.stats(handle, self._clock.now)

    def close(self, handle: int) -> StreamStats:
        self._network.detach(self._core.address(handle))
        self.open_ports -= 1
        return self._core.close(handle, self._clock.now)

    def events(self) -> list[RelayEvent]:
        return self._core.events()

    def take(self, heads: Buffer, payloads: Buffer, stride: int) -> int:
        return self._core.take(heads, payloads, stride)

    def send(
        self, handles: Buffer, sizes: Buffer, packets: Buffer, stride: int, control: bool
    ) -> int:
        data = memoryview(packets).cast("B")
        count = 0
        for number, (handle, size) in enumerate(unpacked(handles, sizes)):
            forward = self._core.aim(handle, control=control)
            if forward is not None:
                packet = bytes(data[number * stride : number * stride + size])
                local = self._core.address(handle)
                self._network.send_media(packet, local, forward.destination)
                self._core.sent(forward, size)
                count += 1
        return count

    def fileno(self) -> int:
        raise NotImplementedError("nobody selects in the simulation")

    def shutdown(self) -> None:
        """Nothing to stop."""

    def _receive(self, handle: int, data: bytes, source: Address) -> None:
        forward = self._core.receive(handle, data, source, self._clock.now)
        if forward is not None:
            local = self._core.address(forward.sink)
            self._network.send_media(data, local, forward.destination)
            self._core.sent(forward, len(data))
        if self._core.has_events:
            self.happened()


class MediaHost:
    """The process of the media service and the link to the signalling process."""

    def __init__(
        self,
        scheduler: Scheduler,
        network: FakeNetwork,
        rng: Random,
        *,
        recordings: Recordings | None = None,
    ) -> None:
        """`recordings`: it hosts parties, too, and what they say is put there."""
        self._scheduler = scheduler
        self._clock = scheduler.clock
        self._rng = rng
        self.relay = SimulatedRelay(network)
        self.relay.happened = self._relay_happened
        self.service = NgService(
            ServiceConfig(
                interfaces=(Interface("default", HOST),),
                quarantine_s=5.0,
                media_timeout_s=MEDIA_TIMEOUT_S,
            ),
            self.relay,
            rng,
            make_audio=None if recordings is None else _maker(recordings),
        )
        self._ticking = False
        self.client: Callable[[bytes], None] | None = None
        self._replies: dict[str, bytes] = {}
        """By cookie: a repeated request is not carried out twice."""
        self._timer: Timer | None = None
        self._armed = float("inf")
        self._events = 0
        self._node = ""
        self.lost = 0

    def request(self, datagram: bytes) -> None:
        """A datagram of the signalling process."""
        if self._rng.random() < NG_LOSS:
            self.lost += 1
        else:
            self._scheduler.after(NG_DELAY_S, self._handle, datagram)

    def ports_in_use(self) -> int:
        return self.relay.open_ports

    def _handle(self, datagram: bytes) -> None:
        cookie, message, encoding = decode(datagram)
        reply = self._replies.get(cookie)
        if reply is None:
            if message.get("command") == "hello":
                self._node = str(message.get("node", ""))
            answer = self.service.handle(message, self._clock.now, self._node)
            reply = self._replies[cookie] = encode(cookie, answer, encoding)
            self._scheduler.after(10.0, self._replies.pop, cookie, None)
        self._reply(reply)
        self._after_input()

    def _reply(self, datagram: bytes) -> None:
        if self._rng.random() < NG_LOSS:
            self.lost += 1
        elif self.client is not None:
            self._scheduler.after(NG_DELAY_S, self.client, datagram)

    def _relay_happened(self) -> None:
        self.service.relay_ready(self._clock.now)
        self._after_input()

    def _fire(self) -> None:
        self._timer = None
        self._armed = float("inf")
        self.service.handle_timers(self._clock.now)
        self._after_input()

    def _tick(self) -> None:
        self._ticking = False
        hosted = self.service.audio
        if hosted is not None and hosted.active:
            hosted.pacer.start(self._clock.now)
            self.service.tick(self._clock.now)
            self._after_input()

    def _after_input(self) -> None:
        for event in self.service.events():
            self._events += 1
            data = {"command": "event", **event.data}
            # Events are not repeated when lost, so the simulation loses none.
            if self.client is not None:
                datagram = encode(f"e{self._events}", data)
                self._scheduler.after(NG_DELAY_S, self.client, datagram)
        hosted = self.service.audio
        if hosted is not None and hosted.active and not self._ticking:
            self._ticking = True
            self._scheduler.after(TICK_S, self._tick)
        due = self.service.next_timer()
        if due is not None and due < self._armed:
            self._scheduler.cancel(self._timer)
            self._armed = max(due, self._clock.now)
            self._timer = self._scheduler.at(self._armed, self._fire)
