"""A scripted telephone of text: it does what the ladder says and nothing else.

Fed by :class:`tests.unit.pbx.calls.lab.Lab` with datagrams; what arrives waits, dialog by dialog,
until the ladder expects it. It has no timers and repeats nothing; repetitions of the server are
dropped if they are byte for byte the same. Challenges to INVITE, MESSAGE and REGISTER are answered
by itself (unless the ladder says ``raw``), so that ladders tell of calls, not of passwords.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sip.digest import ha1, response_hash
from sip.errors import MalformedHeader
from sip.flow import Address, Flow
from sip.headers import parse_challenge
from sip.message import Request, Response
from sip.parser import parse_message

if TYPE_CHECKING:
    from tests.unit.pbx.calls.lab import Lab

DOMAIN = "example.org"
SERVER: Address = ("192.0.2.1", 5060)
Message = Request | Response


def sdp(word: str, host: str) -> bytes:
    """A description that a ladder names by one word, ``label`` or ``label:direction``."""
    label, _, direction = word.partition(":")
    lines = [
        "v=0",
        f"o=- 1 1 IN IP4 {host}",
        "s=-",
        f"c=IN IP4 {host}",
        "t=0 0",
        "m=audio 4000 RTP/AVP 0",
        f"a=label:{label}",
    ]
    if direction:
        lines.append(f"a={direction}")
    return ("\r\n".join(lines) + "\r\n").encode()


def word_of(body: bytes) -> str:
    """The word of a description; "-" for none."""
    label = direction = ""
    for line in body.decode().splitlines():
        if line.startswith("a=label:"):
            label = line[8:]
        elif line in ("a=sendonly", "a=recvonly", "a=inactive", "a=sendrecv"):
            direction = ":" + line[2:]
        elif line.startswith("m=audio 0"):
            label += "refused"
    return label + direction or "-"


class Dialog:
    """One Call-ID at a phone."""

    def __init__(self, phone: Phone, name: str, call_id: str) -> None:
        self.phone = phone
        self.name = name
        self.call_id = call_id
        self.local_tag = f"t{len(phone.lab.dialogs)}"
        self.remote_tag = ""
        self.local = ""
        """Address in our From or To, with brackets."""
        self.remote = ""
        self.target = ""
        """Request-URI of requests inside the dialog."""
        self.cseq = 0
        self.inbox: list[Message] = []
        self.received: list[Request] = []
        """Requests that the ladder has seen and not answered finally."""
        self.sent: dict[str, str] = {}
        """Last branch by method."""
        self.invite_cseq = 0
        self.rseq = ""


class Phone:
    """One device: an account, an address, dialogs."""

    def __init__(self, lab: Lab, name: str, account: str, host: str, password: str) -> None:
        self.lab = lab
        self.name = name
        self.account = account
        self.host = host
        self.password = password
        self.flow = Flow("udp", SERVER, (host, 5060))
        self.address = f"<sip:{account}@{DOMAIN}>"
        self.dialogs: dict[str, Dialog] = {}
        """By Call-ID."""
        self.fresh: list[Request] = []
        """Requests outside dialogs that no ladder line has taken yet."""
        self.seen: set[bytes] = set()
        self.repeats = 0
        self.retry: dict[str, Callable[[str], None]] = {}
        """How to send the request of a Call-ID again with credentials."""
        self.serial = 0

    # -- what comes in

    def receive(self, data: bytes) -> None:
        if data in self.seen:
            self.repeats += 1
            return
        self.seen.add(data)
        message = parse_message(data)
        dialog = self.dialogs.get(message.call_id)
        if dialog is None:
            assert isinstance(message, Request), f"{self.name} got {data!r} from nowhere"
            self.fresh.append(message)
            return
        if isinstance(message, Response) and message.status == 100:
            return
        if isinstance(message, Response) and message.status in (401, 407):
            retry = self.retry.pop(message.call_id, None)
            if retry is not None:
                self._acknowledge_failure(dialog, message)
                retry(self.credentials(message))
                return
        dialog.inbox.append(message)

    def credentials(
        self, response: Response, *, nc: int = 1, password: str = "", user: str = ""
    ) -> str:
        """An Authorization line for the challenge of `response`."""
        challenge = parse_challenge(response.first("WWW-Authenticate") or "")
        realm, nonce = challenge.realm, challenge.nonce
        method = response.cseq.method
        uri = f"sip:{DOMAIN}"
        uri = self.sent_uri.get(response.call_id, uri)
        user = user or self.account
        secret = ha1("MD5", user, realm, password or self.password)
        digest = response_hash(
            "MD5", secret, method, uri, nonce, nc=f"{nc:08x}", cnonce="c", qop="auth"
        )
        return (
            f'Authorization: Digest username="{user}", realm="{realm}", nonce="{nonce}", '
            f'uri="{uri}", response="{digest}", algorithm=MD5, cnonce="c", qop=auth, '
            f"nc={nc:08x}\r\n"
        )

    @property
    def sent_uri(self) -> dict[str, str]:
        return self.lab.sent_uri

    # -- what goes out

    def send(self, text: str, body: bytes = b"") -> None:
        self.lab.feed(text.encode() + b"\r\n" + body, self.flow)

    def request(
        self,
        dialog: Dialog,
        method: str,
        uri: str,
        lines: str = "",
        body: bytes = b"",
        *,
        cseq: int | None = None,
        branch: str = "",
        raw: bool = True,
        contact: bool = True,
    ) -> None:
        """Send a request of `dialog`; with `raw` off a challenge is answered."""
        if cseq is None:
            dialog.cseq += 1
            cseq = dialog.cseq
        self.serial += 1
        branch = branch or f"z9hG4bK{self.name}{self.serial}"
        dialog.sent[method] = branch
        self.sent_uri[dialog.call_id] = uri
        if not raw:

            def again(authorization: str) -> None:
                self.request(dialog, method, uri, authorization + lines, body, contact=contact)

            self.retry[dialog.call_id] = again
        if method == "INVITE":
            dialog.invite_cseq = cseq
        to_tag = f";tag={dialog.remote_tag}" if dialog.remote_tag else ""
        kind = ""
        if body and "Content-Type:" not in lines:
            kind = "Content-Type: application/sdp\r\n"
        shown = f"Contact: <sip:{self.name}@{self.host}:5060>\r\n" if contact else ""
        forwards = "" if "Max-Forwards:" in lines else "Max-Forwards: 70\r\n"
        self.send(
            f"{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {self.host}:5060;rport;branch={branch}\r\n"
            f"{forwards}From: {dialog.local};tag={dialog.local_tag}\r\n"
            f"To: {dialog.remote}{to_tag}\r\nCall-ID: {dialog.call_id}\r\n"
            f"CSeq: {cseq} {method}\r\n{shown}{lines}{kind}Content-Length: {len(body)}\r\n",
            body,
        )

    def respond(
        self, dialog: Dialog, request: Request, status: int, lines: str = "", body: bytes = b""
    ) -> None:
        """Answer `request`."""
        head = [f"SIP/2.0 {status} Whatever"]
        for name, value in request.headers:
            if name in ("Via", "From", "Call-ID", "CSeq", "Record-Route"):
                head.append(f"{name}: {value}")
            elif name == "To":
                tag = "" if ";tag=" in value else f";tag={dialog.local_tag}"
                head.append(f"To: {value}{tag}")
        kind = ""
        if body and "Content-Type:" not in lines:
            kind = "Content-Type: application/sdp\r\n"
        contact = ""
        if "Contact:" not in lines and status != 302:
            contact = f"Contact: <sip:{self.name}@{self.host}:5060>\r\n"
        if status >= 200 and request in dialog.received:
            dialog.received.remove(request)
        self.send(
            "\r\n".join(head) + f"\r\n{contact}{lines}{kind}Content-Length: {len(body)}\r\n", body
        )

    def acknowledge(self, dialog: Dialog, lines: str, body: bytes) -> None:
        """ACK of a 2xx."""
        self.request(dialog, "ACK", dialog.target, lines, body, cseq=dialog.invite_cseq)

    def _acknowledge_failure(self, dialog: Dialog, response: Response) -> None:
        if response.cseq.method != "INVITE":
            return
        self.send(
            f"ACK {self.sent_uri[dialog.call_id]} SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP {self.host}:5060;rport;branch={dialog.sent['INVITE']}\r\n"
            f"Max-Forwards: 70\r\nFrom: {dialog.local};tag={dialog.local_tag}\r\n"
            f"To: {response.first('To')}\r\nCall-ID: {dialog.call_id}\r\n"
            f"CSeq: {response.cseq.number} ACK\r\nContent-Length: 0\r\n"
        )

    def learn(self, dialog: Dialog, message: Message) -> None:
        """What a message that the ladder has seen teaches about the dialog."""
        if isinstance(message, Request):
            if message.method not in ("ACK",):
                dialog.received.append(message)
            if not dialog.remote:
                dialog.remote = f"<{message.from_.uri_text}>"
                dialog.local = f"<{message.to.uri_text}>"
                dialog.remote_tag = message.from_.tag
        else:
            method = message.cseq.method
            if method == "INVITE" and message.status >= 300:
                self._acknowledge_failure(dialog, message)
            if method == "INVITE" and message.status < 300 and message.to.tag:
                dialog.remote_tag = message.to.tag
            if message.has("RSeq"):
                dialog.rseq = message.first("RSeq") or ""
        try:
            if message.contacts:
                dialog.target = message.contacts[0].uri_text
        except MalformedHeader:
            pass
