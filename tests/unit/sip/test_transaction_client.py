"""Client transactions alone: timers A to M, the ACK of a refusal, transport errors."""

from __future__ import annotations

from random import Random

import pytest

from sip.core import Core, EngineConfig, Transmit
from sip.events import FailureCause
from sip.flow import Flow, Target
from sip.message import Response
from sip.parser import StreamFramer
from sip.request import ClientRequest
from sip.transaction.client import ClientTransaction
from sip.transaction.tables import ClientState, InviteClientState

UDP = Target("udp", "192.0.2.9", 5060)
TCP = Target("tcp", "192.0.2.9", 5060)


class Handler:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def on_response(self, client: ClientRequest, response: Response, now: float) -> None:
        self.told.append(response.status)

    def on_failure(self, client: ClientRequest, cause: FailureCause, now: float) -> None:
        self.told.append(cause)


class Bench:
    """One request in an otherwise empty engine."""

    def __init__(self, method: str, to: Target) -> None:
        self.core = Core(EngineConfig(), Random(1))
        self.core.add_listener("udp", ("192.0.2.1", 5060))
        self.core.add_listener("tcp", ("192.0.2.1", 5060))
        self.handler = Handler()
        self.now = 0.0
        self.sent: list[tuple[float, str]] = []
        self.request = ClientRequest(
            self.core,
            self.handler,
            method,
            "sip:bob@192.0.2.9",
            from_line="From: <sip:a@x>;tag=1\r\n",
            to_line="To: <sip:b@x>\r\n",
            call_id_line="Call-ID: c\r\n",
            cseq=3,
            route_lines="Route: <sip:192.0.2.9;lr>\r\n",
        )
        self.request.start(to, 0.0)
        transaction = self.request.transaction
        assert transaction is not None
        self.transaction: ClientTransaction = transaction
        self.last = b""
        self.drain()

    def drain(self) -> None:
        for output in self.core.outputs:
            assert isinstance(output, Transmit)
            self.last = output.data
            self.sent.append((self.now, output.data.split(b" ", 1)[0].decode()))
        self.core.outputs = []

    def wait(self, until: float) -> None:
        while True:
            deadline = self.core.timers.next_deadline()
            if deadline is None or deadline > until:
                break
            self.now = deadline
            self.core.timers.run(deadline)
            self.drain()
        self.now = until

    def answer(self, status: int) -> None:
        headers = (("To", "<sip:b@x>;tag=9"), ("CSeq", f"3 {self.request.method}"))
        self.transaction.receive(Response(status, "", headers), self.now)
        self.drain()

    @property
    def gone(self) -> bool:
        return not self.core.clients and not len(self.core.timers) and not self.core.connecting


def test_invite_over_udp_is_repeated() -> None:
    """Timer A doubles, timer B ends it at 64·T1."""
    bench = Bench("INVITE", UDP)
    bench.wait(31.99)
    assert [at for at, _ in bench.sent] == [0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
    assert bench.handler.told == []
    bench.wait(32)
    assert bench.handler.told == ["timeout"]
    assert bench.transaction.state is InviteClientState.TERMINATED
    assert bench.gone


def test_invite_over_tcp_is_not() -> None:
    bench = Bench("INVITE", TCP)
    bench.wait(40)
    assert bench.sent == [(0, "INVITE")]
    assert bench.handler.told == ["timeout"]
    assert bench.gone


def test_provisional_response_stops_all_timers_of_an_invite() -> None:
    """A phone may ring for ever; who gives up is the transaction user."""
    bench = Bench("INVITE", UDP)
    bench.answer(180)
    bench.wait(500)
    assert bench.sent == [(0, "INVITE")]
    assert bench.transaction.state is InviteClientState.PROCEEDING
    bench.answer(183)
    assert bench.handler.told == [180, 183]


def test_refusal_is_acknowledged_each_time_and_told_once() -> None:
    """§17.1.1.3: same Request-URI, branch and Route, the To of the response; timer D 64·T1."""
    bench = Bench("INVITE", UDP)
    invite = bench.last
    bench.answer(486)
    bench.wait(1)
    bench.answer(486)
    bench.answer(200)  # absorbed: it was refused
    assert bench.sent == [(0, "INVITE"), (0, "ACK"), (1, "ACK")]
    assert bench.handler.told == [486]
    lines = bench.last.decode().split("\r\n")
    assert lines[0] == "ACK sip:bob@192.0.2.9 SIP/2.0"
    assert lines[1] == invite.decode().split("\r\n")[1]
    assert "To: <sip:b@x>;tag=9" in lines
    assert "CSeq: 3 ACK" in lines
    assert "Route: <sip:192.0.2.9;lr>" in lines
    assert bench.transaction.state is InviteClientState.COMPLETED
    bench.wait(32)
    assert bench.gone


def test_refusal_over_tcp_ends_at_once() -> None:
    bench = Bench("INVITE", TCP)
    bench.answer(486)
    assert bench.sent == [(0, "INVITE"), (0, "ACK")]
    assert bench.handler.told == [486]
    assert bench.gone


@pytest.mark.parametrize("to", [UDP, TCP])
def test_every_2xx_is_passed_on_for_64_t1(to: Target) -> None:
    """RFC 6026 §7.2: Accepted on every transport, so that forks and repetitions are seen."""
    bench = Bench("INVITE", to)
    bench.answer(200)
    assert bench.transaction.state is InviteClientState.ACCEPTED
    bench.wait(31)
    bench.answer(200)
    bench.answer(486)
    assert bench.handler.told == [200, 200]
    assert bench.sent == [(0, "INVITE")]
    bench.wait(32)
    assert bench.gone


def test_non_invite_slows_down_to_t2() -> None:
    bench = Bench("OPTIONS", UDP)
    bench.wait(32)
    times = [at for at, _ in bench.sent]
    assert times == [0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert bench.handler.told == ["timeout"]
    assert bench.gone


def test_non_invite_in_proceeding() -> None:
    """§17.1.2.2: a provisional response does not stop timer E, but it becomes T2."""
    bench = Bench("OPTIONS", UDP)
    bench.answer(100)
    assert bench.transaction.state is ClientState.PROCEEDING
    bench.wait(10)
    assert [at for at, _ in bench.sent] == [0, 0.5, 4.5, 8.5]
    bench.answer(200)
    bench.answer(200)
    assert bench.handler.told == [100, 200]
    bench.wait(15)
    assert bench.gone


def test_transport_error() -> None:
    for method in ("INVITE", "OPTIONS"):
        bench = Bench(method, TCP)
        bench.transaction.transport_failed(0.0)
        bench.transaction.transport_failed(0.0)
        assert bench.handler.told == ["transport"]
        assert bench.gone


def test_ack_that_cannot_be_sent() -> None:
    """The refusal was told; nothing more is."""
    bench = Bench("INVITE", UDP)
    bench.answer(500)
    bench.transaction.transport_failed(0.0)
    assert bench.handler.told == [500]
    assert bench.gone


def test_stream_that_closes() -> None:
    """Deviation 1: also while Proceeding, but not after the answer."""
    flow = Flow("tcp", ("192.0.2.1", 40000), ("192.0.2.9", 5060), 1)
    for status, told in ((0, ["transport"]), (180, [180, "transport"]), (200, [200])):
        bench = Bench("INVITE", TCP)
        bench.core.open_flow(flow, StreamFramer())
        assert bench.transaction.to == flow
        if status:
            bench.answer(status)
        for transaction in bench.core.close_flow(flow):
            transaction.transport_failed(0.0)
        assert bench.handler.told == told
