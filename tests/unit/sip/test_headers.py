"""Typed header values, one section per family."""

from __future__ import annotations

import pytest

from sip.errors import MalformedHeader
from sip.headers import (
    Challenge,
    CSeq,
    EventHeader,
    NameAddr,
    RAck,
    Reason,
    Replaces,
    RetryAfter,
    SessionExpires,
    SubscriptionState,
    Via,
    canonical_name,
    parse_authorization,
    parse_challenge,
    parse_cseq,
    parse_event,
    parse_min_se,
    parse_name_addr,
    parse_rack,
    parse_reason,
    parse_replaces,
    parse_retry_after,
    parse_rseq,
    parse_session_expires,
    parse_subscription_state,
    parse_via,
)
from sip.uri import SipUri

# --- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Call-ID", "Call-ID"),
        ("CALL-id", "Call-ID"),
        ("i", "Call-ID"),
        ("I", "Call-ID"),
        ("cseq", "CSeq"),
        ("www-authenticate", "WWW-Authenticate"),
        ("TO ", "To"),
        ("v\t", "Via"),
        ("X-Own-Thing", "X-Own-Thing"),
        ("x-own-thing ", "x-own-thing"),
    ],
)
def test_canonical_name(text: str, name: str) -> None:
    """RFC 3261 §7.3.1, §7.3.3; an extension keeps its spelling."""
    assert canonical_name(text) == name


@pytest.mark.parametrize("text", ["", "a b", "a@b", "ключ", " To"])
def test_bad_name(text: str) -> None:
    with pytest.raises(MalformedHeader):
        canonical_name(text)


# --- Via -----------------------------------------------------------------------------------------


def test_via() -> None:
    text = "SIP/2.0/UDP 192.168.0.5:5060;branch=z9hG4bKa1;rport"
    via = parse_via(text)
    assert (via.transport, via.transport_name) == ("UDP", "udp")
    assert (via.host, via.port, via.sent_by) == ("192.168.0.5", 5060, "192.168.0.5:5060")
    assert via.branch == "z9hG4bKa1"
    assert via.is_rfc3261
    assert via.wants_rport
    assert via.rport is None
    assert via.received == ""
    assert str(via) == text
    assert text in repr(via)


def test_via_with_white_space_and_ipv6() -> None:
    via = parse_via("sip / 2.0 / TLS   [2001:DB8::9] : 5061 ; received=[2001:db8::1]")
    assert (via.host, via.port, via.transport_name) == ("2001:db8::9", 5061, "tls")
    assert via.received == "2001:db8::1"
    assert via.sent_by == "[2001:db8::9]:5061"
    assert via.branch == ""
    assert not via.is_rfc3261


@pytest.mark.parametrize(
    "text",
    [
        "",
        "SIP/2.0/UDP",
        "SIP/2.0 host",
        "HTTP/2.0/UDP host",
        "SIP/2.0/UDP host:",
        "SIP/2.0/UDP host:70000",
        "SIP/2.0/UDP host;;",
        "SIP/2.0/UDP ho st",
        "SIP/2.0/UDP [::1",
    ],
)
def test_bad_via(text: str) -> None:
    with pytest.raises(MalformedHeader):
        parse_via(text)


def test_via_records_the_source() -> None:
    """RFC 3261 §18.2.1 and RFC 3581 §4."""
    plain = Via("UDP", "10.0.0.1", 5060, {"branch": "z9hG4bKx"})
    assert str(plain.with_source("10.0.0.1", 9)) == "SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKx"
    moved = plain.with_source("192.0.2.7", 4000)
    assert (moved.received, moved.rport) == ("192.0.2.7", None)
    forced = plain.with_source("192.0.2.7", 4000, force_rport=True)
    assert (forced.received, forced.rport) == ("192.0.2.7", 4000)
    asked = Via("UDP", "::1", None, {"rport": None}).with_source("::1", 4000)
    assert str(asked) == "SIP/2.0/UDP [::1];rport=4000;received=::1"


def test_via_does_not_believe_received() -> None:
    lying = parse_via("SIP/2.0/UDP 10.0.0.1;received=203.0.113.66")
    assert lying.with_source("10.0.0.1", 5060).received == ""
    assert lying.received == "203.0.113.66"  # the value itself is unchanged


@pytest.mark.parametrize("value", [None, "", "abc", "0", "65536", "123456"])
def test_via_rport_that_is_no_port(value: str | None) -> None:
    assert Via("UDP", "h", None, {"rport": value}).rport is None


