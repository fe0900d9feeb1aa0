"""Addresses: notations, quoting, ports, errors with their column."""

from __future__ import annotations

import pytest

from pbx.router import Address, AddressError, parse_address, qualified
from pbx.router.address import (
    MAX_ADDRESS,
    LocalParts,
    address_of,
    dialled_number,
    fold_case,
    split_local,
    standard_form,
    unnested,
)


@pytest.mark.parametrize(
    ("text", "local", "domain", "port"),
    [
        ("User1@CorpX.un", "User1", "corpx.un", 0),
        ("user1", "user1", "", 0),
        (" <user1@corpx.un.> ", "user1", "corpx.un", 0),
        ("user%other.com", "user%other.com", "", 0),
        ("a@b@c", "a%b", "c", 0),
        ("a!b@c", "b%a", "c", 0),
        ('"John Doe"@a.dom', "John Doe", "a.dom", 0),
        ('"a@b.dom"@c.dom', "a%b.dom", "c.dom", 0),
        ('"q\\"uote"', 'q"uote', "", 0),
        ("x@1.2.3.4", "x", "[1.2.3.4]", 0),
        ("x@[IPv6:2001:DB8::1]", "x", "[2001:db8::1]", 0),
        ("x@2001:db8::1", "x", "[2001:db8::1]", 0),
        ("x@[2001:db8::1]:5062", "x", "[2001:db8::1]", 5062),
        ("x@h.dom:25", "x", "h.dom", 25),
        ("x@h.dom:25._via", "x", "h.dom._via", 25),
        ("sip:x@h.dom:5080;transport=tcp?Subject=y", "x", "h.dom", 5080),
        ("mailto:x@h.dom", "x", "h.dom", 0),
        ("gatewaycaller{+7*,gwru}#pbx", "gatewaycaller{+7*,gwru}#pbx", "", 0),
        ("app{a@b.dom}#pbx@c.dom", "app{a@b.dom}#pbx", "c.dom", 0),
        ("app{a%b!c}#pbx", "app{a%b!c}#pbx", "", 0),
        ("+7(495)123-45-67@a.dom", "+7(495)123-45-67", "a.dom", 0),
        ("x@пример.рф", "x", "xn--e1afmkfd.xn--p1ai", 0),
        ("иван@a.dom", "иван", "a.dom", 0),
        ("x@v6host.abc4", "x", "v6host.abc4", 0),
    ],
)
def test_notations(text: str, local: str, domain: str, port: int) -> None:
    address = parse_address(text)
    assert address == Address(local, domain, port)
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    ("text", "column", "expected"),
    [
        ("", 1, "an address such as"),
        ("  ", 1, "an address such as"),
        ("x" * (MAX_ADDRESS + 1), MAX_ADDRESS + 1, "at most"),
        ("a\x00b", 2, "can be printed"),
        ("x@", 3, "a domain after"),
        ("@a.dom", 1, "a source route"),
        ("<@a.dom,b.dom:x@c.dom>", 2, "a source route"),
        ("a b@c.dom", 2, "no ' ' here"),
        ("x@a..b", 3, "a domain such as"),
        ("x@[1.2.3]", 3, "an IP address"),
        ("x@1.2.3.444", 3, "an IP address"),
        ("x@h.dom:99999", 9, "a port from 1"),
        ('""@a.dom', 1, "between the quotes"),
        ('"a"@', 5, "a domain after"),
        ("x@" + "a" * 300, 3, "a domain such as"),
        ("x@\udcff.dom", 3, "can be printed"),
        ("x@" + "é" * 80, 3, "a domain such as"),
    ],
)
def test_errors_say_where_and_what(text: str, column: int, expected: str) -> None:
    with pytest.raises(AddressError) as caught:
        parse_address(text)
    assert (caught.value.column, expected in caught.value.expected) == (column, True), caught.value
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    ("local", "parts"),
    [
        ("user1", LocalParts("user1")),
        ("group1#postmaster", LocalParts("postmaster", "group1")),
        ("a#b#c", LocalParts("c", "a#b")),
        ("app{1,2}#pbx", LocalParts("pbx", "app", ("1", "2"))),
        ("app{}#pbx", LocalParts("pbx", "app", ())),
        ("#voicemail", LocalParts("voicemail", "")),
        ("service{12}#", LocalParts("", "service", ("12",))),
        ("{1}#pbx", None),
        ("app{1#pbx", None),
        ("app{1}x#pbx", None),
    ],
)
def test_parts_of_a_local_part(local: str, parts: LocalParts | None) -> None:
    assert split_local(local) == parts


@pytest.mark.parametrize(
    ("dialled", "number"),
    [
        ("7(123)456-78-90", "71234567890"),
        ("+49 30 123", "+4930123"),
        ("401", "401"),
        ("+", ""),
        ("()", ""),
        ("4+5", ""),
        ("401a", ""),
        ("", ""),
    ],
)
def test_dialled_numbers(dialled: str, number: str) -> None:
    assert dialled_number(dialled) == number


def test_what_is_inside_a_nested_address() -> None:
    assert unnested("a%b.dom%c.dom") == Address("a%b.dom", "c.dom")
    assert unnested("app{x%y}#pbx") is None
    assert standard_form("a%b.dom%c.dom") == "a%b.dom@c.dom"
    assert standard_form("a") == "a"
    for broken in ("%a.dom", "a%"):
        with pytest.raises(AddressError):
            unnested(broken)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("bob", "bob@own.dom"),
        ("bob@other.dom", "bob@other.dom"),
        ("bob%other.dom", "bob%other.dom"),
        ("sayhello#pbx", "sayhello#pbx@own.dom"),
        ("#voicemail", "voicemail#alice@own.dom"),
        ("sip:bob@far.dom:5070;x=y", "bob@far.dom:5070"),
    ],
)
def test_addresses_are_meant_where_their_owner_is(text: str, meant: str) -> None:
    assert qualified(text, "own.dom", "alice") == meant


def test_addresses_of_uris() -> None:
    assert address_of("bob", "a.dom") == Address("bob", "a.dom")
    assert address_of("x@y.dom", "a.dom") == Address("x%y.dom", "a.dom")
    assert address_of("bob", "192.0.2.1") == Address("bob", "[192.0.2.1]")
    assert address_of("", "2001:db8::a") == Address("", "[2001:db8::a]")
    for bad in ("a\nb", "x@" * MAX_ADDRESS):
        with pytest.raises(AddressError):
            address_of(bad, "a.dom")


def test_case_is_folded_without_changing_length() -> None:
    assert fold_case("ABCİ") == "abcİ"
