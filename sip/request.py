"""One request of ours on its way to an answer: destinations, fail-over, credentials.

Fed by usages and the engine (`start`), by client transactions (responses, failures) and by the
shell's resolver (`resolved`); feeds a handler with the responses that count.

A request is one text with three variable places: the Via (a new branch for each destination
tried, RFC 3263 §4.3), the Contact (it names our side of the transport) and the CSeq (it grows
when the request is repeated with credentials, RFC 3261 §22.2). Everything else is put together
once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from sip.core import Core, Resolve, TargetFailed
from sip.digest import select_challenge
from sip.errors import MalformedHeader, RemoteProtocolError
from sip.flow import Flow, Target
from sip.headers import parse_retry_after
from sip.message import Response
from sip.transaction.client import ClientTransaction
from sip.uri import SipUri, parse_uri

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sip.events import FailureCause
    from sip.timers import Timer

_PORTS: Final = {"udp": 5060, "tcp": 5060, "tls": 5061, "ws": 80, "wss": 443}
# A proxy and a server that both ask, and a nonce that went stale meanwhile.
_AUTHORIZATION_TRIES: Final = 3


class RequestHandler(Protocol):
    """Who made the request. Exactly one final response or failure is reported."""

    def on_response(self, client: ClientRequest, response: Response, now: float) -> None: ...
    def on_failure(self, client: ClientRequest, cause: FailureCause, now: float) -> None: ...


class Authorizer(Protocol):
    """Answers challenges (RFC 3261 §22); `sip.digest` is behind it."""

    def authorize(
        self, response: Response, method: str, uri: str, body: bytes, cnonce: str
    ) -> list[tuple[str, str]]:
        """Authorization and Proxy-Authorization headers; [] when there is nothing to say."""


class CSeqSource(Protocol):
    """The dialog, or whatever else numbers requests of one Call-ID."""

    def next_cseq(self) -> int: ...


def numeric_host(host: str) -> bool:
    """Whether DNS has no say (RFC 3263 §4.1)."""
    return ":" in host or host.replace(".", "").isdigit()


def target_of(uri: SipUri, transport: str = "") -> Target | None:
    """Where a URI points without asking DNS; None when it must be resolved (RFC 3263 §4)."""
    host = uri.params.get("maddr") or uri.host
    if not numeric_host(host):
        return None
    if not transport:
        transport = uri.transport or ("tls" if uri.secure else "udp")
        if uri.secure and transport == "tcp":
            transport = "tls"
    return Target(transport, host, uri.port or _PORTS.get(transport, 5060))


class ClientRequest:
    """`user` is the transaction user's slot; `usage` what the request belongs to, if anything."""

    __slots__ = (
        "_authorization",
        "_authorized",
        "_cancel_extra",
        "_cancelled",
        "_challenges",
        "_deadline",
        "_hops",
        "_located",
        "_may_switch",
        "_query",
        "_was_resolved",
        "ack",
        "binding",
        "body",
        "call_id_line",
        "contact",
        "contact_shown",
        "core",
        "cseq",
        "cseq_source",
        "credentials",
        "done",
        "extra",
        "flow",
        "from_line",
        "handler",
        "in_dialog",
        "located",
        "max_forwards",
        "method",
        "next_hop",
        "proceeding",
        "route_lines",
        "to_line",
        "transaction",
        "uri",
        "usage",
        "user",
    )

    def __init__(
        self,
        core: Core,
        handler: RequestHandler,
        method: str,
        uri: str,
        *,
        from_line: str,
        to_line: str,
        call_id_line: str,
        cseq: int,
        route_lines: str = "",
        next_hop: str = "",
        extra: str = "",
        body: bytes = b"",
        contact: str | None = None,
        max_forwards: int = 70,
        cseq_source: CSeqSource | None = None,
    ) -> None:
        self.core = core
        self.handler = handler
        self.method = method
        self.uri = uri
        self.from_line = from_line
        self.to_line = to_line
        self.call_id_line = call_id_line
        self.cseq = cseq
        self.cseq_source = cseq_source
        self.route_lines = route_lines
        self.next_hop = next_hop or uri
        """URI that decides where the request goes when no destination is given."""
        self.extra = extra
        """Complete header lines."""
        self.body = body
        self.contact = contact
        """What stands before the host of our Contact ("Contact: <sip:user@"), or None."""
        self.max_forwards = max_forwards
        self.in_dialog = False
        self.credentials: Authorizer | None = None
        self.transaction: ClientTransaction | None = None
        self.proceeding = False
        """A provisional response came: CANCEL is allowed (RFC 3261 §9.1)."""
        self.done = False
        self.flow: Flow | None = None
        """The flow that the last response came over."""
        self.ack: ClientRequest | None = None
        """The ACK of the 2xx, kept to be repeated with it."""
        self.usage: object = None
        self.user: object = None
        self.binding: Flow | Target | None = None
        """The destination that was given, as opposed to found by the URI."""
        self._hops: list[Flow | Target] = []
        self._located: Target | None = None
        """The running attempt's destination, if the resolver found it."""
        self._was_resolved = False
        self._may_switch = False
        self._query = 0
        self._deadline: Timer | None = None
        self._cancelled = False
        self._cancel_extra = ""
        self._authorization = ""
        self._authorized = 0
        self._challenges: dict[tuple[str, str], Response] = {}
        """What was answered, by field and realm: each asks in every attempt from then on."""
        self.contact_shown = ""
        """The Contact line of the last attempt: where it left from decides what stands there."""
        self.located: tuple[Target, ...] = ()
        """Every server that the URI led to, best first; none if the URI itself named it."""

    @property
    def to(self) -> Flow | Target | None:
        """Where the running attempt goes."""
        return self.transaction.to if self.transaction is not None else None

    @property
    def authorization_lines(self) -> str:
        return self._authorization

    # -- sending

    def start(self, to: Flow | Target | None, now: float) -> None:
        """Send to `to`, or to where `next_hop` leads."""
        core = self.core
        if not (core.admits_in_dialog() if self.in_dialog else core.admits_new_work()):
            core.count("requests_refused")
            self._fail("transport", now)
            return
        if to is not None:
            self.binding = to
            self._hops = [to]
            self._attempt(now)
            return
        try:
            uri = parse_uri(self.next_hop)
        except MalformedHeader:
            uri = None
        if not isinstance(uri, SipUri):
            self._fail("transport", now)
            return
        self._may_switch = not uri.transport and not uri.secure
        target = target_of(uri)
        if target is not None:
            self._hops = [target]
            self._attempt(now)
            return
        core.query_serial += 1
        self._query = core.query_serial
        core.queries[self._query] = self
        # A resolver that never answers must not keep the request for ever.
        self._deadline = core.timers.arm(now + core.values.timeout_s, self._resolving_timed_out)
        large = self._may_switch and self._size() > core.config.udp_mtu_bytes
        core.outputs.append(Resolve(self._query, self.next_hop, "tcp" if large else ""))

    def resolved(self, targets: Sequence[Target], now: float) -> None:
        """The resolver's answer, best first."""
        self._stop_resolving()
        if self._cancelled:
            self._fail("cancelled", now)
            return
        self._may_switch = False  # the resolver knew the size
        self._hops = list(targets)
        self.located = tuple(targets)
        self._was_resolved = True
        if self._hops:
            self._attempt(now)
        else:
            self._fail("transport", now)

    def _resolving_timed_out(self, now: float) -> None:
        self._stop_resolving()
        self._fail("timeout", now)

    def _stop_resolving(self) -> None:
        self.core.queries.pop(self._query, None)
        self.core.timers.cancel(self._deadline)
        self._deadline = None
        self._query = 0

    def _size(self) -> int:
        return 350 + len(self.extra) + len(self.route_lines) + len(self.body)

    def _attempt(self, now: float) -> None:
        """Send to the next destination under a new branch."""
        core = self.core
        hop = self._hops.pop(0)
        self._located = hop if self._was_resolved and isinstance(hop, Target) else None
        to, side = core.leaving(hop)
        branch = core.new_branch()
        via = side.via + branch
        contact = "" if self.contact is None else self.contact + side.contact_at
        self.contact_shown = contact
        body = self.body
        text = (
            f"{self.method} {self.uri} SIP/2.0\r\n{via}{side.via_end}{self.route_lines}"
            f"Max-Forwards: {self.max_forwards}\r\n{self.from_line}{self.to_line}"
            f"{self.call_id_line}CSeq: {self.cseq} {self.method}\r\n"
            f"{contact}{self._authorization}{self.extra}Content-Length: {len(body)}\r\n\r\n"
        )
        data = text.encode("utf-8", "surrogateescape") + body
        if self._may_switch and len(data) > core.config.udp_mtu_bytes and to[0] == "udp":
            # RFC 3261 §18.1.1: TCP first, and the UDP we came from if TCP is refused.
            self._may_switch = False
            if isinstance(hop, Target) and any(t == "tcp" for t, _ in core.listeners):
                self._hops[:0] = [Target("tcp", hop.host, hop.port), hop]
                self._attempt(now)
                return
        if self.method == "ACK":
            self.done = True
            self._hops = [to]
            self.body = data
            core.send(to, data)
            return
        self.proceeding = False
        transaction = ClientTransaction(core, self, self.method, branch, via, to, data)
        self.transaction = transaction
        transaction.start(now)

    def send_again(self) -> None:
        """Repeat an ACK, byte for byte (RFC 3261 §13.2.2.4)."""
        if self._hops and self.done:
            self.core.send(self._hops[0], self.body)

    def copy(self, cseq: int) -> ClientRequest:
        """The same request, not yet sent, under a new number."""
        again = ClientRequest(
            self.core,
            self.handler,
            self.method,
            self.uri,
            from_line=self.from_line,
            to_line=self.to_line,
            call_id_line=self.call_id_line,
            cseq=cseq,
            route_lines=self.route_lines,
            next_hop=self.next_hop,
            extra=self.extra,
            body=self.body,
            contact=self.contact,
            max_forwards=self.max_forwards,
            cseq_source=self.cseq_source,
        )
        again.credentials = self.credentials
        again.in_dialog = self.in_dialog
        again.usage = self.usage
        again.user = self.user
        return again

    # -- what came back

    def on_response(self, transaction: ClientTransaction, response: Response, now: float) -> None:
        """Called by the transaction."""
        if transaction.method != self.method:
            return  # of our CANCEL: the INVITE's own final response is what counts
        if transaction is not self.transaction and not 200 <= response.status < 300:
            return  # an attempt we have given up
        status = response.status
        if status < 200:
            self.proceeding = True
            self.handler.on_response(self, response, now)
            if self._cancelled:
                self._send_cancel(now)
            return
        if status >= 300 and not self.done:
            if status == 503 and self._located is not None:
                self._located_failed(response)
            # RFC 3263 §4.3: 503 means the next server, not the end.
            if status == 503 and self._hops and not self._cancelled:
                self._attempt(now)
                return
            if status in (401, 407) and self._authorize(transaction, response, now):
                return
        self.done = True
        self.core.timers.cancel(self._deadline)
        self._deadline = None
        self.handler.on_response(self, response, now)

    def on_failure(self, transaction: ClientTransaction, cause: FailureCause, now: float) -> None:
        """Called by the transaction."""
        if transaction is not self.transaction or self.done:
            return
        if self._located is not None and not self._cancelled and not self.proceeding:
            self._located_failed(None)
        if self._hops and not self._cancelled:
            self._attempt(now)
            return
        self._fail(cause, now)

    def _located_failed(self, response: Response | None) -> None:
        """Other requests shall try this server last for a while (RFC 3263 §4.3)."""
        located, self._located = self._located, None
        assert located is not None
        for_s = None
        if response is not None and (text := response.first("Retry-After")) is not None:
            try:
                for_s = float(parse_retry_after(text).delay_s)
            except MalformedHeader:
                pass
        self.core.outputs.append(TargetFailed(located, for_s))

    def _fail(self, cause: FailureCause, now: float) -> None:
        if self.done:
            return
        self.done = True
        self.core.timers.cancel(self._deadline)
        self._deadline = None
        if self.method != "ACK":
            self.handler.on_failure(self, "cancelled" if self._cancelled else cause, now)

    def _authorize(self, transaction: ClientTransaction, response: Response, now: float) -> bool:
        """Repeat the request with credentials (RFC 3261 §22.2, §8.1.3.5)."""
        credentials = self.credentials
        if credentials is None or self._cancelled or self._authorized >= _AUTHORIZATION_TRIES:
            return False
        found = select_challenge(response)
        if found is None:
            return False
        field, challenge = found
        place = (field, challenge.realm)
        if place in self._challenges and not challenge.stale:
            return False  # the same again means that the password is wrong (RFC 7616 §3.3)
        core = self.core
        cnonce = f"{core.rng.getrandbits(64):016x}"
        method, uri, body = self.method, self.uri, self.body
        try:
            headers = list(credentials.authorize(response, method, uri, body, cnonce))
            if not headers:
                return False
            # A proxy that was content with the attempt before wants to be in this one, too.
            for other, asked in self._challenges.items():
                if other != place:
                    headers += credentials.authorize(asked, method, uri, body, cnonce)
        except RemoteProtocolError:
            return False
        self._challenges[place] = response
        self._authorized += 1
        self._authorization = "".join([f"{name}: {value}\r\n" for name, value in headers])
        self.cseq = self.cseq + 1 if self.cseq_source is None else self.cseq_source.next_cseq()
        self._hops.insert(0, transaction.to)
        self._attempt(now)
        return True

    # -- giving up

    def hush(self) -> None:
        """Nobody waits for the answer any more: repeat nothing, try nowhere else."""
        self._hops.clear()
        if self.transaction is not None:
            self.transaction.hush()

    def cancel(self, extra: str, now: float) -> None:
        """CANCEL an INVITE: at once if a provisional came, else when one comes (§9.1)."""
        if self._cancelled or self.done:
            return
        self._cancelled = True
        self._cancel_extra = extra
        if self._query:
            self._stop_resolving()
            self._fail("cancelled", now)
        elif self.proceeding:
            self._send_cancel(now)

    @property
    def cancelled(self) -> bool:
        return self._cancelled

    def _send_cancel(self, now: float) -> None:
        invite = self.transaction
        if invite is None or self._deadline is not None or invite.terminated:
            return
        core = self.core
        _, side = core.leaving(invite.to)
        text = (
            f"CANCEL {self.uri} SIP/2.0\r\n{invite.via}{side.via_end}{self.route_lines}"
            f"Max-Forwards: 70\r\n{self.from_line}{self.to_line}{self.call_id_line}"
            f"CSeq: {self.cseq} CANCEL\r\n{self._cancel_extra}{core.user_agent_line}"
            f"Content-Length: 0\r\n\r\n"
        )
        data = text.encode("utf-8", "surrogateescape")
        ClientTransaction(core, self, "CANCEL", invite.branch, invite.via, invite.to, data).start(
            now
        )
        # §9.1: a server of RFC 2543 never answers the INVITE then; wait 64·T1 and forget it.
        self._deadline = core.timers.arm(now + core.values.timeout_s, self._cancel_timed_out)

    def _cancel_timed_out(self, now: float) -> None:
        self._deadline = None
        if self.transaction is not None:
            self.transaction.give_up(now)

    def build_failure_ack(self, transaction: ClientTransaction, response: Response) -> bytes:
        """The ACK of a 3xx-6xx (RFC 3261 §17.1.1.3): same branch, URI, Route; To of the answer."""
        core = self.core
        _, side = core.leaving(transaction.to)
        text = (
            f"ACK {self.uri} SIP/2.0\r\n{transaction.via}{side.via_end}{self.route_lines}"
            f"Max-Forwards: 70\r\n{self.from_line}To: {response.first('To')}\r\n"
            f"{self.call_id_line}CSeq: {response.cseq.number} ACK\r\n{core.user_agent_line}"
            f"Content-Length: 0\r\n\r\n"
        )
        return text.encode("utf-8", "surrogateescape")
