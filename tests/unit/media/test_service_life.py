"""Commands, figures, limits and the end of calls."""

from __future__ import annotations

from typing import Any

import pytest

from media.ng.figures import leg_media
from media.ng.messages import Message
from media.server import exchange, service
from media.server.calls import MAX_TAGS
from media.server.service import MAX_EVENTS, MAX_NODES
from tests.support.media_lab import ALICE, BOB, MediaLab, rtp, sdp


def current(lab: MediaLab, name: str) -> Any:
    return lab.service.statistics(lab.now)["currentstatistics"][name]


def total(lab: MediaLab, name: str) -> Any:
    return lab.service.statistics(lab.now)["totalstatistics"][name]


def assert_empty(lab: MediaLab) -> None:
    """Nothing outlives its call."""
    assert lab.relay.open_ports == 0
    assert lab.service.call_count == 0
    assert current(lab, "streams") == 0
    assert all(pool.statistics()["used"] == 0 for pool in lab.service.pools.values())


def test_ping() -> None:
    assert MediaLab().handle(command="ping") == {"result": "pong"}


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ({}, "Unrecognized command"),
        ({"command": "bogus"}, "Unrecognized command"),
        ({"command": ["offer"]}, "Unrecognized command"),
        ({"command": "offer", "call_id": "c", "from_tag": "a"}, "No SDP body in message"),
        ({"command": "offer", "sdp": 5}, "No SDP body in message"),
        ({"command": "offer", "sdp": sdp(), "from_tag": "a"}, "No call-id in message"),
        ({"command": "offer", "sdp": sdp(), "call_id": "c"}, "No from-tag in message"),
        ({"command": "offer", "sdp": sdp(), "call_id": [], "from_tag": "a"}, "call-id is not"),
        ({"command": "offer", "sdp": sdp(), "call_id": "c" * 513, "from_tag": "a"}, "too long"),
        ({"command": "offer", "sdp": "x", "call_id": "c", "from_tag": "a"}, "<type>=<value>"),
        ({"command": "answer", "sdp": sdp(), "call_id": "x"}, "Unknown call-id"),
        ({"command": "query", "call_id": "x"}, "Unknown call-id"),
        ({"command": "list", "limit": "many"}, "limit is not a number"),
        ({"command": "hello", "node": "n"}, "No epoch in message"),
        ({"command": "reset"}, "No node in message"),
    ],
)
def test_requests_that_cannot_be_carried_out(message: Message, reason: str) -> None:
    lab = MediaLab()
    reply = lab.handle(**message)
    assert reply["result"] == "error"
    assert reason in reply["error-reason"]
    assert_empty(lab)


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        ({"flags": [1]}, "flags is not a list"),
        ({"flags": {"a": 1}}, "flags is not a list"),
        ({"direction": [1]}, "direction is not a list"),
        ({"address_family": "IP5"}, "address-family"),
        ({"received_from": ["IP4", "nowhere"]}, "received-from is not a usable"),
        ({"received_from": 5}, "received-from is not a list"),
        ({"media_address": "224.0.0.1"}, "media-address is not a usable"),
        ({"flags": "SIP source address"}, "needs received-from"),
        ({"learn": "everything"}, "learn is one of"),
        ({"ICE": ["x"]}, "ICE is not a string"),
        ({"transport_protocol": "RTP/SAVP"}, "encryption"),
    ],
)
def test_options_that_cannot_be_meant(option: Message, reason: str) -> None:
    lab = MediaLab()
    reply = lab.handle(command="offer", call_id="c", from_tag="a", sdp=sdp(), **option)
    assert reason in reply["error-reason"]
    assert_empty(lab)


