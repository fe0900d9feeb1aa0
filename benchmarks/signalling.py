"""CPU of one B2BUA call in the signalling core alone: no sockets, no other processes.

Both phones are string templates, so nearly all time is ours: engine, call control, event
encoding and (``--log``) the writer's thread with its SQLite file. For profiling:
``python -m benchmarks.signalling --profile``.
"""

from __future__ import annotations

import cProfile
import pstats
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import Final

from pbx.calls.config import CallConfig
from pbx.calls.directory import Directory
from pbx.calls.media import NoMedia
from pbx.calls.node import SignalNode
from pbx.calls.ports import LogPort
from pbx.domain.accounts import AccountCreated, DomainCreated
from pbx.domain.bindings import BindingAdded
from pbx.eventlog import Codec, LogWriter, Meta, open_log
from pbx.kernel.clock import SystemClock
from pbx.kernel.events import Event
from sip.engine import EngineConfig, SipEngine, Transmit
from sip.flow import Flow

CALLS: Final = 4000
SERVER: Final = ("192.0.2.1", 5060)
CALLER: Final = ("192.0.2.11", 5060)
CALLEE: Final = ("192.0.2.12", 5060)
SDP: Final = (
    "v=0\r\no=- 3845 3845 IN IP4 {0}\r\ns=-\r\nc=IN IP4 {0}\r\nt=0 0\r\n"
    "m=audio 11780 RTP/AVP 9 8 0 101\r\na=rtpmap:101 telephone-event/8000\r\n"
    "a=fmtp:101 0-16\r\na=ptime:20\r\na=sendrecv\r\n"
)


class EncodingLog:
    """Encodes what it is given and keeps nothing."""

    healthy = True

    def __init__(self) -> None:
        self.codec = Codec()
        self.events = 0

    def observe(self, stream: str, version: int, event: Event, meta: Meta) -> None:
        """Encode and forget."""
        self.codec.encode(stream, event)
        self.events += 1

    def decide(
        self,
        stream: str,
        expected_version: int,
        events: Sequence[Event],
        meta: Meta,
        done: Callable[[int | Exception], None],
        *,
        alone: bool = False,
    ) -> None:
        """Not used here."""
        done(1)


def node_with(log: LogPort) -> tuple[SipEngine, SignalNode]:
    """A node with one domain, two accounts and one binding."""
    rng = random.Random(1)
    clock = SystemClock()
    engine = SipEngine(EngineConfig(strict_source=True), rng)
    engine.add_listener("udp", SERVER)
    directory = Directory()
    directory.apply("domain/example.org", DomainCreated(name="example.org"))
    for name in ("alice", "bob"):
        created = AccountCreated(name=name, domain="example.org")
        directory.apply(f"account/{name}@example.org", created)
    config = CallConfig(client_ips=(ip_network("192.0.2.0/24"),))
    node = SignalNode(engine, NoMedia(), log, clock, rng, config, directory=directory)
    binding = BindingAdded(
        contact_id="c",
        contact=f"sip:bob@{CALLEE[0]}",
        expires_ns=clock.wall_ns() + 3_600_000_000_000,
        sip_call_id="r",
        cseq=1,
        local=f"{SERVER[0]}:{SERVER[1]}",
        remote=f"{CALLEE[0]}:{CALLEE[1]}",
    )
    node.locations.fold("binding/bob@example.org", 1, binding)
    return engine, node


