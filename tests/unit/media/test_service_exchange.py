"""Offers and answers through the service: ports, families, forks, holds, mux (RFC 3264, 5761)."""

from __future__ import annotations

import pytest

from media.native.relay import LearnPolicy
from tests.support.media_lab import ALICE, BOB, HOST, MediaLab, rtp, sdp


def test_media_crosses_after_the_answer() -> None:
    lab = MediaLab()
    bobs, alices = lab.call()
    sent = lab.send(rtp(1), (ALICE, 11780), alices)
    assert sent is not None
    assert (sent.source, sent.destination) == ((HOST, bobs), (BOB, 5000))
    back = lab.send(rtp(1), (BOB, 5000), bobs)
    assert back is not None
    assert (back.source, back.destination) == ((HOST, alices), (ALICE, 11780))


def test_rtcp_crosses_on_the_next_ports() -> None:
    lab = MediaLab()
    bobs, alices = lab.call()
    report = bytes.fromhex("80c9000100000001")
    sent = lab.send(report, (ALICE, 11781), alices + 1)
    assert sent is not None
    assert (sent.source, sent.destination) == ((HOST, bobs + 1), (BOB, 5001))


def test_nothing_crosses_before_the_answer() -> None:
    lab = MediaLab()
    port = lab.offer(sdp()).medias[0].port
    assert lab.send(rtp(1), (BOB, 5000), port) is None
    assert lab.relay.configured == {}


def test_only_negotiated_payload_types_cross() -> None:
    lab = MediaLab()
    lab.offer(sdp(formats="8 0 101"))
    port = lab.answer(sdp(5000, BOB, formats="8 101")).medias[0].port
    assert lab.relay.config_of(port).payload_types == frozenset({8, 101})
    assert lab.send(rtp(1, payload_type=0), (ALICE, 11780), port) is None


def test_ports_stay_for_the_life_of_the_media() -> None:
    lab = MediaLab()
    bobs, alices = lab.call()
    assert lab.offer(sdp(version=2), to_tag="b").medias[0].port == bobs
    assert lab.answer(sdp(5000, BOB, version=2)).medias[0].port == alices
    # Bob's turn to offer: the tags change places.
    assert lab.offer(sdp(5000, BOB), "b", to_tag="a").medias[0].port == alices
    assert lab.answer(sdp(), "b", "a").medias[0].port == bobs


def test_an_unchanged_exchange_touches_the_relay_no_more() -> None:
    lab = MediaLab()
    lab.call()
    before = lab.relay.configure_calls
    lab.answer(sdp(5000, BOB), received_from=["IP4", BOB])
    assert lab.relay.configure_calls == before


def test_each_party_sees_one_origin_whose_version_grows_with_the_text() -> None:
    lab = MediaLab()
    first = lab.offer(sdp()).origin.split()
    alice_first = lab.answer(sdp(5000, BOB)).origin.split()
    again = lab.offer(sdp(version=9), to_tag="b").origin.split()
    held = lab.offer(sdp(direction="sendonly"), to_tag="b").origin.split()
    assert first[1] == again[1] == held[1] != alice_first[1]
    assert [origin[2] for origin in (first, again, held)] == ["1", "1", "2"]


def test_without_replace_the_origin_passes() -> None:
    assert MediaLab().offer(sdp(), replace=[]).origin == f"phone 7 1 IN IP4 {ALICE}"


def test_an_origin_goes_on_in_a_later_call() -> None:
    """A transferred party gets another peer in its old dialog: RFC 3264 §8 holds for it too."""
    lab = MediaLab()
    seen_by_bob = lab.offer(sdp()).origin.split()
    lab.answer(sdp(5000, BOB))
    offered = lab.offer(sdp(7000), "x", "c2", origin_key="b").origin.split()
    assert offered[1] == seen_by_bob[1]
    assert int(offered[2]) == int(seen_by_bob[2]) + 1
    other = lab.offer(sdp(7000), "x", "c3", origin_key="stranger").origin.split()
    assert other[1] != offered[1]


