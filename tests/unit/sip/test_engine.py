"""The engine from outside: garbage, refusals without state, keep-alives, bounds, streams."""

from __future__ import annotations

from random import Random

import pytest

from sip.core import CloseFlow, EngineConfig, Resolve, TargetFailed, Transmit
from sip.engine import SipEngine
from sip.errors import LocalProtocolError
from sip.events import (
    InviteFailed,
    InviteProgress,
    InviteReceived,
    ReferReceived,
    RequestReceived,
    ResponseReceived,
)
from sip.flow import Flow, Target
from tests.support.engine_pair import OFFER, EnginePair

US = ("192.0.2.1", 5060)
FLOW = Flow("udp", US, ("198.51.100.7", 5062))
TCP = Flow("tcp", US, ("198.51.100.7", 40000), 1)
TABLES = ("client_transactions", "server_transactions", "merged", "dialogs", "usages", "timers")


def engine(**config: object) -> SipEngine:
    made = SipEngine(EngineConfig(**config), Random(1))  # type: ignore[arg-type]
    made.add_listener("udp", US)
    made.add_listener("tcp", US)
    return made


def message(
    method: str = "OPTIONS",
    *,
    uri: str = "sip:bob@192.0.2.1",
    to: str = "<sip:bob@192.0.2.1>",
    cseq: str | None = None,
    branch: str = "z9hG4bKx1",
    call_id: str = "c1",
    extra: str = "",
    body: str = "",
) -> bytes:
    return (
        f"{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1:5060;branch={branch};rport\r\n"
        f"From: <sip:alice@example.com>;tag=a1\r\nTo: {to}\r\nCall-ID: {call_id}\r\n"
        f"CSeq: {cseq or f'1 {method}'}\r\n{extra}Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


CONTACT = "Contact: <sip:alice@198.51.100.7:5062>\r\n"


def sent(made: SipEngine) -> list[str]:
    """Start lines of what was transmitted."""
    lines = []
    for output in made.outputs():
        assert isinstance(output, Transmit)
        lines.append(output.data.split(b"\r\n", 1)[0].decode())
    return lines


def untouched(made: SipEngine) -> bool:
    statistics = made.statistics()
    return not any(statistics[name] for name in TABLES)


# -- refusals without state


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (message("BREW"), 501),
        (message("PUBLISH"), 405),
        (message(uri="fax:123"), 416),
        (message(extra="Require: teleport\r\n"), 420),
        (message("MESSAGE", extra="Max-Forwards: 0\r\n"), 483),
        (message("BYE"), 481),
        (message("UPDATE"), 481),
        (message("BYE", to="<sip:bob@192.0.2.1>;tag=gone"), 481),
        (message("INFO", to="<sip:bob@192.0.2.1>;tag=gone"), 481),
        (message("NOTIFY", to="<sip:bob@192.0.2.1>;tag=gone"), 481),
        (message("CANCEL"), 481),
        (message("INVITE"), 400),  # no Contact
        (message(cseq="1 INVITE"), 400),
        (message(uri="sip:bob@192.0.2.1 SIP/2.0 x"), 400),
        (message().replace(b"Content-Length: 0", b"Content-Length: 99"), 400),
        (message().replace(b" SIP/2.0\r\n", b" SIP/3.0\r\n"), 505),
        (message("REFER", extra="Refer-To: <sip:a@x>, <sip:b@x>\r\n"), 400),
    ],
)
def test_refusal(data: bytes, status: int) -> None:
    """One response, the same for a repetition, and nothing kept (RFC 3261 §8.2.7)."""
    made = engine(refused_methods=frozenset({"PUBLISH"}))
    made.receive_datagram(data, FLOW, 0.0)
    first = made.outputs()
    assert len(first) == 1
    assert isinstance(first[0], Transmit)
    assert first[0].data.startswith(f"SIP/2.0 {status} ".encode())
    assert b";rport=5062;received=198.51.100.7" in first[0].data
    assert first[0].to == FLOW
    if status == 405 or status == 501:
        assert b"\r\nAllow: " in first[0].data
    if status == 420:
        assert b"\r\nUnsupported: teleport\r\n" in first[0].data
    made.receive_datagram(data, FLOW, 1.0)
    assert made.outputs() == first
    assert made.events() == []
    if not data.startswith(b"REFER"):
        assert untouched(made)
    made.handle_timers(100.0)
    assert untouched(made)


