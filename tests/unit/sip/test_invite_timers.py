"""Session timer values of odd peers (RFC 4028), and requests that outlive their reason."""

from __future__ import annotations

from random import Random

import pytest

from sip.core import Core, EngineConfig
from sip.dialog.session_timer import NO_SESSION, SessionTimer
from sip.events import InviteFailed, InviteReceived, ReferReceived
from sip.flow import Target
from sip.message import Request, Response
from tests.support.engine_pair import EnginePair


def timer(wanted_s: int = 1800, **config: object) -> SessionTimer:
    return SessionTimer(Core(EngineConfig(**config), Random(1)), NO_SESSION, wanted_s)  # type: ignore[arg-type]


def request(**headers: str) -> Request:
    named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Request("INVITE", "sip:b@x", named)


@pytest.mark.parametrize(
    ("headers", "supports", "lines", "we_refresh"),
    [
        # The caller names itself, or leaves the choice to us: it refreshes.
        ({"Session_Expires": "600;refresher=uac"}, True, "600;refresher=uac", False),
        ({"Session_Expires": "600"}, True, "600;refresher=uac", False),
        ({"Session_Expires": "600;refresher=uas"}, True, "600;refresher=uas", True),
        # A proxy asked on behalf of a caller that cannot.
        ({"Session_Expires": "600;refresher=uac"}, False, "600;refresher=uas", True),
        ({}, False, "1800;refresher=uas", True),
        ({}, True, "1800;refresher=uac", False),
        # Never longer than we want, never shorter than the caller allows.
        ({"Session_Expires": "7200", "Min_SE": "3600"}, True, "3600;refresher=uac", False),
        ({"Session_Expires": "7200"}, True, "1800;refresher=uac", False),
        ({"Session_Expires": "600", "Min_SE": "soon"}, True, "600;refresher=uac", False),
        ({"Session_Expires": "1"}, False, "90;refresher=uas", True),
    ],
)
def test_answering_side(
    headers: dict[str, str], supports: bool, lines: str, we_refresh: bool
) -> None:
    """§9 and its table 2; Require only when the caller has to refresh."""
    session = timer()
    text = session.response_lines(request(**headers), supports)
    assert text.startswith(f"Session-Expires: {lines}\r\n")
    assert ("Require: timer" in text) is ("refresher=uac" in text)
    assert session.we_refresh is we_refresh


def test_answering_side_without_a_timer() -> None:
    session = timer(0)
    assert session.response_lines(request(), True) == ""
    assert session.response_lines(request(Session_Expires="soon"), True) == ""
    assert session.interval_s == 0
    assert session.request_lines() == ""
    # The peer's wish is honoured though we have none.
    assert "Session-Expires: 600" in session.response_lines(request(Session_Expires="600"), True)


@pytest.mark.parametrize(
    ("value", "interval_s", "we_refresh"),
    [
        ("600;refresher=uac", 600, True),
        ("600;refresher=uas", 600, False),
        ("600", 600, True),
        ("soon", 0, False),
        (None, 0, False),
    ],
)
def test_asking_side(value: str | None, interval_s: int, we_refresh: bool) -> None:
    session = timer(keepalive_s=0)
    headers = (("Session-Expires", value),) if value else ()
    session.answered(Response(200, "OK", headers), 0.0)
    assert (session.interval_s, session.we_refresh) == (interval_s, we_refresh)
    assert bool(len(session.core.timers)) is bool(interval_s)
    session.release()
    assert len(session.core.timers) == 0


def test_extension_that_is_not_supported_is_not_used() -> None:
    assert timer(supported=("100rel",)).request_lines() == ""


def test_minimum_that_cannot_be_read() -> None:
    session = timer()
    assert not session.raise_minimum(Response(422, "", (("Min-SE", "soon"),)))
    assert not session.raise_minimum(Response(422, "", (("Min-SE", "90"),)))
    assert session.raise_minimum(Response(422, "", (("Min-SE", "2000"),)))
    assert session.request_lines() == "Session-Expires: 2000\r\nMin-SE: 2000\r\n"


def test_refer_whose_last_notify_is_refused_or_late() -> None:
    """100 before the final response to a NOTIFY, expiry while the last one runs."""
    pair = EnginePair()
    caller, callee = pair.established()
    caller.request("REFER", [("Refer-To", "<sip:c@192.0.2.7>")], now=pair.now)
    pair.transfer("REFER")
    callee.respond(pair.bob.take(ReferReceived).transaction, 202, now=pair.now)
    pair.transfer("202 REFER")
    notify = pair.drop("NOTIFY")
    line = notify.data.split(b"\r\n", 1)[0]
    for status in (b"100 Trying", b"481 Gone"):
        answer = notify.data.replace(line, b"SIP/2.0 " + status, 1)
        pair.bob.engine.receive_datagram(answer, pair.flow(pair.bob), pair.now)
        pair.collect()
        assert len(callee._refers) == (1 if status.startswith(b"100") else 0)
    callee.notify_refer(200, final=True, now=pair.now)
    pair.collect()
    assert pair.wire == []


def test_refer_that_expires_while_its_last_notify_runs() -> None:
    pair = EnginePair()
    caller, callee = pair.established()
    caller.request("REFER", [("Refer-To", "<sip:c@192.0.2.7>")], now=pair.now)
    pair.transfer("REFER")
    callee.respond(pair.bob.take(ReferReceived).transaction, 202, now=pair.now)
    pair.roundtrip()
    pair.advance(170)
    callee.notify_refer(200, final=True, now=pair.now)
    pair.advance(30, deliver=False)
    assert callee._refers
    pair.advance(5, deliver=False)
    assert not callee._refers
    assert not callee.ended


def test_cancelled_invite_does_not_try_the_next_server() -> None:
    """RFC 3263 fail-over ends with the user's wish to call."""
    pair = EnginePair()
    usage = pair.alice.engine.invite(
        "sip:bob@biloxi.example.com", to="<sip:bob@x>", from_="<sip:a@x>", now=pair.now
    )
    pair.collect()
    targets = [Target("udp", *pair.bob.address)] * 2
    pair.alice.engine.resolved(pair.alice.queries[0].query, targets, pair.now)
    pair.transfer("INVITE")
    callee = pair.bob.take(InviteReceived).usage
    usage.cancel(now=pair.now)
    callee.reject(503, now=pair.now)
    assert pair.roundtrip() == ["503 INVITE", "ACK"]
    failed = pair.alice.take(InviteFailed)
    assert (failed.status, failed.cause) == (503, "cancelled")


def test_answer_of_a_server_that_was_given_up() -> None:
    """A late 1xx under the old branch means nothing any more; a 2xx does."""
    pair = EnginePair()
    usage = pair.alice.engine.invite(
        "sip:bob@biloxi.example.com", to="<sip:bob@x>", from_="<sip:a@x>", now=pair.now
    )
    pair.collect()
    targets = [Target("udp", *pair.bob.address)] * 2
    pair.alice.engine.resolved(pair.alice.queries[0].query, targets, pair.now)
    first = pair.drop("INVITE")
    pair.alice.engine.transport_failed(first.flow, first.token, pair.now)
    pair.collect()
    pair.drop("INVITE")
    ringing = first.data.replace(first.data.split(b"\r\n")[0], b"SIP/2.0 180 Ringing", 1)
    pair.alice.engine.receive_datagram(ringing, pair.flow(pair.alice), pair.now)
    assert pair.alice.engine.statistics()["stray_responses"] == 1
    assert usage.state == "trying"
