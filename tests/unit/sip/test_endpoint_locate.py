"""RFC 3263 over a table of DNS records."""

from __future__ import annotations

import random
import socket

import pytest

from sip.endpoint.locate import (
    Answer,
    AnswerCache,
    FailedTargets,
    Naptr,
    Question,
    Reach,
    Srv,
    locate,
    run,
)
from sip.flow import Target

V4, V6 = socket.AF_INET, socket.AF_INET6
ALL = Reach(frozenset((name, family) for name in ("udp", "tcp", "tls") for family in (V4, V6)))
UDP4 = Reach(frozenset({("udp", V4)}))
PLAIN4 = Reach(frozenset({("udp", V4), ("tcp", V4)}))

Table = dict[tuple[str, str], list[object]]


def find(
    uri: str, table: Table | None = None, reach: Reach = PLAIN4, hint: str = ""
) -> tuple[list[Target], list[Question]]:
    """Targets of `uri`, and everything that was asked for on the way."""
    asked: list[Question] = []

    def answer(question: Question) -> Answer:
        asked.append(question)
        records = (table or {}).get((question.name, question.kind), [])
        return Answer(tuple(records), 60.0)  # type: ignore[arg-type]

    targets = run(locate(uri, hint, reach, random.Random(1)), answer)
    assert targets is not None
    return targets, asked


def brief(targets: list[Target]) -> list[str]:
    return [f"{target.transport} {target.host} {target.port}" for target in targets]


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("sip:bob@192.0.2.1", "udp 192.0.2.1 5060"),
        ("sip:bob@192.0.2.1:5070", "udp 192.0.2.1 5070"),
        ("sip:192.0.2.1;transport=TCP", "tcp 192.0.2.1 5060"),
        ("sip:192.0.2.1;transport=tls", "tls 192.0.2.1 5061"),
        ("sips:192.0.2.1", "tls 192.0.2.1 5061"),
        ("sips:192.0.2.1;transport=tcp", "tls 192.0.2.1 5061"),
        ("sip:[2001:db8::1]:5080", "udp 2001:db8::1 5080"),
        ("sip:bob@example.com;maddr=192.0.2.9", "udp 192.0.2.9 5060"),
    ],
)
def test_a_numeric_host_needs_no_dns(uri: str, expected: str) -> None:
    targets, asked = find(uri, reach=ALL)
    assert brief(targets) == [expected]
    assert asked == []


def test_a_port_means_addresses_only() -> None:
    """RFC 3263 §4.2: with a port, SRV must not be asked."""
    targets, asked = find(
        "sip:example.com:5062", {("example.com", "A"): ["192.0.2.1", "192.0.2.2"]}
    )
    assert brief(targets) == ["udp 192.0.2.1 5062", "udp 192.0.2.2 5062"]
    assert asked == [Question("example.com", "A")]


def test_a_transport_means_its_srv() -> None:
    targets, asked = find(
        "sip:example.com;transport=tcp",
        {
            ("_sip._tcp.example.com", "SRV"): [Srv(10, 0, 5064, "a.example.com.")],
            ("a.example.com", "A"): ["192.0.2.1"],
        },
    )
    assert brief(targets) == ["tcp 192.0.2.1 5064"]
    assert [question.kind for question in asked] == ["SRV", "A"]


def test_naptr_chooses_the_transport_and_its_srv() -> None:
    """The most preferred record whose transport we have; the others are not mixed in."""
    targets, asked = find(
        "sip:example.com",
        {
            ("example.com", "NAPTR"): [
                Naptr(90, 50, "s", "SIP+D2U", "_sip._udp.example.com."),
                Naptr(50, 50, "s", "SIPS+D2T", "_sips._tcp.example.com."),
                Naptr(60, 60, "s", "SIP+D2U", "_sip._udp.other.example.com."),
                Naptr(60, 50, "S", "sip+d2t", "_sip._tcp.example.com."),
                Naptr(1, 1, "u", "E2U+sip", "."),
            ],
            ("_sip._tcp.example.com", "SRV"): [Srv(1, 1, 5060, "t.example.com.")],
            ("t.example.com", "A"): ["192.0.2.7"],
        },
    )
    assert brief(targets) == ["tcp 192.0.2.7 5060"]
    assert asked == [
        Question("example.com", "NAPTR"),
        Question("_sip._tcp.example.com", "SRV"),
        Question("t.example.com", "A"),
    ]


