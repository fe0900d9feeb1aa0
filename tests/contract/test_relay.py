"""What every relay promises, on the C core and on the Python twin: one class, real sockets.

No test sleeps. That a packet was dropped is seen without waiting: the counters tell when it was
judged, and nothing may wait at the peer then. The hosts are addresses of 127.0.0.0/8.
"""

from __future__ import annotations

import os
import resource
import select
import shutil
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from media.native import (
    ANY_PAYLOAD_TYPE,
    Address,
    DropReason,
    LearnPolicy,
    Locked,
    Rebound,
    Relay,
    RelayEvent,
    RelayOptions,
    SelfLoop,
    SourceAlarm,
    StreamConfig,
    StreamStats,
    native_is_built,
    open_relay,
)
from media.native.relay import FRAME_HEAD_BYTES, TAP_FRAMES
from tests.support.rtp_peer import TIMEOUT_S, RtpPeer, receiver_report, rtp, sender_report

STRANGER = "127.0.0.66"
AUDIO = frozenset({0, 8, 101})


RELAYS = ["native", "native-threads", "twin"] if native_is_built() else ["twin"]


@pytest.fixture(params=RELAYS)
def relay(request: pytest.FixtureRequest) -> Iterator[Relay]:
    implementation, _, threads = request.param.partition("-")
    options = RelayOptions(workers=2 if threads else 1)
    made = open_relay(options, implementation)
    yield made
    made.shutdown()


@pytest.fixture
def peer() -> Iterator[Callable[..., RtpPeer]]:
    made: list[RtpPeer] = []

    def make(host: str = "127.0.0.1", port: int = 0) -> RtpPeer:
        made.append(RtpPeer(host, port))
        return made[-1]

    yield make
    for one in made:
        one.close()


def until(condition: Callable[[], Any]) -> None:
    """Look again and again, giving the processor away, until the condition holds."""
    deadline = os.times().elapsed + TIMEOUT_S
    while not condition():
        assert os.times().elapsed < deadline, "the relay did not get there"
        os.sched_yield()


def judged(stats: StreamStats) -> int:
    """Datagrams of a stream that were accepted or dropped for a fault of their own."""
    later = {
        DropReason.DISABLED,
        DropReason.NO_SINK,
        DropReason.NO_REMOTE,
        DropReason.ECHO,
        DropReason.SEND,
        DropReason.OVERRUN,
    }
    faulty = sum(count for reason, count in stats.dropped.items() if reason not in later)
    return stats.packets_in + stats.rtcp_in + faulty


def wait_judged(relay: Relay, handle: int, count: int) -> StreamStats:
    """Wait until so many datagrams were judged on a stream."""
    until(lambda: judged(relay.stats(handle)) >= count)
    return relay.stats(handle)


def wait_events(relay: Relay, count: int = 1) -> list[RelayEvent]:
    events: list[RelayEvent] = []
    while len(events) < count:
        readable, _, _ = select.select([relay.fileno()], [], [], TIMEOUT_S)
        assert readable, f"only {events}"
        events += relay.events()
    return events


class Bridge:
    """Two streams that are each other's sink, and a peer at each end (RTP only)."""

    def __init__(
        self, relay: Relay, a: RtpPeer, b: RtpPeer, host_a: str = "127.0.0.1", **of_a: Any
    ) -> None:
        self.a, self.b = a, b
        self.stream_a = relay.open(host_a, 0)
        self.stream_b = relay.open("127.0.0.1", 0)
        self.at_a = relay.address(self.stream_a)
        self.at_b = relay.address(self.stream_b)
        values: dict[str, Any] = {
            "sink": self.stream_b,
            "remote": a.address,
            "payload_types": AUDIO,
            **of_a,
        }
        self.config_a = StreamConfig(**values)
        self.config_b = StreamConfig(sink=self.stream_a, remote=b.address, payload_types=AUDIO)
        relay.configure(self.stream_a, self.config_a)
        relay.configure(self.stream_b, self.config_b)


def behind_nat(signalling_host: str = "127.0.0.1", **more: Any) -> dict[str, Any]:
    """Configuration of a side whose SDP named an address that nobody can use."""
    return {"nat": True, "remote": None, "signalling_host": signalling_host, **more}


PeerMaker = Callable[..., RtpPeer]