def test_what_cannot_be_read_is_echoed_and_what_is_missing_stays_missing() -> None:
    """RFC 4475 §3.1.2.1 and §3.3.1: the answer to a bad request holds nothing made up."""
    made = engine()
    made.receive_datagram(message().replace(b"z9hG4bKx1", b'z9"hG4bKx1'), FLOW, 0.0)
    made.receive_datagram(message().replace(b"Call-ID", b"No-ID"), FLOW, 0.0)
    made.receive_datagram(message("BYE", to="<sip:bob@192.0.2.1> ; tag = gone"), FLOW, 0.0)
    unreadable, lacking, tagged = made.outputs()
    assert isinstance(unreadable, Transmit)
    assert unreadable.data.startswith(b"SIP/2.0 400 ")
    assert b';branch=z9"hG4bKx1' in unreadable.data
    assert isinstance(lacking, Transmit)
    assert b"Call-ID" not in lacking.data.partition(b"\r\n")[2]
    assert b"None" not in lacking.data
    assert isinstance(tagged, Transmit)
    assert tagged.data.count(b"tag") == 2  # From's and To's own


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r\n\r\n",
        b"\x00\x00\x00\x00",
        b"hello",
        b"INVITE sip:x SIP/2.0\r\n\r\n",
        b"\xff" * 500,
        message("ACK", to="<sip:bob@192.0.2.1>;tag=gone"),
        message("ACK"),
        message("ACK", cseq="1 BYE"),
        message("ACK").replace(b"Content-Length: 0", b"Content-Length: 99"),
        b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKnone\r\n\r\n",
        b"SIP/2.0 200 OK\r\nVia: x\r\nCSeq: y\r\n\r\n",
        b"SIP/2.0 200 OK\r\n\r\n",
    ],
)
def test_discarded(data: bytes) -> None:
    """Keep-alives, noise, stray ACKs and responses leave no trace and get no answer."""
    made = engine()
    made.receive_datagram(data, FLOW, 0.0)
    assert made.outputs() == []
    assert made.events() == []
    assert untouched(made)


def test_options_at_the_end_of_its_hops_may_be_answered() -> None:
    """RFC 3261 §11: that is how a path is explored."""
    made = engine()
    made.receive_datagram(message(extra="Max-Forwards: 0\r\n"), FLOW, 0.0)
    assert isinstance(made.events()[0], RequestReceived)


def test_merged_request() -> None:
    """RFC 3261 §8.2.2.2: the same request by two ways is refused once with 482."""
    made = engine()
    made.receive_datagram(message(), FLOW, 0.0)
    made.receive_datagram(message(branch="z9hG4bKx2"), FLOW, 0.0)
    assert sent(made) == ["SIP/2.0 482 Loop Detected"]
    assert len(made.events()) == 1


# -- requests outside dialogs


def test_request_is_answered_and_repeated() -> None:
    made = engine()
    made.receive_datagram(message("MESSAGE"), FLOW, 0.0)
    (event,) = made.events()
    assert isinstance(event, RequestReceived)
    made.receive_datagram(message("MESSAGE"), FLOW, 0.5)
    assert sent(made) == []  # Trying: absorbed
    made.respond(event.transaction, 202, None, [("X-Stored", "1")], b"x", content_type="text/plain")
    (output,) = made.outputs()
    assert isinstance(output, Transmit)
    assert b"\r\nX-Stored: 1\r\nServer: Ringlog\r\nContent-Type: text/plain\r\n" in output.data
    assert b"\r\nTo: <sip:bob@192.0.2.1>;tag=" in output.data
    made.receive_datagram(message("MESSAGE"), FLOW, 1.0)
    assert made.outputs() == [output]
    made.respond(event.transaction, 500, now=2.0)
    assert made.outputs() == []  # one final response only
    made.handle_timers(33.0)
    assert untouched(made)


