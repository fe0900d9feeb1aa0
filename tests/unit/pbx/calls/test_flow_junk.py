"""Header fields of nonsense, everywhere a phone can put them: nothing raises, nothing stays."""

from __future__ import annotations

import pytest

from tests.unit.pbx.calls.lab import LINGER_S, Lab

JUNK = [
    "Accept: ,,",
    "Allow: ,",
    "Contact: *",
    "Contact: <sip:",
    "Contact: <tel:1>, <sip:x",
    "Content-Disposition: render;handling=required",
    "Content-Type: ;",
    "Content-Type: application/dtmf\xe9",
    "Diversion: <<>>",
    "Event: ;",
    "Expires: -1",
    "Expires: 99999999999999999999",
    "Expires: soon",
    "From: <sip:alice@example.org",
    "History-Info: <",
    "Max-Forwards: x",
    "Min-SE: x",
    "Organization: caf\xe9",
    "P-Asserted-Identity: <",
    "Path: <",
    "Privacy: ;;",
    "RAck: x",
    "RSeq: x",
    'Reason: "',
    "Record-Route: <",
    "Refer-To: <sip:carol@example.org?Replaces=%00%0d%0aX: y>",
    "Refer-To: <sip:carol%0d%0aX:y@example.org>",
    "Replaces: ;",
    'Require: "',
    "Route: <",
    "Session-Expires: x",
    "Subject: \x00\x01",
    'Supported: "',
    "To: x",
]


def _is_clean(lab: Lab) -> None:
    """Everybody forgets everything, and so does the server."""
    lab.advance(LINGER_S)
    for phone in lab.phones.values():
        phone.fresh.clear()
        for dialog in phone.dialogs.values():
            dialog.inbox.clear()
    lab.end()


@pytest.mark.parametrize("body", ["a1", "-"])
@pytest.mark.parametrize("junk", JUNK)
def test_in_an_invite(junk: str, body: str) -> None:
    lab = Lab("alice bob", no_answer_s=20.0, client_ips=())
    lab.play(f"alice > INVITE bob {body} | {junk}")
    _is_clean(lab)


@pytest.mark.parametrize("method", ["MESSAGE", "OPTIONS", "SUBSCRIBE"])
@pytest.mark.parametrize("junk", JUNK)
def test_in_a_request(junk: str, method: str) -> None:
    lab = Lab()
    lab.play(f"alice > {method} bob text:x | {junk}")
    _is_clean(lab)


@pytest.mark.parametrize("status", [183, 200, 302, 486])
@pytest.mark.parametrize("junk", JUNK)
def test_in_a_response(junk: str, status: int) -> None:
    """The callee's answer."""
    lab = Lab(no_answer_s=20.0)
    lab.play(f"""
        alice > INVITE bob a1
        bob < INVITE a1
        bob > {status} b1 | {junk}
    """)
    _is_clean(lab)


@pytest.mark.parametrize("method", ["INVITE", "UPDATE", "INFO", "REFER", "NOTIFY", "BYE", "FOO"])
@pytest.mark.parametrize("junk", JUNK)
def test_in_the_dialog(junk: str, method: str) -> None:
    lab = Lab("alice bob carol")
    lab.play("""
        alice > INVITE bob a1
        bob < INVITE a1
        bob > 200 b1
        bob < ACK
        alice < 200 b1
        alice > ACK
    """)
    bob = lab.dialogs["bob"]
    body = b"v=0\r\n" if method in ("INVITE", "UPDATE") else b""
    bob.phone.request(bob, method, bob.target, f"{junk}\r\n", body)
    lab.advance(1.0)
    if lab.node.calls:
        lab.play("alice > BYE")
    _is_clean(lab)