class TestRelaying:
    def test_media_flows_both_ways_unchanged(self, relay: Relay, peer: PeerMaker) -> None:
        bridge = Bridge(relay, peer(), peer("127.0.0.2"))
        for number in range(50):
            packet = rtp(number, marker=number == 0)
            bridge.a.send(bridge.at_a, packet)
            assert bridge.b.receive_from() == (packet, bridge.at_b)
            bridge.b.send(bridge.at_b, packet)
            assert bridge.a.receive_from() == (packet, bridge.at_a)
        until(lambda: relay.stats(bridge.stream_b).packets_out == 50)
        stats = relay.stats(bridge.stream_a)
        assert (stats.packets_in, stats.bytes_in) == (50, 50 * 172)
        assert stats.dropped == {}
        assert (stats.ssrc, stats.markers, stats.lost) == (0x1234, 1, 0)
        assert stats.locked == bridge.a.address
        age_s = stats.last_packet_age_s
        assert age_s is not None
        assert 0 <= age_s < TIMEOUT_S
        assert relay.stats(bridge.stream_b).bytes_out == 50 * 172

    def test_a_burst_keeps_its_order(self, relay: Relay, peer: PeerMaker) -> None:
        bridge = Bridge(relay, peer(), peer())
        packets = [rtp(number) for number in range(65500, 65700)]
        bridge.a.send(bridge.at_a, *packets)
        assert [bridge.b.receive() for _ in packets] == packets
        assert relay.stats(bridge.stream_a).lost == 0

    def test_a_stream_may_change_its_sink_in_a_call(self, relay: Relay, peer: PeerMaker) -> None:
        bridge = Bridge(relay, peer(), peer())
        other = Bridge(relay, peer(), peer())
        bridge.a.send(bridge.at_a, rtp(1))
        assert bridge.b.receive() == rtp(1)
        relay.configure(bridge.stream_a, StreamConfig(sink=other.stream_b, remote=bridge.a.address))
        bridge.a.send(bridge.at_a, rtp(2))
        assert other.b.receive() == rtp(2)
        assert bridge.b.has_nothing()

    def test_ipv4_and_ipv6_peers_hear_each_other(self, relay: Relay, peer: PeerMaker) -> None:
        bridge = Bridge(relay, peer("::1"), peer(), host_a="::1")
        bridge.a.send(bridge.at_a, rtp(1))
        assert bridge.b.receive_from() == (rtp(1), bridge.at_b)
        bridge.b.send(bridge.at_b, rtp(2))
        assert bridge.a.receive_from() == (rtp(2), bridge.at_a)
        assert relay.stats(bridge.stream_a).locked == bridge.a.address

    def test_an_ipv6_source_is_learned(self, relay: Relay, peer: PeerMaker) -> None:
        bridge = Bridge(relay, peer("::1"), peer(), host_a="::1", **behind_nat("::1"))
        bridge.a.send_sequence(bridge.at_a, range(4))
        assert bridge.b.receive() == rtp(3)
        assert wait_events(relay) == [Locked(bridge.stream_a, bridge.a.address)]

    def test_other_protocols_pass_through(self, relay: Relay, peer: PeerMaker) -> None:
        """RFC 7345: UDPTL is no RTP; the relay checks the source only."""
        bridge = Bridge(relay, peer(), peer(), payload_types=None)
        stranger = peer(STRANGER)
        stranger.send(bridge.at_a, b"\x00\x01fax")
        bridge.a.send(bridge.at_a, b"\x00\x01fax", b"\x00")
        assert [bridge.b.receive(), bridge.b.receive()] == [b"\x00\x01fax", b"\x00"]
        stats = wait_judged(relay, bridge.stream_a, 3)
        assert stats.dropped == {DropReason.SOURCE: 1}
        assert (stats.packets_in, stats.ssrc, stats.jitter) == (2, None, 0.0)

    def test_a_hold_stops_media_but_not_the_clock(self, relay: Relay, peer: PeerMaker) -> None:
        bridge = Bridge(relay, peer(), peer(), enabled_in=False, enabled_out=False)
        bridge.a.send(bridge.at_a, rtp(1))
        bridge.b.send(bridge.at_b, rtp(1))
        for stream in (bridge.stream_a, bridge.stream_b):
            stats = wait_judged(relay, stream, 1)
            until(lambda stream=stream: relay.stats(stream).dropped)  # type: ignore[misc]
            assert relay.stats(stream).dropped == {DropReason.DISABLED: 1}
            assert stats.last_packet_age_s is not None
        assert bridge.a.has_nothing()
        assert bridge.b.has_nothing()

    def test_nothing_is_forwarded_without_a_sink(self, relay: Relay, peer: PeerMaker) -> None:
        bridge = Bridge(relay, peer(), peer())
        relay.configure(bridge.stream_a, StreamConfig(remote=bridge.a.address))
        bridge.a.send(bridge.at_a, rtp(1))
        until(lambda: relay.stats(bridge.stream_a).dropped)
        relay.configure(bridge.stream_a, bridge.config_a)
        relay.close(bridge.stream_b)
        bridge.a.send(bridge.at_a, rtp(2))
        until(lambda: relay.stats(bridge.stream_a).dropped == {DropReason.NO_SINK: 2})
        assert relay.stats(bridge.stream_a).packets_in == 2

    def test_nothing_is_forwarded_before_the_sink_has_a_remote(
        self, relay: Relay, peer: PeerMaker
    ) -> None:
        bridge = Bridge(relay, peer(), peer(), **behind_nat())
        bridge.b.send(bridge.at_b, rtp(1))
        until(lambda: relay.stats(bridge.stream_b).dropped == {DropReason.NO_REMOTE: 1})
        assert bridge.a.has_nothing()

    def test_a_packet_never_returns_to_its_source(self, relay: Relay, peer: PeerMaker) -> None:
        bridge = Bridge(relay, peer(), peer())
        relay.configure(
            bridge.stream_b, StreamConfig(sink=bridge.stream_a, remote=bridge.a.address)
        )
        bridge.a.send(bridge.at_a, rtp(1))
        until(lambda: relay.stats(bridge.stream_a).dropped == {DropReason.ECHO: 1})
        assert bridge.a.has_nothing()

    def test_what_the_kernel_refuses_is_counted(self, relay: Relay, peer: PeerMaker) -> None:
        """A loopback address reaches no other host; nobody else is harmed."""
        bridge = Bridge(relay, peer(), peer())
        relay.configure(
            bridge.stream_b, StreamConfig(sink=bridge.stream_a, remote=("192.0.2.1", 4000))
        )
        bridge.a.send(bridge.at_a, rtp(1), rtp(2))
        until(lambda: relay.stats(bridge.stream_a).dropped == {DropReason.SEND: 2})
        assert relay.stats(bridge.stream_b).packets_out == 0


