"""A telephone made of two UDP sockets that shows every byte: for tests of what others do to it.

It knows exactly as much SIP as one plain call needs and shares no code with ``sip``. Nothing
happens behind the test's back: no retransmission, no thread, one message at a time.
"""

from __future__ import annotations

import itertools
import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.support.fake_phone.wire import Description, Heard, address_uri, session_description
from tests.support.lone_node import credentials, request
from tests.support.rtp_peer import Address, RtpPeer
from tests.support.server_process import DOMAIN, ServerProcess

WAIT_S = 10.0
_SERIAL = itertools.count(1)


@dataclass
class RawDialog:
    """One side of an established call."""

    call_id: str
    local_tag: str
    remote_tag: str
    target: str
    """Request-URI of requests inside the dialog."""
    peer: str
    media: Address
    """Where the server wants our audio."""
    cseq: int


class RawPhone:
    """See the module. `host` may be any address of 127.0.0.0/8."""

    def __init__(
        self, server: ServerProcess, name: str, host: str = "127.0.0.1", *, sdp_host: str = ""
    ) -> None:
        """`sdp_host` is what a phone behind a NAT believes its address to be."""
        self.name = name
        self._sdp_host = sdp_host or host
        self.server = server.addresses["udp"]
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((host, 0))
        self.address: Address = self.socket.getsockname()
        self.rtp = RtpPeer(host)
        self._serial = f"{os.getpid():x}-{next(_SERIAL)}"
        self._count = 0
        self._source: Address = self.server

    def __enter__(self) -> RawPhone:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()
        self.rtp.close()

    # ---- messages

    def send(self, data: bytes) -> None:
        self.socket.sendto(data, self.server)

    def next_id(self, kind: str) -> str:
        self._count += 1
        return f"{kind}-{self._serial}-{self._count}"

    def receive(
        self, wanted: Callable[[Heard], object] = lambda heard: True, timeout_s: float = WAIT_S
    ) -> Heard:
        """The next message that is `wanted`; others are thrown away. TimeoutError if none comes."""
        deadline = time.monotonic() + timeout_s
        while True:
            self.socket.settimeout(max(0.001, deadline - time.monotonic()))
            data, self._source = self.socket.recvfrom(65_535)
            heard = Heard(data)
            if wanted(heard):
                return heard

    def silent(self, seconds: float = 0.2) -> bool:
        """Whether nothing comes for a while."""
        try:
            self.receive(timeout_s=seconds)
        except TimeoutError:
            return True
        return False

    def request(self, method: str, **options: object) -> bytes:
        """A request of ours; see :func:`tests.support.lone_node.request`."""
        fields: dict[str, object] = {
            "user": self.name,
            "branch": self.next_id("b"),
            "source": self.address,
            "domain": DOMAIN,
            **options,
        }
        return request(method, **fields)  # type: ignore[arg-type]

    def final(self, call_id: str, timeout_s: float = WAIT_S) -> Heard:
        return self.receive(
            lambda heard: heard.status >= 200 and heard.call_id == call_id, timeout_s
        )

    # ---- registration

    def register(self, expires_s: int = 300, timeout_s: float = WAIT_S) -> Heard:
        """Register and authenticate; the final response, whatever it is."""
        call_id = self.next_id("reg")
        extra = f"Expires: {expires_s}\r\n"
        self.send(self.request("REGISTER", call_id=call_id, extra=extra))
        challenge = self.final(call_id, timeout_s)
        if challenge.status != 401:
            return challenge
        line = self.authorization(challenge, "REGISTER")
        return self.register_with(line, call_id, expires_s)

    def authorization(self, challenge: Heard, method: str, uri: str = "") -> str:
        """The line that answers a challenge."""
        return credentials(challenge.raw, method, user=self.name, domain=DOMAIN, uri=uri)

    def register_with(
        self, authorization: str, call_id: str, expires_s: int = 300, cseq: int = 2
    ) -> Heard:
        extra = f"Expires: {expires_s}\r\n{authorization}"
        self.send(self.request("REGISTER", call_id=call_id, cseq=cseq, extra=extra))
        return self.final(call_id)

    # ---- calls

    def offer(self) -> bytes:
        return session_description(self._sdp_host, self.rtp.address[1], 1, 1, "sendrecv")

    def invite(self, to: str) -> tuple[str, str]:
        """Call somebody, through the challenge if there is one; returns Call-ID and our tag."""
        call_id, tag = self.next_id("call"), self.next_id("t")
        uri = f"sip:{to}@{DOMAIN}"
        self.send(self._invite(to, call_id, tag, 1, ""))
        first = self.receive(lambda heard: heard.call_id == call_id)
        if first.status >= 200:
            assert first.status == 401, first.raw
            self.acknowledge(first, to)
            line = self.authorization(first, "INVITE", uri)
            self.send(self._invite(to, call_id, tag, 2, line))
        return call_id, tag

    def _invite(self, to: str, call_id: str, tag: str, cseq: int, extra: str) -> bytes:
        return self.request(
            "INVITE", to=to, call_id=call_id, from_tag=tag, cseq=cseq, extra=extra,
            body=self.offer(), branch=f"{call_id}-{cseq}",
        )  # fmt: skip

    def acknowledge(self, refused: Heard, to: str) -> None:
        """ACK of a final response that is no 2xx: same branch."""
        branch = f"{refused.call_id}-{refused.cseq}"
        ack = self.request(
            "ACK", to=to, call_id=refused.call_id, from_tag=refused.from_tag,
            to_tag=refused.to_tag, cseq=refused.cseq, branch=branch,
        )  # fmt: skip
        self.send(ack)

    def answer(self, status: int = 200) -> RawDialog:
        """Wait for an INVITE, answer it at once, wait for the ACK."""
        invite = self.receive(lambda heard: heard.method == "INVITE")
        tag = self.next_id("t")
        self.respond(invite, status, tag=tag, body=self.offer())
        self.receive(lambda heard: heard.method == "ACK")
        description = Description(invite.body)
        return RawDialog(
            invite.call_id, tag, invite.from_tag, address_uri(invite.get("contact")),
            address_uri(invite.get("from")), (description.host, description.port), 0,
        )  # fmt: skip

    def respond(self, heard: Heard, status: int, *, tag: str = "", body: bytes = b"") -> None:
        """A response to the request that arrived last: it goes back where that came from, which
        may be another node than the one we registered at."""
        vias = "".join(f"Via: {value}\r\n" for value in heard.headers["via"])
        to = heard.get("to") + (f";tag={tag}" if tag and not heard.to_tag else "")
        kind = "Content-Type: application/sdp\r\n" if body else ""
        self.socket.sendto(
            f"SIP/2.0 {status} Fine\r\n{vias}From: {heard.get('from')}\r\nTo: {to}\r\n"
            f"Call-ID: {heard.call_id}\r\nCSeq: {heard.get('cseq')}\r\n"
            f"Contact: <sip:{self.name}@{self.address[0]}:{self.address[1]}>\r\n{kind}"
            f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body,
            self._source,
        )

    def answered(self, call_id: str, tag: str, to: str) -> RawDialog:
        """Wait for the 2xx of our INVITE and acknowledge it."""
        answer = self.final(call_id)
        assert answer.status == 200, answer.raw
        description = Description(answer.body)
        dialog = RawDialog(
            call_id, tag, answer.to_tag, address_uri(answer.get("contact")), to,
            (description.host, description.port), answer.cseq,
        )  # fmt: skip
        self.send(self.inside(dialog, "ACK", cseq=dialog.cseq))
        return dialog

    def inside(
        self, dialog: RawDialog, method: str, *, cseq: int = 0, extra: str = "", body: bytes = b""
    ) -> bytes:
        """A request inside a dialog, numbered on unless `cseq` is given."""
        if not cseq:
            dialog.cseq += 1
            cseq = dialog.cseq
        return self.request(
            method, to=dialog.peer.removeprefix("sip:").partition("@")[0], uri=dialog.target,
            call_id=dialog.call_id, from_tag=dialog.local_tag, to_tag=dialog.remote_tag,
            cseq=cseq, extra=extra, body=body,
        )  # fmt: skip

    def hung_up(self, timeout_s: float = WAIT_S) -> Heard:
        """Wait for the other's BYE and accept it."""
        bye = self.receive(lambda heard: heard.method == "BYE", timeout_s)
        self.respond(bye, 200)
        return bye