def test_a_refused_reoffer_leaves_the_media_where_it_was() -> None:
    lab = MediaLab()
    bobs, alices = lab.call()
    lab.offer(sdp(12000), to_tag="b")  # Alice wants to move; Bob's 488 is not told to us
    sent = lab.send(rtp(1), (BOB, 5000), bobs)
    assert sent is not None
    assert sent.destination == (ALICE, 11780)
    lab.offer(sdp(12000), to_tag="b")
    lab.answer(sdp(5000, BOB))
    moved = lab.send(rtp(2), (BOB, 5000), bobs)
    assert moved is not None
    assert moved.destination == (ALICE, 12000)
    assert lab.relay.config_of(alices).generation == 2


# -- hold ------------------------------------------------------------------------------------


def test_hold_lets_only_the_holder_send() -> None:
    lab = MediaLab()
    bobs, alices = lab.call()
    held = lab.offer(sdp(direction="sendonly"), to_tag="b", received_from=["IP4", ALICE])
    assert held.medias[0].direction == "sendonly"
    answer = lab.answer(sdp(5000, BOB, direction="sendrecv"), received_from=["IP4", BOB])
    assert answer.medias[0].direction == "recvonly"
    assert lab.send(rtp(1), (BOB, 5000), bobs) is None
    assert lab.send(rtp(1), (ALICE, 11780), alices) is not None
    lab.offer(sdp(), to_tag="b", received_from=["IP4", ALICE])
    lab.answer(sdp(5000, BOB), received_from=["IP4", BOB])
    assert lab.send(rtp(2), (BOB, 5000), bobs) is not None


def test_an_old_hold_keeps_the_place_and_stops_the_media_to_it() -> None:
    lab = MediaLab()
    bobs, alices = lab.call()
    held = lab.offer(sdp(11780, "0.0.0.0"), to_tag="b")
    connection = held.medias[0].connection
    assert connection is not None
    assert connection.is_zero
    lab.answer(sdp(5000, BOB))
    assert lab.send(rtp(1), (BOB, 5000), bobs) is None
    assert lab.send(rtp(1), (ALICE, 11780), alices) is not None  # music on hold


def test_a_call_that_begins_on_hold_sends_nothing_anywhere() -> None:
    lab = MediaLab()
    bobs = lab.offer(sdp(11780, "0.0.0.0"), received_from=["IP4", ALICE]).medias[0].port
    alices = lab.answer(sdp(5000, BOB)).medias[0].port
    assert lab.relay.config_of(alices).remote is None
    assert lab.send(rtp(1), (BOB, 5000), bobs) is None


# -- rejected and further media --------------------------------------------------------------


VIDEO = "m=video 5004 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\n"
NO_VIDEO = "m=video 0 RTP/AVP 96\r\n"


def test_a_rejected_media_keeps_its_line_and_gives_its_ports_back() -> None:
    lab = MediaLab()
    lab.offer(sdp(more=VIDEO))
    assert lab.relay.open_ports == 8
    answer = lab.answer(sdp(5000, BOB, more=NO_VIDEO))
    assert [media.port == 0 for media in answer.medias] == [False, True]
    # Until the call is looked at, another branch may accept the video.
    lab.answer(sdp(6000, BOB, more=VIDEO), to_tag="b2")
    lab.answer(sdp(5000, BOB, more=NO_VIDEO))
    assert lab.relay.open_ports == 4
    lab.pass_time(61)
    assert lab.relay.open_ports <= 4


def test_ports_of_rejected_media_are_closed_when_the_call_is_looked_at() -> None:
    lab = MediaLab()
    lab.offer(sdp(more=VIDEO))
    alices = lab.answer(sdp(5000, BOB, more=NO_VIDEO)).medias[0].port
    lab.pass_time(30)
    assert lab.relay.open_ports == 8
    assert lab.send(rtp(1), (ALICE, 11780), alices) is not None
    lab.pass_time(40)
    assert lab.relay.open_ports == 4


