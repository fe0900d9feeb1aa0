"""ENUM: names of numbers, and which record says what."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sip.enum import EnumRecord, choose, domain_of

NUMBER = "+4930123456"


def record(
    regexp: str,
    *,
    order: int = 10,
    preference: int = 10,
    flags: str = "u",
    service: str = "E2U+sip",
) -> EnumRecord:
    return EnumRecord(order, preference, flags, service, regexp)


def test_the_name_of_a_number() -> None:
    """RFC 6116 §2.4, its own example of reversed digits."""
    assert domain_of("+442079460148", "e164.arpa") == "8.4.1.0.6.4.9.7.0.2.4.4.e164.arpa"
    assert domain_of("12", "Enum.Example.") == "2.1.enum.example"
    for wrong in ("", "+", "1a", "1" * 33, "+1-2", "٣"):
        assert domain_of(wrong, "e164.arpa") == ""


@pytest.mark.parametrize(
    ("regexp", "uri"),
    [
        ("!^.*$!sip:info@example.com!", "sip:info@example.com"),
        (r"!^\+49(.*)$!sip:\1@berlin.example!", "sip:30123456@berlin.example"),
        (r"!^\+49(30)(.*)$!sip:\2@b\1.example!i", "sip:123456@b30.example"),
        (r"#^.*$#sip:a!b@example.com#", "sip:a!b@example.com"),
        (r"!^.*$!sip:a\!b@example.com!", "sip:a!b@example.com"),
        ("!^[+]49.*$!sip:x@y.example!", "sip:x@y.example"),
        (r"!^\+1(.*)$!sip:\1@us.example!", ""),
        (r"!^.*$!sip:\9@x.example!", "sip:@x.example"),
        ("!^.*$!sip:a b@example.com!", ""), ("!^.*$!sip:a\r\nb@example.com!", ""),
        ("!(!sip:x!", ""), ("!^.*$!sip:x", ""), ("", ""), ("!!!", ""), ("a^.*$asip:xa", ""),
        ("!(.*)*!sip:x!", ""), ("!((.+)+)+$!sip:x!", ""), ("!^.*$!sip:" + "x" * 300 + "!", ""),
        ("!^.{1,99}$!sip:x!", ""), ("!^.*$!sip:x!xyz", ""),
    ],
)  # fmt: skip
def test_what_an_expression_makes(regexp: str, uri: str) -> None:
    assert choose([record(regexp)], NUMBER) == uri


def test_the_first_usable_record() -> None:
    records = [
        record("!^.*$!sip:third@x!", order=20, preference=1),
        record("!^.*$!sip:second@x!", preference=20),
        record("!^.*$!mailto:a@x!", preference=1, service="E2U+mailto"),
        record("!^.*$!sip:later@x!", preference=1, flags=""),
        record("!^.*$!sip:first@x!", preference=15, service="e2u+voice:x+sip"),
        record("broken", preference=2),
        record("!^.*$!sip:no@x!", preference=3, service="sip+E2U"),
    ]
    assert choose(records, NUMBER) == "sip:first@x"
    assert choose([], NUMBER) == ""


@given(st.text(max_size=200), st.text(max_size=40))
def test_no_expression_breaks_or_hangs(regexp: str, service: str) -> None:
    began = time.process_time()
    choose([record(regexp), record(regexp, service=service)], "+" + "1" * 32)
    assert time.process_time() - began < 1.0