def test_spellings_of_options_that_are_tolerated() -> None:
    lab = MediaLab()
    lab.offer(sdp(), direction="lan", received_from="198.51.100.7", flags="trust address")
    lab.offer(sdp(), call_id="c6", received_from=["IP6", "[2001:db8::1]"])
    assert lab.handle(command="query", call_id="c")["result"] == "ok"
    lab.handle(command="offer", call_id=17, from_tag="a", sdp=sdp())
    assert lab.handle(command="list", limit="2")["calls"] == ["c", "c6"]
    assert lab.handle(command="query", call_id="17")["result"] == "ok"


# -- answers out of turn ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("from_tag", "to_tag", "reason"),
    [
        ("x", "b", "No offer of this from-tag"),
        ("b", "a", "No offer of this from-tag"),
        ("a", "a", "to-tag is of the party that made the offer"),
        ("a", "", "No to-tag"),
    ],
)
def test_answers_out_of_turn_are_refused(from_tag: str, to_tag: str, reason: str) -> None:
    lab = MediaLab()
    lab.call()
    reply = lab.handle(
        command="answer", call_id="c", from_tag=from_tag, to_tag=to_tag, sdp=sdp(5000, BOB)
    )
    assert reason in reply["error-reason"]


def test_a_bad_answer_changes_nothing_and_leaves_no_tag() -> None:
    lab = MediaLab()
    lab.offer(sdp())
    reply = lab.handle(command="answer", call_id="c", from_tag="a", to_tag="b", sdp="v=0\r\n")
    assert reply["result"] == "error"
    assert list(lab.handle(command="query", call_id="c")["tags"]) == ["a"]
    lab.answer(sdp(5000, BOB))


def test_a_bad_reoffer_leaves_the_call_alone() -> None:
    lab = MediaLab()
    bobs, _ = lab.call()
    reply = lab.handle(command="offer", call_id="c", from_tag="a", to_tag="b", sdp="v=0\r\n")
    assert reply["result"] == "error"
    assert lab.send(rtp(1), (BOB, 5000), bobs) is not None


def test_branches_of_a_call_are_bounded() -> None:
    lab = MediaLab()
    lab.offer(sdp())
    for number in range(MAX_TAGS - 1):
        lab.answer(sdp(5000, BOB), to_tag=f"b{number}")
    reply = lab.handle(
        command="answer", call_id="c", from_tag="a", to_tag="one-more", sdp=sdp(5000, BOB)
    )
    assert reply["error-reason"] == "Too many tags in this call"


# -- figures ---------------------------------------------------------------------------------


def test_deletion_tells_the_figures_of_both_parties() -> None:
    lab = MediaLab()
    bobs, alices = lab.call()
    for number in range(200):
        lab.relay.now += 0.02
        if number % 10:
            lab.send(rtp(number), (ALICE, 11780), alices)
        lab.send(rtp(number, payload_type=0 if number == 50 else 8), (BOB, 5000), bobs)
    lab.send(rtp(1, payload_type=77), (BOB, 5000), bobs)
    reply = lab.handle(command="delete", call_id="c", from_tag="a")
    assert reply["result"] == "ok"
    alice, bob = leg_media(reply, "a"), leg_media(reply, "b")
    assert (alice.packets_in, alice.packets_out) == (180, 200)
    assert (bob.packets_in, bob.packets_out) == (200, 180)
    assert alice.bytes_in == 180 * 172
    assert bob.bytes_out == 180 * 172
    assert alice.lost == 19  # the first one lost was before the first that came
    assert (bob.lost, bob.dropped) == (0, 1)
    assert alice.codec == "PCMA"
    assert 1 < alice.mos < bob.mos < 4.5
    assert reply["tags"]["b"]["medias"][0]["streams"][0]["stats"]["dropped"] == {"payload-type": 1}
    assert reply["totals"]["RTP"]["packets"] == 380
    assert_empty(lab)