class Phones:
    """Caller and callee of one call after another."""

    def __init__(self, engine: SipEngine, node: SignalNode) -> None:
        self.engine = engine
        self.node = node
        self.now = time.monotonic()
        self.serial = 0
        self.from_caller = Flow("udp", SERVER, CALLER)
        self.from_callee = Flow("udp", SERVER, CALLEE)
        self.offer = SDP.format(CALLER[0])
        self.answer = SDP.format(CALLEE[0])

    def feed(self, text: str, flow: Flow) -> list[str]:
        """One datagram in; what goes out, as text."""
        engine = self.engine
        engine.receive_datagram(text.encode(), flow, self.now)
        sent: list[str] = []
        while True:
            outputs = engine.outputs()
            sent += [item.data.decode() for item in outputs if isinstance(item, Transmit)]
            events = engine.events()
            if events:
                self.node.on_events(events, self.now)
            elif not outputs:
                return sent

    def call(self, number: int) -> None:
        """INVITE, 180, 200, ACK, BYE, 200."""
        call_id = f"c{number}@{CALLER[0]}"
        tag = f"a{number}"
        uri = "sip:bob@example.org"

        def request(method: str, cseq: int, to_tag: str, uri: str, body: str = "") -> str:
            kind = "Content-Type: application/sdp\r\n" if body else ""
            return (
                f"{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {CALLER[0]}:5060;rport;"
                f"branch=z9hG4bK{number}{method}\r\nMax-Forwards: 70\r\n"
                f'From: "Alice" <sip:alice@example.org>;tag={tag}\r\n'
                f"To: <sip:bob@example.org>{to_tag}\r\nCall-ID: {call_id}\r\n"
                f"CSeq: {cseq} {method}\r\nContact: <sip:alice@{CALLER[0]}:5060>\r\n"
                "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE\r\nSupported: timer\r\n"
                f"User-Agent: Bench 1.0\r\n{kind}Content-Length: {len(body)}\r\n\r\n{body}"
            )

        sent = self.feed(request("INVITE", 1, "", uri, self.offer), self.from_caller)
        invite = next(text for text in sent if text.startswith("INVITE"))
        head, _, _ = invite.partition("\r\n\r\n")
        kept = [
            line
            for line in head.split("\r\n")
            if line.startswith(("Via:", "From:", "Call-ID:", "CSeq:", "To:"))
        ]

        def reply(lines: list[str], status: str, body: str = "", tag: str = ";tag=b") -> str:
            text = "\r\n".join(
                line + tag if line.startswith("To:") and ";tag" not in line else line
                for line in lines
            )
            kind = "Content-Type: application/sdp\r\n" if body else ""
            return (
                f"SIP/2.0 {status}\r\n{text}\r\nContact: <sip:bob@{CALLEE[0]}:5060>\r\n"
                f"Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE\r\n{kind}"
                f"Content-Length: {len(body)}\r\n\r\n{body}"
            )

        self.feed(reply(kept, "100 Trying", tag=""), self.from_callee)
        self.feed(reply(kept, "180 Ringing"), self.from_callee)
        sent = self.feed(reply(kept, "200 OK", self.answer), self.from_callee)
        ok = next(text for text in sent if text.startswith("SIP/2.0 200"))
        to_tag = ok.split("\r\nTo: ")[1].split("\r\n")[0].partition(">")[2]
        contact = ok.split("\r\nContact: <")[1].split(">")[0]
        self.feed(request("ACK", 1, to_tag, contact), self.from_caller)
        sent = self.feed(request("BYE", 2, to_tag, contact), self.from_caller)
        bye = next(text for text in sent if text.startswith("BYE"))
        kept = [
            line
            for line in bye.split("\r\n")
            if line.startswith(("Via:", "From:", "Call-ID:", "CSeq:", "To:"))
        ]
        self.feed(reply(kept, "200 OK"), self.from_callee)

    def run(self, calls: int) -> None:
        """`calls` calls at 200 a second of virtual time, timers included."""
        for _ in range(calls):
            self.serial += 1
            self.call(self.serial)
            self.now += 0.005
            self.engine.handle_timers(self.now)
            self.node.handle_timers(self.now)


def timed(log: LogPort) -> float:
    """Microseconds of process CPU per call."""
    engine, node = node_with(log)
    phones = Phones(engine, node)
    phones.run(300)
    start = time.process_time()
    phones.run(CALLS)
    return (time.process_time() - start) * 1e6 / CALLS


def main() -> None:
    """Print the figures, or a profile."""
    if "--profile" in sys.argv:
        engine, node = node_with(EncodingLog())
        phones = Phones(engine, node)
        phones.run(300)
        profile = cProfile.Profile()
        profile.enable()
        phones.run(2000)
        profile.disable()
        pstats.Stats(profile).sort_stats("tottime").print_stats(60)
        return
    print("CPU per call in the signalling core (phones are templates), µs")
    print(f"  without a log file      {timed(EncodingLog()):7.0f}")
    with tempfile.TemporaryDirectory() as folder:
        event_log = open_log(Path(folder), node="bench")
        # Calls come as fast as they can here: the queue must not make the node refuse them.
        writer = LogWriter(event_log, notify=lambda function: function(), bound=1_000_000)
        writer.start()
        print(f"  with the embedded log   {timed(writer):7.0f}")
        writer.stop()
        event_log.close()


if __name__ == "__main__":
    main()
