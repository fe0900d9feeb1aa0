"""Attacks on media: bleed, injection, steering, loops. Passing means zero packets."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from media.ng.messages import Message
from tests.support.media_lab import ALICE, BOB, HOST, MediaLab, rtp, sdp

ATTACKER = "192.0.2.66"
LAN = "192.168.0.5"


def nat_call(lab: MediaLab) -> tuple[int, int]:
    """Alice is behind NAT: her SDP shows a private address, her SIP came from ``ALICE``."""
    to_bob = lab.offer(sdp(11780, LAN), received_from=["IP4", ALICE])
    to_alice = lab.answer(sdp(5000, BOB), received_from=["IP4", BOB])
    return to_bob.medias[0].port, to_alice.medias[0].port


def test_a_stranger_gets_nothing_while_the_call_is_set_up_nor_later() -> None:
    lab = MediaLab()
    bobs, alices = nat_call(lab)
    for number in range(20):
        for port in (bobs, alices):
            assert lab.send(rtp(number, ssrc=9), (ATTACKER, 4000), port) is None
    for number in range(5):
        lab.send(rtp(number), (ALICE, 33_000), alices)
    for number in range(20, 40):
        for port in (bobs, alices):
            assert lab.send(rtp(number, ssrc=9), (ATTACKER, 4000), port) is None
    lab.send(rtp(1, ssrc=2), (BOB, 5000), bobs)
    destinations = {sent.destination for sent in lab.relay.sent}
    assert destinations == {(BOB, 5000), (ALICE, 33_000)}
    events = [event["event"] for event in lab.events()]
    assert events.count("locked") == 1
    assert "source-alarm" in events


def test_behind_nat_nothing_is_sent_to_the_private_address() -> None:
    lab = MediaLab()
    bobs, alices = nat_call(lab)
    assert lab.send(rtp(1), (BOB, 5000), bobs) is None
    for number in range(4):
        lab.send(rtp(number), (ALICE, 33_000), alices)
    sent = lab.send(rtp(2), (BOB, 5000), bobs)
    assert sent is not None
    assert sent.destination == (ALICE, 33_000)
    (event,) = lab.events()
    assert event == {
        "event": "locked",
        "address": ALICE,
        "port": 33_000,
        "tag": "a",
        "call-id": "c",
    }


def test_a_nat_that_changes_its_mapping_is_followed() -> None:
    lab = MediaLab()
    bobs, alices = nat_call(lab)
    for number in range(10):
        lab.send(rtp(number), (ALICE, 33_000), alices)
    lab.relay.now += 6.0
    for number in range(10, 20):
        lab.send(rtp(number), (ALICE, 44_000), alices)
    sent = lab.send(rtp(1), (BOB, 5000), bobs)
    assert sent is not None
    assert sent.destination == (ALICE, 44_000)
    rebound = lab.events()[-1]
    assert (rebound["event"], rebound["old-port"], rebound["port"]) == ("rebound", 33_000, 44_000)


def test_the_source_of_signalling_can_stand_for_the_description() -> None:
    lab = MediaLab()
    bobs = (
        lab.offer(
            sdp(11780, "203.0.113.200"),
            received_from=["IP4", ALICE],
            flags=["SIP-source-address"],
        )
        .medias[0]
        .port
    )
    alices = lab.answer(sdp(5000, BOB)).medias[0].port
    config = lab.relay.config_of(alices)
    assert config.remote == (ALICE, 11780)
    assert config.nat
    assert lab.relay.config_of(bobs).nat is False


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "224.0.0.1", "255.255.255.255", "169.254.169.254", "0.0.0.1", "victim.example"],
)
def test_descriptions_cannot_steer_media_where_it_never_goes(host: str) -> None:
    lab = MediaLab()
    bobs = lab.offer(sdp(11780, host), received_from=["IP4", ALICE]).medias[0].port
    reply = lab.handle(command="answer", call_id="c", from_tag="a", to_tag="b", sdp=sdp(5000, BOB))
    assert host in reply["warning"]
    for number in range(10):
        assert lab.send(rtp(number), (BOB, 5000), bobs) is None
    assert refused(lab) == 1


def test_a_telephone_with_a_wrong_address_is_found_by_its_packets() -> None:
    lab = MediaLab()
    bobs = lab.offer(sdp(11780, "127.0.1.1"), received_from=["IP4", ALICE]).medias[0].port
    alices = lab.answer(sdp(5000, BOB)).medias[0].port
    for number in range(4):
        lab.send(rtp(number), (ALICE, 11780), alices)
    sent = lab.send(rtp(1), (BOB, 5000), bobs)
    assert sent is not None
    assert sent.destination == (ALICE, 11780)


def test_media_does_not_return_to_a_port_of_this_relay() -> None:
    lab = MediaLab()
    other = lab.offer(sdp(), call_id="other").medias[0].port
    bobs = lab.offer(sdp(other, HOST)).medias[0].port
    lab.answer(sdp(5000, BOB))
    assert lab.send(rtp(1), (BOB, 5000), bobs) is None
    assert refused(lab) == 1


def test_nor_to_its_outside_address() -> None:
    lab = MediaLab()
    outside = lab.offer(sdp(), call_id="other", direction=["lan", "wan"])
    bobs = lab.offer(sdp(outside.medias[0].port, "192.0.2.9")).medias[0].port
    lab.answer(sdp(5000, BOB))
    assert lab.send(rtp(1), (BOB, 5000), bobs) is None


@pytest.mark.parametrize("more", ["", "a=rtcp:{port}\r\n"])
def test_nor_does_its_rtcp(more: str) -> None:
    lab = MediaLab()
    other = lab.offer(sdp(), call_id="other").medias[0].port
    theirs = 4000 if more else other - 1  # RTCP of a port before ours would come to ours
    lab.offer(sdp(theirs, HOST, more=more.format(port=other)))
    alices = lab.answer(sdp(5000, BOB)).medias[0].port
    assert lab.relay.config_of(alices).remote == (HOST, theirs)
    assert lab.relay.config_of(alices + 1).remote is None
    assert refused(lab) == 1


def test_nobody_outside_points_into_configured_networks() -> None:
    lab = MediaLab(internal=(ip_network("203.0.113.0/24"),))
    bobs = lab.offer(sdp(11780, "203.0.113.9"), received_from=["IP4", ALICE]).medias[0].port
    lab.answer(sdp(5000, BOB), received_from=["IP4", BOB])
    assert lab.send(rtp(1), (BOB, 5000), bobs) is None


def refused(lab: MediaLab) -> int:
    totals: Message = lab.service.statistics(lab.now)["totalstatistics"]
    count: int = totals["refusedaddresses"]
    return count