def test_dropped_request_leaves_nothing() -> None:
    made = engine()
    made.receive_datagram(message(), FLOW, 0.0)
    (event,) = made.events()
    assert isinstance(event, RequestReceived)
    made.drop(event.transaction, now=0.0)
    assert made.outputs() == []
    assert untouched(made)
    made.receive_datagram(message("INVITE", extra=CONTACT), FLOW, 1.0)
    (invite,) = made.events()
    assert isinstance(invite, InviteReceived)
    invite.usage.drop(now=1.0)
    invite.usage.drop(now=1.0)
    assert untouched(made)


def test_refer_outside_a_dialog() -> None:
    """RFC 3515: 202 and NOTIFYs in a dialog of its own; Replaces comes unescaped."""
    made = engine()
    target = "<sip:c@x.example?Replaces=id%40h%3Bto-tag%3Dt1%3Bfrom-tag%3Df1>"
    extra = f"Refer-To: {target}\r\n{CONTACT}Record-Route: <sip:198.51.100.7;lr>\r\n"
    made.receive_datagram(message("REFER", extra=extra), FLOW, 0.0)
    (event,) = made.events()
    assert isinstance(event, ReferReceived)
    assert event.usage is None
    assert event.replaces == ("id@h", "t1", "f1", False)
    usage = made.accept_refer(event.transaction, now=0.0)
    accepted, notify = made.outputs()
    assert isinstance(accepted, Transmit)
    assert isinstance(notify, Transmit)
    assert accepted.data.startswith(b"SIP/2.0 202 ")
    assert b"Record-Route: <sip:198.51.100.7;lr>\r\n" in accepted.data
    assert notify.data.startswith(b"NOTIFY sip:alice@198.51.100.7:5062 ")
    assert b"Route: <sip:198.51.100.7;lr>\r\n" in notify.data
    assert notify.data.endswith(b"SIP/2.0 100 Trying\r\n")
    usage.notify_refer(200, final=True, now=1.0)
    made.handle_timers(60.0)
    made.handle_timers(300.0)
    assert untouched(made)


# -- our own requests


def test_request_of_ours() -> None:
    pair = EnginePair()
    client = pair.alice.engine.request(
        "MESSAGE",
        "sip:bob@192.0.2.201",
        to="<sip:bob@example.com>",
        from_="<sip:alice@example.com>",
        headers=[("Subject", "x")],
        body=b"hello",
        content_type="text/plain",
        contact="alice",
        call_id="mine",
        cseq=7,
        now=pair.now,
        user="slot",
    )
    packet = pair.transfer("MESSAGE")
    for line in (b"Subject: x", b"CSeq: 7 MESSAGE", b"Call-ID: mine", b"Contact: <sip:alice@192"):
        assert b"\r\n" + line in packet.data
    event = pair.bob.take(RequestReceived)
    pair.bob.engine.respond(event.transaction, 100, now=pair.now)
    pair.bob.engine.respond(event.transaction, 200, now=pair.now)
    pair.roundtrip()
    responses = [pair.alice.take(ResponseReceived) for _ in range(2)]
    assert [r.response.status for r in responses if r.response] == [100, 200]
    assert responses[1].client is client
    assert client.user == "slot"
    pair.settle()
    pair.assert_empty()


