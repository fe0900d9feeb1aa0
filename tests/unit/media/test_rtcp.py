"""RTCP: compound packets of RFC 3550 §6 and the round trip of §6.4.1."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.errors import RtcpError
from media.rtcp import (
    Goodbye,
    ReceiverReport,
    ReportBlock,
    RtcpPacket,
    SenderReport,
    SourceDescription,
    UnknownPacket,
    ntp_of,
    parse,
    round_trip_s,
    to_bytes,
)

BLOCK = ReportBlock(0x1234, 64, -5, 70_000, 80, 0xB7052000, 0x00054000)


@pytest.mark.parametrize(
    "packets",
    [
        [SenderReport(1, ntp_of(1_000.5), 8_000, 50, 8_000, (BLOCK,)), SourceDescription(1, "c@h")],
        [ReceiverReport(9), SourceDescription(9, "abcd"), Goodbye((9, 10), "done")],
        [ReceiverReport(9, (BLOCK, BLOCK._replace(lost=0x7FFFFF)))],
        [Goodbye((1,))],
        [UnknownPacket(206, 1, b"\0" * 8)],
    ],
)
def test_compound_packets_survive_a_round_trip(packets: list[RtcpPacket]) -> None:
    assert parse(to_bytes(packets)) == packets


@pytest.mark.parametrize("length", range(9))
def test_descriptions_end_on_a_word_whatever_their_length(length: int) -> None:
    packets: list[RtcpPacket] = [SourceDescription(1, "x" * length), Goodbye((1,), "y" * length)]
    assert parse(to_bytes(packets)) == packets


def test_other_description_items_are_skipped() -> None:
    body = b"\0\0\0\x01" + b"\x02\x03Bob" + b"\x01\x01c" + b"\0\0\0\0"
    data = bytes((0x81, 202, 0, len(body) // 4)) + body
    assert parse(data) == [SourceDescription(1, "c")]


def test_padding_of_the_last_packet_is_taken_off() -> None:
    body = b"\0\0\0\x09" + b"\0\0\0\x04"
    data = bytes((0xA0, 201, 0, 2)) + body
    assert parse(data) == [ReceiverReport(9)]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"\x80\xc9\x00", "header"),
        (b"\x40\xc9\x00\x01\0\0\0\x01", "version"),
        (b"\x80\x08\x00\x01\0\0\0\x01", "type"),
        (b"\x80\xc9\x00\x02\0\0\0\x01", "cut off"),
        (b"\x80\xc9\x00\x00", "too short"),
        (b"\x81\xc9\x00\x01\0\0\0\x01", "too short"),
        (b"\xa0\xc9\x00\x01\0\0\0\x00", "padding"),
        (b"\xa0\xc9\x00\x01\0\0\0\x09", "padding"),
        (b"\xa0\xc9\x00\x00", "padding"),
        (b"\xa0\xc9\x00\x01\0\0\0\x04\x80\xc9\x00\x01\0\0\0\x01", "padding"),
        (b"\x81\xca\x00\x02\0\0\0\x01\x01\x09ab", "cut off"),
        (b"\x81\xca\x00\x01\0\0\0\x01", "too short"),
    ],
)
def test_what_contradicts_itself_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(RtcpError, match=reason):
        parse(data)


@given(st.binary(max_size=60))
def test_any_bytes_parse_or_are_refused(data: bytes) -> None:
    try:
        packets = parse(data)
    except RtcpError:
        return
    assert all(isinstance(packet, tuple) for packet in packets)


@given(
    st.lists(st.integers(0, 2**32 - 1), max_size=5),
    st.text(max_size=20),
)
def test_goodbye_carries_any_reason(ssrcs: list[int], reason: str) -> None:
    assert parse(to_bytes([Goodbye(tuple(ssrcs), reason)])) == [Goodbye(tuple(ssrcs), reason)]


def test_round_trip_is_the_example_of_the_rfc() -> None:
    # RFC 3550 §6.4.1, figure 2: A 46864.500, LSR 46853.125, DLSR 5.250 s; 6.125 s remain.
    assert round_trip_s(BLOCK, 0xB44D_B710_8000_0000) == pytest.approx(6.125)


def test_a_block_without_or_with_a_made_up_report_tells_no_round_trip() -> None:
    assert round_trip_s(BLOCK._replace(last_sr=0), 1 << 40) is None
    assert round_trip_s(BLOCK, (BLOCK.last_sr + 10) << 16) is None


def test_ntp_time_counts_from_1900() -> None:
    assert ntp_of(0.0) == 2_208_988_800 << 32
    assert ntp_of(0.25) & 0xFFFF_FFFF == 1 << 30
