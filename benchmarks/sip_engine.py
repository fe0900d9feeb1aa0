"""CPU time of the SIP engine per message and per call: two engines joined in memory.

    python benchmarks/sip_engine.py [calls] [--profile]

A call is INVITE, 180, 200, ACK, BYE, 200 with SDP bodies of usual size. Every message is built
once and parsed once, so one call is six messages received and six sent; a B2BUA call is two of
them. Transactions linger as they would on the wire (virtual time passes at 200 calls/s), so the
figures include the timers and the garbage of calls that are over.
"""

from __future__ import annotations

import cProfile
import pstats
import sys
from random import Random
from time import process_time

from sip.core import EngineConfig, Transmit
from sip.engine import SipEngine
from sip.events import InviteAnswered, InviteConfirmed, InviteReceived
from sip.flow import Flow

SDP = (
    b"v=0\r\no=- 20518 1 IN IP4 192.0.2.101\r\ns=-\r\nc=IN IP4 192.0.2.101\r\nt=0 0\r\n"
    b"m=audio 54400 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n"
    b"a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na=sendrecv\r\n"
)
ALICE = ("192.0.2.101", 5060)
BOB = ("192.0.2.201", 5060)
CALLS_PER_S = 200
MESSAGES_PER_CALL = 6
BATCHES = 10


class Pair:
    """Two engines and what they owe each other."""

    def __init__(self) -> None:
        self.now = 0.0
        self.alice = SipEngine(EngineConfig(), Random(1))
        self.bob = SipEngine(EngineConfig(), Random(2))
        self.alice.add_listener("udp", ALICE)
        self.bob.add_listener("udp", BOB)
        self.messages = 0

    def pump(self) -> None:
        alice, bob = self.alice, self.bob
        at_alice, at_bob = Flow("udp", ALICE, BOB), Flow("udp", BOB, ALICE)
        busy = True
        while busy:
            busy = False
            for sender, receiver, flow in ((alice, bob, at_bob), (bob, alice, at_alice)):
                for output in sender.outputs():
                    assert isinstance(output, Transmit)
                    receiver.receive_datagram(output.data, flow, self.now)
                    self.messages += 1
                    busy = True
            for event in bob.events():
                if isinstance(event, InviteReceived):
                    event.usage.provisional(180, now=self.now)
                    event.usage.accept(SDP, now=self.now)
                elif isinstance(event, InviteConfirmed):
                    event.usage.bye(now=self.now)
            for event in alice.events():
                if isinstance(event, InviteAnswered):
                    assert not event.answer_needed

    def run(self, calls: int) -> None:
        for _ in range(calls):
            self.alice.invite(
                "sip:bob@192.0.2.201",
                to="<sip:bob@biloxi.example.com>",
                from_='"Alice" <sip:alice@atlanta.example.com>',
                now=self.now,
                body=SDP,
                contact_user="alice",
            )
            self.pump()
            self.now += 1 / CALLS_PER_S
            self.alice.handle_timers(self.now)
            self.bob.handle_timers(self.now)


def main() -> None:
    arguments = [argument for argument in sys.argv[1:] if not argument.startswith("--")]
    calls = int(arguments[0]) if arguments else 10_000
    pair = Pair()
    pair.run(CALLS_PER_S * 35)  # until as many transactions end as begin
    if "--profile" in sys.argv:
        profile = cProfile.Profile()
        profile.enable()
        pair.run(calls)
        profile.disable()
        pstats.Stats(profile).sort_stats("tottime").print_stats(45)
        return
    figures = []
    for _ in range(BATCHES):
        pair.messages = 0
        started = process_time()
        pair.run(calls // BATCHES)
        figures.append((process_time() - started) / pair.messages * 1e6)
        assert pair.messages == calls // BATCHES * MESSAGES_PER_CALL, pair.messages
    figures.sort()
    best, median = figures[0], figures[len(figures) // 2]
    print(f"{calls} calls of {MESSAGES_PER_CALL} messages, both engines in one process")
    print(f"per message (built by one engine, parsed by the other): {median:.1f} us median")
    print(f"  of {BATCHES} batches, {best:.1f} us best")
    print(f"per call of two engines: {median * MESSAGES_PER_CALL:.0f} us median")
    print(f"tables of the caller at {CALLS_PER_S} calls/s: {pair.alice.statistics()}")


if __name__ == "__main__":
    main()
