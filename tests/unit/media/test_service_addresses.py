"""Where media may be sent: the judgement of addresses that peers write (voice hammer, SSRF)."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from media.errors import LocalMediaError, NgRequestError
from media.server.addresses import Interface, Reach, place, reach_of


@pytest.mark.parametrize(
    ("host", "reach"),
    [
        ("198.51.100.7", Reach.PUBLIC),
        ("2001:db8::7", Reach.PUBLIC),
        ("10.1.2.3", Reach.PRIVATE),
        ("172.31.255.255", Reach.PRIVATE),
        ("172.32.0.1", Reach.PUBLIC),
        ("100.64.0.1", Reach.PRIVATE),
        ("fd00::1", Reach.PRIVATE),
        ("127.0.1.1", Reach.LOOPBACK),
        ("::1", Reach.LOOPBACK),
        ("0.0.0.0", Reach.UNSPECIFIED),
        ("::", Reach.UNSPECIFIED),
        ("0.1.2.3", Reach.NEVER),
        ("224.0.0.1", Reach.NEVER),
        ("255.255.255.255", Reach.NEVER),
        ("240.0.0.1", Reach.NEVER),
        ("169.254.169.254", Reach.NEVER),
        ("fe80::1", Reach.NEVER),
        ("fe80::1%eth0", Reach.NEVER),
        ("ff02::1", Reach.NEVER),
        ("::ffff:127.0.0.1", Reach.NEVER),
        ("phone.example.com", Reach.NEVER),
        ("", Reach.NEVER),
    ],
)
def test_addresses_are_classified(host: str, reach: Reach) -> None:
    assert reach_of(host) is reach


@pytest.mark.parametrize(
    ("host", "received_from", "local", "usable", "nat"),
    [
        # A public address is trusted: a trunk's media is elsewhere than its signalling.
        ("198.51.100.7", "198.51.100.7", "203.0.113.1", True, False),
        ("198.51.100.7", "203.0.113.99", "203.0.113.1", True, False),
        # A telephone in our own network, and one behind NAT.
        ("192.168.0.5", "192.168.0.5", "192.168.0.1", True, False),
        ("192.168.0.5", "198.51.100.7", "203.0.113.1", True, True),
        ("192.168.0.5", "192.168.0.9", "192.168.0.1", True, True),
        ("192.168.0.5", "", "203.0.113.1", True, False),
        # Loopback is for peers on this machine.
        ("127.0.0.1", "127.0.0.1", "127.0.0.1", True, False),
        ("127.0.0.1", "", "127.0.0.1", True, False),
        ("127.0.0.1", "", "203.0.113.1", False, True),
        ("127.0.1.1", "192.168.0.5", "192.168.0.1", False, True),
        # A hold, and what nobody gets media at.
        ("0.0.0.0", "198.51.100.7", "203.0.113.1", False, False),
        ("224.0.0.1", "198.51.100.7", "203.0.113.1", False, True),
        ("255.255.255.255", "198.51.100.7", "203.0.113.1", False, True),
        ("169.254.169.254", "198.51.100.7", "203.0.113.1", False, True),
        ("phone.example.com", "198.51.100.7", "203.0.113.1", False, True),
    ],
)
def test_who_may_be_sent_to_and_who_must_be_learned(
    host: str, received_from: str, local: str, usable: bool, nat: bool
) -> None:
    placement = place(host, received_from, local)
    assert (placement.usable, placement.nat) == (usable, nat)


def test_refusals_have_a_reason_and_ordinary_cases_none() -> None:
    assert "224.0.0.1" in place("224.0.0.1", "198.51.100.7", "203.0.113.1").reason
    assert "loopback" in place("127.0.1.1", "198.51.100.7", "203.0.113.1").reason
    assert place("192.168.0.5", "198.51.100.7", "203.0.113.1").reason == ""
    assert place("0.0.0.0", "198.51.100.7", "203.0.113.1").reason == ""


@pytest.mark.parametrize(
    ("host", "received_from", "usable"),
    [
        ("203.0.113.77", "198.51.100.7", False),
        ("203.0.113.77", "203.0.113.5", True),
        ("203.0.113.77", "", False),
        ("198.51.100.7", "198.51.100.7", True),
    ],
)
def test_outside_peers_do_not_point_into_our_networks(
    host: str, received_from: str, usable: bool
) -> None:
    internal = (ip_network("203.0.113.64/26"), ip_network("203.0.113.0/28"))
    placement = place(host, received_from, "203.0.113.1", internal=internal)
    assert placement.usable is usable


def test_an_interface_shows_the_outside_address_and_binds_the_inside_one() -> None:
    wan = Interface("wan", "10.0.0.5", "fd00::5", "203.0.113.10", "2001:db8::10")
    assert wan.local("IP4") == "10.0.0.5"
    assert wan.advertised("IP4") == "203.0.113.10"
    assert wan.local("IP6") == "fd00::5"
    assert wan.advertised("IP6") == "2001:db8::10"
    lan = Interface("lan", "10.0.0.5")
    assert lan.advertised("IP4") == "10.0.0.5"


def test_a_missing_family_is_replaced_by_the_other() -> None:
    four, six = Interface("4", "10.0.0.5"), Interface("6", ip6="fd00::5")
    assert four.family("IP6") == "IP4"
    assert six.family("IP4") == "IP6"
    assert four.family("IP4") == "IP4"
    assert six.family("IP6") == "IP6"
    with pytest.raises(NgRequestError, match="IP6"):
        four.local("IP6")


def test_an_interface_has_an_address() -> None:
    with pytest.raises(LocalMediaError):
        Interface("none")