class TestStrictSource:
    """A peer without NAT is who its SDP says."""

    def test_a_stranger_gets_nothing_and_changes_nothing(
        self, relay: Relay, peer: PeerMaker
    ) -> None:
        bridge = Bridge(relay, peer(), peer())
        strangers = [peer(STRANGER), peer("127.0.0.1")]  # another host; another port of the host
        bridge.a.send(bridge.at_a, rtp(1))
        assert bridge.b.receive() == rtp(1)
        for stranger in strangers:
            stranger.send_sequence(bridge.at_a, range(2, 30))
        wait_judged(relay, bridge.stream_a, 57)
        bridge.a.send(bridge.at_a, rtp(2))
        assert bridge.b.receive() == rtp(2)
        bridge.b.send(bridge.at_b, rtp(9))
        assert bridge.a.receive() == rtp(9)
        stats = relay.stats(bridge.stream_a)
        assert stats.dropped == {DropReason.SOURCE: 56}
        assert (stats.packets_in, stats.locked) == (2, bridge.a.address)
        assert all(stranger.has_nothing() for stranger in strangers)

    def test_an_asymmetric_peer_may_send_from_another_port(
        self, relay: Relay, peer: PeerMaker
    ) -> None:
        bridge = Bridge(relay, peer(), peer(), asymmetric=True)
        sending = peer("127.0.0.1")
        sending.send(bridge.at_a, rtp(1))
        assert bridge.b.receive() == rtp(1)
        bridge.b.send(bridge.at_b, rtp(1))
        assert bridge.a.receive() == rtp(1)  # still to the address of the SDP
        assert sending.has_nothing()

    def test_an_unknown_peer_is_not_believed(self, relay: Relay, peer: PeerMaker) -> None:
        bridge = Bridge(relay, peer(), peer(), remote=None)
        bridge.a.send_sequence(bridge.at_a, range(8))
        assert wait_judged(relay, bridge.stream_a, 8).dropped == {DropReason.SOURCE: 8}
        assert relay.stats(bridge.stream_a).locked is None
        assert bridge.b.has_nothing()

    def test_nothing_is_accepted_before_a_description(self, relay: Relay, peer: PeerMaker) -> None:
        stream = relay.open("127.0.0.1", 0)
        peer().send_sequence(relay.address(stream), range(5))
        assert wait_judged(relay, stream, 5).dropped == {DropReason.IDLE: 5}

    def test_a_new_sdp_moves_the_peer(self, relay: Relay, peer: PeerMaker) -> None:
        bridge = Bridge(relay, peer(), peer())
        moved = peer("127.0.0.9")
        relay.configure(
            bridge.stream_a, StreamConfig(sink=bridge.stream_b, remote=moved.address, generation=1)
        )
        bridge.a.send(bridge.at_a, rtp(1))
        wait_judged(relay, bridge.stream_a, 1)
        moved.send(bridge.at_a, rtp(7))
        assert bridge.b.receive() == rtp(7)
        bridge.b.send(bridge.at_b, rtp(8))
        assert moved.receive() == rtp(8)
        assert relay.stats(bridge.stream_a).dropped == {DropReason.SOURCE: 1}

    def test_many_strangers_raise_one_alarm(self, relay: Relay, peer: PeerMaker) -> None:
        bridge = Bridge(relay, peer(), peer())
        stranger = peer(STRANGER)
        stranger.send_sequence(bridge.at_a, range(60))
        events = wait_events(relay)
        wait_judged(relay, bridge.stream_a, 60)
        assert events + relay.events() == [SourceAlarm(bridge.stream_a, stranger.address, 10)]