def test_media_offered_with_port_zero_cannot_be_accepted() -> None:
    lab = MediaLab()
    lab.offer(sdp(more=NO_VIDEO))
    assert lab.relay.open_ports == 4
    answer = lab.answer(sdp(5000, BOB, more=VIDEO))
    assert answer.medias[1].is_rejected


def test_an_answer_without_the_last_lines_is_completed() -> None:
    lab = MediaLab()
    lab.offer(sdp(more=VIDEO))
    assert len(lab.answer(sdp(5000, BOB)).medias) == 2


def test_a_reoffer_without_the_last_lines_is_completed_for_the_answerer_only() -> None:
    lab = MediaLab()
    lab.offer(sdp(more=VIDEO))
    lab.answer(sdp(5000, BOB, more=VIDEO))
    assert lab.relay.open_ports == 8
    to_bob = lab.offer(sdp(), to_tag="b")
    assert [media.is_rejected for media in to_bob.medias] == [False, True]
    assert len(lab.answer(sdp(5000, BOB, more=NO_VIDEO)).medias) == 1
    assert lab.relay.open_ports == 4


def test_media_is_added_and_taken_away() -> None:
    lab = MediaLab()
    bobs, _ = lab.call()
    to_bob = lab.offer(sdp(more=VIDEO), to_tag="b")
    assert to_bob.medias[0].port == bobs
    assert to_bob.medias[1].port not in (0, bobs)
    lab.answer(sdp(5000, BOB, more=VIDEO))
    lab.offer(sdp(more=NO_VIDEO), to_tag="b")
    lab.answer(sdp(5000, BOB, more=NO_VIDEO))
    assert lab.relay.open_ports == 4


def test_fax_replaces_audio_on_the_same_ports_without_rtp_checks() -> None:
    lab = MediaLab()
    bobs, alices = lab.call()
    fax = sdp(11790, kind="image", proto="udptl", formats="t38")
    assert lab.offer(fax, to_tag="b").medias[0].port == bobs
    lab.answer(sdp(5010, BOB, kind="image", proto="udptl", formats="t38"))
    assert lab.relay.config_of(alices).payload_types is None
    sent = lab.send(b"\x00\x01 no RTP at all", (ALICE, 11790), alices)
    assert sent is not None
    assert sent.destination == (BOB, 5010)


def test_fax_beside_audio() -> None:
    fax = "m=image 30840 udptl t38\r\n"
    lab = MediaLab()
    offer = lab.offer(sdp(0, more=fax))
    assert [media.is_rejected for media in offer.medias] == [True, False]
    assert lab.relay.open_ports == 2  # UDPTL has no RTCP
    lab.answer(sdp(0, BOB, more=fax))


def test_media_over_tcp_is_refused_by_port_zero() -> None:
    lab = MediaLab()
    text = sdp(more="m=message 9 TCP/MSRP *\r\n")
    assert [media.is_rejected for media in lab.offer(text).medias] == [False, True]
    assert [media.is_rejected for media in lab.answer(text).medias] == [False, True]
    assert lab.relay.open_ports == 4


def test_srtp_passes_with_its_keys_and_payload_rules() -> None:
    key = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\r\n"
    lab = MediaLab()
    offer = lab.offer(sdp(proto="RTP/SAVP", more=key))
    assert key.strip() in offer.medias[0].lines
    alices = lab.answer(sdp(5000, BOB, proto="RTP/SAVP", more=key)).medias[0].port
    assert lab.relay.config_of(alices).payload_types == frozenset({8, 0, 101})


def test_dtls_passes_as_datagrams() -> None:
    lab = MediaLab()
    lab.offer(sdp(proto="UDP/TLS/RTP/SAVPF"))
    alices = lab.answer(sdp(5000, BOB, proto="UDP/TLS/RTP/SAVPF")).medias[0].port
    assert lab.relay.config_of(alices).payload_types is None