def test_a_naptr_whose_srv_is_missing_falls_to_the_next() -> None:
    targets, _ = find(
        "sip:example.com",
        {
            ("example.com", "NAPTR"): [
                Naptr(1, 1, "s", "SIP+D2T", "_sip._tcp.example.com."),
                Naptr(2, 1, "s", "SIP+D2U", "_sip._udp.example.com."),
            ],
            ("_sip._udp.example.com", "SRV"): [Srv(1, 1, 5066, "u.example.com.")],
            ("u.example.com", "A"): ["192.0.2.8"],
        },
    )
    assert brief(targets) == ["udp 192.0.2.8 5066"]


def test_sips_follows_only_secure_services_inside_the_domain() -> None:
    """RFC 3263 §4.1: the replacement must be in the domain that the certificate proves."""
    targets, asked = find(
        "sips:example.com",
        {
            ("example.com", "NAPTR"): [
                Naptr(1, 1, "s", "SIPS+D2T", "_sips._tcp.evil.test."),
                Naptr(2, 1, "s", "SIP+D2U", "_sip._udp.example.com."),
                Naptr(3, 1, "s", "SIPS+D2T", "_sips._tcp.example.com."),
            ],
            ("_sips._tcp.example.com", "SRV"): [Srv(1, 1, 5061, "host.elsewhere.test.")],
            ("host.elsewhere.test", "A"): ["192.0.2.3"],
        },
        ALL,
    )
    assert targets == [Target("tls", "192.0.2.3", 5061, None, "example.com")]
    assert Question("_sips._tcp.evil.test", "SRV") not in asked


def test_without_naptr_every_transport_we_have_is_tried_by_srv() -> None:
    targets, asked = find(
        "sip:example.com",
        {
            ("_sip._tcp.example.com", "SRV"): [Srv(1, 1, 5060, "t.example.com.")],
            ("_sip._udp.example.com", "SRV"): [Srv(1, 1, 5060, "u.example.com.")],
            ("t.example.com", "A"): ["192.0.2.1"],
            ("u.example.com", "A"): ["192.0.2.2"],
        },
    )
    assert brief(targets) == ["tcp 192.0.2.1 5060", "udp 192.0.2.2 5060"]
    assert Question("_sips._tcp.example.com", "SRV") not in asked


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("sip:example.com", "udp 192.0.2.1 5060"),
        ("sips:example.com", "tls 192.0.2.1 5061"),
        ("sip:example.com;transport=tls", "tls 192.0.2.1 5061"),
    ],
)
def test_without_any_service_record_the_default_port_is_used(uri: str, expected: str) -> None:
    targets, _ = find(uri, {("example.com", "A"): ["192.0.2.1"]}, ALL)
    assert brief(targets) == [expected]


def test_a_single_dot_says_that_there_is_no_service() -> None:
    """RFC 2782: then the bare host must not be tried either."""
    targets, _ = find(
        "sip:example.com;transport=udp",
        {
            ("_sip._udp.example.com", "SRV"): [Srv(0, 0, 0, ".")],
            ("example.com", "A"): ["192.0.2.1"],
        },
    )
    assert targets == []


def test_both_families_in_the_order_of_the_policy() -> None:
    table: Table = {("example.com", "A"): ["192.0.2.1"], ("example.com", "AAAA"): ["2001:db8::1"]}
    both = frozenset({("udp", V4), ("udp", V6)})
    v4_first, _ = find("sip:example.com:5060", table, Reach(both))
    v6_first, _ = find("sip:example.com:5060", table, Reach(both, prefer_ipv6=True))
    assert [target.host for target in v4_first] == ["192.0.2.1", "2001:db8::1"]
    assert [target.host for target in v6_first] == ["2001:db8::1", "192.0.2.1"]