class TestLearning:
    """A peer behind NAT proves itself: RTP bleed (CVE-2025-53399 and its kin) finds nothing."""

    def test_four_packets_in_sequence_lock(self, relay: Relay, peer: PeerMaker) -> None:
        bridge = Bridge(relay, peer(), peer(), **behind_nat())
        bridge.a.send_sequence(bridge.at_a, range(3))
        stats = wait_judged(relay, bridge.stream_a, 3)
        assert stats.dropped == {DropReason.NOT_LOCKED: 3}
        assert stats.locked is None
        bridge.a.send_sequence(bridge.at_a, [3, 4])
        assert [bridge.b.receive(), bridge.b.receive()] == [rtp(3), rtp(4)]
        assert wait_events(relay) == [Locked(bridge.stream_a, bridge.a.address)]
        assert relay.stats(bridge.stream_a).locked == bridge.a.address
        bridge.b.send(bridge.at_b, rtp(1))
        assert bridge.a.receive() == rtp(1)

    def test_a_stranger_before_the_lock_gets_nothing(self, relay: Relay, peer: PeerMaker) -> None:
        bridge = Bridge(relay, peer(), peer(), **behind_nat())
        stranger = peer(STRANGER)
        stranger.send_sequence(bridge.at_a, range(50))
        wait_judged(relay, bridge.stream_a, 50)
        bridge.b.send(bridge.at_b, rtp(1))
        wait_judged(relay, bridge.stream_b, 1)
        bridge.a.send_sequence(bridge.at_a, range(4))
        assert bridge.b.receive() == rtp(3)
        bridge.b.send(bridge.at_b, rtp(2))
        assert bridge.a.receive() == rtp(2)
        assert relay.stats(bridge.stream_a).dropped[DropReason.SOURCE] == 50
        assert stranger.has_nothing()

    def test_a_stranger_after_the_lock_gets_nothing(self, relay: Relay, peer: PeerMaker) -> None:
        """Not even with the same host and a perfect continuation, while the peer speaks."""
        bridge = Bridge(relay, peer(), peer(), **behind_nat())
        bridge.a.send_sequence(bridge.at_a, range(4))
        assert bridge.b.receive() == rtp(3)
        strangers = [peer(STRANGER), peer("127.0.0.1")]
        for stranger in strangers:
            stranger.send_sequence(bridge.at_a, range(4, 30))
        stats = wait_judged(relay, bridge.stream_a, 4 + 52)
        assert stats.dropped == {DropReason.NOT_LOCKED: 3, DropReason.SOURCE: 52}
        bridge.b.send(bridge.at_b, rtp(1))
        assert bridge.a.receive() == rtp(1)
        assert relay.stats(bridge.stream_a).locked == bridge.a.address
        assert all(stranger.has_nothing() for stranger in strangers)
        assert bridge.b.has_nothing()

    def test_a_sequence_with_gaps_does_not_lock(self, relay: Relay, peer: PeerMaker) -> None:
        bridge = Bridge(relay, peer(), peer(), **behind_nat())
        bridge.a.send_sequence(bridge.at_a, [1, 2, 3, 5, 6, 7, 9, 9, 8, 7])
        bridge.a.send(bridge.at_a, rtp(8, ssrc=1), rtp(9, ssrc=2), rtp(10, ssrc=3))
        stats = wait_judged(relay, bridge.stream_a, 13)
        assert stats.dropped == {DropReason.NOT_LOCKED: 13}
        assert stats.locked is None

    def test_packets_without_payload_do_not_lock(self, relay: Relay, peer: PeerMaker) -> None:
        """RFC 6263 keep-alives are cheap to forge."""
        bridge = Bridge(relay, peer(), peer(), **behind_nat())
        bridge.a.send(bridge.at_a, *(rtp(number, payload=b"") for number in range(8)))
        assert wait_judged(relay, bridge.stream_a, 8).dropped == {DropReason.NOT_LOCKED: 8}

    def test_wrong_payload_types_do_not_lock(self, relay: Relay, peer: PeerMaker) -> None:
        bridge = Bridge(relay, peer(), peer(), **behind_nat())
        bridge.a.send(bridge.at_a, *(rtp(number, payload_type=18) for number in range(8)))
        assert wait_judged(relay, bridge.stream_a, 8).dropped == {DropReason.PAYLOAD_TYPE: 8}

    @pytest.mark.parametrize(
        ("policy", "host", "learned"),
        [
            (LearnPolicy.EXACT, "127.0.0.2", True),  # the host of the SDP
            (LearnPolicy.EXACT, "127.0.0.3", False),  # of the SIP message
            (LearnPolicy.EXACT, STRANGER, False),
            (LearnPolicy.SIGNALLING_IP, "127.0.0.2", True),
            (LearnPolicy.SIGNALLING_IP, "127.0.0.3", True),
            (LearnPolicy.SIGNALLING_IP, STRANGER, False),
            (LearnPolicy.ANY, "127.0.0.2", True),
            (LearnPolicy.ANY, "127.0.0.3", True),
            (LearnPolicy.ANY, STRANGER, True),
        ],
    )
    def test_the_policy_bounds_the_hosts(
        self, relay: Relay, peer: PeerMaker, policy: LearnPolicy, host: str, learned: bool
    ) -> None:
        bridge = Bridge(
            relay,
            peer(host),
            peer(),
            nat=True,
            remote=("127.0.0.2", 4000),
            signalling_host="127.0.0.3",
            learn=policy,
        )
        bridge.a.send_sequence(bridge.at_a, range(4))
        stats = wait_judged(relay, bridge.stream_a, 4)
        assert stats.locked == (bridge.a.address if learned else None)

    def test_the_address_of_the_sdp_wins(self, relay: Relay, peer: PeerMaker) -> None:
        """A source that signalling only hints at waits while the one of the SDP speaks."""
        named = peer("127.0.0.2")
        bridge = Bridge(
            relay,
            peer("127.0.0.3"),
            peer(),
            nat=True,
            remote=named.address,
            signalling_host="127.0.0.3",
            learn=LearnPolicy.ANY,
        )
        bridge.a.send_sequence(bridge.at_a, range(3))
        wait_judged(relay, bridge.stream_a, 3)
        named.send_sequence(bridge.at_a, range(2))
        wait_judged(relay, bridge.stream_a, 5)
        bridge.a.send_sequence(bridge.at_a, [3])
        wait_judged(relay, bridge.stream_a, 6)
        named.send_sequence(bridge.at_a, [2, 3])
        assert wait_judged(relay, bridge.stream_a, 8).locked == named.address

    def test_early_media_goes_to_a_public_sdp_address(self, relay: Relay, peer: PeerMaker) -> None:
        bridge = Bridge(relay, peer(), peer(), nat=True)
        bridge.b.send(bridge.at_b, rtp(1))
        assert bridge.a.receive() == rtp(1)

    def test_early_media_never_goes_to_a_private_sdp_address(
        self, relay: Relay, peer: PeerMaker
    ) -> None:
        """10.0.0.1 of a peer behind NAT is another host here."""
        bridge = Bridge(
            relay, peer(), peer(), nat=True, remote=("10.0.0.1", 4000), signalling_host="127.0.0.1"
        )
        bridge.b.send(bridge.at_b, rtp(1))
        until(lambda: relay.stats(bridge.stream_b).dropped == {DropReason.NO_REMOTE: 1})

    def test_a_hold_keeps_the_lock(self, relay: Relay, peer: PeerMaker) -> None:
        bridge = Bridge(relay, peer(), peer(), **behind_nat())
        bridge.a.send_sequence(bridge.at_a, range(4))
        assert bridge.b.receive() == rtp(3)
        held = StreamConfig(
            sink=bridge.stream_b, nat=True, signalling_host="127.0.0.1", enabled_in=False
        )
        relay.configure(bridge.stream_a, held)
        bridge.b.send(bridge.at_b, rtp(1))
        assert bridge.a.receive() == rtp(1)  # music on hold
        assert relay.stats(bridge.stream_a).locked == bridge.a.address

    def test_a_new_generation_learns_again(self, relay: Relay, peer: PeerMaker) -> None:
        bridge = Bridge(relay, peer(), peer(), **behind_nat())
        bridge.a.send_sequence(bridge.at_a, range(4))
        assert bridge.b.receive() == rtp(3)
        relay.configure(
            bridge.stream_a,
            StreamConfig(sink=bridge.stream_b, nat=True, signalling_host="127.0.0.5", generation=1),
        )
        assert relay.stats(bridge.stream_a).locked is None
        bridge.b.send(bridge.at_b, rtp(1))
        until(lambda: relay.stats(bridge.stream_b).dropped == {DropReason.NO_REMOTE: 1})
        moved = peer("127.0.0.5")
        moved.send_sequence(bridge.at_a, range(4))
        assert bridge.b.receive() == rtp(3)
        bridge.b.send(bridge.at_b, rtp(2))
        assert moved.receive() == rtp(2)
        assert wait_events(relay, 2) == [
            Locked(bridge.stream_a, bridge.a.address),
            Locked(bridge.stream_a, moved.address),
        ]

    def test_a_new_mapping_of_the_nat_recovers(self, relay: Relay, peer: PeerMaker) -> None:
        bridge = Bridge(relay, peer(), peer(), **behind_nat(rebind_silence_s=0.0))
        bridge.a.send_sequence(bridge.at_a, range(4))
        assert bridge.b.receive() == rtp(3)
        mapped = peer("127.0.0.1")
        mapped.send_sequence(bridge.at_a, range(10, 15))
        assert [bridge.b.receive(), bridge.b.receive()] == [rtp(13), rtp(14)]
        assert wait_events(relay, 2)[1:] == [
            Rebound(bridge.stream_a, bridge.a.address, mapped.address)
        ]
        bridge.b.send(bridge.at_b, rtp(1))
        assert mapped.receive() == rtp(1)
        assert relay.stats(bridge.stream_a).source_changes == 1

    @pytest.mark.parametrize(
        ("host", "first", "ssrc"),
        [
            (STRANGER, 10, 0x1234),  # another host
            ("127.0.0.1", 10, 0x9999),  # another source
            ("127.0.0.1", 4000, 0x1234),  # a jump
            ("127.0.0.1", 65000, 0x1234),  # backwards
        ],
    )
    def test_only_the_same_stream_may_move(
        self, relay: Relay, peer: PeerMaker, host: str, first: int, ssrc: int
    ) -> None:
        bridge = Bridge(relay, peer(), peer(), **behind_nat(rebind_silence_s=0.0))
        bridge.a.send_sequence(bridge.at_a, range(4))
        assert bridge.b.receive() == rtp(3)
        thief = peer(host)
        thief.send_sequence(bridge.at_a, range(first, first + 8), ssrc=ssrc)
        stats = wait_judged(relay, bridge.stream_a, 12)
        assert stats.locked == bridge.a.address
        assert stats.dropped == {DropReason.NOT_LOCKED: 3, DropReason.SOURCE: 8}
        bridge.b.send(bridge.at_b, rtp(1))
        assert bridge.a.receive() == rtp(1)
        assert thief.has_nothing()


