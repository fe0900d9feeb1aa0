"""Which transaction a message belongs to: the quick way and the full parsers agree."""

from __future__ import annotations

import pytest

from sip.errors import MalformedHeader
from sip.events import InviteFailed
from sip.flow import Flow
from sip.message import Request
from sip.transaction.match import server_key, tag_of, top_via
from tests.support.engine_pair import EnginePair

FLOW = Flow("udp", ("192.0.2.1", 5060), ("198.51.100.7", 5062))
FLOW6 = Flow("udp", ("2001:db8::1", 5060), ("2001:db8::7", 5062))


def request(*vias: str, method: str = "OPTIONS") -> Request:
    headers = [("Via", via) for via in vias]
    headers += [
        ("From", "<sip:a@example.com>;tag=1"),
        ("To", "<sip:b@example.com>"),
        ("Call-ID", "call"),
        ("CSeq", f"7 {method}"),
    ]
    return Request(method, "sip:b@example.com", tuple(headers))


@pytest.mark.parametrize(
    ("via", "echo"),
    [
        (
            "SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKa;rport",
            "SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKa;rport=5062;received=198.51.100.7",
        ),
        (
            "SIP/2.0/UDP 10.0.0.1:5060;rport;branch=z9hG4bKa",
            "SIP/2.0/UDP 10.0.0.1:5060;rport=5062;branch=z9hG4bKa;received=198.51.100.7",
        ),
        (
            "SIP/2.0/UDP 198.51.100.7:5062;branch=z9hG4bKa",
            "SIP/2.0/UDP 198.51.100.7:5062;branch=z9hG4bKa",
        ),
        (
            "SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKa;received=203.0.113.9",
            "SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKa;received=198.51.100.7",
        ),
        (
            "SIP / 2.0 / UDP 10.0.0.1 : 5060 ;branch=z9hG4bKa ;rport",
            "SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKa;rport=5062;received=198.51.100.7",
        ),
    ],
)
def test_source_is_recorded(via: str, echo: str) -> None:
    """RFC 3261 §18.2.1, RFC 3581 §4; what the client claims in received is never believed."""
    top = top_via(request(via), FLOW)
    assert top.echo == f"Via: {echo}\r\n"
    assert top.branch == "z9hG4bKa"


def test_source_over_ipv6() -> None:
    top = top_via(request("SIP/2.0/UDP [2001:db8::9]:5060;branch=z9hG4bKa;rport"), FLOW6)
    assert top.echo.endswith(";rport=5062;received=2001:db8::7\r\n")
    assert top.sent_by == "[2001:db8::9]:5060"


def test_only_the_top_via_is_touched() -> None:
    first, second = "SIP/2.0/UDP a.example;branch=z9hG4bK1", "SIP/2.0/TCP b.example;branch=x;rport"
    for message in (request(first, second), request(f"{first}, {second}")):
        lines = top_via(message, FLOW).echo.split("\r\n")
        assert lines[0] == f"Via: {first};received=198.51.100.7"
        assert lines[1] == f"Via: {second}"


def test_sent_by_is_compared_without_case() -> None:
    lower = request("SIP/2.0/UDP host.example:5060;branch=z9hG4bKa")
    upper = request("SIP/2.0/UDP HOST.example:5060;branch=z9hG4bKa")
    keys = {server_key(message, top_via(message, FLOW), "OPTIONS") for message in (lower, upper)}
    assert keys == {("z9hG4bKa", "host.example:5060", "OPTIONS")}


@pytest.mark.parametrize(
    "via", ["SIP/2.0/UDP h.example;branch=z9hG4bK", "SIP/2.0/UDP h.example;branch=1"]
)
def test_peers_of_rfc_2543(via: str) -> None:
    """§17.2.3: without the cookie (or with nothing behind it) the whole identity counts."""
    invite = request(via, method="INVITE")
    top = top_via(invite, FLOW)
    assert top.branch == ""
    key = server_key(invite, top, "INVITE")
    other = request(via + ";x=1", method="INVITE")
    assert key != server_key(other, top_via(other, FLOW), "INVITE")
    ack = request(via, method="ACK").copy()
    assert key == server_key(ack, top_via(ack, FLOW), "INVITE")