def test_the_shape_is_rtpengines() -> None:
    lab = MediaLab()
    lab.relay.now = 5.25
    bobs, alices = lab.call()
    reply = lab.handle(command="query", call_id="c")
    assert reply["created"] == 1_000_005
    assert reply["created_us"] == 250_000
    assert reply["last signal"] == 1_000_005
    party = reply["tags"]["a"]
    assert party["subscriptions"] == [{"tag": "b", "type": "offer/answer"}]
    (media,) = party["medias"]
    assert (media["index"], media["type"], media["protocol"]) == (1, "audio", "RTP/AVP")
    assert media["flags"] == ["initialized", "send", "recv"]
    rtp_stream, rtcp_stream = media["streams"]
    assert rtp_stream["local port"] == alices
    assert rtp_stream["endpoint"] == {"family": "IPv4", "address": ALICE, "port": 11780}
    assert rtp_stream["flags"] == ["RTP", "filled"]
    assert rtp_stream["last packet"] == 1_000_005
    assert rtcp_stream["local port"] == alices + 1
    assert rtcp_stream["endpoint"]["port"] == 11781
    assert rtcp_stream["flags"] == ["RTCP", "filled"]
    assert reply["tags"]["b"]["medias"][0]["streams"][0]["local port"] == bobs


def test_a_learned_address_is_shown_beside_the_advertised_one() -> None:
    lab = MediaLab()
    lab.offer(sdp(11780, "192.168.0.5"), received_from=["IP4", ALICE])
    port = lab.answer(sdp(5000, BOB, more="a=rtcp-mux\r\n")).medias[0].port
    for number in range(5):
        lab.send(rtp(number), (ALICE, 40_000), port)
    stream = lab.handle(command="query", call_id="c")["tags"]["a"]["medias"][0]["streams"][0]
    assert stream["endpoint"]["port"] == 40_000
    assert stream["advertised endpoint"]["address"] == "192.168.0.5"
    assert "confirmed" in stream["flags"]
    assert stream["SSRC"] == 1


def test_multiplexed_and_held_media_say_so() -> None:
    lab = MediaLab()
    lab.offer(sdp(more="a=rtcp-mux\r\n", direction="sendonly"))
    lab.answer(sdp(5000, BOB, more="a=rtcp-mux\r\n", direction="recvonly"))
    tags = lab.handle(command="query", call_id="c")["tags"]
    assert tags["a"]["medias"][0]["flags"] == ["initialized", "send", "rtcp-mux"]
    assert tags["b"]["medias"][0]["flags"] == ["initialized", "recv", "rtcp-mux"]
    assert len(tags["a"]["medias"][0]["streams"]) == 1


def test_ipv6_and_unusable_endpoints_in_the_reply() -> None:
    lab = MediaLab()
    lab.offer(sdp(11780, "2001:db8::7"))
    lab.answer(sdp(5000, "0.0.0.0"))
    tags = lab.handle(command="query", call_id="c")["tags"]
    assert tags["a"]["medias"][0]["streams"][0]["endpoint"]["family"] == "IPv6"
    assert tags["a"]["medias"][0]["streams"][0]["family"] == "IPv6"
    assert "endpoint" not in tags["b"]["medias"][0]["streams"][0]
    assert tags["b"]["medias"][0]["streams"][1]["flags"] == ["RTCP"]


def test_figures_of_media_that_ended_are_kept() -> None:
    video = "m=video 5004 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\n"
    lab = MediaLab()
    lab.offer(sdp(more=video))
    port = lab.answer(sdp(5000, BOB, more=video)).medias[1].port
    lab.send(rtp(1, payload_type=96), (ALICE, 5004), port)
    lab.offer(sdp(more=video.replace("5004", "0")), to_tag="b")
    lab.answer(sdp(5000, BOB, more=video.replace("5004", "0")))
    reply = lab.handle(command="delete", call_id="c", from_tag="a")
    assert reply["tags"]["a"]["medias"][1]["streams"][0]["stats"]["packets"] == 1
    assert_empty(lab)