class TestLoops:
    def test_two_relay_ports_never_lock_to_each_other(self, relay: Relay, peer: PeerMaker) -> None:
        """Media that one stream sends to the port of another is not a peer."""
        first = Bridge(relay, peer(), peer(), **behind_nat(learn=LearnPolicy.ANY))
        second = Bridge(relay, peer(), peer(), **behind_nat(learn=LearnPolicy.ANY))
        # The port of the second becomes the peer of the first by a description that names it
        # before it is bound: closed and opened again in between.
        port = second.at_b[1]
        relay.close(second.stream_b)
        relay.configure(
            first.stream_b, StreamConfig(sink=first.stream_a, remote=("127.0.0.1", port))
        )
        again = relay.open("127.0.0.1", port)
        relay.configure(
            again, StreamConfig(sink=second.stream_a, nat=True, signalling_host="127.0.0.1")
        )
        first.a.send_sequence(first.at_a, range(20))
        stats = wait_judged(relay, again, 17)
        assert stats.dropped == {DropReason.OWN_PORT: 17}
        assert stats.locked is None

    def test_a_port_of_the_relay_is_no_remote(self, relay: Relay, peer: PeerMaker) -> None:
        bridge = Bridge(relay, peer(), peer())
        with pytest.raises(SelfLoop):
            relay.configure(bridge.stream_a, StreamConfig(sink=bridge.stream_b, remote=bridge.at_b))
        with pytest.raises(SelfLoop):
            relay.configure(bridge.stream_a, StreamConfig(sink=bridge.stream_a))
        bridge.a.send(bridge.at_a, rtp(1))
        assert bridge.b.receive() == rtp(1)  # the former configuration still holds

    def test_a_wildcard_socket_is_known_by_every_local_host(self, relay: Relay) -> None:
        everywhere = relay.open("0.0.0.0", 0)
        stream = relay.open("127.0.0.1", 0)
        port = relay.address(everywhere)[1]
        with pytest.raises(SelfLoop):
            relay.configure(stream, StreamConfig(remote=("127.0.0.1", port)))
        relay.configure(stream, StreamConfig(remote=("192.0.2.1", port)))  # of somebody else


