"""A light SIP user agent for tests: one account, one address, any number of calls.

Fed by the :class:`~tests.support.network.FakeNetwork`; feeds it back, and records every breach
of the RFCs it sees in what it receives. It shares no code with ``sip``: it is an oracle for our
stack, so it parses by string operations (:mod:`.wire`) and retransmits by its own timers
(:mod:`.transactions`). RFC 3261 §8, §10, §12-§15, §17; RFC 3262, 3311, 3515, 3891, 4028.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

from tests.support.fake_phone.call import PhoneCall
from tests.support.fake_phone.checks import check_request, check_response
from tests.support.fake_phone.transactions import PhoneClient, PhoneServer
from tests.support.fake_phone.wire import (
    Heard,
    NotSip,
    address_uri,
    authorization,
    challenge_fields,
    display_name,
    parameter,
)
from tests.support.network import Address, FakeNetwork, Stream
from tests.support.scenario import CallerScript, Plan

#: Challenges a phone answers for one request before it calls its credentials refused.
MAX_CHALLENGES = 3


class Violation(NamedTuple):
    """One breach of a rule, as a phone saw it."""

    time: float
    phone: str
    rule: str
    detail: str
    call_id: str

    def __str__(self) -> str:
        return f"{self.time:.3f} {self.phone} {self.rule}: {self.detail} (Call-ID {self.call_id})"


@dataclass(slots=True)
class Surroundings:
    """What all phones of one simulation share."""

    network: FakeNetwork
    rng: Random
    find_plan: Callable[[str, str], Plan | None]
    """By display name of the caller and user part of the called phone."""
    violations: list[Violation] = field(default_factory=list)
    call_over: Callable[[PhoneCall], None] | None = None
    registered: Callable[[FakePhone, float], None] | None = None
    """A REGISTER was answered 200 and promised so many seconds (0: removed)."""
    phones: dict[str, FakePhone] = field(default_factory=dict)
    """By name, for steps that make somebody else do something."""
    in_order: bool = True
    """The network does not reorder: rules about order are checked strictly."""


class FakePhone:
    """See the module docstring. `name` is unique; `host` should be too."""

    __slots__ = (
        "_auth_headers",
        "_buffer",
        "_counter",
        "_nonce_count",
        "_numbers",
        "_register_call_id",
        "_register_cseq",
        "_register_timer",
        "_stream",
        "address",
        "algorithm",
        "calls",
        "clients",
        "clock",
        "contact",
        "domain",
        "expires_s",
        "host",
        "live",
        "name",
        "network",
        "password",
        "powered",
        "registered_until",
        "repeats",
        "rtp_address",
        "rtp_heard",
        "scheduler",
        "server",
        "servers",
        "strays",
        "surroundings",
        "transport",
        "user",
    )

    def __init__(
        self,
        surroundings: Surroundings,
        name: str,
        host: str,
        *,
        user: str,
        domain: str,
        password: str = "",
        server: Address = ("10.0.0.1", 5060),
        algorithm: str = "SHA-256",
        transport: str = "udp",
        expires_s: int = 600,
    ) -> None:
        self.surroundings = surroundings
        self.network = surroundings.network
        self.scheduler = self.network.scheduler
        self.clock = self.network.clock
        self.name = name
        self.host = host
        self.user = user
        self.domain = domain
        self.password = password
        self.server = server
        self.algorithm = algorithm
        self.transport = transport
        self.expires_s = expires_s
        self.address: Address = (host, 5060)
        self.rtp_address: Address = (host, 4000)
        suffix = "" if transport == "udp" else f";transport={transport}"
        self.contact = f"<sip:{user}@{host}:5060{suffix}>"
        self.repeats = transport == "udp"
        self.powered = False
        self.live = 0
        """Calls that are not over."""
        self.strays = 0
        """Responses that matched nothing (late repetitions)."""
        self.registered_until = 0.0
        self.clients: dict[tuple[str, str], PhoneClient] = {}
        self.servers: dict[tuple[str, str], PhoneServer] = {}
        self.calls: dict[tuple[str, str], PhoneCall] = {}
        self.rtp_heard: dict[tuple[str, int], float] = {}
        """(Name of the phone whose audio arrived, number of its plan): when last."""
        self._numbers: set[int] = set()
        """Plans this phone ever had a call in."""
        self._counter = 0
        self._auth_headers: dict[str, str] = {}
        self._nonce_count = 0
        self._register_call_id = ""
        self._register_cseq = 0
        self._register_timer: list[object] | None = None
        self._stream: Stream | None = None
        self._buffer = b""

    # -- power -------------------------------------------------------------------------------

    def power_on(self) -> None:
        """Attach to the network with an empty memory."""
        if self.powered:
            return
        self.powered = True
        self._auth_headers = {}
        self._register_call_id = f"{self.serial()}@{self.host}"
        self._register_cseq = 0
        self.network.attach(self.address, self.receive)
        self.network.attach(self.rtp_address, self.receive_rtp)

    def power_off(self) -> None:
        """Vanish without a word: nothing is sent, everything is forgotten."""
        if not self.powered:
            return
        self.powered = False
        self.network.detach(self.address)
        self.network.detach(self.rtp_address)
        for call in list(self.calls.values()):
            call.end("vanished")
        self.clients.clear()
        self.servers.clear()
        self.calls.clear()
        self.scheduler.cancel(self._register_timer)
        self.registered_until = 0.0
        # A powerless TCP peer sends no FIN; its stream is simply not heard of again.
        self._stream = None
        self._buffer = b""

    def serial(self) -> str:
        """A fresh token, unique over all phones and restarts."""
        self._counter += 1
        return f"{self.name}-{self._counter:05d}"

    # -- sending -----------------------------------------------------------------------------

    def transmit(self, data: bytes, destination: Address) -> bool:
        """Send; False if the network will not deliver it."""
        if not self.powered:
            return False
        if self.repeats:
            return self.network.send(data, self.address, destination)
        if self._stream is None or not self._stream.open:
            self._buffer = b""
            local = (self.host, 30000 + self._counter % 30000)
            self._stream = self.network.connect(local, self.server, self)
        self._stream.send(data)
        return True

    def request(
        self,
        method: str,
        uri: str,
        *,
        from_: str,
        to: str,
        call_id: str,
        cseq: int,
        handler: Callable[[PhoneClient, Heard | None], None],
        headers: str = "",
        body: bytes = b"",
        destination: Address | None = None,
    ) -> PhoneClient:
        """Send a request in a new client transaction."""
        branch = f"z9hG4bK{self.serial()}"
        data = self.request_bytes(method, uri, branch, from_, to, call_id, cseq, headers, body)
        return PhoneClient(
            self, method, uri, cseq, branch, data, destination or self.server, handler
        )

    def request_bytes(
        self,
        method: str,
        uri: str,
        branch: str,
        from_: str,
        to: str,
        call_id: str,
        cseq: int,
        headers: str,
        body: bytes = b"",
    ) -> bytes:
        via = "SIP/2.0/UDP" if self.repeats else "SIP/2.0/TCP"
        return (
            f"{method} {uri} SIP/2.0\r\nVia: {via} {self.host}:5060;branch={branch};rport\r\n"
            f"Max-Forwards: 70\r\nFrom: {from_}\r\nTo: {to}\r\nCall-ID: {call_id}\r\n"
            f"CSeq: {cseq} {method}\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
        ).encode() + body

    def failure_ack(self, client: PhoneClient, heard: Heard) -> bytes:
        """ACK of a non-2xx final response: same branch, To of the response (§17.1.1.3)."""
        head = client.data.partition(b"\r\n\r\n")[0].decode()
        kept = [
            line
            for line in head.split("\r\n")[1:]
            if line.startswith(("Via:", "Max-Forwards:", "From:", "Call-ID:", "Route:"))
        ]
        kept.append(f"To: {heard.get('to')}")
        kept.append(f"CSeq: {client.cseq} ACK\r\nContent-Length: 0\r\n\r\n")
        return f"ACK {client.uri} SIP/2.0\r\n".encode() + "\r\n".join(kept).encode()

    # -- digest ------------------------------------------------------------------------------

    def credentials(self, method: str, uri: str, header: str = "", challenge: str = "") -> str:
        """Authorization header lines; without a new challenge the last one is used again."""
        if challenge:
            self._auth_headers[header] = challenge
            self._nonce_count = 0
        if not self._auth_headers:
            return ""
        self._nonce_count += 1
        lines = ""
        for name, kept in self._auth_headers.items():
            value = authorization(
                kept, self.user, self.password, method, uri, self._nonce_count, self.name
            )
            lines += f"{name}: {value}\r\n"
        return lines

    def challenge_of(self, heard: Heard) -> tuple[str, str]:
        """(header to send, challenge to answer) of a 401 or 407."""
        proxy = heard.status == 407
        found = heard.headers.get("proxy-authenticate" if proxy else "www-authenticate", [])
        for challenge in found:
            if challenge_fields(challenge).get("algorithm", "MD5").upper() == self.algorithm:
                return "Proxy-Authorization" if proxy else "Authorization", challenge
        self.report("no-usable-challenge", f"{heard.status} without {self.algorithm}", heard)
        return "", ""

    # -- registration ------------------------------------------------------------------------

    def register(self, expires_s: int | None = None) -> None:
        """REGISTER (0 removes the binding); refreshes itself until power goes off."""
        if self.powered:
            expires = self.expires_s if expires_s is None else expires_s
            self._send_register(expires, 0, self.credentials("REGISTER", f"sip:{self.domain}"))

    def _send_register(self, expires_s: int, tries: int, authorization_lines: str) -> None:
        self.scheduler.cancel(self._register_timer)
        self._register_cseq += 1
        address = f"<sip:{self.user}@{self.domain}>"

        def answered(client: PhoneClient, heard: Heard | None) -> None:
            self._on_register(expires_s, tries, heard)

        self.request(
            "REGISTER",
            f"sip:{self.domain}",
            from_=f"{address};tag={self.name}",
            to=address,
            call_id=self._register_call_id,
            cseq=self._register_cseq,
            headers=f"Contact: {self.contact}\r\nExpires: {expires_s}\r\n{authorization_lines}",
            handler=answered,
        )

    def _on_register(self, expires_s: int, tries: int, heard: Heard | None) -> None:
        if heard is not None and heard.status < 200:
            return
        if heard is None or heard.status >= 500:
            # The server is away or overloaded: the usual retry of a phone.
            delay = 5.0 + 10.0 * self.surroundings.rng.random()
            self._register_again(delay, expires_s)
            return
        if heard.status in (401, 407):
            header, challenge = self.challenge_of(heard)
            stale = challenge_fields(challenge).get("stale", "").lower() == "true"
            if tries >= MAX_CHALLENGES or (tries and not stale):
                self.report("credentials-refused", f"REGISTER {heard.status}", heard)
                self._register_again(30.0, expires_s)
            elif challenge:
                lines = self.credentials("REGISTER", f"sip:{self.domain}", header, challenge)
                self._send_register(expires_s, tries + 1, lines)
            return
        if heard.status != 200:
            self.report("register-refused", str(heard.status), heard)
            self._register_again(30.0, expires_s)
            return
        granted = self._granted(heard)
        if expires_s == 0:
            if granted is not None:
                self.report("binding-not-removed", self.contact, heard)
            self._note_registered(0)
        elif granted is None:
            self.report("binding-not-listed", self.contact, heard)
        else:
            if granted > expires_s:
                self.report("binding-too-long", f"{granted} > {expires_s}", heard)
            self._note_registered(granted)
            self._register_again(granted * 0.8, expires_s)

    def _register_again(self, delay_s: float, expires_s: int) -> None:
        self.scheduler.cancel(self._register_timer)
        self._register_timer = self.scheduler.after(delay_s, self.register, expires_s)

    def _granted(self, heard: Heard) -> int | None:
        """Expiry the 200 grants to our own contact; None when it is not listed."""
        mine = address_uri(self.contact)
        for line in heard.headers.get("contact", ()):
            for item in line.split(","):
                if address_uri(item) == mine:
                    text = parameter(item.strip(), "expires") or heard.get("expires", "0")
                    return int(text)
        return None

    def _note_registered(self, granted_s: int) -> None:
        self.registered_until = self.clock.now + granted_s if granted_s else 0.0
        if self.surroundings.registered is not None:
            self.surroundings.registered(self, granted_s)

    # -- calls -------------------------------------------------------------------------------

    def invite(self, plan: Plan, target: str, script: CallerScript) -> PhoneCall:
        """Start a call to the SIP URI `target`."""
        call = PhoneCall(self, plan, f"{self.serial()}@{self.host}", self.serial(), uas=False)
        call.start(target, script)
        return call

    def call_started(self, call: PhoneCall) -> None:
        self.live += 1
        self._numbers.add(call.plan.number)
        self.calls[call.call_id, call.local_tag] = call
        call.plan.calls.append(call)

    def call_over(self, call: PhoneCall) -> None:
        self.live -= 1
        # Kept a while: repetitions and crossing requests still have to be answered.
        self.scheduler.after(40.0, self._forget_call, call)
        if self.surroundings.call_over is not None:
            self.surroundings.call_over(call)

    def _forget_call(self, call: PhoneCall) -> None:
        self.calls.pop((call.call_id, call.local_tag), None)
        call.forget()

    # -- receiving ---------------------------------------------------------------------------

    def receive(self, data: bytes, source: Address, _destination: Address) -> None:
        """One message from the network."""
        if not self.powered or data in (b"\r\n\r\n", b"\r\n", b"", b"\0\0\0\0"):
            return
        try:
            heard = Heard(data)
        except (NotSip, ValueError) as error:
            self.violation("not-sip", f"{error}: {data[:60]!r}", "")
            return
        if heard.status:
            client = self.clients.get((heard.branch, heard.cseq_method))
            if client is None:
                self.strays += 1
                return
            check_response(self, client, heard)
            client.receive(heard)
        else:
            self._request(heard, source)

    def _request(self, heard: Heard, source: Address) -> None:
        method = heard.method
        if method == "ACK":
            server = self.servers.get((heard.branch, "INVITE"))
            if server is not None and server.status >= 300:
                server.acknowledged()
                return
            call = self.calls.get((heard.call_id, heard.to_tag))
            if call is not None:
                call.receive_ack(heard)
            return
        server = self.servers.get((heard.branch, method))
        if server is not None:
            server.repeated(heard)
            return
        check_request(self, heard)
        if method == "CANCEL":
            self._cancel(heard, source)
            return
        if not heard.to_tag:
            if method == "INVITE":
                self._incoming(heard, source)
            else:
                status = 200 if method in ("OPTIONS", "MESSAGE", "INFO", "NOTIFY") else 405
                PhoneServer(self, heard, source, self.serial()).respond(status)
            return
        server = PhoneServer(self, heard, source, heard.to_tag)
        call = self.calls.get((heard.call_id, heard.to_tag))
        if call is None or heard.from_tag != call.remote_tag:
            server.respond(481)
        else:
            call.receive(heard, server)

    def _cancel(self, heard: Heard, source: Address) -> None:
        invite = self.servers.get((heard.branch, "INVITE"))
        if invite is None:
            PhoneServer(self, heard, source, self.serial()).respond(481)
            return
        PhoneServer(self, heard, source, invite.to_tag).respond(200)
        call = self.calls.get((heard.call_id, invite.to_tag))
        if call is not None and invite.request.cseq != heard.cseq:
            self.report("cancel-cseq", "CSeq differs from the INVITE", heard)
        if call is not None:
            call.receive_cancel(heard)

    def _incoming(self, heard: Heard, source: Address) -> None:
        label = display_name(heard.get("from"))
        plan = self.surroundings.find_plan(label, self.user)
        tag = self.serial()
        server = PhoneServer(self, heard, source, tag)
        if plan is None:
            self.report("unknown-caller", f"display name {label!r}", heard)
            server.respond(500)
            return
        call = PhoneCall(self, plan, heard.call_id, tag, uas=True)
        call.incoming(heard, server, plan.script_for(self.name))

    # -- audio -------------------------------------------------------------------------------

    def send_rtp(self, number: int, sequence: int, destination: Address) -> None:
        """One PCMU packet that says who sent it and in which plan."""
        header = b"\x80\x00" + sequence.to_bytes(2, "big") + (sequence * 160).to_bytes(4, "big")
        source_id = (number & 0xFFFFFFFF).to_bytes(4, "big")
        packet = header + source_id + self.name.encode().ljust(160, b"\xff")
        self.network.send_media(packet, self.rtp_address, destination)

    def receive_rtp(self, data: bytes, _source: Address, _destination: Address) -> None:
        """Note whose audio this is; audio of a call we are not in is crosstalk."""
        if len(data) < 13 or data[0] != 0x80 or data[1] & 0x7F >= 72:
            return
        number = int.from_bytes(data[8:12], "big")
        sender = data[12:].rstrip(b"\xff").decode("ascii", "replace")
        if sender not in self.surroundings.phones:
            return  # sound that the server itself makes
        self.rtp_heard[sender, number] = self.clock.now
        if number not in self._numbers:
            self.violation("crosstalk", f"audio of {sender} in call {number}", "")

    # -- streams -----------------------------------------------------------------------------

    def stream_opened(self, stream: Stream) -> None:
        """Connected; what was sent before is on its way already."""

    def stream_data(self, stream: Stream, data: bytes) -> None:
        """Cut the byte stream into messages by Content-Length (RFC 3261 §18.3)."""
        if stream is not self._stream:
            if self.powered:
                stream.close()  # a host that knows no such connection answers RST
            return
        buffer = self._buffer + data
        while True:
            while buffer.startswith(b"\r\n"):
                buffer = buffer[2:]
            end = buffer.find(b"\r\n\r\n")
            if end < 0:
                break
            length = buffer[:end].rpartition(b"Content-Length:")[2].partition(b"\r\n")[0]
            size = end + 4 + (int(length) if length.strip().isdigit() else 0)
            if len(buffer) < size:
                break
            message, buffer = buffer[:size], buffer[size:]
            self.receive(message, stream.remote, stream.local)
        self._buffer = buffer

    def stream_closed(self, stream: Stream) -> None:
        """The server or the network dropped us: register again over a new stream."""
        if stream is self._stream:
            self._stream = None
            self._buffer = b""
            self.network.note_disturbance(self.host)  # nothing repeats what was on its way
            if self.powered and self.registered_until:
                self._register_again(1.0 + self.surroundings.rng.random(), self.expires_s)

    # -- complaints --------------------------------------------------------------------------

    def report(self, rule: str, detail: str, heard: Heard) -> None:
        self.violation(rule, detail, heard.call_id)

    def violation(self, rule: str, detail: str, call_id: str) -> None:
        self.surroundings.violations.append(
            Violation(self.clock.now, self.name, rule, detail, call_id)
        )

    def disturbed(self, since: float) -> bool:
        """May silence since then be the network's fault (partition, dead server)?"""
        return self.network.was_disturbed(self.host, self.server[0], since)

    def expect_ack_lost(self, server: PhoneServer) -> None:
        """A final response to INVITE stayed without ACK for 64*T1.

        A server that heard nothing from us for 64*T1 has given the INVITE up (RFC 3261 §17.1.1.2,
        Timer B), without a CANCEL, which needs a provisional response (§9.1).
        """
        if server.heard and not self.disturbed(server.born):
            self.report("no-ack", f"for {server.status}", server.request)


__all__ = ["FakePhone", "PhoneCall", "Surroundings", "Violation"]
