"""An audio graph over a relay in memory: streams are fed and heard sample by sample.

``Lab`` plays the network and the telephones; time passes by ticks. What a phone hears is decoded
by a codec of its own.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from media.bank import HEADER_BYTES, StreamSetup
from media.codecs import make
from media.codecs.base import Codec
from media.graph import AudioGraph, Leg, LegEvent
from media.native.core import RelayCore
from media.native.relay import StreamConfig
from media.rtp import RtpPacket

PEER: Final = ("192.0.2.1", 4000)
EVENT_TYPE: Final = 101


class TapRelay:
    """What :class:`AudioGraph` needs of a relay, over the product's core."""

    def __init__(self) -> None:
        self.core = RelayCore()
        self.sent: dict[int, list[bytes]] = defaultdict(list)
        self.now = 0.0

    def take(self, heads: Any, payloads: Any, stride: int) -> int:
        return self.core.take(heads, payloads, stride)

    def send(self, handles: Any, sizes: Any, packets: Any, stride: int, control: bool) -> int:
        for handle, size, packet in zip(handles.tolist(), sizes.tolist(), packets, strict=True):
            self.sent[handle].append(packet[:size].tobytes())
        return len(handles)

    def arrive(self, handle: int, data: bytes) -> None:
        self.core.receive(handle, data, PEER, self.now)


class Phone:
    """One party: sends frames of what it says, keeps what it hears."""

    def __init__(self, lab: Lab, handle: int, codec: tuple[str, int], payload_type: int) -> None:
        self.lab = lab
        self.handle = handle
        self.codec: Codec = make(*codec)
        self.codec.grow(1)
        self.payload_type = payload_type
        self.sequence_number = 65_500  # wraps soon
        self.rtp_timestamp = 2**32 - 4000
        self.ssrc = 77
        self.leg: Leg | None = None

    def packet(self, pcm: NDArray[np.int16], *, marker: bool = False) -> bytes:
        """The next packet of what it says, not sent yet."""
        payload, sizes = self.codec.encode(np.zeros(1, np.int64), pcm[None])
        body = payload[0, : sizes[0]].tobytes()
        data = self._rtp(self.payload_type, self.rtp_timestamp, body, marker=marker)
        self.rtp_timestamp += len(pcm) * self.codec.clock_rate_hz // self.codec.rate_hz
        return data

    def event(self, payload: bytes, *, stamp: int, marker: bool = False) -> bytes:
        return self._rtp(EVENT_TYPE, stamp, payload, marker=marker)

    def _rtp(self, payload_type: int, stamp: int, body: bytes, *, marker: bool) -> bytes:
        packet = RtpPacket(
            payload_type,
            self.sequence_number & 0xFFFF,
            stamp & 0xFFFFFFFF,
            self.ssrc,
            body,
            marker=marker,
        )
        self.sequence_number += 1
        return packet.to_bytes()

    def send(self, *packets: bytes) -> None:
        for packet in packets:
            self.lab.relay.arrive(self.handle, packet)

    def packets(self) -> list[RtpPacket]:
        """Everything that it was sent."""
        return [RtpPacket.parse(data) for data in self.lab.relay.sent[self.handle]]

    def heard(self) -> NDArray[np.int16]:
        """All audio that it was sent, decoded, in order."""
        frames = [
            self.codec.decode(np.zeros(1, np.int64), np.frombuffer(data[HEADER_BYTES:], "u1")[None])
            for data in self.lab.relay.sent[self.handle]
            if data[1] & 0x7F == self.payload_type
        ]
        return np.concatenate(frames, axis=1)[0] if frames else np.zeros(0, np.int16)


class Lab:
    """A graph and its phones."""

    def __init__(self, seed: int = 1) -> None:
        self.relay = TapRelay()
        self.graph = AudioGraph(self.relay, np.random.default_rng(seed))  # type: ignore[arg-type]
        self.phones: list[Phone] = []

    def phone(
        self,
        name: str = "PCMA",
        clock_rate_hz: int = 8000,
        payload_type: int = 8,
        *,
        events: bool = True,
    ) -> Phone:
        number = len(self.phones)
        handle = self.relay.core.open(("10.0.0.1", 20_000 + 2 * number))
        phone = Phone(self, handle, (name, clock_rate_hz), payload_type)
        setup = StreamSetup(
            handle,
            (name, clock_rate_hz),
            payload_type,
            {payload_type: (name, clock_rate_hz)},
            frozenset({EVENT_TYPE} if events else ()),
            frozenset({13}),
        )
        event_type = EVENT_TYPE if events else -1
        phone.leg = self.graph.open((f"call-{number}", "a"), setup, event_type, not events)
        self.relay.core.configure(handle, StreamConfig(remote=PEER, tap=phone.leg.tap))
        self.phones.append(phone)
        return phone

    def tick(self, count: int = 1) -> None:
        for _ in range(count):
            self.relay.now += 0.02
            self.graph.tick()

    def talk(self, said: dict[Phone, NDArray[np.int16]]) -> None:
        """Phones say this, in step, 20 ms a tick, until the shortest is at its end."""
        ticks = min(len(pcm) * 50 // phone.codec.rate_hz for phone, pcm in said.items())
        for number in range(ticks):
            for phone, pcm in said.items():
                frame = phone.codec.rate_hz // 50
                phone.send(phone.packet(pcm[number * frame : (number + 1) * frame]))
            self.tick()

    def events(self, kind: str = "") -> list[LegEvent]:
        return [event for event in self.graph.events() if not kind or event.kind == kind]


def sine(
    frequency_hz: float, seconds: float, rate_hz: int = 8000, amplitude: float = 8000.0
) -> NDArray[np.int16]:
    time_s = np.arange(int(seconds * rate_hz)) / rate_hz
    wave = amplitude * np.sin(2 * np.pi * frequency_hz * time_s)
    pcm: NDArray[np.int16] = np.rint(wave).astype(np.int16)
    return pcm


def leg_of(phone: Phone) -> Leg:
    assert phone.leg is not None
    return phone.leg
