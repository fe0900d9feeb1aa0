"""RTP packets: RFC 3550 §5 headers, RFC 7983 demultiplexing, modular arithmetic."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.errors import LocalMediaError, RtpError
from media.rtp import (
    Protocol,
    RtpPacket,
    SequenceExtender,
    classify,
    sequence_step,
    timestamp_step,
)

HEADER = bytes.fromhex("80 88 0001 000000a0 deadbeef")


def test_header_fields_are_read() -> None:
    packet = RtpPacket.parse(HEADER + b"\xd5" * 160)
    assert packet.payload_type == 8
    assert packet.marker
    assert packet.sequence_number == 1
    assert packet.rtp_timestamp == 160
    assert packet.ssrc == 0xDEADBEEF
    assert packet.payload == b"\xd5" * 160
    assert packet.to_bytes() == HEADER + b"\xd5" * 160


def test_padding_is_taken_off() -> None:
    data = bytes([0xA0]) + HEADER[1:] + b"voice" + b"\0\0\x03"
    assert RtpPacket.parse(data).payload == b"voice"


def test_csrcs_and_extension_are_kept() -> None:
    packet = RtpPacket(
        0, 65_535, 1, 2, b"x", csrcs=(7, 8), extension_profile=0xBEDE, extension=b"abcdefgh"
    )
    again = RtpPacket.parse(packet.to_bytes())
    assert again.csrcs == (7, 8)
    assert again.extension_profile == 0xBEDE
    assert again.extension == b"abcdefgh"
    assert again.payload == b"x"


def test_an_extension_is_whole_words() -> None:
    with pytest.raises(LocalMediaError):
        RtpPacket(0, 0, 0, 0, b"", extension=b"abc").to_bytes()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (HEADER[:-1], "shorter"),
        (b"\x40" + HEADER[1:], "version"),
        (b"\x82" + HEADER[1:] + b"\0" * 7, "CSRC"),
        (b"\x90" + HEADER[1:] + b"\0\0", "extension"),
        (b"\x90" + HEADER[1:] + b"\xbe\xde\x00\x02" + b"\0" * 4, "extension"),
        (b"\xa0" + HEADER[1:] + b"\0", "padding"),
        (b"\xa0" + HEADER[1:] + b"\x05", "padding"),
    ],
)
def test_what_contradicts_itself_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(RtpError, match=reason):
        RtpPacket.parse(data)


@given(st.binary(max_size=80))
def test_any_bytes_parse_or_are_refused(data: bytes) -> None:
    try:
        packet = RtpPacket.parse(data)
    except RtpError:
        return
    assert RtpPacket.parse(packet.to_bytes()).payload == packet.payload


@pytest.mark.parametrize(
    ("data", "protocol"),
    [
        (b"", Protocol.UNKNOWN),
        (b"\x00\x01", Protocol.STUN),
        (b"\x10", Protocol.ZRTP),
        (b"\x16\xfe", Protocol.DTLS),
        (b"\x40", Protocol.TURN),
        (b"\x80\x08", Protocol.RTP),
        (b"\x80", Protocol.RTP),
        (b"\x80\xc8", Protocol.RTCP),
        (b"\xff", Protocol.UNKNOWN),
        (b"\x0a", Protocol.UNKNOWN),
    ],
)
def test_protocols_on_one_port_are_told_apart(data: bytes, protocol: Protocol) -> None:
    assert classify(data) is protocol


def test_steps_are_modular() -> None:
    assert sequence_step(65_535, 0) == 1
    assert sequence_step(0, 65_535) == -1
    assert timestamp_step(0xFFFF_FFF0, 0x10) == 0x20
    assert timestamp_step(0x10, 0xFFFF_FFF0) == -0x20


def test_extended_numbers_count_cycles_and_take_late_packets() -> None:
    extender = SequenceExtender()
    assert [extender.extend(n) for n in (65_534, 0, 65_535, 1)] == [65_534, 65_536, 65_535, 65_537]
    assert extender.highest == 65_537


def test_a_jump_is_another_stream() -> None:
    extender = SequenceExtender()
    extender.extend(10_000)
    assert extender.extend(13_000) is None
    assert extender.extend(9_900) is None
    assert extender.extend(10_001) == 10_001
