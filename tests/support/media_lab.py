"""The media service over a relay in memory, and short ways to talk to it."""

from __future__ import annotations

from random import Random
from typing import Any, Final

from media.ng.messages import Message
from media.rtp import RtpPacket
from media.sdp.description import Description, parse
from media.server.addresses import Interface
from media.server.service import NgService, ServiceConfig
from tests.support.fake_relay import FakeRelay, Sent

HOST: Final = "10.0.0.1"
ALICE: Final = "198.51.100.7"
BOB: Final = "203.0.113.50"
INTERFACES: Final = (
    Interface("lan", HOST, "fd00::1"),
    Interface("wan", "10.0.0.2", "", "192.0.2.9"),
)


def sdp(
    port: int = 11780,
    host: str = ALICE,
    *,
    formats: str = "8 0 101",
    proto: str = "RTP/AVP",
    kind: str = "audio",
    direction: str = "sendrecv",
    version: int = 1,
    more: str = "",
) -> str:
    """One telephone's description."""
    family = "IP6" if ":" in host else "IP4"
    return (
        f"v=0\r\no=phone 7 {version} IN {family} {host}\r\ns=call\r\nc=IN {family} {host}\r\n"
        f"t=0 0\r\nm={kind} {port} {proto} {formats}\r\na=rtpmap:101 telephone-event/8000\r\n"
        f"a={direction}\r\n{more}"
    )


def rtp(sequence_number: int, *, payload_type: int = 8, ssrc: int = 1) -> bytes:
    """20 ms of G.711."""
    packet = RtpPacket(payload_type, sequence_number, 160 * sequence_number, ssrc, b"\xd5" * 160)
    return packet.to_bytes()


class MediaLab:
    """A service; ``now`` is the clock of it and of its relay."""

    def __init__(self, seed: int = 1, make_audio: Any = None, **config: Any) -> None:
        self.relay = FakeRelay()
        self.service = NgService(
            ServiceConfig(**{"interfaces": INTERFACES, **config}),
            self.relay,
            Random(seed),
            wall_offset_s=1_000_000.0,
            make_audio=make_audio,
        )

    @property
    def now(self) -> float:
        return self.relay.now

    def pass_time(self, seconds: float) -> None:
        """Let time pass; timers fire when they are due."""
        end = self.relay.now + seconds
        while (due := self.service.next_timer()) is not None and due <= end:
            self.relay.now = max(due, self.relay.now)
            self.service.handle_timers(self.relay.now)
        self.relay.now = end

    def handle(self, node: str = "", /, **message: Any) -> Message:
        """One request; ``_`` in names stands for ``-``."""
        request = {key.replace("_", "-"): value for key, value in message.items()}
        return self.service.handle(request, self.relay.now, node)

    def offer(self, text: str, from_tag: str = "a", call_id: str = "c", **more: Any) -> Description:
        return self._exchange("offer", text, call_id=call_id, from_tag=from_tag, **more)

    def answer(
        self, text: str, from_tag: str = "a", to_tag: str = "b", call_id: str = "c", **more: Any
    ) -> Description:
        return self._exchange(
            "answer", text, call_id=call_id, from_tag=from_tag, to_tag=to_tag, **more
        )

    def call(self, call_id: str = "c") -> tuple[int, int]:
        """An answered call; the ports that Bob and Alice send to."""
        to_bob = self.offer(sdp(), call_id=call_id, received_from=["IP4", ALICE])
        to_alice = self.answer(sdp(5000, BOB), call_id=call_id, received_from=["IP4", BOB])
        return to_bob.medias[0].port, to_alice.medias[0].port

    def send(
        self, data: bytes, source: tuple[str, int], port: int, host: str = HOST
    ) -> Sent | None:
        """A datagram to one of the relay's ports; returns what left for it."""
        return self.relay.arrive(data, source, (host, port))

    def events(self) -> list[Message]:
        """What the service tells, after the relay was asked."""
        self.service.relay_ready(self.relay.now)
        return [event.data for event in self.service.events()]

    def _exchange(self, command: str, text: str, **message: Any) -> Description:
        message.setdefault("replace", ["origin"])
        reply = self.handle(command=command, sdp=text, **message)
        assert reply["result"] == "ok", reply
        return parse(reply["sdp"])