# -- delete ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tags", [{}, {"from_tag": "a"}, {"from_tag": "b"}, {"from_tag": "x", "to_tag": "b"}]
)
def test_any_of_its_tags_deletes_a_call(tags: Message) -> None:
    lab = MediaLab()
    lab.call()
    assert lab.handle(command="delete", call_id="c", **tags)["result"] == "ok"
    assert_empty(lab)
    assert total(lab, "regularterminatedsessions") == 1


def test_deleting_what_is_not_there_is_a_warning_or_fatal() -> None:
    lab = MediaLab()
    lab.call()
    for message in ({"call_id": "x"}, {"call_id": "c", "from_tag": "x"}):
        reply = lab.handle(command="delete", **message)
        assert reply == {
            "result": "ok",
            "warning": "Call-ID not found or tags didn't match",
        }
        assert lab.handle(command="delete", flags=["fatal"], **message)["result"] == "error"
    assert lab.service.call_count == 1


def test_deleting_an_overtaken_branch_leaves_the_call() -> None:
    lab = MediaLab()
    lab.offer(sdp())
    lab.answer(sdp(5000, BOB), to_tag="b1")
    lab.answer(sdp(6000, BOB), to_tag="b2")
    reply = lab.handle(command="delete", call_id="c", from_tag="a", to_tag="b1")
    assert set(reply["tags"]) == {"a", "b1", "b2"}
    assert set(lab.handle(command="query", call_id="c")["tags"]) == {"a", "b2"}
    lab.handle(command="delete", call_id="c", from_tag="a", to_tag="b2")
    assert_empty(lab)


def test_deletion_can_be_delayed_and_a_new_offer_prevents_it() -> None:
    lab = MediaLab()
    lab.call()
    lab.handle(command="delete", call_id="c", from_tag="a", delete_delay="20")
    lab.pass_time(10)
    lab.offer(sdp(), to_tag="b")
    lab.pass_time(15)
    assert lab.service.call_count == 1
    lab.handle(command="delete", call_id="c", from_tag="a", delete_delay=20)
    lab.pass_time(20)
    assert_empty(lab)


# -- limits ----------------------------------------------------------------------------------


def test_no_ports_refuses_the_offer_before_anybody_rings() -> None:
    lab = MediaLab(port_min=10_000, port_max=10_003)
    lab.call()
    reply = lab.handle(command="offer", call_id="c2", from_tag="x", sdp=sdp())
    assert reply == {"result": "error", "error-reason": "no ports"}
    assert lab.relay.open_ports == 4
    assert total(lab, "rejectedsessions") == 1
    lab.handle(command="delete", call_id="c")
    lab.pass_time(60)
    lab.offer(sdp(), call_id="c2")


def test_an_offer_that_gets_only_some_ports_gives_them_back() -> None:
    lab = MediaLab(port_min=10_000, port_max=10_005)
    reply = lab.handle(
        command="offer", call_id="c", from_tag="a", sdp=sdp(more="m=video 5004 RTP/AVP 96\r\n")
    )
    assert reply["error-reason"] == "no ports"
    assert_empty(lab)


def test_calls_are_bounded() -> None:
    lab = MediaLab(max_calls=1)
    lab.call()
    request = {"command": "offer", "call_id": "c2", "from_tag": "a", "sdp": sdp()}
    assert lab.handle(**request)["error-reason"] == "Too many calls"
    assert lab.handle(**request, supports=["load limit"]) == {"result": "load limit"}


