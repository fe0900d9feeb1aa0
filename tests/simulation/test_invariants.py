"""The judge itself: each rule about a call's stream notices its breach."""

from __future__ import annotations

from random import Random

import pytest

from media.ng import messages
from media.ng.client import NgClient, NgReply
from pbx.domain.calls import (
    CallAnswered,
    CallDecided,
    CallEnded,
    CallRouted,
    CallStarted,
    LegAnswered,
    LegCreated,
    LegEnded,
    LegRinging,
    RulesEvaluated,
)
from pbx.kernel.events import Event
from tests.simulation.invariants import Story, structure
from tests.simulation.media import HOST, MediaHost
from tests.simulation.ruled import group_breaches, rule_breaches
from tests.support.clock import Scheduler
from tests.support.fake_phone.wire import Description, session_description
from tests.support.network import Address, FakeNetwork


def ended(leg: str) -> LegEnded:
    return LegEnded(leg_id=leg, status=200, cause="normal", q850=16, ended_by="caller")


def good() -> list[Event]:
    return [
        CallStarted(
            leg_id="1", sip_call_id="x", from_uri="a", to_uri="b", request_uri="b", source="s",
            transport="udp",
        ),
        LegCreated(leg_id="2", parent_leg_id="1", role="B", sip_call_id="y", target_uri="b"),
        LegAnswered(leg_id="2"),
        LegAnswered(leg_id="1"),
        CallAnswered(leg_id="1", peer_leg_id="2"),
        ended("1"),
        ended("2"),
        CallEnded(
            status=200, cause="normal", q850=16, ended_by="caller", elapsed_ms=9000, talk_ms=5000
        ),
    ]  # fmt: skip


def judged(events: list[Event]) -> list[str]:
    story = Story("call/1")
    for number, event in enumerate(events):
        story.add(float(number), event)
    return structure(story)


def test_a_proper_call_breaks_nothing() -> None:
    assert judged(good()) == []


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda e: e[:-1], "0 call.ended"),
        (lambda e: [*e, e[-1]], "2 call.ended"),
        (lambda e: [*e, CallDecided(step="s", outcome="o", reason="r")], "after call.ended"),
        (lambda e: e[1:], "0 call.started"),
        (lambda e: [e[0], *e], "2 call.started"),
        (lambda e: [*e[:5], *e[6:]], "leg 1 has 0 leg.ended"),
        (lambda e: [*e[:6], e[5], *e[6:]], "leg 1 has 2 leg.ended"),
        (lambda e: [*e[:6], ended("9"), *e[6:]], "leg 9 ended but never began"),
        (lambda e: [*e[:2], e[2], *e[2:]], "leg 2 was answered 2 times"),
        (lambda e: [*e[:5], e[4], *e[5:]], "2 call.answered"),
        (lambda e: [*e[:4], *e[5:]], "talk time without an answer"),
        (lambda e: [*e[:2], e[1], *e[2:]], "a leg was created twice"),
    ],
)
def test_each_broken_stream_is_noticed(change, complaint: str) -> None:  # type: ignore[no-untyped-def]
    assert any(complaint in text for text in judged(change(good())))


def test_times_that_go_back_are_noticed() -> None:
    story = Story("call/1")
    for number, event in enumerate(good()):
        story.add(10.0 - number, event)
    assert "times go back" in structure(story)


def test_the_media_host_relays_what_the_service_agreed_on_despite_lost_requests() -> None:
    """Two parties through the NG service and the relay's core; every port is given back."""
    scheduler = Scheduler()
    network = FakeNetwork(scheduler, Random(1))
    media = MediaHost(scheduler, network, Random(2))
    client = NgClient("t")
    replies: list[NgReply] = []
    heard: list[bytes] = []

    def receive(data: bytes, source: Address, destination: Address) -> None:
        assert source[0] == HOST
        heard.append(data)

    def ask(message: dict[str, object]) -> NgReply:
        media.request(client.request(message, scheduler.clock.now, replies.append))
        for _ in range(8):
            scheduler.run_until(scheduler.clock.now + 0.5)
            for datagram in client.handle_timers(scheduler.clock.now):
                media.request(datagram)
        return replies[-1]

    media.client = client.receive
    network.attach(("10.1.0.2", 4000), receive)
    for number in range(60):  # some of the datagrams get lost
        call = f"c{number}"
        offer = session_description("10.1.0.1", 4000, 1, 1, "sendrecv")
        answer = session_description("10.1.0.2", 4000, 1, 1, "sendrecv")
        toward_b = Description(ask(messages.offer(call, "a", offer)).sdp)
        ask(messages.answer(call, "a", "b", answer))
        assert toward_b.host == HOST
        assert replies[-1].ok
        toward_a = Description(replies[-1].sdp)
        packet = b"\x80\x00" + number.to_bytes(2, "big") + bytes(8) + b"\xff" * 160
        network.send_media(packet, ("10.1.0.1", 4000), (toward_a.host, toward_a.port))
        scheduler.run_until(scheduler.clock.now + 0.1)
        assert heard[-1] == packet
        assert ask(messages.delete(call, "a")).ok
        assert media.ports_in_use() == 0
    assert media.lost > 0


def _leg(number: int, device: str, account: str = "", redirector: str = "") -> LegCreated:
    return LegCreated(
        leg_id=str(number), parent_leg_id="1", role="B", sip_call_id=f"x{number}",
        target_uri=device, account=account, redirector=redirector,
    )  # fmt: skip


def _stage(stage: str, elapsed_ms: int = 0) -> RulesEvaluated:
    return RulesEvaluated(stage=stage, account="ann@a", elapsed_ms=elapsed_ms)


@pytest.mark.parametrize(
    ("events", "breach"),
    [
        ([_stage("at once"), _stage("after 10 s", 10_000), _stage("busy", 11_000)], ""),
        ([_stage("busy"), _stage("busy")], "came twice"),
        ([_stage("after 20 s", 20_000), _stage("after 10 s", 20_000)], "came after"),
        ([_leg(2, "d", "ann@a"), _stage("after 10 s", 9_000)], "at 9000 ms"),
        ([_leg(2, "d", "bob@a", "ann@a")], "sent no call away"),
        ([CallAnswered(leg_id="1", peer_leg_id="2"), _stage("busy")], "after the answer"),
        (
            [
                _stage("busy"),
                CallDecided(step="redirect", outcome="sip:ann@a", reason=""),
                _stage("busy"),
            ],
            "",
        ),
    ],
)
def test_rules_come_in_order_and_once(events: list[Event], breach: str) -> None:
    found = rule_breaches(events)
    assert bool(found) is bool(breach)
    assert all(breach in text for text in found)


@pytest.mark.parametrize(
    ("later", "right"),
    [
        ([_leg(2, "a"), _leg(3, "b"), LegRinging(leg_id="2", status=180)], True),
        ([_leg(2, "a"), LegRinging(leg_id="2", status=180), _leg(3, "b")], False),
        ([_leg(2, "a"), _leg(3, "a")], False),
        ([_leg(2, "a"), _leg(3, "b"), _leg(4, "b")], False),
        ([_stage("at once"), _leg(2, "a")], True),
        ([], True),
    ],
)
def test_a_group_rings_together(later: list[Event], right: bool) -> None:
    routed = CallRouted(address="sip:g@a", outcome="group", contacts=2)
    assert (group_breaches([routed, *later]) == []) is right