def test_timer_check_of_a_request() -> None:
    """Eleven sends: T1 doubling to T2, the last at 31.5 s, failure at 32 s (RFC 3261 §17.1.2)."""
    pair = EnginePair()
    pair.alice.engine.request(
        "OPTIONS", "sip:192.0.2.201", to="<sip:x@y>", from_="<sip:a@b>", now=pair.now
    )
    pair.advance(31.9, deliver=False)
    times = [at for at, _, _ in pair.trace]
    assert times == [0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert not pair.alice.has(ResponseReceived)
    pair.advance(0.1, deliver=False)
    assert pair.alice.take(ResponseReceived).cause == "timeout"
    pair.wire.clear()
    pair.assert_empty()


def test_methods_with_a_way_of_their_own() -> None:
    made = engine()
    for method in ("INVITE", "ACK", "CANCEL", "SUBSCRIBE"):
        with pytest.raises(LocalProtocolError):
            made.request(method, "sip:x", to="<sip:x>", from_="<sip:y>", now=0.0)


def test_header_injection_is_our_own_fault() -> None:
    made = engine()
    for headers in ([("X", "a\r\nVia: b")], [("X", "a\nb")], [("X\r", "a")]):
        with pytest.raises(LocalProtocolError):
            made.request(
                "OPTIONS", "sip:192.0.2.9", to="<sip:x>", from_="<sip:y>", headers=headers, now=0.0
            )
    with pytest.raises(LocalProtocolError):
        made.invite("sip:192.0.2.9", to="<sip:x>", from_="<sip:y>", contact_user="a>b", now=0.0)
    assert untouched(made)


def test_engine_without_a_listener_says_so() -> None:
    made = SipEngine(EngineConfig(), Random(1))
    with pytest.raises(LocalProtocolError):
        made.request("OPTIONS", "sip:192.0.2.9", to="<sip:x>", from_="<sip:y>", now=0.0)


# -- locating servers (RFC 3263)


def options(made: SipEngine, uri: str, **arguments: object) -> None:
    made.request(
        "OPTIONS",
        uri,
        to="<sip:x@example.com>",
        from_="<sip:y@example.com>",
        now=0.0,
        **arguments,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("uri", "to"),
    [
        ("sip:x@192.0.2.9", Flow("udp", US, ("192.0.2.9", 5060))),
        ("sip:x@192.0.2.9:5070", Flow("udp", US, ("192.0.2.9", 5070))),
        ("sip:x@192.0.2.9;transport=tcp", Target("tcp", "192.0.2.9", 5060)),
        ("sips:x@192.0.2.9", Target("tls", "192.0.2.9", 5061)),
        ("sips:x@192.0.2.9;transport=tcp", Target("tls", "192.0.2.9", 5061)),
        ("sip:x@example.com;maddr=192.0.2.8", Flow("udp", US, ("192.0.2.8", 5060))),
        ("sip:x@[2001:db8::5]", Flow("udp", US, ("2001:db8::5", 5060))),
    ],
)
def test_numeric_uri_needs_no_resolver(uri: str, to: object) -> None:
    made = engine()
    options(made, uri)
    (output,) = made.outputs()
    assert isinstance(output, Transmit)
    assert output.to == to


def test_named_uri_is_resolved_and_failure_tries_the_next() -> None:
    """RFC 3263 §4.3: timeout, transport error or 503 lead to the next target, on a new branch."""
    made = engine()
    options(made, "sip:x@example.com")
    (query,) = made.outputs()
    assert isinstance(query, Resolve)
    assert (query.uri, query.transport) == ("sip:x@example.com", "")
    targets = [Target("udp", f"192.0.2.{n}", 5060) for n in (1, 2, 3, 4)]
    made.resolved(query.query, targets, 1.0)
    made.resolved(query.query, targets, 1.0)  # a second answer is of no use
    (first,) = made.outputs()
    assert isinstance(first, Transmit)
    made.transport_failed(first.to, first.token, 2.0)
    failed, second = made.outputs()
    assert failed == TargetFailed(targets[0], None)
    assert isinstance(second, Transmit)
    now = 2.0
    while made.statistics()["client_transactions"] and now < 34.5:
        now += 0.5
        made.handle_timers(now)
    outputs = made.outputs()
    assert TargetFailed(targets[1], None) in outputs
    third = outputs[-1]
    assert isinstance(third, Transmit)
    branches = {o.data.split(b"branch=")[1].split(b";")[0] for o in (first, second, third)}
    assert len(branches) == 3
    assert {o.to.remote[0] for o in (first, second, third) if isinstance(o.to, Flow)} == {
        "192.0.2.1",
        "192.0.2.2",
        "192.0.2.3",
    }
    unavailable = third.data.replace(b"OPTIONS sip:x@example.com SIP/2.0", b"SIP/2.0 503 Busy")
    made.receive_datagram(unavailable, FLOW, now)
    failed, fourth = made.outputs()
    assert failed == TargetFailed(targets[2], None)
    assert isinstance(fourth, Transmit)
    last = fourth.data.replace(
        b"OPTIONS sip:x@example.com SIP/2.0", b"SIP/2.0 503 Busy\r\nRetry-After: 90 (disk full)"
    )
    made.receive_datagram(last, FLOW, now)
    assert made.outputs() == [TargetFailed(targets[3], 90.0)]
    (event,) = made.events()
    assert isinstance(event, ResponseReceived)
    assert event.response is not None
    assert event.response.status == 503


def test_nothing_found_and_never_answered() -> None:
    made = engine()
    options(made, "sip:x@example.com")
    (query,) = made.outputs()
    assert isinstance(query, Resolve)
    made.resolved(query.query, [], 1.0)
    assert [e.cause for e in made.events() if isinstance(e, ResponseReceived)] == ["transport"]
    options(made, "sip:x@example.com")
    made.outputs()
    made.handle_timers(40.0)
    assert [e.cause for e in made.events() if isinstance(e, ResponseReceived)] == ["timeout"]
    options(made, "tel:+123")
    options(made, "sip:bad uri")
    causes = [e.cause for e in made.events() if isinstance(e, ResponseReceived)]
    assert causes == ["transport", "transport"]
    assert made.statistics()["queries"] == 0
    assert untouched(made)


def test_large_request_tries_tcp_first() -> None:
    """RFC 3261 §18.1.1: over 1300 bytes TCP, and UDP when that is refused."""
    made = engine()
    options(made, "sip:x@192.0.2.9", body=b"x" * 1400)
    (tcp,) = made.outputs()
    assert isinstance(tcp, Transmit)
    assert tcp.to == Target("tcp", "192.0.2.9", 5060)
    assert b"Via: SIP/2.0/TCP " in tcp.data
    made.transport_failed(tcp.to, tcp.token, 0.1)
    (udp,) = made.outputs()
    assert isinstance(udp, Transmit)
    assert udp.to == Flow("udp", US, ("192.0.2.9", 5060))
    options(made, "sip:x@192.0.2.9;transport=udp", body=b"x" * 1400)
    (chosen,) = made.outputs()
    assert isinstance(chosen, Transmit)
    assert isinstance(chosen.to, Flow)
    options(made, "sip:x@example.com", body=b"x" * 1400)
    (query,) = made.outputs()
    assert isinstance(query, Resolve)
    assert query.transport == "tcp"


def test_preloaded_route_and_binding() -> None:
    """Path of a binding becomes Route; a Target with a flow is sent over exactly that flow."""
    made = engine()
    options(made, "sip:x@example.com", route=["<sip:192.0.2.77;lr>", "<sip:edge.example;lr>"])
    (output,) = made.outputs()
    assert isinstance(output, Transmit)
    assert output.to == Flow("udp", US, ("192.0.2.77", 5060))
    assert b"Route: <sip:192.0.2.77;lr>\r\nRoute: <sip:edge.example;lr>\r\n" in output.data
    options(made, "sip:x@example.com", route=["sip:192.0.2.78;lr"])
    (bare,) = made.outputs()
    assert isinstance(bare, Transmit)
    assert bare.to == Flow("udp", US, ("192.0.2.78", 5060))
    options(made, "sip:x@example.com", target=Target("tcp", "10.0.0.1", 5060, TCP))
    (bound,) = made.outputs()
    assert isinstance(bound, Transmit)
    assert bound.to == TCP


def test_advertised_address() -> None:
    """Via and Contact show what the peer can reach."""
    made = engine(advertised=lambda transport, local: ("sip.example.com", 5080))
    made.invite("sip:x@192.0.2.9", to="<sip:x>", from_="<sip:y>", now=0.0, contact_user="pbx")
    (output,) = made.outputs()
    assert isinstance(output, Transmit)
    assert b"Via: SIP/2.0/UDP sip.example.com:5080;branch=" in output.data
    assert b"Contact: <sip:pbx@sip.example.com:5080>\r\n" in output.data


# -- bounds


def test_full_tables_refuse_new_work_without_state() -> None:
    """503 with a jittered Retry-After; a request of a dialog still gets through."""
    pair = EnginePair(bob=EngineConfig(max_transactions=5))
    caller, _ = pair.established()
    for number in range(3):
        flow = pair.flow(pair.bob)
        pair.bob.engine.receive_datagram(
            message(branch=f"z9hG4bKn{number}", call_id=f"n{number}"), flow, pair.now
        )
    before = pair.bob.engine.statistics()["server_transactions"]
    pair.bob.engine.receive_datagram(
        message(branch="z9hG4bKfull", call_id="full"), pair.flow(pair.bob), pair.now
    )
    packet = next(output for output in pair.bob.engine.outputs() if isinstance(output, Transmit))
    assert packet.data.startswith(b"SIP/2.0 503 ")
    assert b"\r\nRetry-After: 1" in packet.data
    assert pair.bob.engine.statistics()["server_transactions"] == before
    caller.request("INFO", now=pair.now)
    pair.transfer("INFO")
    assert pair.wire == []
    # Even dialogs stop at the hard limit.
    caller.request("INFO", now=pair.now)
    pair.transfer("INFO")
    pair.transfer("503 INFO")


def test_our_own_requests_are_bounded_too() -> None:
    made = engine(max_transactions=2)
    for _ in range(3):
        options(made, "sip:192.0.2.9")
    assert [e.cause for e in made.events() if isinstance(e, ResponseReceived)] == ["transport"]
    usage = made.invite("sip:192.0.2.9", to="<sip:x>", from_="<sip:y>", now=0.0)
    (event,) = made.events()
    assert isinstance(event, InviteFailed)
    assert (event.status, event.usage) == (503, usage)


# -- streams


def test_stream_call_and_keep_alive() -> None:
    """A whole call over TCP: no retransmission timers; CRLFCRLF is answered by CRLF."""
    pair = EnginePair(transport="tcp")
    caller, callee = pair.established(target=pair.flow(pair.alice))
    assert callee.flow == pair.flow(pair.bob)
    callee.bye(now=pair.now)
    assert pair.roundtrip() == ["BYE", "200 BYE"]
    assert caller.ended
    complete = pair.bob.engine.receive_stream(pair.flow(pair.bob), b"\r\n\r\n", pair.now)
    assert complete == 1
    (pong,) = pair.bob.engine.outputs()
    assert isinstance(pong, Transmit)
    assert pong.data == b"\r\n"
    assert pair.bob.engine.receive_stream(pair.flow(pair.bob), b"OPTIONS sip:x", pair.now) == 0
    pair.settle()
    pair.assert_empty()


def test_unreadable_stream_is_answered_and_closed() -> None:
    made = engine()
    made.flow_opened(TCP, 0.0)
    data = message().replace(b"Content-Length: 0\r\n", b"")
    made.receive_stream(TCP, data, 0.0)
    refusal, close = made.outputs()
    assert isinstance(refusal, Transmit)
    assert refusal.data.startswith(b"SIP/2.0 400 ")
    assert close == CloseFlow(TCP, "framing lost")
    made.flow_closed(TCP, 1.0)
    assert made.receive_stream(TCP, b"x", 2.0) == 0
    assert made.statistics()["flows"] == 0


def test_websocket_frames_are_messages() -> None:
    """RFC 7118 §5: no Content-Length needed; one frame, one message."""
    flow = Flow("ws", ("192.0.2.1", 80), ("198.51.100.7", 40000), 3)
    made = engine()
    made.flow_opened(flow, 0.0)
    data = message().replace(b"Content-Length: 0\r\n", b"").replace(b"/UDP", b"/WS")
    assert made.receive_stream(flow, data, 0.0) == 1
    assert isinstance(made.events()[0], RequestReceived)
    assert made.receive_stream(flow, b"\r\n\r\n", 0.0) == 1
    assert [o.data for o in made.outputs() if isinstance(o, Transmit)] == [b"\r\n"]
    assert made.receive_stream(flow, b"\r\n", 0.0) == 1
    assert made.outputs() == []


def test_closed_flow_fails_what_waits_on_it() -> None:
    """RFC 5626 §4.3: at once, not by timeout."""
    pair = EnginePair(transport="tcp")
    pair.ringing(target=pair.flow(pair.alice))
    for side in pair.sides:
        side.engine.flow_closed(pair.flow(side), pair.now)
    pair.collect()
    assert pair.alice.take(InviteFailed).cause == "transport"
    failed = pair.bob.take(InviteFailed)
    assert (failed.status, failed.cause) == (430, "transport")
    pair.settle()
    pair.assert_empty()


def test_request_that_waits_for_its_connection() -> None:
    """The flow that opens takes the waiting request over; a later one uses it directly."""
    made = engine()
    options(made, "sip:198.51.100.7:40000;transport=tcp")
    (first,) = made.outputs()
    assert isinstance(first, Transmit)
    assert isinstance(first.to, Target)
    made.flow_opened(TCP, 0.1)
    options(made, "sip:198.51.100.7:40000;transport=tcp")
    (second,) = made.outputs()
    assert isinstance(second, Transmit)
    assert second.to == TCP
    made.flow_closed(TCP, 0.2)
    causes = [e.cause for e in made.events() if isinstance(e, ResponseReceived)]
    assert causes == ["transport", "transport"]
    options(made, "sip:198.51.100.7:40000;transport=tcp")
    (third,) = made.outputs()
    assert isinstance(third, Transmit)
    made.transport_failed(third.to, third.token, 0.3)
    assert untouched(made)


def test_too_many_flows() -> None:
    made = engine(max_flows=1)
    made.flow_opened(TCP, 0.0)
    other = TCP._replace(id=2)
    made.flow_opened(other, 0.0)
    assert made.outputs() == [CloseFlow(other, "too many connections")]


def test_response_that_cannot_be_delivered() -> None:
    made = engine()
    made.receive_datagram(message(), FLOW, 0.0)
    (event,) = made.events()
    assert isinstance(event, RequestReceived)
    made.respond(event.transaction, 200, now=0.0)
    (output,) = made.outputs()
    assert isinstance(output, Transmit)
    made.transport_failed(output.to, output.token, 0.0)
    made.transport_failed(output.to, None, 0.0)
    assert untouched(made)
    assert made.statistics()["transport_failures"] == 2


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        ("Session-Expires: soon\r\nSupported: timer\r\n", "Bad Session-Expires"),
        ("Record-Route: <sip:open\r\n", "Bad Record-Route"),
        ('Supported: timer, "x\r\n', "Bad Supported"),
    ],
)
def test_invite_that_no_dialog_can_come_of(extra: str, reason: str) -> None:
    """400 that says which header, and nothing stays."""
    made = engine()
    made.receive_datagram(message("INVITE", extra=CONTACT + extra), FLOW, 0.0)
    (line,) = sent(made)
    assert line.startswith(f"SIP/2.0 400 {reason}")
    assert made.events() == []
    for now in range(40):
        made.handle_timers(now)
    assert untouched(made)


