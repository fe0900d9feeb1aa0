"""What one SIP message costs: ``python -m benchmarks.sip_parse`` prints ns/op lines.

The best of several rounds is shown: everything slower is the machine doing something else.
Targets, which the signalling budget of a call is made of: parse 20 us, parse with the fields that
every message needs 35 us, response built and written 12 us.
"""

from __future__ import annotations

import sys
import timeit
from collections.abc import Callable

from sip.digest import NonceBook, authorize, credentials_for, ha1, parse_challenge, verify
from sip.flow import Flow
from sip.message import Request, response_for
from sip.parser import StreamFramer, parse_message, validate_request
from sip.registrar import evaluate

ROUNDS = 7
LOOPS = 5_000

SDP = (
    b"v=0\r\no=- 3747 3747 IN IP4 192.168.0.5\r\ns=-\r\nc=IN IP4 192.168.0.5\r\nt=0 0\r\n"
    b"m=audio 40000 RTP/AVP 9 8 0 101\r\na=rtpmap:9 G722/8000\r\na=rtpmap:8 PCMA/8000\r\n"
    b"a=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n"
    b"a=sendrecv\r\na=rtcp:40001\r\n"
)
INVITE = (
    b"INVITE sip:402@corp1.un SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP 192.168.0.5:5060;rport;branch=z9hG4bKPj6f3b1c0e\r\n"
    b"Max-Forwards: 70\r\n"
    b'From: "Ivan" <sip:401@corp1.un>;tag=8f2c11d0\r\n'
    b"To: <sip:402@corp1.un>\r\n"
    b"Contact: <sip:401@192.168.0.5:5060;ob>\r\n"
    b"Call-ID: 4b0de7b6c1f54a0f\r\n"
    b"CSeq: 17203 INVITE\r\n"
    b"Allow: PRACK, INVITE, ACK, BYE, CANCEL, UPDATE, INFO, SUBSCRIBE, NOTIFY, REFER, MESSAGE\r\n"
    b"Supported: replaces, 100rel, timer, norefersub\r\n"
    b"Session-Expires: 1800\r\n"
    b"Min-SE: 90\r\n"
    b"User-Agent: Phone/1.0\r\n"
    b"Content-Type: application/sdp\r\n"
    b"Content-Length: %d\r\n\r\n" % len(SDP)
) + SDP
REGISTER = (
    b"REGISTER sip:corp1.un SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP 192.168.0.5:5060;branch=z9hG4bKa1;rport\r\n"
    b"Max-Forwards: 70\r\n"
    b"From: <sip:401@corp1.un>;tag=f1\r\n"
    b"To: <sip:401@corp1.un>\r\n"
    b"Call-ID: reg1@192.168.0.5\r\n"
    b"CSeq: 1 REGISTER\r\n"
    b"Contact: <sip:401@192.168.0.5:5060;ob>\r\n"
    b"Expires: 3600\r\n"
    b"Content-Length: 0\r\n\r\n"
)
FLOW = Flow("udp", ("203.0.113.10", 5060), ("198.51.100.7", 41234))


def _request(data: bytes) -> Request:
    message = parse_message(data)
    assert isinstance(message, Request)
    return message


def parse_and_read() -> None:
    """What the engine asks of every message."""
    message = parse_message(INVITE)
    _ = (
        message.via.branch,
        message.cseq.number,
        message.from_.tag,
        message.to.tag,
        message.call_id,
    )


def parse_and_validate() -> None:
    validate_request(_request(INVITE))


def frame() -> None:
    StreamFramer().feed(INVITE)


def cases() -> dict[str, Callable[[], object]]:
    invite, register = _request(INVITE), _request(REGISTER)
    challenge = parse_challenge('Digest realm="corp1.un", nonce="n", qop="auth", algorithm=SHA-256')
    value = authorize(challenge, "REGISTER", "sip:corp1.un", "401", "secret", cnonce="c")
    signed = register.copy(headers=(*register.headers, ("Authorization", value)))
    secret = ha1("SHA-256", "401", "corp1.un", "secret")
    book = NonceBook(b"k" * 32)
    nonce = book.issue("corp1.un", "198.51.100.7", 0.0)

    def check_digest() -> bool:
        credentials = credentials_for(signed, "corp1.un")
        return credentials is not None and verify(credentials, "REGISTER", secret)

    return {
        "parse INVITE": lambda: parse_message(INVITE),
        "parse, read Via CSeq tags Call-ID": parse_and_read,
        "parse, validate everything": parse_and_validate,
        "frame INVITE from a stream": frame,
        "build and write 180": lambda: response_for(invite, 180, to_tag="t").to_bytes(),
        "write INVITE again": lambda: invite.copy().to_bytes(),
        "check digest credentials": check_digest,
        "issue a nonce": lambda: book.issue("corp1.un", "198.51.100.7", 0.0),
        "check a nonce": lambda: book.check(nonce, "corp1.un", "198.51.100.7", 1, 0.0),
        "register one contact": lambda: evaluate(register, FLOW, (), 1),
    }


def main() -> int:
    for name, run in cases().items():
        seconds = min(timeit.repeat(run, number=LOOPS, repeat=ROUNDS)) / LOOPS
        print(f"{name:36} {seconds * 1e9:9.0f} ns/op")
    return 0


if __name__ == "__main__":
    sys.exit(main())
