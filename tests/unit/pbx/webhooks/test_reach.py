"""``pbx.webhooks.reach``: where a webhook may go."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx.kernel.errors import DomainError
from pbx.webhooks.reach import checked_url, may_reach

PUBLIC = ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "8.8.8.8"]
PRIVATE = [
    "127.0.0.1",
    "127.1.2.3",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",  # metadata of clouds
    "100.64.0.1",
    "192.0.2.1",
    "198.18.0.1",
    "::1",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "fd00:ec2::254",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "64:ff9b::a00:1",
    "2002:7f00:1::",
    "2001:db8::1",
]
NEVER = ["0.0.0.0", "::", "224.0.0.1", "ff02::1", "::ffff:0.0.0.0"]


@pytest.mark.parametrize("address", PUBLIC)
def test_the_internet_is_allowed(address: str) -> None:
    assert may_reach(address, allow_private=False)


@pytest.mark.parametrize("address", PRIVATE)
def test_what_only_the_server_can_reach_needs_leave(address: str) -> None:
    assert not may_reach(address, allow_private=False)
    assert may_reach(address, allow_private=True)


@pytest.mark.parametrize("address", NEVER)
def test_what_is_no_host_is_never_allowed(address: str) -> None:
    assert not may_reach(address, allow_private=True)


@given(st.ip_addresses(v=4))
def test_an_address_in_the_clothes_of_ipv6_is_judged_as_itself(address: object) -> None:
    for form in (f"::ffff:{address}", f"64:ff9b::{address}"):
        assert may_reach(form, allow_private=False) == may_reach(str(address), allow_private=False)


@pytest.mark.parametrize(
    "url", ["https://hooks.example/x?y=1", "https://93.184.215.14:8443/", "HTTPS://hooks.example"]
)
def test_a_url(url: str) -> None:
    assert checked_url(f" {url} ", allow_http=False, allow_private=False) == url


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "no URL"),
        ("hooks.example/x", "no URL"),
        ("ftp://hooks.example/x", "no URL"),
        ("file:///etc/passwd", "no URL"),
        ("https:///x", "no URL"),
        ("https://hooks.example:0/", "no URL"),
        ("https://hooks.example:99999/", "no URL"),
        ("https://[::1/", "no URL"),
        ("http://hooks.example/x", "--allow-http"),
        ("https://me:secret@hooks.example/", "credentials"),
        ("https://hooks.example/#a", "fragment"),
        ("https://hooks.example/ä", "ASCII"),
        ("https://hooks.example/a b", "ASCII"),
        ("https://hooks.example/\r\nX: y", "ASCII"),
        ("https://hooks.example/" + "x" * 2000, "2000"),
        ("https://127.0.0.1/", "--allow-private"),
        ("https://[::ffff:10.0.0.1]/", "--allow-private"),
    ],
)
def test_a_url_that_cannot_be(url: str, words: str) -> None:
    with pytest.raises(DomainError, match=words):
        checked_url(url, allow_http=False, allow_private=False)


def test_an_administrator_may_allow_more() -> None:
    url = "http://127.0.0.1:8080/x"
    assert checked_url(url, allow_http=True, allow_private=True) == url


@given(st.text(max_size=60))
def test_any_text_is_taken_or_refused_with_words(text: str) -> None:
    try:
        checked_url(f"https://{text}", allow_http=False, allow_private=False)
    except DomainError as error:
        reason = str(error)
    else:
        reason = "taken"
    assert reason
