"""URIs: RFC 3261 §19.1 with its own examples, IPv6 as in RFC 5118."""

from __future__ import annotations

import pytest

from sip import uri as uri_module
from sip.errors import MalformedHeader
from sip.grammar import Limits
from sip.uri import OpaqueUri, SipUri, Uri, parse_uri, unescape


def sip(text: str) -> SipUri:
    uri = parse_uri(text)
    assert isinstance(uri, SipUri)
    return uri


@pytest.mark.parametrize(
    "text",
    [
        "sip:alice@atlanta.com",
        "sip:alice:secretword@atlanta.com;transport=tcp",
        "sips:alice@atlanta.com?subject=project%20x&priority=urgent",
        "sip:+1-212-555-1212:1234@gateway.com;user=phone",
        "sips:1212@gateway.com",
        "sip:alice@192.0.2.4",
        "sip:atlanta.com;method=REGISTER?to=alice%40atlanta.com",
        "sip:alice;day=tuesday@atlanta.com",
        "SIP:ALICE@AtLanTa.CoM;Transport=udp",
        "sip:app%23acct@dom",
        "sip:app#acct@dom",
        "sip:[2001:db8::10]:5070;lr",
        "sip:u@[2001:db8::10]",
        "sip:h_st.example:65535",
    ],
)
def test_text_is_kept(text: str) -> None:
    """RFC 3261 §19.1.3 examples and others: whatever was parsed is written again."""
    assert str(parse_uri(text)) == text


def test_parts() -> None:
    uri = sip("sips:al%69ce:pw@ATLANTA.com:5070;transport=TCP;lr?Subject=a%20b&x")
    assert (uri.scheme, uri.secure, uri.user, uri.user_text) == ("sips", True, "al%69ce", "alice")
    assert (uri.password, uri.host, uri.host_text, uri.port) == (
        "pw",
        "atlanta.com",
        "ATLANTA.com",
        5070,
    )
    assert uri.params == {"transport": "TCP", "lr": None}
    assert uri.transport == "tcp"
    assert uri.header_items() == [("Subject", "a b"), ("x", "")]
    assert uri.aor == "alice@atlanta.com"


def test_no_user() -> None:
    uri = sip("sip:atlanta.com")
    assert (uri.user, uri.user_text, uri.aor, uri.transport) == (None, "", "atlanta.com", "")
    assert uri.header_items() == []
    assert not uri.secure


def test_ipv6_has_no_brackets_inside() -> None:
    """RFC 5118 §4.1: the port stands outside the brackets."""
    uri = sip("sip:a@[2001:DB8::1]:5060")
    assert (uri.host, uri.host_text, uri.port) == ("2001:db8::1", "[2001:DB8::1]", 5060)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "alice",
        "sip:",
        "sip:@host",
        "sip:a b@host",
        "sip: a@host",
        "sip:a@host;",
        "sip:a@host;;x",
        "sip:a@host:99999",
        "sip:a@host:0",
        "sip:a@host:",
        "sip:a@ho<st",
        "sip:a@host?",
        'sip:"a"@host',
        "sip:a@2001:db8::1",
        "sip:a@[zz]",
        "sip:a@b@c",
        "sip:a@host\x00",
        "sip:\udcff@host",
        "sip:a@host;x=\udcff",
        "sip:a@host?x=\udcff",
        "tel:\udcff",
        "<sip:a@host>",
        "1tel:5",
        "tel:",
        "tel: 5",
        "te l:5",
    ],
)
def test_malformed(text: str) -> None:
    with pytest.raises(MalformedHeader):
        parse_uri(text)


def test_too_long_is_414() -> None:
    with pytest.raises(MalformedHeader) as caught:
        parse_uri("sip:" + "a" * 60, Limits(uri_bytes=50))
    assert caught.value.status_hint == 414