def test_unreadable_via() -> None:
    with pytest.raises(MalformedHeader):
        top_via(request("nonsense"), FLOW)


@pytest.mark.parametrize(
    ("via", "ours"),
    [
        ("{via};rport=5;received=1.2.3.4", True),
        ("SIP/2.0/UDP  192.0.2.101:5060 ;rport=5 ;branch={branch}", True),
        ("SIP/2.0/UDP 192.0.2.9:5060;rport;branch={branch}", False),
        ("{via}\r\nVia: SIP/2.0/UDP x.example;branch=y", False),
        ("{via}, SIP/2.0/UDP x.example;branch=y", False),
        ("{via}x", False),
        ("nonsense", False),
        ("SIP/2.0/UDP 192.0.2.101:5060", False),
    ],
)
def test_only_our_own_via_is_taken(via: str, ours: bool) -> None:
    """§18.1.2: a response with another Via, or more than one, was not meant for us."""
    pair = EnginePair()
    pair.call()
    sent = pair.drop("INVITE").data.decode()
    line = next(line[5:] for line in sent.split("\r\n") if line.startswith("Via: "))
    plain = line.removesuffix(";rport")
    shown = via.format(via=plain, branch=plain.partition("branch=")[2])
    answer = sent.replace(line, shown).replace(sent.split("\r\n")[0], "SIP/2.0 486 Busy Here")
    pair.alice.engine.receive_datagram(answer.encode(), pair.flow(pair.alice), pair.now)
    pair.collect()
    assert pair.alice.has(InviteFailed) is ours
    assert pair.alice.engine.statistics().get("stray_responses", 0) == int(not ours)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Call-ID: ", "Call-ID: x"),
        ("CSeq: 1 INVITE", "CSeq: 2 INVITE"),
        ("CSeq: 1 INVITE", "CSeq: 1 BYE"),
        ("CSeq: 1 INVITE", "CSeq: one INVITE"),
    ],
)
def test_response_to_something_else(old: str, new: str) -> None:
    """Branch and Via are right, the rest is not."""
    pair = EnginePair()
    pair.call()
    sent = pair.drop("INVITE").data.decode()
    answer = sent.replace(sent.split("\r\n")[0], "SIP/2.0 486 Busy Here").replace(old, new)
    pair.alice.engine.receive_datagram(answer.encode(), pair.flow(pair.alice), pair.now)
    pair.collect()
    assert not pair.alice.has(InviteFailed)


def test_cseq_in_another_spelling() -> None:
    pair = EnginePair()
    pair.call()
    sent = pair.drop("INVITE").data.decode()
    answer = sent.replace(sent.split("\r\n")[0], "SIP/2.0 486 Busy Here")
    answer = answer.replace("CSeq: 1 INVITE", "CSeq:  01   INVITE")
    pair.alice.engine.receive_datagram(answer.encode(), pair.flow(pair.alice), pair.now)
    pair.collect()
    assert pair.alice.has(InviteFailed)


@pytest.mark.parametrize(
    ("value", "tag"),
    [
        ("<sip:a@x>;tag=abc", "abc"),
        ("<sip:a@x>", ""),
        ("sip:a@x;tag=abc", "abc"),
        ('"Tag >" <sip:a;tag=no@x>;tag=yes', "yes"),
        ("<sip:a@x>;TAG=Abc", "Abc"),
        ("<sip:a@x>;x=1;tag=a.b-c;y=2", "a.b-c"),
        ('<sip:a@x>;x=">;tag=no";tag=yes', "yes"),
        ("<sip:a@x> ; tag = abc", "abc"),
        ("<sip:a@x>;stage=1", ""),
    ],
)
def test_tag(value: str, tag: str) -> None:
    assert tag_of(value) == tag
