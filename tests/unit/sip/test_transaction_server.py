"""Server transactions alone: timers G to L, repetitions, what is absorbed."""

from __future__ import annotations

from enum import IntEnum
from random import Random

import pytest

from sip.core import Core, EngineConfig, Transmit
from sip.flow import Flow
from sip.message import Request
from sip.transaction.match import server_key, top_via
from sip.transaction.server import ServerTransaction
from sip.transaction.tables import InviteServerState, ServerState

UDP = Flow("udp", ("192.0.2.1", 5060), ("198.51.100.7", 5062))
TCP = Flow("tcp", ("192.0.2.1", 5060), ("198.51.100.7", 40000), 1)


class Bench:
    """One request in an otherwise empty engine; `failures` is what the owner was told."""

    def __init__(self, method: str, flow: Flow) -> None:
        self.core = Core(EngineConfig(), Random(1))
        self.now = 0.0
        self.sent: list[tuple[float, int]] = []
        self.data: list[bytes] = []
        self.failures: list[str] = []
        request = Request(
            method,
            "sip:b@192.0.2.1",
            (
                ("Via", "SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKa;rport"),
                ("From", "<sip:a@x>;tag=1"),
                ("To", "<sip:b@x>"),
                ("Call-ID", "c"),
                ("CSeq", f"1 {method}"),
                ("Timestamp", "54"),
            ),
        )
        via = top_via(request, flow)
        key = server_key(request, via, method)
        self.transaction = ServerTransaction(self.core, key, request, via, flow, "tag9")
        self.transaction.owner = self
        assert self.core.servers == {key: self.transaction}

    def on_server_failure(self, transaction: ServerTransaction, cause: str, now: float) -> None:
        self.failures.append(cause)

    def drain(self) -> None:
        for output in self.core.outputs:
            assert isinstance(output, Transmit)
            assert output.to == self.transaction.flow
            self.sent.append((self.now, int(output.data[8:11])))
            self.data.append(output.data)
        self.core.outputs = []

    def respond(self, status: int) -> None:
        self.transaction.respond(status, now=self.now)
        self.drain()

    def again(self) -> None:
        self.transaction.receive_again(self.now)
        self.drain()

    def wait(self, until: float) -> None:
        while True:
            deadline = self.core.timers.next_deadline()
            if deadline is None or deadline > until:
                break
            self.now = deadline
            self.core.timers.run(deadline)
            self.drain()
        self.now = until

    def state(self) -> tuple[IntEnum, bool]:
        """State, and whether a final response was given."""
        return self.transaction.state, self.transaction.answered

    @property
    def gone(self) -> bool:
        return not self.core.servers and not len(self.core.timers)


def test_response_repeats_what_the_request_said() -> None:
    """§8.2.6: Via with the source, From, To with our tag, Call-ID, CSeq; no tag in a 100."""
    bench = Bench("INVITE", UDP)
    bench.transaction.respond_trying(0.0)
    bench.respond(180)
    trying, ringing = (data.decode() for data in bench.data)
    assert ringing == (
        "SIP/2.0 180 Ringing\r\n"
        "Via: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKa;rport=5062;received=198.51.100.7\r\n"
        "From: <sip:a@x>;tag=1\r\nTo: <sip:b@x>;tag=tag9\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n"
        "Content-Length: 0\r\n\r\n"
    )
    assert "\r\nTo: <sip:b@x>\r\n" in trying
    assert "\r\nTimestamp: 54\r\n" in trying


def test_reason_of_the_user_cannot_break_the_message() -> None:
    bench = Bench("OPTIONS", UDP)
    bench.transaction.respond(200, "Fine\r\nX: y", now=0.0)
    bench.drain()
    assert bench.data[0].startswith(b"SIP/2.0 200 OK\r\nVia")


def test_repeated_invite_gets_the_last_provisional() -> None:
    bench = Bench("INVITE", UDP)
    assert bench.transaction.silent
    bench.again()
    assert bench.sent == []
    bench.respond(180)
    bench.respond(183)
    bench.again()
    assert [status for _, status in bench.sent] == [180, 183, 183]
    assert not bench.transaction.answered