class TestChecks:
    @pytest.mark.parametrize(
        "packet",
        [
            b"",
            b"\x80",
            rtp(1)[:11],
            b"\x40" + rtp(1)[1:],  # version 1
            b"\x8f" + rtp(1, payload=b"\0" * 8)[1:],  # fifteen CSRCs in eight bytes
            b"\x90" + rtp(1, payload=b"\0\0\0")[1:],  # no room for the extension header
            b"\x90" + rtp(1, payload=b"\0\0\0\2\0\0\0\0")[1:],  # nor for its content
            sender_report(),  # RTCP that was not negotiated here
            b"\x00\x01" + b"\0" * 18,  # STUN
        ],
    )
    def test_only_rtp_is_forwarded(self, relay: Relay, peer: PeerMaker, packet: bytes) -> None:
        bridge = Bridge(relay, peer(), peer())
        bridge.a.send(bridge.at_a, packet, rtp(2))
        assert bridge.b.receive() == rtp(2)
        assert relay.stats(bridge.stream_a).dropped == {DropReason.NOT_RTP: 1}

    def test_a_header_with_extension_and_sources_passes(
        self, relay: Relay, peer: PeerMaker
    ) -> None:
        bridge = Bridge(relay, peer(), peer())
        packet = b"\x91" + rtp(1, payload=b"CSRC" + b"\xbe\xde\0\1" + b"EXTN" + b"x")[1:]
        bridge.a.send(bridge.at_a, packet)
        assert bridge.b.receive() == packet

    def test_only_negotiated_payload_types_pass(self, relay: Relay, peer: PeerMaker) -> None:
        bridge = Bridge(relay, peer(), peer())
        for payload_type in sorted(ANY_PAYLOAD_TYPE - set(range(64, 96))):
            bridge.a.send(bridge.at_a, rtp(payload_type, payload_type=payload_type))
        got = {bridge.b.receive()[1] for _ in AUDIO}
        assert got == AUDIO
        stats = wait_judged(relay, bridge.stream_a, 96)
        assert stats.dropped == {DropReason.PAYLOAD_TYPE: 93}

    def test_long_datagrams_are_dropped(self, relay: Relay, peer: PeerMaker) -> None:
        bridge = Bridge(relay, peer(), peer(), max_packet_bytes=172)
        bridge.a.send(bridge.at_a, rtp(1, payload=b"x" * 161), rtp(1, payload=b"x" * 9000), rtp(2))
        assert bridge.b.receive() == rtp(2)
        assert relay.stats(bridge.stream_a).dropped == {DropReason.SIZE: 2}

    def test_a_flood_is_capped(self, relay: Relay, peer: PeerMaker) -> None:
        bridge = Bridge(relay, peer(), peer(), max_packets_per_s=20)
        started = os.times().elapsed
        for number in range(100):
            bridge.a.send(bridge.at_a, rtp(number))
            wait_judged(relay, bridge.stream_a, number + 1)
        stats = relay.stats(bridge.stream_a)
        allowed = 8 + 20 * (os.times().elapsed - started) + 1
        assert 8 <= stats.packets_in <= allowed
        assert stats.dropped == {DropReason.RATE: 100 - stats.packets_in}

    def test_a_flood_of_strangers_takes_nothing_from_the_peer(
        self, relay: Relay, peer: PeerMaker
    ) -> None:
        bridge = Bridge(relay, peer(), peer(), max_packets_per_s=20)
        stranger = peer(STRANGER)
        for block in range(5):
            stranger.send_sequence(bridge.at_a, range(block * 20, block * 20 + 20))
            bridge.a.send(bridge.at_a, rtp(block))
            assert bridge.b.receive() == rtp(block)
        assert relay.stats(bridge.stream_a).dropped == {DropReason.SOURCE: 100}

    @pytest.mark.parametrize(
        "config",
        [
            StreamConfig(remote=("224.0.0.1", 4000)),
            StreamConfig(remote=("255.255.255.255", 4000)),
            StreamConfig(remote=("0.0.0.0", 4000)),
            StreamConfig(remote=("::1", 4000)),  # of another family than the socket
            StreamConfig(remote=("192.0.2.1", 0)),
            StreamConfig(remote=("192.0.2.1", 65536)),
            StreamConfig(remote=("example.com", 4000)),
            StreamConfig(signalling_host="example.com"),
            StreamConfig(payload_types=frozenset({128})),
            StreamConfig(max_packets_per_s=-1),
            StreamConfig(clock_rate=-1),
            StreamConfig(max_packets_per_s=1_000_001),
            StreamConfig(clock_rate=1_000_001),
            StreamConfig(max_packet_bytes=2048),
            StreamConfig(rebind_silence_s=float("nan")),
        ],
    )
    def test_unsafe_values_are_refused(self, relay: Relay, config: StreamConfig) -> None:
        stream = relay.open("127.0.0.1", 0)
        with pytest.raises(ValueError):
            relay.configure(stream, config)
        assert relay.stats(stream).locked is None


class Rtcp:
    """A bridge whose side A has RTCP on a port of its own, or multiplexed; B as well."""

    def __init__(
        self, relay: Relay, peer: PeerMaker, *, mux_a: bool, mux_b: bool, **of_a: Any
    ) -> None:
        self.bridge = Bridge(relay, peer(), peer("127.0.0.2"))
        self.control_a = peer("127.0.0.1") if not mux_a else self.bridge.a
        self.control_b = peer("127.0.0.2") if not mux_b else self.bridge.b
        a, b = self.bridge.stream_a, self.bridge.stream_b
        self.stream_a = a if mux_a else relay.open("127.0.0.1", 0)
        self.stream_b = b if mux_b else relay.open("127.0.0.1", 0)
        for mux, rtp_stream, rtcp_stream, sink, rtcp_sink, media, control, more in (
            (mux_a, a, self.stream_a, b, self.stream_b, self.bridge.a, self.control_a, of_a),
            (mux_b, b, self.stream_b, a, self.stream_a, self.bridge.b, self.control_b, {}),
        ):
            values: dict[str, Any] = {
                "sink": sink,
                "rtcp_sink": rtcp_sink,
                "mux": mux,
                "remote": media.address,
                **more,
            }
            relay.configure(rtp_stream, StreamConfig(**values))
            if not mux:
                values |= {
                    "sink": rtcp_sink,
                    "rtcp_sink": 0,
                    "rtcp": True,
                    "rtp_stream": rtp_stream,
                    "remote": control.address,
                }
                relay.configure(rtcp_stream, StreamConfig(**values))
        self.at_a = relay.address(self.stream_a)
        self.at_b = relay.address(self.stream_b)