def test_a_family_without_a_listener_is_not_asked_for() -> None:
    _, asked = find("sip:example.com:5060", {}, UDP4)
    assert asked == [Question("example.com", "A")]
    assert find("sip:[2001:db8::1]", reach=UDP4)[0] == []


@pytest.mark.parametrize(
    "uri",
    [
        "tel:+15551234",
        "mailto:bob@example.com",
        "sip:",
        "garbage",
        "sip:192.0.2.1;transport=ws",
        "sip:192.0.2.1;transport=sctp",
        "sips:192.0.2.1;transport=udp",
    ],
)
def test_what_cannot_be_reached_has_no_targets(uri: str) -> None:
    assert find(uri, reach=ALL)[0] == []


def test_the_hint_overrides_the_uri() -> None:
    """A request over the MTU goes by TCP (RFC 3261 §18.1.1), whatever the URI says."""
    assert brief(find("sip:192.0.2.1", hint="tcp")[0]) == ["tcp 192.0.2.1 5060"]
    assert brief(find("sip:192.0.2.1;transport=udp", hint="tcp")[0]) == ["tcp 192.0.2.1 5060"]


def test_a_long_answer_is_cut() -> None:
    hosts: list[object] = [f"192.0.2.{number}" for number in range(200)]
    targets, _ = find("sip:example.com:5060", {("example.com", "A"): hosts})
    assert len(targets) == 16


def test_failed_targets_go_last_and_come_back() -> None:
    failed = FailedTargets()
    first, second, third = (Target("udp", f"192.0.2.{n}", 5060) for n in (1, 2, 3))
    failed.add(first, now=100.0)
    assert failed.order([first, second, third], 101.0) == [second, third, first]
    assert failed.order([first, second, third], 130.0) == [first, second, third]
    assert len(failed) == 0


def test_retry_after_is_kept() -> None:
    failed = FailedTargets()
    target, other = Target("udp", "192.0.2.1", 5060), Target("udp", "192.0.2.2", 5060)
    failed.add(target, now=0.0, for_s=120.0)
    assert failed.order([target, other], 119.0) == [other, target]


def test_failed_targets_are_bounded() -> None:
    failed = FailedTargets(size=2)
    for port in (1, 2, 3):
        failed.add(Target("tcp", "192.0.2.1", port), now=0.0)
    assert len(failed) == 2


def test_answers_live_as_long_as_their_ttl() -> None:
    cache = AnswerCache()
    question = Question("example.com", "A")
    cache.put(question, Answer(("192.0.2.1",), 20.0), now=0.0)
    assert cache.get(question, 19.9) == Answer(("192.0.2.1",), 20.0)
    assert cache.get(question, 20.0) is None
    assert len(cache) == 0


@pytest.mark.parametrize(
    ("records", "ttl_s", "kept_s"),
    [(("192.0.2.1",), 0.0, 1.0), (("192.0.2.1",), 1e9, 3600.0), ((), 1e9, 60.0)],
)
def test_ttls_are_kept_within_reason(records: tuple[str, ...], ttl_s: float, kept_s: float) -> None:
    cache = AnswerCache()
    question = Question("example.com", "A")
    cache.put(question, Answer(records, ttl_s), now=0.0)
    assert cache.get(question, kept_s - 0.01) is not None
    assert cache.get(question, kept_s) is None


def test_the_cache_is_bounded_and_keeps_what_is_used() -> None:
    cache = AnswerCache(size=2)
    first, second, third = (Question(name, "A") for name in ("a", "b", "c"))
    cache.put(first, Answer((), 50.0), 0.0)
    cache.put(second, Answer((), 50.0), 0.0)
    assert cache.get(first, 1.0) is not None
    cache.put(third, Answer((), 50.0), 2.0)
    assert cache.get(first, 3.0) is not None
    assert cache.get(second, 3.0) is None


def test_an_unknown_answer_stops_the_synchronous_run() -> None:
    steps = locate("sip:example.com", "", PLAIN4, random.Random(1))
    assert run(steps, lambda question: None) is None