def test_clock_rate_and_packet_cap_follow_the_media() -> None:
    lab = MediaLab()
    opus = "a=rtpmap:96 opus/48000/2\r\n"
    lab.offer(sdp(formats="96", more=opus + "m=video 5004 RTP/AVP 97\r\na=rtpmap:97 VP8/90000\r\n"))
    answer = lab.answer(
        sdp(
            5000,
            BOB,
            formats="96",
            more=opus + "m=video 5004 RTP/AVP 97\r\na=rtpmap:97 VP8/90000\r\n",
        )
    )
    audio, video = (lab.relay.config_of(media.port) for media in answer.medias)
    assert (audio.clock_rate, video.clock_rate) == (48_000, 90_000)
    assert 0 < audio.max_packets_per_s < video.max_packets_per_s


@pytest.mark.parametrize("rate", ["4294967295", "x"])
def test_a_senseless_clock_rate_gives_no_jitter_figure(rate: str) -> None:
    lab = MediaLab()
    lab.offer(sdp(formats="96", more=f"a=rtpmap:96 x/{rate}\r\n"))
    port = lab.answer(sdp(5000, BOB, formats="96", more=f"a=rtpmap:96 x/{rate}\r\n")).medias[0].port
    assert lab.relay.config_of(port).clock_rate == 0


# -- rtcp-mux --------------------------------------------------------------------------------

MUX = "a=rtcp-mux\r\n"


@pytest.mark.parametrize(
    ("options", "offered", "answered", "to_bob", "to_alice"),
    [
        ([], True, True, True, True),
        ([], True, False, True, False),
        ([], False, False, False, False),
        (["demux"], True, False, False, True),
        (["accept"], True, False, True, True),
        (["offer"], False, True, True, False),
        (["require"], True, True, True, True),
        (["reject"], True, False, False, False),
        (["reject", "offer"], True, True, True, False),
    ],
)
def test_multiplexing_follows_the_options(
    options: list[str], offered: bool, answered: bool, to_bob: bool, to_alice: bool
) -> None:
    lab = MediaLab()
    offer = lab.offer(sdp(more=MUX if offered else ""), rtcp_mux=options)
    answer = lab.answer(sdp(5000, BOB, more=MUX if answered else ""))
    assert offer.medias[0].rtcp_mux is to_bob
    assert answer.medias[0].rtcp_mux is to_alice
    bobs, alices = (lab.relay.config_of(text.medias[0].port) for text in (offer, answer))
    assert bobs.mux is (to_bob and answered)
    assert alices.mux is to_alice


def test_rtcp_crosses_between_one_port_and_two() -> None:
    lab = MediaLab()
    bobs = lab.offer(sdp(more=MUX), rtcp_mux=["demux"]).medias[0].port
    alices = lab.answer(sdp(5000, BOB)).medias[0].port
    assert lab.relay.open_ports == 3
    report = bytes.fromhex("80c9000100000001")
    out = lab.send(report, (ALICE, 11780), alices)
    assert out is not None
    assert (out.source, out.destination) == ((HOST, bobs + 1), (BOB, 5001))
    back = lab.send(report, (BOB, 5001), bobs + 1)
    assert back is not None
    assert (back.source, back.destination) == ((HOST, alices), (ALICE, 11780))


def test_rtcp_goes_where_the_attribute_says() -> None:
    lab = MediaLab()
    lab.offer(sdp(more=f"a=rtcp:12345 IN IP4 {ALICE}\r\n"))
    port = lab.answer(sdp(5000, BOB, more="a=rtcp:777 IN IP4 192.0.2.99\r\n")).medias[0].port
    assert lab.relay.config_of(port + 1).remote == (ALICE, 12345)
    # Another host in the attribute would be a second destination: the next port is used.
    remotes = {config.remote for config in lab.relay.configured.values()}
    assert (BOB, 5001) in remotes