# --- addresses -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "display", "uri", "params"),
    [
        ("<sip:a@b>", "", "sip:a@b", {}),
        ("<sip:a@b;x>;tag=1", "", "sip:a@b;x", {"tag": "1"}),
        ("sip:a@b;tag=1", "", "sip:a@b", {"tag": "1"}),
        ("sip:a@b ; tag = 1", "", "sip:a@b", {"tag": "1"}),
        ('"A \\"B\\"" <sip:a@b>', 'A "B"', "sip:a@b", {}),
        ('"A<B>"<sip:a@b>', "A<B>", "sip:a@b", {}),
        ("A B <sip:a@b>", "A B", "sip:a@b", {}),
        ("caller<sip:a@b> ;x", "caller", "sip:a@b", {"x": None}),
        ("Bell, Alexander <sip:a@b>", "Bell, Alexander", "sip:a@b", {}),
        ('sip:a@b;x="<1>"', "", "sip:a@b", {"x": '"<1>"'}),
        ("tel:+1234", "", "tel:+1234", {}),
    ],
)
def test_name_addr(text: str, display: str, uri: str, params: dict[str, str | None]) -> None:
    value = parse_name_addr(text)
    assert (value.display, value.uri_text, value.params) == (display, uri, params)
    assert str(value) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        ";tag=1",
        "<>",
        "<sip:a@b",
        '"A <sip:a@b>',
        '"A" sip:a@b',
        '"A" B <sip:a@b>',
        '"A"',
        "sip:a@b?x=1",
        "sip:a@b,c",
        'A "B <sip:a@b>',
        "A B",
        "<sip:a@b>x",
        "<sip:a@b>;",
    ],
)
def test_bad_name_addr(text: str) -> None:
    with pytest.raises(MalformedHeader):
        parse_name_addr(text)


def test_display_name_of_an_old_phone() -> None:
    """Latin-1 in a display name is shown as it was meant, and kept verbatim in the text."""
    for text in ('"M\udcfcller" <sip:a@b>', "M\udcfcller <sip:a@b>"):
        value = parse_name_addr(text)
        assert value.display == "Müller"
        assert str(value) == text


def test_name_addr_uri_is_lazy_and_checked() -> None:
    value = parse_name_addr("< sip:a@b >", "To")
    with pytest.raises(MalformedHeader, match="Bad To"):
        _ = value.uri
    good = parse_name_addr("<sip:a@b>")
    assert good.uri is good.uri
    assert isinstance(good.uri, SipUri)
    assert good.sip_uri is good.uri
    with pytest.raises(MalformedHeader) as caught:
        _ = parse_name_addr("<tel:1>").sip_uri
    assert caught.value.status_hint == 416


def test_name_addr_params() -> None:
    value = parse_name_addr('<sip:a@b>;tag=T;x;+sip.instance="<urn:1>"')
    assert value.tag == "T"
    assert value.param("+sip.instance") == "<urn:1>"
    assert value.param("x") == ""
    assert value.param("y") is None
    assert parse_name_addr("<sip:a@b>").tag == ""


def test_name_addr_is_built_and_copied() -> None:
    value = NameAddr("sip:a@b", 'J "R"', {"tag": "1"})
    assert str(value) == '"J \\"R\\"" <sip:a@b>;tag=1'
    assert str(NameAddr("sip:a@b", "Ivan P")) == "Ivan P <sip:a@b>"
    assert str(value.with_params(to_tag="x", tag="2")) == '"J \\"R\\"" <sip:a@b>;tag=2;to-tag=x'
    assert str(value.without_params()) == '"J \\"R\\"" <sip:a@b>'
    assert "sip:a@b" in repr(value)


# --- numbers and small values --------------------------------------------------------------------


def test_cseq() -> None:
    assert parse_cseq("1 INVITE") == CSeq(1, "INVITE")
    assert parse_cseq("0009 \t NEW-method") == CSeq(9, "NEW-method")
    assert str(CSeq(7, "BYE")) == "7 BYE"
    for text in ("", "1", "INVITE", "INVITE 1", "1 INVITE x", "-1 ACK", "4294967296 ACK", "1 a@b"):
        with pytest.raises(MalformedHeader):
            parse_cseq(text)


def test_rack_and_rseq() -> None:
    """RFC 3262 §7."""
    assert parse_rack("776656 1 INVITE") == RAck(776656, 1, "INVITE")
    assert str(RAck(1, 2, "INVITE")) == "1 2 INVITE"
    assert parse_rseq("988789") == 988789
    for text in ("1 2", "a 1 INVITE", "1 2 @"):
        with pytest.raises(MalformedHeader):
            parse_rack(text)
    with pytest.raises(MalformedHeader):
        parse_rseq("0")


def test_replaces() -> None:
    """RFC 3891 §6.1."""
    text = "98732@sip.example.com;from-tag=r33th4x0r;to-tag=ff87ff"
    value = parse_replaces(text)
    assert value == Replaces("98732@sip.example.com", "ff87ff", "r33th4x0r")
    early = parse_replaces(text + ";early-only")
    assert early.early_only
    assert parse_replaces(str(early)) == early
    assert parse_replaces(str(value)) == value
    for bad in ("a;to-tag=1", "a;from-tag=1", ";to-tag=1;from-tag=2", "a"):
        with pytest.raises(MalformedHeader):
            parse_replaces(bad)