def test_list_and_statistics() -> None:
    lab = MediaLab()
    for number in range(40):
        lab.offer(sdp(), call_id=f"c{number}")
    assert len(lab.handle(command="list")["calls"]) == 32
    assert lab.handle(command="list", limit=3)["calls"] == ["c0", "c1", "c2"]
    lab.relay.now = 7.9
    statistics = lab.handle(command="statistics")["statistics"]
    assert statistics["currentstatistics"]["sessionstotal"] == 40
    assert statistics["currentstatistics"]["streams"] == 80
    assert statistics["totalstatistics"]["managedsessions"] == 40
    assert statistics["totalstatistics"]["uptime"] == "7"
    assert statistics["controlstatistics"]["totaloffercount"] == 40
    assert {entry["address"] for entry in statistics["interfaces"]} == {
        "10.0.0.1",
        "10.0.0.2",
        "fd00::1",
    }


def test_kept_origins_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "MAX_ORIGINS", 4)
    lab = MediaLab()
    lab.offer(sdp())
    seen = lab.answer(sdp(5000, BOB)).origin.split()[1]
    assert lab.offer(sdp(5000, BOB), "n", "c2", origin_key="a").origin.split()[1] == seen
    for number in range(2):
        lab.offer(sdp(), f"a{number}", f"x{number}")
        lab.answer(sdp(5000, BOB), f"a{number}", f"b{number}", f"x{number}")
    assert lab.offer(sdp(5000, BOB), "n", "c3", origin_key="a").origin.split()[1] != seen


# -- time-outs -------------------------------------------------------------------------------


def test_a_call_without_media_ends_after_a_minute_and_says_so() -> None:
    lab = MediaLab()
    bobs, alices = lab.call()
    lab.send(rtp(1), (ALICE, 11780), alices)
    lab.pass_time(59.9)
    lab.send(rtp(2), (BOB, 5000), bobs)
    lab.pass_time(59.9)
    assert lab.service.call_count == 1
    assert lab.events() == []
    lab.pass_time(0.2)
    (event,) = lab.events()
    assert (event["event"], event["call-id"]) == ("media-timeout", "c")
    assert leg_media(event, "a").packets_in == 1
    assert_empty(lab)
    assert total(lab, "timeoutsessions") == 1
    assert lab.service.next_timer() is None


def test_a_delete_that_crosses_the_time_out_still_gets_the_figures() -> None:
    lab = MediaLab()
    _, alices = lab.call()
    lab.send(rtp(1), (ALICE, 11780), alices)
    lab.pass_time(61)
    reply = lab.handle(command="delete", call_id="c")
    assert reply["warning"] == "The call had timed out"
    assert leg_media(reply, "a").packets_in == 1
    assert "tags" not in lab.handle(command="delete", call_id="c")


def test_figures_of_calls_that_timed_out_are_bounded_and_of_the_last_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(service, "MAX_LAST_WORDS", 2)
    lab = MediaLab()
    for number in range(3):
        lab.call(f"c{number}")
    lab.pass_time(61)
    lab.call("c1")
    lab.handle(command="delete", call_id="c1")
    told = [
        number
        for number in range(3)
        if "tags" in lab.handle(command="delete", call_id=f"c{number}")
    ]
    assert told == [2]


def test_a_held_call_may_be_silent_for_an_hour() -> None:
    lab = MediaLab()
    lab.call()
    lab.offer(sdp(direction="inactive"), to_tag="b")
    lab.answer(sdp(5000, BOB, direction="inactive"))
    lab.pass_time(3599)
    assert lab.service.call_count == 1
    lab.pass_time(2)
    assert lab.events()[0]["event"] == "media-timeout"
    assert total(lab, "silenttimeoutsessions") == 1
    assert_empty(lab)


def test_early_media_may_be_silent_while_the_telephone_rings() -> None:
    lab = MediaLab()
    lab.offer(sdp())
    alices = lab.answer(sdp(5000, BOB), flags=["provisional"]).medias[0].port
    assert lab.send(rtp(1), (ALICE, 11780), alices) is not None
    lab.pass_time(180)
    assert lab.service.call_count == 1
    lab.answer(sdp(5000, BOB))
    lab.answer(sdp(5000, BOB), flags=["provisional"])  # late, by another path
    lab.pass_time(61)
    assert_empty(lab)