def test_the_highest_port_has_no_next_one_for_rtcp() -> None:
    lab = MediaLab()
    lab.offer(sdp(65535))
    port = lab.answer(sdp(5000, BOB)).medias[0].port
    assert lab.relay.config_of(port).remote == (ALICE, 65535)
    assert lab.relay.config_of(port + 1).remote is None


# -- families, interfaces, forks -------------------------------------------------------------


def test_ipv4_meets_ipv6() -> None:
    lab = MediaLab()
    to_bob = lab.offer(sdp(), address_family="IP6")
    assert to_bob.medias[0].connection == ("IP6", "fd00::1")
    to_alice = lab.answer(sdp(5000, "2001:db8::50"))
    assert to_alice.medias[0].connection == ("IP4", HOST)
    sent = lab.send(rtp(1), (ALICE, 11780), to_alice.medias[0].port)
    assert sent is not None
    assert sent.source[0] == "fd00::1"
    assert sent.destination == ("2001:db8::50", 5000)
    # A re-offer need not say it again.
    assert lab.offer(sdp(), to_tag="b").medias[0].connection == ("IP6", "fd00::1")


def test_an_answer_in_the_other_family_is_not_sent_to() -> None:
    lab = MediaLab()
    lab.offer(sdp())
    reply = lab.handle(
        command="answer", call_id="c", from_tag="a", to_tag="b", sdp=sdp(5000, "2001:db8::50")
    )
    assert "family" in reply["warning"]
    assert all(config.remote != ("2001:db8::50", 5000) for config in lab.relay.configured.values())


def test_a_party_that_changes_family_gets_other_ports() -> None:
    lab = MediaLab()
    lab.call()
    lab.offer(sdp(11780, "2001:db8::7"), to_tag="b")
    answer = lab.answer(sdp(5000, BOB))
    assert answer.medias[0].connection == ("IP6", "fd00::1")
    assert lab.relay.open_ports == 4


def test_directions_choose_interfaces_and_advertised_addresses() -> None:
    lab = MediaLab()
    to_bob = lab.offer(sdp(), direction=["lan", "wan"])
    assert to_bob.medias[0].connection == ("IP4", "192.0.2.9")
    to_alice = lab.answer(sdp(5000, BOB))
    assert to_alice.medias[0].connection == ("IP4", HOST)
    sent = lab.send(rtp(1), (ALICE, 11780), to_alice.medias[0].port)
    assert sent is not None
    assert sent.source[0] == "10.0.0.2"


def test_an_unknown_interface_is_an_error_and_usual_names_are_not() -> None:
    lab = MediaLab()
    reply = lab.handle(
        command="offer", call_id="c", from_tag="a", sdp=sdp(), direction=["x", "lan"]
    )
    assert reply["error-reason"] == "no interface is named x"
    lab.offer(sdp(), direction=["external", "internal"])


def test_a_media_address_replaces_ours_in_the_text() -> None:
    to_bob = MediaLab().offer(sdp(), media_address="198.51.100.99")
    assert to_bob.medias[0].connection == ("IP4", "198.51.100.99")


def test_the_last_branch_that_answers_has_the_media() -> None:
    lab = MediaLab()
    bobs = lab.offer(sdp()).medias[0].port
    first = lab.answer(sdp(5000, BOB), to_tag="b1")
    alices = first.medias[0].port
    second = lab.answer(sdp(6000, "203.0.113.60", formats="0"), to_tag="b2")
    assert second.medias[0].port == alices
    assert int(second.origin.split()[2]) == int(first.origin.split()[2]) + 1
    assert lab.send(rtp(1), (BOB, 5000), bobs) is None
    assert lab.send(rtp(1, payload_type=0), ("203.0.113.60", 6000), bobs) is not None


