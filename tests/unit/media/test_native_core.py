"""The sans-I/O relay where sockets cannot go: exact times, closed streams, odd reports."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from media.native.core import (
    MAX_EVENTS,
    Forward,
    RelayCore,
    is_proper_rtcp,
    is_rtcp,
    parse_rtp,
)
from media.native.relay import Address, DropReason, SourceAlarm, StreamConfig
from tests.support.rtp_peer import receiver_report, rtp, sender_report

A: Address = ("192.0.2.1", 4000)
B: Address = ("192.0.2.2", 5000)


class Pair:
    """Two streams of a core, A and B as their peers."""

    def __init__(self, **of_a: Any) -> None:
        self.core = RelayCore()
        self.a = self.core.open(("203.0.113.9", 30000))
        self.b = self.core.open(("203.0.113.9", 30002))
        self.core.configure(self.a, StreamConfig(**{"sink": self.b, "remote": A, **of_a}))
        self.core.configure(self.b, StreamConfig(sink=self.a, remote=B, mux=True))

    def dropped(self, now: float = 0.0) -> object:
        return self.core.stats(self.a, now).dropped


def test_header_fields() -> None:
    header = parse_rtp(rtp(7, payload_type=101, marker=True, ssrc=9, timestamp=5, payload=b"ab"))
    assert header == (101, True, 7, 5, 9, 2)


def test_the_packet_types_of_rtcp() -> None:
    """RFC 5761 §4: RTP payload types 64 to 95 are left to RTCP, and only these."""
    kinds = [kind for kind in range(256) if is_rtcp(bytes((0x80, kind)))]
    assert kinds == list(range(192, 224))
    assert not is_rtcp(b"\x80")
    assert is_proper_rtcp(b"\x80\xc9\0\1" + bytes(4))
    assert not is_proper_rtcp(b"\x80\xc9\0\2" + bytes(4))


def test_packets_and_ages() -> None:
    pair = Pair()
    assert pair.core.stats(pair.a, 1.0).last_packet_age_s is None
    forward = pair.core.receive(pair.a, rtp(1), A, 10.0)
    assert forward == Forward(pair.b, B, control=False)
    pair.core.sent(forward, 172)
    assert pair.core.stats(pair.a, 12.5).last_packet_age_s == 2.5
    assert pair.core.stats(pair.b, 12.5).packets_out == 1


def test_what_arrives_or_leaves_after_closing_is_forgotten() -> None:
    pair = Pair()
    forward = pair.core.receive(pair.a, rtp(1), A, 0.0)
    assert forward is not None
    pair.core.close(pair.b, 0.0)
    pair.core.sent(forward, 172)
    assert pair.core.receive(pair.b, rtp(1), B, 0.0) is None
    pair.core.close(pair.a, 0.0)
    pair.core.refused(pair.a)
    with pytest.raises(KeyError):
        pair.core.stats(pair.a, 0.0)


def test_a_sink_without_configuration_is_no_sink() -> None:
    pair = Pair()
    idle = pair.core.open(("203.0.113.9", 30004))
    pair.core.configure(pair.a, StreamConfig(sink=idle, remote=A))
    assert pair.core.receive(pair.a, rtp(1), A, 0.0) is None
    assert pair.dropped() == {DropReason.NO_SINK: 1}


def test_two_streams_of_one_address_are_told_apart() -> None:
    """After SO_REUSEPORT or a late close the address stays known as ours."""
    core = RelayCore()
    first, second = core.open(A), core.open(A)
    core.close(first, 0.0)
    assert core.is_own_port(A)
    core.close(second, 0.0)
    assert not core.is_own_port(A)


def test_a_port_on_every_address_is_ours_on_local_hosts_only() -> None:
    core = RelayCore(frozenset({"203.0.113.9", "2001:db8::9"}))
    core.open(("0.0.0.0", 30000))
    core.open(("::", 30002))
    assert core.is_own_port(("203.0.113.9", 30000))
    assert core.is_own_port(("2001:db8::9", 30002))
    assert not core.is_own_port(("203.0.113.9", 30002))
    assert not core.is_own_port(("198.51.100.1", 30000))


def test_an_alarm_comes_at_most_every_ten_seconds() -> None:
    pair = Pair()
    stranger = ("198.51.100.66", 1)
    for step in range(300):
        pair.core.receive(pair.a, rtp(step), stranger, step * 0.1)
    assert pair.core.events() == [
        SourceAlarm(pair.a, stranger, 10),
        SourceAlarm(pair.a, stranger, 110),
        SourceAlarm(pair.a, stranger, 210),
    ]


def test_waiting_events_are_bounded() -> None:
    pair = Pair()
    for step in range(MAX_EVENTS + 50):
        for number in range(10):
            pair.core.receive(pair.a, rtp(number), ("198.51.100.66", 1), step * 11.0)
    assert len(pair.core.events()) == MAX_EVENTS
    assert not pair.core.has_events


def test_the_cap_covers_reports() -> None:
    pair = Pair(mux=True, max_packets_per_s=1)
    taken = [pair.core.receive(pair.a, sender_report(), A, 0.0) for _ in range(20)]
    assert sum(forward is not None for forward in taken) == 8
    assert pair.dropped() == {DropReason.RATE: 12}


class TestRoundTrip:
    """B reports 0.5 s after it got the report of A; it came back 0.75 s after it went out."""

    def measured(self, data: bytes, *, now: float = 100.75) -> float | None:
        pair = Pair(mux=True)
        pair.core.receive(pair.a, sender_report(0x0000_0007_0001_0000), A, 100.0)
        pair.core.receive(pair.b, data, B, now)
        return pair.core.stats(pair.b, now).round_trip_s

    def test_it_is_the_time_away_less_the_delay(self) -> None:
        assert self.measured(receiver_report(0x0007_0001, 0x8000)) == 0.25

    def test_a_sender_report_may_carry_the_block(self) -> None:
        block = receiver_report(0x0007_0001, 0x8000)[8:]
        report = struct.pack("!BBHIQIII", 0x81, 200, 12, 2, 1, 0, 0, 0) + block
        assert self.measured(report) == 0.25

    def test_the_block_may_lie_in_a_later_packet(self) -> None:
        described = struct.pack("!BBHII", 0x81, 202, 2, 2, 0)
        assert self.measured(described + receiver_report(0x0007_0001, 0x8000)) == 0.25

    @pytest.mark.parametrize(
        "data",
        [
            receiver_report(0x0007_0002, 0x8000),  # of another report
            receiver_report(0x0007_0001, 0x10000),  # longer than it was away
            struct.pack("!BBHI", 0x9F, 201, 1, 2),  # says 31 blocks, has none
            struct.pack("!BBHI", 0x81, 200, 1, 2),  # a sender report without its times
            struct.pack("!BBHI", 0x80, 201, 1, 2) + b"\x80\xc9\0\x09" + bytes(4),  # cut
            struct.pack("!BBHI", 0x80, 201, 1, 2) + b"\x40\xc9\0\x01" + bytes(4),  # version 1
        ],
    )
    def test_what_does_not_fit_says_nothing(self, data: bytes) -> None:
        assert self.measured(data) is None

    def test_a_minute_is_no_round_trip(self) -> None:
        assert self.measured(receiver_report(0x0007_0001, 0), now=161.0) is None


class TestReportsOnTheirOwnPort:
    """RFC 3550 §11: RTCP on the next port, judged by the lock of its RTP."""

    def rig(self, **of_control: Any) -> tuple[Pair, int, int]:
        pair = Pair(nat=True, remote=None, signalling_host=A[0])
        control_a = pair.core.open(("203.0.113.9", 30001))
        control_b = pair.core.open(("203.0.113.9", 30003))
        values = {"sink": control_b, "rtcp": True, "rtp_stream": pair.a, "nat": True, **of_control}
        pair.core.configure(control_a, StreamConfig(**values))
        pair.core.configure(
            control_b,
            StreamConfig(sink=control_a, rtcp=True, rtp_stream=pair.b, remote=(B[0], 5001)),
        )
        return pair, control_a, control_b

    def lock(self, pair: Pair, source: Address = A) -> None:
        for number in range(4):
            pair.core.receive(pair.a, rtp(number), source, number * 0.02)

    def toward_a(self, pair: Pair, control_b: int) -> Address | None:
        forward = pair.core.receive(control_b, sender_report(), (B[0], 5001), 1.0)
        return None if forward is None else forward.destination

    def test_nothing_goes_out_before_the_lock(self) -> None:
        pair, _, control_b = self.rig()
        assert self.toward_a(pair, control_b) is None

    def test_they_go_to_the_next_port_of_the_lock(self) -> None:
        pair, _, control_b = self.rig()
        self.lock(pair)
        assert self.toward_a(pair, control_b) == (A[0], 4001)

    def test_there_is_no_port_after_the_last(self) -> None:
        pair, _, control_b = self.rig()
        self.lock(pair, (A[0], 65535))
        assert self.toward_a(pair, control_b) is None

    def test_they_go_to_the_port_of_the_sdp_on_the_locked_host(self) -> None:
        pair, _, control_b = self.rig(remote=(A[0], 4777))
        self.lock(pair)
        assert self.toward_a(pair, control_b) == (A[0], 4777)

    def test_they_follow_the_source_of_an_asymmetric_peer(self) -> None:
        pair, control_a, control_b = self.rig(asymmetric=True)
        self.lock(pair)
        assert pair.core.receive(control_a, sender_report(), (A[0], 9999), 1.0) is not None
        assert self.toward_a(pair, control_b) == (A[0], 9999)

    def test_a_new_generation_forgets_that_source(self) -> None:
        pair, control_a, control_b = self.rig(asymmetric=True)
        self.lock(pair)
        pair.core.receive(control_a, sender_report(), (A[0], 9999), 1.0)
        pair.core.configure(
            control_a,
            StreamConfig(sink=control_b, rtcp=True, rtp_stream=pair.a, nat=True, generation=1),
        )
        assert self.toward_a(pair, control_b) == (A[0], 4001)

    def test_without_rtp_the_sdp_alone_counts(self) -> None:
        pair, _, control_b = self.rig()
        pair.core.close(pair.b, 0.0)
        self.lock(pair)
        assert self.toward_a(pair, control_b) == (A[0], 4001)  # B's own lock is its SDP address