def test_opaque() -> None:
    uri = parse_uri("TEL:+1-201-555-0123;ext=5")
    assert isinstance(uri, OpaqueUri)
    assert (uri.scheme, uri.rest, str(uri)) == (
        "tel",
        "+1-201-555-0123;ext=5",
        "TEL:+1-201-555-0123;ext=5",
    )
    assert uri.equivalent(parse_uri("tel:+1-201-555-0123;ext=5"))
    assert not uri.equivalent(parse_uri("tel:5"))
    assert not uri.equivalent(parse_uri("fax:+1-201-555-0123;ext=5"))
    assert not uri.equivalent(sip("sip:a@b"))
    assert uri == OpaqueUri("tel", "TEL:+1-201-555-0123;ext=5")
    assert uri != "tel"
    assert len({uri, OpaqueUri("tel", uri.text)}) == 1
    assert "TEL" in repr(uri)


EQUAL = [
    ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"),
    ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
    ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;newparam=5"),
    (
        "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
        "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
    ),
    (
        "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
        "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
    ),
    ("sip:a%3bb@h", "sip:a%3Bb@h"),
]
DIFFERENT = [
    ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"),
    ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
    ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
    ("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"),
    ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"),
    ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
    ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"),
    ("sip:a@h", "sips:a@h"),
    ("sip:a@h", "sip:h"),
    ("sip:a:p@h", "sip:a@h"),
    ("sip:a:p@h", "sip:a:P@h"),
    ("sip:a;b@h", "sip:a%3Bb@h"),
    ("sip:a@h;maddr=1.2.3.4", "sip:a@h"),
    ("sip:a@h", "tel:5"),
    ("sip:%00@h", "sip:%00%00@h"),
    ("sip:a%2561@h", "sip:a%61@h"),
]


@pytest.mark.parametrize(("left", "right"), EQUAL)
def test_equivalent(left: str, right: str) -> None:
    """RFC 3261 §19.1.4, both ways."""
    assert parse_uri(left).equivalent(parse_uri(right))
    assert parse_uri(right).equivalent(parse_uri(left))


@pytest.mark.parametrize(("left", "right"), DIFFERENT)
def test_not_equivalent(left: str, right: str) -> None:
    a: Uri = parse_uri(left)
    b: Uri = parse_uri(right)
    assert not a.equivalent(b)
    assert not b.equivalent(a)


def test_built_uri_is_written() -> None:
    uri = SipUri("sip", "401", None, "2001:db8::1", 5060, {"lr": None, "ob": "1"}, "a=b")
    assert str(uri) == "sip:401@[2001:db8::1]:5060;lr;ob=1?a=b"
    assert str(SipUri("sip", "a", "p", "h")) == "sip:a:p@h"
    assert str(SipUri("sips", None, None, "h")) == "sips:h"


def test_replace_keeps_the_rest() -> None:
    uri = sip("sip:a@h:5070;x=1?y=2")
    assert str(uri.replace(user="b")) == "sip:b@h:5070;x=1?y=2"
    assert str(uri.replace(host="::1", port=1, params={}, headers="")) == "sip:a@[::1]:1"
    assert str(uri) == "sip:a@h:5070;x=1?y=2"


def test_identity_is_text() -> None:
    assert sip("sip:a@h") == sip("sip:a@h")
    assert sip("sip:a@h") != sip("sip:a@H")
    assert sip("sip:a@h") != "sip:a@h"
    assert len({sip("sip:a@h"), sip("sip:a@h")}) == 1


def test_repr_hides_the_password() -> None:
    assert "secret" not in repr(sip("sip:a:secret@h"))
    assert repr(sip("sip:h")) == "SipUri(sip:h:None)"


def test_unescape() -> None:
    assert unescape("plain") == "plain"
    assert unescape("%41%d1%80%zz%") == "Aр%zz%"
    assert unescape("%ff").encode("utf-8", "surrogateescape") == b"\xff"


def test_parsed_uris_are_remembered_within_bounds() -> None:
    """The same text gives the same value; a flood of others cannot make the memory grow."""
    first = parse_uri("sip:alice@example.org")
    assert parse_uri("sip:alice@example.org") is first
    assert parse_uri("sip:alice@example.org", Limits(uri_bytes=200)) is not first
    long = f"sip:{'a' * 200}@example.org"
    assert parse_uri(long) is not parse_uri(long)
    for number in range(uri_module._PARSED_ENTRIES + 10):
        parse_uri(f"sip:u{number}@example.org")
    assert len(uri_module._parsed) <= uri_module._PARSED_ENTRIES
    with pytest.raises(MalformedHeader):
        parse_uri("sip:alice@example.org", Limits(uri_bytes=5))