@pytest.mark.parametrize("mux_a", [False, True])
@pytest.mark.parametrize("mux_b", [False, True])
class TestRtcp:
    def test_reports_flow_both_ways(
        self, relay: Relay, peer: PeerMaker, mux_a: bool, mux_b: bool
    ) -> None:
        rtcp = Rtcp(relay, peer, mux_a=mux_a, mux_b=mux_b)
        rtcp.control_a.send(rtcp.at_a, sender_report(1))
        assert rtcp.control_b.receive_from() == (sender_report(1), rtcp.at_b)
        rtcp.control_b.send(rtcp.at_b, sender_report(2))
        assert rtcp.control_a.receive_from() == (sender_report(2), rtcp.at_a)
        stats = relay.stats(rtcp.stream_a)
        until(lambda: relay.stats(rtcp.stream_a).rtcp_out == 1)
        assert (stats.rtcp_in, stats.packets_in, stats.last_packet_age_s) == (1, 0, None)

    def test_reports_flow_in_a_hold(
        self, relay: Relay, peer: PeerMaker, mux_a: bool, mux_b: bool
    ) -> None:
        """RFC 3264 §8.4."""
        rtcp = Rtcp(relay, peer, mux_a=mux_a, mux_b=mux_b, enabled_in=False, enabled_out=False)
        rtcp.control_a.send(rtcp.at_a, sender_report(1))
        assert rtcp.control_b.receive() == sender_report(1)
        rtcp.control_b.send(rtcp.at_b, sender_report(2))
        assert rtcp.control_a.receive() == sender_report(2)

    def test_the_round_trip_is_measured(
        self, relay: Relay, peer: PeerMaker, mux_a: bool, mux_b: bool
    ) -> None:
        rtcp = Rtcp(relay, peer, mux_a=mux_a, mux_b=mux_b)
        rtcp.control_a.send(rtcp.at_a, sender_report(0x0000_ABCD_1234_0000))
        rtcp.control_b.receive()
        rtcp.control_b.send(rtcp.at_b, receiver_report(0xABCD1234, 0))
        rtcp.control_a.receive()
        round_trip_s = relay.stats(rtcp.stream_b).round_trip_s
        assert round_trip_s is not None
        assert 0 <= round_trip_s < TIMEOUT_S
        assert relay.stats(rtcp.stream_a).round_trip_s is None

    def test_reports_of_strangers_are_dropped(
        self, relay: Relay, peer: PeerMaker, mux_a: bool, mux_b: bool
    ) -> None:
        """A forged BYE or SR ends nothing: another host, another port of the host."""
        rtcp = Rtcp(relay, peer, mux_a=mux_a, mux_b=mux_b)
        strangers = [peer(STRANGER), peer("127.0.0.1")]
        for stranger in strangers:
            stranger.send(rtcp.at_a, sender_report(6))
        rtcp.control_a.send(rtcp.at_a, sender_report(7))
        assert rtcp.control_b.receive() == sender_report(7)
        assert relay.stats(rtcp.stream_a).dropped == {DropReason.SOURCE: 2}
        assert rtcp.control_b.has_nothing()
        assert all(stranger.has_nothing() for stranger in strangers)

    def test_nothing_is_learned_from_reports(
        self, relay: Relay, peer: PeerMaker, mux_a: bool, mux_b: bool
    ) -> None:
        rtcp = Rtcp(relay, peer, mux_a=mux_a, mux_b=mux_b, nat=True, signalling_host="127.0.0.1")
        rtcp.control_a.send(rtcp.at_a, *(sender_report(number) for number in range(8)))
        stats = wait_judged(relay, rtcp.stream_a, 8)
        assert stats.dropped == {DropReason.NOT_LOCKED: 8}
        assert stats.locked is None
        assert rtcp.control_b.has_nothing()

    def test_reports_follow_the_lock_of_media(
        self, relay: Relay, peer: PeerMaker, mux_a: bool, mux_b: bool
    ) -> None:
        rtcp = Rtcp(relay, peer, mux_a=mux_a, mux_b=mux_b, nat=True, signalling_host="127.0.0.1")
        rtcp.bridge.a.send_sequence(rtcp.bridge.at_a, range(4))
        assert rtcp.bridge.b.receive() == rtp(3)
        rtcp.control_a.send(rtcp.at_a, sender_report(1))
        assert rtcp.control_b.receive() == sender_report(1)
        rtcp.control_b.send(rtcp.at_b, sender_report(2))
        assert rtcp.control_a.receive() == sender_report(2)
        peer(STRANGER).send(rtcp.at_a, sender_report(3))
        until(lambda: relay.stats(rtcp.stream_a).dropped.get(DropReason.SOURCE) == 1)

    def test_malformed_reports_are_dropped(
        self, relay: Relay, peer: PeerMaker, mux_a: bool, mux_b: bool
    ) -> None:
        rtcp = Rtcp(relay, peer, mux_a=mux_a, mux_b=mux_b)
        rtcp.control_a.send(
            rtcp.at_a,
            sender_report()[:7],
            b"\x40" + sender_report()[1:],
            sender_report()[:24],  # shorter than it says
        )
        stats = wait_judged(relay, rtcp.stream_a, 3)
        assert stats.dropped == {DropReason.NOT_RTP: 3}


