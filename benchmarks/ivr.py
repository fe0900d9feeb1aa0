"""Calls into a program: CPU of one in the signalling role, and memory of a task that waits.

No sockets and no sound: the telephone is a string template and the media service answers at once,
so that what is measured is SIP, call control, the task and its program. A call is INVITE, 200,
ACK, a prompt, a digit, BYE; the record of the call is encoded and thrown away.
"""

from __future__ import annotations

import gc
import random
import sys
import time
import tracemalloc
from collections.abc import Callable
from typing import Any, Final

from benchmarks.signalling import CALLER, SDP, SERVER, EncodingLog
from media.ng.client import NgReply
from pbx.calls.config import CallConfig
from pbx.calls.directory import Directory
from pbx.calls.media import NoMedia
from pbx.calls.node import SignalNode
from pbx.domain.accounts import AccountCreated, DomainCreated
from pbx.domain.server import SERVER_TABLE, STREAM, RouterTableSet
from pbx.kernel.clock import SystemClock
from pbx.script.environment import Level
from pbx.script.offline.files import silence_wav
from pbx.voice.compose import compose
from pbx.voice.host import ApplicationHost
from sip.engine import EngineConfig, SipEngine, Transmit
from sip.flow import Flow

CALLS: Final = 3000
WAITING: Final = 1000
PROGRAM: Final = b"""
entry main {
  if(AcceptCall() != null) { stop; }
  PlayFile("welcome");
  var digit = ReadInput(10);
  if(digit == "1") { SysLog("one"); } elif(digit == "2") { SysLog("two"); }
  void(ReadInput(3600));
}
"""


class Files:
    """One program, one prompt."""

    def read(self, level: Level, domain: str, language: str | None, name: str) -> bytes | None:
        if level is not Level.STOCK or language is not None:
            return None
        return {"ivr.sppr": PROGRAM, "welcome.wav": PROMPT}.get(name)


PROMPT: Final = silence_wav(3000)


class Hosting(NoMedia):
    """A media service that hosts parties and does nothing with them."""

    hosts = True

    def __init__(self) -> None:
        self.waiting: list[tuple[Callable[[NgReply, float], None], NgReply]] = []
        self.sessions: list[str] = []

    def host(
        self,
        session: str,
        message: dict[str, Any],
        now: float,
        done: Callable[[NgReply, float], None],
    ) -> None:
        data: dict[str, Any] = {"result": "ok"}
        if message["command"] == "serve":
            data["sdp"] = SDP.format("192.0.2.9")
            self.sessions.append(session)
        self.waiting.append((done, NgReply(data)))

    def answer_all(self, now: float) -> bool:
        """Give the replies that are due."""
        waiting, self.waiting = self.waiting, []
        for done, reply in waiting:
            done(reply, now)
        return bool(waiting)


class Quiet:
    """Sounds and recordings of nobody."""

    def name_of(self, data: bytes) -> str:
        return "welcome"

    def file_of(self, name: str) -> str:
        return name

    def take(self, name: str) -> bytes | None:
        return None


class Ivr:
    """A node, its host, and a telephone that calls."""

    def __init__(self) -> None:
        rng = random.Random(1)
        self.engine = SipEngine(EngineConfig(strict_source=True), rng)
        self.engine.add_listener("udp", SERVER)
        directory = Directory()
        directory.apply("domain/example.org", DomainCreated(name="example.org"))
        for name in ("alice", "pbx"):
            created = AccountCreated(name=name, domain="example.org")
            directory.apply(f"account/{name}@example.org", created)
        table = RouterTableSet(table=SERVER_TABLE, text="Signal:<ivr@*> = ivr#pbx@example.org\n")
        directory.apply(STREAM, table)
        self.media = Hosting()
        self.clock = SystemClock()
        config = CallConfig(outside_calls=True, requests_per_s=1e9, requests_burst=10**9)
        self.node = SignalNode(
            self.engine, self.media, EncodingLog(), self.clock, rng, config, directory=directory
        )
        voice = compose(
            self.node,
            self.media,
            lambda stream: [],
            entropy=rng,
            sounds=Quiet(),
            recordings=Quiet(),
            files=Files(),
            observer=Silent(),
        )
        self.host: ApplicationHost = voice.host
        self.flow = Flow("udp", SERVER, CALLER)
        self.body = SDP.format(CALLER[0])

    def run(self) -> list[str]:
        """Until nothing is due; what was sent to the telephone."""
        sent: list[str] = []
        while True:
            now = self.clock.monotonic()
            self.node.handle_timers(now)
            busy = self.media.answer_all(now)
            outputs = self.engine.outputs()
            sent += [item.data.decode() for item in outputs if isinstance(item, Transmit)]
            events = self.engine.events()
            if events:
                self.node.on_events(events, now)
            elif not outputs and not busy:
                return sent

    def feed(self, text: str) -> list[str]:
        """A datagram of the telephone."""
        self.engine.receive_datagram(text.encode(), self.flow, self.clock.monotonic())
        return self.run()

    def request(self, number: int, method: str, cseq: int, to_tag: str = "", body: str = "") -> str:
        kind = "Content-Type: application/sdp\r\n" if body else ""
        return (
            f"{method} sip:ivr@example.org SIP/2.0\r\nVia: SIP/2.0/UDP {CALLER[0]}:5060;rport;"
            f"branch=z9hG4bK{number}{method}\r\nMax-Forwards: 70\r\n"
            f"From: <sip:caller@outside.example>;tag=a{number}\r\n"
            f"To: <sip:ivr@example.org>{to_tag}\r\nCall-ID: c{number}@{CALLER[0]}\r\n"
            f"CSeq: {cseq} {method}\r\nContact: <sip:caller@{CALLER[0]}:5060>\r\n"
            f"{kind}Content-Length: {len(body)}\r\n\r\n{body}"
        )

    def begin(self, number: int) -> str:
        """A call that waits for its digit; the To tag."""
        sent = self.feed(self.request(number, "INVITE", 1, body=self.body))
        answer = next(text for text in sent if text.startswith("SIP/2.0 200"))
        line = next(line for line in answer.splitlines() if line.startswith("To:"))
        to_tag = ";tag=" + line.partition(";tag=")[2]
        self.feed(self.request(number, "ACK", 1, to_tag))
        return to_tag

    def call(self, number: int) -> None:
        """A whole call."""
        to_tag = self.begin(number)
        event = {"event": "digit", "call-id": self.media.sessions[-1], "digit": "1"}
        self.host.on_sound({**event, "carrier": "rtp"}, self.clock.monotonic())
        self.run()
        self.feed(self.request(number, "BYE", 2, to_tag))


class Silent:
    """Nobody watches."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: None


def main() -> int:
    """Print the table."""
    ivr = Ivr()
    for number in range(200):
        ivr.call(number)
    gc.collect()
    gc.freeze()
    began = time.process_time()
    for number in range(200, 200 + CALLS):
        ivr.call(number)
    seconds = time.process_time() - began
    left = ivr.host.statistics()
    assert not any(left.values()), left
    per_call_ms = seconds * 1000 / CALLS
    print(f"one call into a program, CPU      {per_call_ms:6.2f} ms")
    print(f"calls a second on one core        {1000 / per_call_ms:6.0f}")
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(WAITING):
        ivr.begin(100_000 + number)
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert ivr.host.statistics()["tasks"] == WAITING
    print(f"memory of a waiting call and task {used / WAITING / 1024:6.1f} KB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