def test_after_a_hold_the_minute_counts_again() -> None:
    lab = MediaLab()
    lab.call()
    lab.offer(sdp(direction="sendonly"), to_tag="b")
    lab.answer(sdp(5000, BOB, direction="recvonly"))
    lab.pass_time(600)
    lab.offer(sdp(), to_tag="b")
    lab.answer(sdp(5000, BOB))
    lab.pass_time(59)
    assert lab.service.call_count == 1
    lab.pass_time(2)
    assert_empty(lab)


def test_an_offer_without_an_answer_ends_after_an_hour() -> None:
    lab = MediaLab()
    lab.offer(sdp())
    lab.pass_time(3599)
    assert lab.service.call_count == 1
    lab.pass_time(1)
    assert [event["event"] for event in lab.events()] == ["offer-timeout"]
    assert total(lab, "offertimeoutsessions") == 1
    assert_empty(lab)


def test_many_calls_that_expire_together_are_ended_a_batch_a_wake() -> None:
    lab = MediaLab()
    for number in range(100):
        lab.call(f"c{number}")
    lab.relay.now = 60.0
    lab.service.handle_timers(lab.now)
    assert 0 < lab.service.call_count < 100
    assert lab.service.next_timer() == 60.0
    lab.pass_time(0)
    assert_empty(lab)
    assert len(lab.events()) == 100


def test_timers_of_ended_calls_do_not_pile_up() -> None:
    lab = MediaLab()
    for number in range(500):
        lab.call(f"c{number}")
        lab.handle(command="delete", call_id=f"c{number}")
    assert len(lab.service._due) < 100


def test_events_that_nobody_takes_are_bounded() -> None:
    lab = MediaLab(offer_timeout_s=1.0)
    lab.service._events.extend([None] * MAX_EVENTS)  # type: ignore[list-item]
    lab.offer(sdp())
    lab.pass_time(1)
    assert len(lab.service.events()) == MAX_EVENTS
    assert total(lab, "lostevents") == 1


# -- nodes -----------------------------------------------------------------------------------


def test_a_restarted_node_loses_its_orphans_and_no_others() -> None:
    lab = MediaLab()
    first = lab.handle(command="hello", node="n1", epoch="1")
    assert (first["result"], first["deleted"]) == ("ok", 0)
    lab.handle("n1", command="offer", call_id="mine", from_tag="a", sdp=sdp())
    lab.handle("n2", command="offer", call_id="other", from_tag="a", sdp=sdp())
    lab.offer(sdp(), call_id="foreign")
    assert lab.handle(command="hello", node="n1", epoch="1")["deleted"] == 0
    again = lab.handle(command="hello", node="n1", epoch="2")
    assert again["deleted"] == 1
    assert again["instance"] == first["instance"]
    assert lab.handle(command="list")["calls"] == ["other", "foreign"]
    assert lab.handle(command="reset", node="n2") == {"result": "ok", "deleted": 1}
    assert lab.handle(command="list")["calls"] == ["foreign"]
    assert total(lab, "forcedterminatedsessions") == 2


def test_nodes_are_bounded() -> None:
    lab = MediaLab()
    for number in range(MAX_NODES):
        lab.handle(command="hello", node=f"n{number}", epoch="1")
    assert lab.handle(command="hello", node="more", epoch="1")["error-reason"] == "Too many nodes"
    assert lab.handle(command="hello", node="n0", epoch="2")["result"] == "ok"
    lab.handle(command="reset", node="n1")
    assert lab.handle(command="hello", node="more", epoch="1")["result"] == "ok"


def test_events_go_to_the_node_of_the_call() -> None:
    lab = MediaLab(offer_timeout_s=1.0)
    lab.handle("n1", command="offer", call_id="c", from_tag="a", sdp=sdp())
    lab.pass_time(1)
    assert [event.node for event in lab.service.events()] == ["n1"]