class TestControl:
    def test_a_taken_port_is_an_os_error(self, relay: Relay, peer: PeerMaker) -> None:
        taken = peer()
        with pytest.raises(OSError, match="in use"):
            relay.open(*taken.address)
        ours = relay.open("127.0.0.1", 0)
        with pytest.raises(OSError, match="in use"):
            relay.open(*relay.address(ours))

    def test_an_address_of_another_machine_is_an_os_error(self, relay: Relay) -> None:
        with pytest.raises(OSError, match="assign"):
            relay.open("192.0.2.1", 0)

    def test_both_families_share_a_port_number(self, relay: Relay) -> None:
        v4 = relay.open("0.0.0.0", 0)
        v6 = relay.open("::", relay.address(v4)[1])
        assert relay.address(v6) == ("::", relay.address(v4)[1])

    def test_a_closed_port_is_free_at_once(self, relay: Relay, peer: PeerMaker) -> None:
        bridge = Bridge(relay, peer(), peer())
        for round_number in range(1, 20):
            bridge.a.send(bridge.at_a, rtp(round_number))
            assert bridge.b.receive() == rtp(round_number)
            assert relay.close(bridge.stream_a).packets_in == 1
            bridge.stream_a = relay.open(*bridge.at_a)
            relay.configure(bridge.stream_a, bridge.config_a)

    def test_a_stale_handle_is_a_key_error(self, relay: Relay) -> None:
        stream = relay.open("127.0.0.1", 0)
        relay.close(stream)
        again = relay.open("127.0.0.1", 0)
        assert again != stream
        for call in (relay.close, relay.stats, relay.address):
            with pytest.raises(KeyError):
                call(stream)
        with pytest.raises(KeyError):
            relay.configure(stream, StreamConfig())

    def test_sockets_are_marked(self) -> None:
        """RFC 3246: voice asks for expedited forwarding (DSCP 46)."""
        for name in RELAYS:
            relay = open_relay(RelayOptions(dscp=46), name.partition("-")[0])
            receiver = RtpPeer()
            receiver.socket.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
            bridge = Bridge(relay, RtpPeer(), receiver)
            bridge.a.send(bridge.at_a, rtp(1))
            data, ancillary, _, _ = receiver.socket.recvmsg(4096, 64)
            assert data == rtp(1)
            assert ancillary[0][2][0] == 46 << 2
            relay.shutdown()
            bridge.a.close()
            receiver.close()

    def test_hundreds_of_streams_relay(self, relay: Relay, peer: PeerMaker) -> None:
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= 4096
        sender, receiver = peer(), peer("127.0.0.2")
        bridges = [Bridge(relay, sender, receiver) for _ in range(150)]
        for number, bridge in enumerate(bridges):
            sender.send(bridge.at_a, rtp(number))
        sources = {receiver.receive_from() for _ in bridges}
        assert sources == {(rtp(number), bridge.at_b) for number, bridge in enumerate(bridges)}
        for bridge in bridges:
            assert relay.close(bridge.stream_a).packets_in == 1
            relay.close(bridge.stream_b)

    def test_reconfiguring_under_load_loses_nothing(self, relay: Relay, peer: PeerMaker) -> None:
        """The swap is atomic: a packet sees the former or the new configuration."""
        bridge = Bridge(relay, peer(), peer())
        for number in range(200):
            bridge.a.send(bridge.at_a, rtp(number))
            relay.configure(bridge.stream_a, bridge.config_a)
            relay.configure(bridge.stream_b, bridge.config_b)
        assert [bridge.b.receive() for _ in range(200)] == [rtp(n) for n in range(200)]
        assert relay.stats(bridge.stream_a).dropped == {}

    def test_events_are_taken_once(self, relay: Relay, peer: PeerMaker) -> None:
        bridge = Bridge(relay, peer(), peer(), **behind_nat())
        assert relay.events() == []
        bridge.a.send_sequence(bridge.at_a, range(4))
        assert len(wait_events(relay)) == 1
        assert select.select([relay.fileno()], [], [], 0)[0] == []
        assert relay.events() == []

    def test_shutdown_frees_the_ports(self, relay: Relay, peer: PeerMaker) -> None:
        bridge = Bridge(relay, peer(), peer())
        relay.shutdown()
        relay.shutdown()
        for address in (bridge.at_a, bridge.at_b):
            peer(*address)

    def test_lost_packets_and_restarts_are_counted(self, relay: Relay, peer: PeerMaker) -> None:
        """RFC 3550 A.1 and A.3, over a change of SSRC and a silent restart."""
        bridge = Bridge(relay, peer(), peer())
        bridge.a.send_sequence(bridge.at_a, [65534, 65535, 2, 3])  # 0 and 1 are lost
        bridge.a.send_sequence(bridge.at_a, [10, 11, 13, 12], ssrc=7)
        bridge.a.send_sequence(bridge.at_a, [9000, 9001, 9003], ssrc=7)
        stats = wait_judged(relay, bridge.stream_a, 11)
        assert (stats.lost, stats.source_changes, stats.ssrc) == (3, 2, 7)


def test_the_c_core_is_built_where_a_compiler_is() -> None:
    """So that a broken build cannot hide behind the twin."""
    assert native_is_built() or shutil.which("cc") is None


def test_the_addresses_of_a_relay_are_numeric(relay: Relay) -> None:
    address: Address = relay.address(relay.open("127.0.0.1", 0))
    assert address[0] == "127.0.0.1"
    assert 0 < address[1] < 65536


def test_tapped_packets_are_taken_and_ours_are_sent(
    relay: Relay, peer: Callable[..., RtpPeer]
) -> None:
    """A stream without a sink hands its RTP to the audio path, which sends from its socket."""
    phone = peer()
    handle = relay.open("127.0.0.1", 0)
    relay.configure(
        handle,
        StreamConfig(remote=phone.address, payload_types=AUDIO, tap=7, max_packets_per_s=0),
    )
    stranger = peer(STRANGER)
    stranger.send(relay.address(handle), rtp(1))
    padded = bytearray(rtp(3, payload=b"abc\0\0\x03"))
    padded[0] |= 0x20
    phone.send(relay.address(handle), rtp(2, payload=b"hello", marker=True), bytes(padded))
    until(lambda: judged(relay.stats(handle)) == 3)
    heads, payloads = bytearray(FRAME_HEAD_BYTES * 4), bytearray(4 * 200)
    assert relay.take(heads, payloads, 200) == 2
    assert relay.take(heads, payloads, 200) == 0
    fields = struct.unpack_from("<QdIIIHHBB", heads)
    assert (fields[0], *fields[2:]) == (handle, 0x1234, 320, 7, 2, 5, 0, 1)
    assert payloads[:5] == b"hello"
    assert struct.unpack_from("<QdIIIHHBB", heads, FRAME_HEAD_BYTES)[5:7] == (3, 3)
    assert payloads[200:203] == b"abc"

    handles, sizes = struct.pack("<QQ", handle, 999_999), struct.pack("<HH", 3, 3)
    assert relay.send(handles, sizes, b"one two ", 4, False) == 1
    data, source = phone.receive_from()
    assert (data, source) == (b"one", relay.address(handle))
    stats = relay.stats(handle)
    assert (stats.packets_out, stats.bytes_out) == (1, 3)


def test_nothing_is_sent_to_a_peer_that_is_on_hold_or_unknown(relay: Relay) -> None:
    handle = relay.open("127.0.0.1", 0)
    for config in (
        StreamConfig(tap=1),
        StreamConfig(tap=1, remote=("127.0.0.1", 9), enabled_out=False),
    ):
        relay.configure(handle, config)
        assert relay.send(struct.pack("<Q", handle), struct.pack("<H", 3), b"abc", 3, False) == 0
    assert relay.stats(handle).packets_out == 0


def test_an_audio_path_that_takes_nothing_is_an_overrun(
    relay: Relay, peer: Callable[..., RtpPeer]
) -> None:
    phone = peer()
    handle = relay.open("127.0.0.1", 0)
    relay.configure(handle, StreamConfig(remote=phone.address, tap=1))
    for first in range(0, TAP_FRAMES + 20, 20):
        phone.send(relay.address(handle), *[rtp(n, payload=b"x") for n in range(first, first + 20)])
        until(lambda first=first: judged(relay.stats(handle)) >= first + 20)  # type: ignore[misc]
    assert relay.stats(handle).dropped[DropReason.OVERRUN] >= 20
