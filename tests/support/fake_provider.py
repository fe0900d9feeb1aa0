"""A provider of telephony under the virtual clock: registrar with digest, calls in and out.

Independent of ``sip``, like the fake phones: it reads and writes by string operations and checks
digests by itself, so that it judges what our client sends.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from tests.support.clock import Scheduler, VirtualClock
from tests.support.fake_phone.wire import Heard, authorization, challenge_fields, parameter

Address = tuple[str, int]


class Wire(Protocol):
    """How a server is reached: a :class:`~tests.support.lone_node.LoneNode`, or a network."""

    scheduler: Scheduler
    clock: VirtualClock

    def serve(self, address: Address, receive: Callable[[bytes], None]) -> None:
        """Hand over what is sent to an address."""
        ...

    def datagram(self, data: bytes, source: Address) -> object:
        """Something arrives at the server."""
        ...


class FakeProvider:
    """Serves one account at one address, from now on."""

    def __init__(
        self,
        node: Wire,
        address: Address,
        *,
        user: str = "00000X",
        password: str = "spasswordX",
        realm: str = "voip1.un",
        algorithm: str = "MD5",
    ) -> None:
        self.nodes = [node]
        self.address = address
        self.user = user
        self.password = password
        self.realm = realm
        self.algorithm = algorithm
        self.silent = False
        """It is down: nothing is answered."""
        self.lose: Callable[[bytes], bool] = lambda data: False
        """Packets that do not arrive, in both directions."""
        self.answers: list[tuple[int, str]] = []
        """Statuses and header lines for the next requests, instead of serving them."""
        self.min_expires_s = 0
        self.max_expires_s = 3600
        self.nonce_serial = 0
        self.stale_next = False
        self.contacts: dict[str, float] = {}
        """Bindings: contact to its end."""
        self.heard: list[Heard] = []
        self.problems: list[str] = []
        """What a client must not do."""
        self._counts: dict[str, int] = {}
        self._cseq: dict[str, int] = {}
        self._seen: dict[tuple[str, str], bytes] = {}
        self.join(node)

    def join(self, node: Wire) -> None:
        """Be reachable from one more node."""
        if node not in self.nodes:
            self.nodes.append(node)
        node.serve(self.address, lambda data: self._receive(node, data))

    @property
    def registered(self) -> list[str]:
        """Contacts that are bound now."""
        now = self.nodes[0].clock.now
        return [contact for contact, end in self.contacts.items() if end > now]

    def requests(self, method: str) -> list[Heard]:
        """Those that came since the last time."""
        found = [heard for heard in self.heard if heard.method == method]
        self.heard = [heard for heard in self.heard if heard.method != method]
        return found

    # Serving.

    def _receive(self, node: Wire, data: bytes) -> None:
        if self.silent or self.lose(data) or data == b"\r\n\r\n":
            return
        heard = Heard(data)
        self.heard.append(heard)
        if not heard.method or heard.method == "ACK":
            return
        repeated = self._seen.get((heard.branch, heard.method))
        reply = repeated if repeated is not None else self._reply(node, heard)
        self._seen[heard.branch, heard.method] = reply
        if reply and not self.lose(reply):
            node.scheduler.at(node.clock.now, lambda: self.send(node, reply))

    def send(self, node: Wire, data: bytes, source: Address | None = None) -> None:
        """Something arrives at a node from here."""
        node.datagram(data, source or self.address)

    def _reply(self, node: Wire, heard: Heard) -> bytes:
        if self.answers:
            status, lines = self.answers.pop(0)
            return self.response(heard, status, lines)
        if heard.method not in ("REGISTER", "INVITE", "BYE"):
            return self.response(heard, 200)
        if not self._proved(heard):
            self.nonce_serial += 1
            stale = ", stale=true" if self.stale_next else ""
            self.stale_next = False
            name = "WWW" if heard.method == "REGISTER" else "Proxy"
            challenge = (
                f'{name}-Authenticate: Digest realm="{self.realm}", nonce="n{self.nonce_serial}", '
                f'qop="auth", algorithm={self.algorithm}{stale}\r\n'
            )
            return self.response(heard, 401 if name == "WWW" else 407, challenge)
        if heard.method == "REGISTER":
            return self._bind(node.clock.now, heard)
        if heard.method == "BYE":
            return self.response(heard, 200)
        return b""  # an INVITE waits for `response`

    def _proved(self, heard: Heard) -> bool:
        for name in ("authorization", "proxy-authorization"):
            for value in heard.headers.get(name, ()):
                fields = challenge_fields(value)
                nonce, count = fields["nonce"], int(fields.get("nc", "0"), 16)
                if nonce != f"n{self.nonce_serial}" or self.stale_next:
                    return False
                challenge = f'Digest realm="{self.realm}", nonce="{nonce}", qop="auth"'
                if self.algorithm != "MD5":
                    challenge += f", algorithm={self.algorithm}"
                right = authorization(
                    challenge, self.user, self.password, heard.method, fields["uri"], count,
                    fields["cnonce"],
                )  # fmt: skip
                if count <= self._counts.get(nonce, 0):
                    self.problems.append(f"nc {count} of {nonce} came twice")
                self._counts[nonce] = count
                if fields["uri"] != heard.uri:
                    self.problems.append(f"digest for {fields['uri']}, request for {heard.uri}")
                return challenge_fields(right)["response"] == fields["response"]
        return False

    def _bind(self, now: float, heard: Heard) -> bytes:
        if heard.cseq <= self._cseq.get(heard.call_id, 0):
            self.problems.append(f"CSeq {heard.cseq} after {self._cseq[heard.call_id]}")
        self._cseq[heard.call_id] = heard.cseq
        wanted = int(heard.get("expires", "3600"))
        for line in heard.headers.get("contact", ()):
            uri = line.partition("<")[2].partition(">")[0]
            own = parameter(line, "expires")
            seconds = int(own) if own else wanted
            if 0 < seconds < self.min_expires_s:
                return self.response(heard, 423, f"Min-Expires: {self.min_expires_s}\r\n")
            self.contacts[uri] = now + min(seconds, self.max_expires_s)
        lines = "".join(
            f"Contact: <{uri}>;expires={int(end - now)}\r\n"
            for uri, end in self.contacts.items()
            if end > now
        )
        return self.response(heard, 200, lines)

    def response(self, heard: Heard, status: int, lines: str = "", body: bytes = b"") -> bytes:
        """An answer to `heard`."""
        vias = "".join(f"Via: {value}\r\n" for value in heard.headers["via"])
        tag = "" if heard.to_tag or status == 100 else ";tag=provider"
        kind = "Content-Type: application/sdp\r\n" if body else ""
        contact = ""
        if heard.method == "INVITE" and status < 300:
            contact = f"Contact: <sip:gw@{self.address[0]}:{self.address[1]}>\r\n"
        return (
            f"SIP/2.0 {status} Said\r\n{vias}From: {heard.get('from')}\r\n"
            f"To: {heard.get('to')}{tag}\r\nCall-ID: {heard.call_id}\r\n"
            f"CSeq: {heard.get('cseq')}\r\n{contact}{lines}{kind}"
            f"Content-Length: {len(body)}\r\n\r\n"
        ).encode() + body

    def invite(
        self, contact: str, *, caller: str = "+79161234567", body: bytes = b"", branch: str = "p1",
        source: Address | None = None, node: Wire | None = None,
    ) -> None:  # fmt: skip
        """Send a call to one of the bound contacts, from `source` if that is another address."""
        host, port = source or self.address
        kind = "Content-Type: application/sdp\r\n" if body else ""
        data = (
            f"INVITE {contact} SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP {host}:{port};branch=z9hG4bK{branch};rport\r\n"
            f'Max-Forwards: 70\r\nFrom: "Somebody" <sip:{caller}@{self.realm}>;tag=p{branch}\r\n'
            f"To: <sip:{self.user}@{self.realm}>\r\nCall-ID: in-{branch}\r\nCSeq: 1 INVITE\r\n"
            f"Contact: <sip:gw@{host}:{port}>\r\n{kind}Content-Length: {len(body)}\r\n\r\n"
        ).encode() + body
        self.send(node or self.nodes[0], data, source)