def test_answers_survive_the_dead_caller() -> None:
    """The whole table drains when the peer sends an INVITE and never anything again."""
    made = engine()
    made.receive_datagram(message("INVITE", extra=CONTACT, body="v=0"), FLOW, 0.0)
    (event,) = made.events()
    assert isinstance(event, InviteReceived)
    event.usage.accept(OFFER, now=0.0)
    now = 0.0
    while now < 80:
        now += 0.5
        made.handle_timers(now)
    made.outputs()
    assert untouched(made)


def test_a_response_whose_ends_cannot_be_read_is_none() -> None:
    """From and To may be written anew by a peer, but must be addresses (RFC 3261 §8.1.3.3)."""
    pair = EnginePair()
    pair.call()
    pair.transfer("INVITE")
    pair.bob.take(InviteReceived).usage.provisional(180, now=pair.now)
    pair.collect()
    [packet] = pair.wire
    pair.wire.clear()
    ringing = packet.data
    for bad in (
        ringing.replace(b'From: "Alice"', b'From: "Alice'),
        ringing.replace(b"To: <", b'To: "<'),
    ):
        assert bad != ringing
        packet.data = bad
        pair.deliver(packet)
        assert not pair.alice.events
    packet.data = ringing.replace(b'From: "Alice"', b"From:   Alice ")
    pair.deliver(packet)
    assert pair.alice.has(InviteProgress)