def test_a_branch_may_take_the_media_back() -> None:
    lab = MediaLab()
    bobs = lab.offer(sdp()).medias[0].port
    lab.answer(sdp(5000, BOB), to_tag="b1")
    lab.send(rtp(1), (BOB, 5000), bobs)
    lab.answer(sdp(6000, BOB), to_tag="b2")
    lab.send(rtp(1), (BOB, 6000), bobs)
    lab.send(rtp(2), (BOB, 6000), bobs)
    lab.answer(sdp(5000, BOB), to_tag="b1")
    lab.send(rtp(2), (BOB, 5000), bobs)
    tags = lab.handle(command="query", call_id="c")["tags"]
    packets = {
        tag: party["medias"][0]["streams"][0]["stats"]["packets"] for tag, party in tags.items()
    }
    assert packets == {"a": 0, "b1": 2, "b2": 2}


def test_a_new_offerer_without_a_peers_tag_takes_the_other_side() -> None:
    lab = MediaLab()
    _, alices = lab.call()
    assert lab.offer(sdp(7000, "203.0.113.70"), "x").medias[0].port == alices


def test_a_looped_description_passes_unchanged_with_its_answer() -> None:
    lab = MediaLab()
    reply = lab.handle(
        command="offer", call_id="c", from_tag="a", sdp=sdp(), flags=["loop protect"]
    )
    looped = lab.handle(
        command="offer", call_id="c2", from_tag="x", sdp=reply["sdp"], flags=["loop-protect"]
    )
    assert looped["sdp"] == reply["sdp"]
    answer = lab.handle(command="answer", call_id="c2", from_tag="x", to_tag="y", sdp=sdp(5000))
    assert answer["sdp"] == sdp(5000)
    assert lab.relay.open_ports == 4


def test_ice_is_removed_and_said_so_when_it_was_asked_for() -> None:
    lab = MediaLab()
    request = {"command": "offer", "call_id": "c", "from_tag": "a", "sdp": sdp()}
    assert "warning" not in lab.handle(**request, ICE="remove")
    assert lab.handle(**request, ICE="force")["warning"] == "ICE is removed"


@pytest.mark.parametrize(
    ("flag", "expected"),
    [
        ("full-rtcp-attribute", f"a=rtcp:{{}} IN IP4 {HOST}"),
        ("no rtcp attribute", None),
    ],
)
def test_the_rtcp_attribute_can_be_full_or_left_out(flag: str, expected: str | None) -> None:
    media = MediaLab().offer(sdp(more="a=rtcp:11781\r\n"), flags=[flag]).medias[0]
    found = [line for line in media.lines if line.startswith("a=rtcp:")]
    assert found == ([expected.format(media.port + 1)] if expected else [])


def test_multiplexed_rtcp_is_counted_with_its_media() -> None:
    lab = MediaLab()
    lab.offer(sdp(more=MUX), rtcp_mux=["demux"])
    port = lab.answer(sdp(5000, BOB)).medias[0].port
    lab.send(bytes.fromhex("80c9000100000001"), (ALICE, 11780), port)
    reply = lab.handle(command="delete", call_id="c")
    assert reply["totals"]["RTCP"]["packets"] == 1


def test_the_learning_options_reach_the_relay() -> None:
    lab = MediaLab()
    lab.offer(sdp(), learn="any", flags=["asymmetric"], received_from=["IP4", ALICE])
    alices = lab.answer(sdp(5000, BOB)).medias[0].port
    config = lab.relay.config_of(alices)
    assert config.learn is LearnPolicy.ANY
    assert config.asymmetric
    assert config.signalling_host == ALICE
    assert config.nat


def test_ports_that_a_nat_rewrote_are_learned_when_signalling_says_so() -> None:
    lab = MediaLab()
    lab.offer(sdp(), learn="exact", received_from=["IP4", ALICE])
    alices = lab.answer(sdp(5000, BOB)).medias[0].port
    for number in range(4):
        lab.send(rtp(number), (ALICE, 40_000), alices)
    assert lab.relay.sent[-1].destination == (BOB, 5000)