def connect(caller: RawPhone, callee: RawPhone) -> tuple[RawDialog, RawDialog]:
    """An answered call; both sides."""
    call_id, tag = caller.invite(callee.name)
    theirs = callee.answer()
    return caller.answered(call_id, tag, f"sip:{callee.name}@{DOMAIN}"), theirs


def talk(caller: RawPhone, ours: RawDialog, callee: RawPhone, theirs: RawDialog) -> None:
    """Audio goes both ways: some packets each, of which the other hears at least one."""
    for number in range(1, 12):
        caller.rtp.send_sequence(ours.media, [number], ssrc=0xA)
        callee.rtp.send_sequence(theirs.media, [number], ssrc=0xB)
        time.sleep(0.005)
    assert callee.rtp.receive()[8:12] == (0xA).to_bytes(4, "big")
    assert caller.rtp.receive()[8:12] == (0xB).to_bytes(4, "big")


def a_call_works(server: ServerProcess) -> None:
    """Two accounts register, call each other and talk: the server is what it should be."""
    with RawPhone(server, "alice") as caller, RawPhone(server, "bob") as callee:
        assert caller.register().status == 200
        assert callee.register().status == 200
        ours, theirs = connect(caller, callee)
        talk(caller, ours, callee, theirs)
        end(caller, ours, callee)
        assert caller.register(0).status == 200
        assert callee.register(0).status == 200


def end(caller: RawPhone, ours: RawDialog, callee: RawPhone) -> None:
    """The caller hangs up; both know."""
    caller.send(caller.inside(ours, "BYE"))
    callee.hung_up()
    caller.receive(lambda heard: heard.cseq_method == "BYE" and heard.status == 200)