def test_event() -> None:
    assert parse_event("refer;id=93809824") == EventHeader("refer", "93809824", {"id": "93809824"})
    assert str(parse_event(" presence.winfo ")) == "presence.winfo"
    assert str(EventHeader("refer", "1")) == "refer;id=1"
    with pytest.raises(MalformedHeader) as caught:
        parse_event(";id=1")
    assert caught.value.status_hint == 489


def test_subscription_state() -> None:
    value = parse_subscription_state("Active;expires=599")
    assert value == SubscriptionState("active", 599)
    ended = parse_subscription_state("terminated;reason=NoResource;retry-after=5")
    assert ended == SubscriptionState("terminated", None, "noresource", 5)
    for state in (value, ended, SubscriptionState("pending")):
        assert parse_subscription_state(str(state)) == state
    with pytest.raises(MalformedHeader):
        parse_subscription_state("")


def test_reason() -> None:
    """RFC 3326."""
    value = parse_reason('SIP ;cause=200 ;text="Call completed elsewhere"')
    assert value == Reason("SIP", 200, "Call completed elsewhere")
    assert str(value) == 'SIP;cause=200;text="Call completed elsewhere"'
    assert str(parse_reason("Q.850;cause=16")) == "Q.850;cause=16"
    assert parse_reason("preemption") == Reason("preemption")
    assert str(Reason("preemption")) == "preemption"
    for bad in ("", ";cause=1", "SIP;cause=x"):
        with pytest.raises(MalformedHeader):
            parse_reason(bad)


def test_retry_after() -> None:
    assert parse_retry_after("18000;duration=3600") == RetryAfter(18000, 3600)
    assert parse_retry_after("120 (I'm in a meeting)") == RetryAfter(120)
    assert str(RetryAfter(5)) == "5"
    assert str(RetryAfter(5, 6)) == "5;duration=6"
    with pytest.raises(MalformedHeader):
        parse_retry_after("soon")


def test_session_timer() -> None:
    """RFC 4028 §4, §5."""
    assert parse_session_expires("4000;refresher=UAC") == SessionExpires(4000, "uac")
    assert str(parse_session_expires("1800;x=y")) == "1800"
    assert str(SessionExpires(90, "uas")) == "90;refresher=uas"
    assert parse_min_se("90 ;lr") == 90
    for bad in ("", "x", "90;refresher=both"):
        with pytest.raises(MalformedHeader):
            parse_session_expires(bad)


# --- authentication ------------------------------------------------------------------------------


def test_challenge() -> None:
    text = 'Digest realm="corp1.un", nonce="n,1", qop="auth, auth-int", stale=TRUE, opaque="o"'
    value = parse_challenge(text)
    assert value.is_digest
    assert (value.realm, value.nonce, value.opaque) == ("corp1.un", "n,1", "o")
    assert value.qop == ("auth", "auth-int")
    assert value.stale
    assert value.algorithm == "MD5"
    assert parse_challenge(str(value)).params == value.params


def test_challenge_without_qop() -> None:
    value = Challenge("Digest", {"realm": "r", "nonce": "n", "algorithm": "sha-256"})
    assert (value.qop, value.stale, value.opaque, value.algorithm) == ((), False, "", "SHA-256")


def test_credentials() -> None:
    text = (
        'Digest username="401", realm="corp1.un", nonce="n", uri="sip:corp1.un", '
        'response="ABC", algorithm=SHA-256, cnonce="c", qop=auth, nc=0000000a'
    )
    value = parse_authorization(text)
    assert (value.username, value.uri, value.response) == ("401", "sip:corp1.un", "abc")
    assert (value.cnonce, value.qop, value.nc, value.nc_text) == ("c", "auth", 10, "0000000a")
    assert str(value) == text.replace('"ABC"', '"ABC"')


@pytest.mark.parametrize("text", ["", "1", "0000000g", "+0000001", "0x000001", "000000001"])
def test_credentials_with_a_wrong_count(text: str) -> None:
    assert parse_authorization(f'Digest realm="r", nc={text or 0}').nc == 0


@pytest.mark.parametrize(
    "text", ["", "Digest a", "Digest a=1, a=2", 'Digest a="1', "Digest =1", "Digest a=1,,b=2"]
)
def test_bad_authorization(text: str) -> None:
    with pytest.raises(MalformedHeader):
        parse_authorization(text)


def test_other_schemes_pass() -> None:
    value = parse_authorization("NoOneKnowsThisScheme opaque-data=here")
    assert not value.is_digest
    assert value.params == {}
    assert parse_authorization("Digest").params == {}
