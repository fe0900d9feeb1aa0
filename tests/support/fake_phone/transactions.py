"""Transactions of the fake phones: retransmission, matching, absorption (RFC 3261 §17).

Fed by :class:`~tests.support.fake_phone.phone.FakePhone`; timers come from the scheduler. T1, T2
and 64*T1 are written here again on purpose: the oracle must not read the timers it judges.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.support.clock import Timer
from tests.support.fake_phone.wire import REASONS, Heard

if TYPE_CHECKING:
    from tests.support.fake_phone.phone import FakePhone

Address = tuple[str, int]

T1_S = 0.5
T2_S = 4.0
TIMEOUT_S = 64 * T1_S
PROCEEDING_S = 200.0


class PhoneClient:
    """A client transaction; `handler` gets each response once, or None on time-out."""

    __slots__ = (
        "ack",
        "born",
        "branch",
        "cseq",
        "data",
        "deadline",
        "destination",
        "handler",
        "interval",
        "invite",
        "method",
        "phone",
        "seen_2xx",
        "status",
        "timer",
        "uri",
    )

    def __init__(
        self,
        phone: FakePhone,
        method: str,
        uri: str,
        cseq: int,
        branch: str,
        data: bytes,
        destination: Address,
        handler: Callable[[PhoneClient, Heard | None], None],
    ) -> None:
        self.phone = phone
        self.method = method
        self.invite = method == "INVITE"
        self.uri = uri
        self.cseq = cseq
        self.branch = branch
        self.data = data
        self.destination = destination
        self.handler = handler
        self.ack = b""
        """The ACK for a final response, repeated for each repetition of the response."""
        self.seen_2xx = 0
        self.status = 0
        now = phone.clock.now
        self.born = now
        self.deadline = now + TIMEOUT_S
        self.interval = T1_S
        self.timer: Timer | None = None
        phone.clients[branch, method] = self
        phone.transmit(data, destination)
        self._arm(T1_S if phone.repeats else TIMEOUT_S)

    def _arm(self, delay_s: float) -> None:
        self.timer = self.phone.scheduler.after(delay_s, self._fire)

    def _fire(self) -> None:
        phone = self.phone
        if not phone.powered or self.status >= 200:
            return
        if phone.clock.now >= self.deadline - 1e-9:
            self.status = 408
            self._forget()
            self.handler(self, None)
            return
        phone.transmit(self.data, self.destination)
        self.interval *= 2
        if not self.invite and (self.interval > T2_S or self.status):
            self.interval = T2_S
        self._arm(min(self.interval, self.deadline - phone.clock.now))

    def _give_up(self) -> None:
        """Nothing after a provisional response: like timer C of a proxy (§16.6)."""
        if self.phone.powered and self.status < 200:
            self.status = 408
            self._forget()
            self.handler(self, None)

    def receive(self, heard: Heard) -> None:
        """A response that matches this transaction."""
        if self.status >= 200:
            self._repeated(heard)
            return
        self.status = heard.status
        if heard.status < 200:
            if self.invite:
                self.phone.scheduler.cancel(self.timer)
                self.timer = self.phone.scheduler.after(PROCEEDING_S, self._give_up)
            self.handler(self, heard)
            return
        self.phone.scheduler.cancel(self.timer)
        self.timer = None
        # Timer D, K or 64*T1 of RFC 6026: absorb repetitions, then forget.
        self.phone.scheduler.after(TIMEOUT_S + 1, self._forget)
        if self.invite and heard.status >= 300:
            self.ack = self.phone.failure_ack(self, heard)
            self.phone.transmit(self.ack, self.destination)
        if heard.status < 300:
            self.seen_2xx = 1
        self.handler(self, heard)

    def _repeated(self, heard: Heard) -> None:
        """A response after the final one: an ACK again, or something that must not be."""
        if heard.status < 200:
            return  # overtaken on the way: reordering is the network's fault
        if heard.status != self.status:
            self.phone.report(
                "second-final", f"{self.method} got {self.status}, then {heard.status}", heard
            )
            return
        if self.invite:
            if heard.status < 300:
                self.seen_2xx += 1
                self.handler(self, heard)
            elif self.ack:
                self.phone.transmit(self.ack, self.destination)

    def abandon(self) -> None:
        """The phone gives up by itself."""
        self.phone.scheduler.cancel(self.timer)
        self.timer = None
        self._forget()

    def _forget(self) -> None:
        self.phone.clients.pop((self.branch, self.method), None)


class PhoneServer:
    """A server transaction: keeps the last response for retransmissions of the request."""

    __slots__ = (
        "acked",
        "born",
        "deadline",
        "heard",
        "interval",
        "invite",
        "on_unacknowledged",
        "phone",
        "request",
        "response",
        "source",
        "status",
        "timer",
        "to_tag",
    )

    def __init__(self, phone: FakePhone, request: Heard, source: Address, to_tag: str) -> None:
        self.phone = phone
        self.request = request
        self.source = source
        self.to_tag = to_tag
        self.invite = request.method == "INVITE"
        self.status = 0
        self.response = b""
        self.acked = False
        self.interval = T1_S
        self.deadline = 0.0
        self.timer: Timer | None = None
        self.born = phone.clock.now
        self.heard = False
        """Whether a response went through before the other side's Timer B or F."""
        self.on_unacknowledged: Callable[[], None] | None = None
        phone.servers[request.branch, request.method] = self

    def respond(self, status: int, headers: str = "", body: bytes = b"") -> None:
        """Send a response; a final one to INVITE is repeated until its ACK."""
        phone = self.phone
        if self.status >= 200 or not phone.powered:
            return
        self.status = status
        self.response = response_bytes(self.request, status, self.to_tag, headers, body)
        self.send()
        if status < 200:
            return
        if self.invite:
            self.deadline = phone.clock.now + TIMEOUT_S
            # 2xx are repeated by the core on every transport (RFC 3261 §13.3.1.4).
            if phone.repeats or status < 300:
                self.timer = phone.scheduler.after(T1_S, self._fire)
            else:
                self.timer = phone.scheduler.after(TIMEOUT_S, self._fire)
        else:
            phone.scheduler.after(TIMEOUT_S, self._forget)

    def repeated(self, heard: Heard) -> None:
        """The request came again."""
        if heard.raw != self.request.raw:
            self.phone.report("retransmission-differs", heard.method, heard)
        if self.response and not (self.invite and 200 <= self.status < 300):
            self.send()

    def send(self) -> None:
        """Send the last response, perhaps once more."""
        phone = self.phone
        delivered = phone.transmit(self.response, self.source)
        if delivered and phone.clock.now < self.born + TIMEOUT_S:
            self.heard = True

    def acknowledged(self) -> None:
        """The ACK arrived, for a failure in this transaction or for a 2xx in the dialog."""
        if not self.acked:
            self.acked = True
            self.phone.scheduler.cancel(self.timer)
            self.timer = self.phone.scheduler.after(TIMEOUT_S, self._forget)

    def _fire(self) -> None:
        phone = self.phone
        if self.acked or not phone.powered:
            return
        if phone.clock.now >= self.deadline - 1e-9:
            self._forget()
            if self.on_unacknowledged is not None:
                self.on_unacknowledged()
            phone.expect_ack_lost(self)
            return
        self.send()
        self.interval = min(self.interval * 2, T2_S)
        self.timer = phone.scheduler.after(
            min(self.interval, self.deadline - phone.clock.now), self._fire
        )

    def _forget(self) -> None:
        self.phone.servers.pop((self.request.branch, self.request.method), None)


def response_bytes(
    request: Heard, status: int, to_tag: str, headers: str = "", body: bytes = b""
) -> bytes:
    """Build a response (RFC 3261 §8.2.6)."""
    fields = request.headers
    vias = "\r\nVia: ".join(fields["via"])
    to = fields["to"][0]
    if to_tag and ";tag=" not in to:
        to = f"{to};tag={to_tag}"
    routes = ""
    if "record-route" in fields:
        routes = "".join(f"Record-Route: {route}\r\n" for route in fields["record-route"])
    return (
        f"SIP/2.0 {status} {REASONS.get(status, 'Whatever')}\r\nVia: {vias}\r\n"
        f"From: {fields['from'][0]}\r\nTo: {to}\r\nCall-ID: {request.call_id}\r\n"
        f"CSeq: {request.cseq} {request.cseq_method}\r\n{routes}{headers}"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body