def test_refusal_over_udp_is_repeated_until_its_ack() -> None:
    """Timer G doubles to T2; after the ACK timer I (T4) absorbs what is late."""
    bench = Bench("INVITE", UDP)
    bench.respond(486)
    assert bench.state() == (InviteServerState.COMPLETED, True)
    bench.wait(12)
    assert [at for at, _ in bench.sent] == [0, 0.5, 1.5, 3.5, 7.5, 11.5]
    bench.transaction.receive_ack(bench.now)
    assert bench.state() == (InviteServerState.CONFIRMED, True)
    bench.transaction.receive_ack(bench.now)
    bench.again()
    bench.respond(200)
    bench.wait(16.9)
    assert len(bench.sent) == 6
    bench.wait(17)
    assert bench.gone
    assert bench.failures == []


def test_refusal_that_nobody_acknowledges() -> None:
    """Timer H: 64·T1 on every transport."""
    for flow, sends in ((UDP, 11), (TCP, 1)):
        bench = Bench("INVITE", flow)
        bench.respond(486)
        bench.wait(32)
        assert bench.failures == ["timeout"]
        assert len(bench.sent) == sends
        assert bench.gone
        assert bench.core.counters["responses_unacknowledged"] == 1


def test_ack_over_tcp_ends_it() -> None:
    bench = Bench("INVITE", TCP)
    bench.respond(486)
    bench.transaction.receive_ack(0.0)
    assert bench.gone


@pytest.mark.parametrize("flow", [UDP, TCP])
def test_accepted_absorbs_the_invite(flow: Flow) -> None:
    """RFC 6026 §7.1: the 2xx belongs to the usage; timer L is 64·T1."""
    bench = Bench("INVITE", flow)
    bench.respond(200)
    assert bench.transaction.accepted
    bench.again()
    bench.respond(486)
    assert [status for _, status in bench.sent] == [200]
    bench.transaction.repeat_success(0.0)
    bench.drain()
    assert [status for _, status in bench.sent] == [200, 200]
    bench.wait(31.9)
    assert not bench.gone
    bench.wait(32)
    assert bench.gone


def test_non_invite() -> None:
    """§17.2.2: silence while Trying, then the last response; timer J."""
    bench = Bench("MESSAGE", UDP)
    bench.again()
    bench.respond(100)
    bench.again()
    assert bench.state() == (ServerState.PROCEEDING, False)
    bench.respond(200)
    bench.again()
    bench.respond(500)
    bench.respond(100)
    assert [status for _, status in bench.sent] == [100, 100, 200, 200]
    assert bench.state() == (ServerState.COMPLETED, True)
    bench.wait(31.9)
    assert not bench.gone
    bench.wait(32)
    assert bench.gone


def test_non_invite_over_tcp_ends_with_its_answer() -> None:
    bench = Bench("MESSAGE", TCP)
    bench.respond(200)
    assert bench.gone


def test_transport_error() -> None:
    for method, status in (("INVITE", 0), ("INVITE", 486), ("MESSAGE", 0), ("MESSAGE", 100)):
        bench = Bench(method, UDP)
        if status:
            bench.respond(status)
        bench.transaction.transport_failed(0.0)
        assert bench.failures == ["transport"]
        assert bench.gone
    bench = Bench("INVITE", UDP)
    bench.respond(200)
    bench.transaction.transport_failed(0.0)
    assert bench.failures == ["transport"]
    assert not bench.gone  # the usage repeats its 2xx


def test_failure_without_an_owner() -> None:
    bench = Bench("INVITE", UDP)
    bench.transaction.owner = None
    bench.respond(486)
    bench.wait(40)
    assert bench.failures == []
    bench = Bench("MESSAGE", UDP)
    bench.transaction.owner = None
    bench.transaction.transport_failed(0.0)
    assert bench.gone
