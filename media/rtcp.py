"""RTCP packets (RFC 3550 §6): compound packets to values and back, and the round trip.

For the audio path and for tests; the relay passes RTCP through and reads it by itself.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

from media.errors import RtcpError

SENDER_REPORT: Final = 200
RECEIVER_REPORT: Final = 201
SOURCE_DESCRIPTION: Final = 202
GOODBYE: Final = 203
CNAME: Final = 1

#: Seconds from 1900 (NTP) to 1970 (Unix), RFC 5905 §6.
NTP_EPOCH_S: Final = 2_208_988_800
MAX_REPORTS: Final = 31  # the count field has five bits

_HEAD: Final = struct.Struct("!BBH")
_SENDER: Final = struct.Struct("!IQIII")
_BLOCK: Final = struct.Struct("!IIIIII")


class ReportBlock(NamedTuple):
    """What a receiver says about one source (RFC 3550 §6.4.1)."""

    ssrc: int
    fraction_lost: int
    """Of 256, since the last report."""
    lost: int
    """In all; negative when there are duplicates."""
    highest_sequence: int
    """Extended."""
    jitter: int
    """Timestamp units."""
    last_sr: int = 0
    """Middle 32 bits of the NTP time of the last sender report; 0 = none came."""
    delay_since_last_sr: int = 0
    """1/65536 s."""


class SenderReport(NamedTuple):
    ssrc: int
    ntp: int
    """NTP time, 32.32."""
    rtp_timestamp: int
    packets: int
    payload_bytes: int
    reports: tuple[ReportBlock, ...] = ()


class ReceiverReport(NamedTuple):
    ssrc: int
    reports: tuple[ReportBlock, ...] = ()


class SourceDescription(NamedTuple):
    """The CNAME of one source; other items are not written, and are skipped when read."""

    ssrc: int
    cname: str


class Goodbye(NamedTuple):
    """Ends sources, not a call."""

    ssrcs: tuple[int, ...]
    reason: str = ""


class UnknownPacket(NamedTuple):
    """Feedback (RFC 4585), XR (RFC 3611) and others, kept as they are."""

    packet_type: int
    subtype: int
    """The five bits that are a count in other packets."""
    body: bytes


RtcpPacket = SenderReport | ReceiverReport | SourceDescription | Goodbye | UnknownPacket


def parse(data: bytes) -> list[RtcpPacket]:
    """The packets of a compound one, in order. Raises :class:`RtcpError`.

    A lone packet without report is taken too (RFC 5506).
    """
    if not data:
        raise RtcpError("empty")
    packets: list[RtcpPacket] = []
    at = 0
    while at < len(data):
        if at + 4 > len(data):
            raise RtcpError("RTCP header is cut off")
        first, packet_type, words = _HEAD.unpack_from(data, at)
        if first >> 6 != 2:
            raise RtcpError("not RTCP version 2")
        if not 192 <= packet_type <= 223:
            raise RtcpError("not an RTCP packet type")
        end = at + 4 + 4 * words
        if end > len(data):
            raise RtcpError("RTCP packet is cut off")
        body = data[at + 4 : end]
        if first & 0x20:
            if end != len(data) or not body or not 0 < body[-1] <= len(body):
                raise RtcpError("impossible padding")
            body = body[: -body[-1]]
        try:
            packets.extend(_one(packet_type, first & 0x1F, body))
        except struct.error:
            raise RtcpError("RTCP packet is too short for its type") from None
        at = end
    return packets


def _one(packet_type: int, count: int, body: bytes) -> Sequence[RtcpPacket]:
    if packet_type == SENDER_REPORT:
        ssrc, ntp, timestamp, packets, size = _SENDER.unpack_from(body)
        blocks = _blocks(body, _SENDER.size, count)
        return (SenderReport(ssrc, ntp, timestamp, packets, size, blocks),)
    if packet_type == RECEIVER_REPORT:
        (ssrc,) = struct.unpack_from("!I", body)
        return (ReceiverReport(ssrc, _blocks(body, 4, count)),)
    if packet_type == SOURCE_DESCRIPTION:
        return _descriptions(body, count)
    if packet_type == GOODBYE:
        ssrcs = struct.unpack_from(f"!{count}I", body)
        text = body[4 * count :]
        reason = text[1 : 1 + text[0]].decode("utf-8", "replace") if text else ""
        return (Goodbye(ssrcs, reason),)
    return (UnknownPacket(packet_type, count, body),)


def _blocks(body: bytes, at: int, count: int) -> tuple[ReportBlock, ...]:
    blocks: list[ReportBlock] = []
    for index in range(count):
        ssrc, loss, highest, jitter, last_sr, delay = _BLOCK.unpack_from(
            body, at + index * _BLOCK.size
        )
        lost = loss & 0xFFFFFF
        if lost >= 1 << 23:
            lost -= 1 << 24
        blocks.append(ReportBlock(ssrc, loss >> 24, lost, highest, jitter, last_sr, delay))
    return tuple(blocks)


def _descriptions(body: bytes, count: int) -> list[RtcpPacket]:
    """RFC 3550 §6.5: chunks of items, each chunk ended by zeros up to a 32-bit boundary."""
    found: list[RtcpPacket] = []
    at = 0
    for _ in range(count):
        (ssrc,) = struct.unpack_from("!I", body, at)
        at += 4
        cname = ""
        while True:
            (kind,) = struct.unpack_from("!B", body, at)
            if kind == 0:
                break
            (length,) = struct.unpack_from("!B", body, at + 1)
            value = body[at + 2 : at + 2 + length]
            if len(value) < length:
                raise RtcpError("SDES item is cut off")
            if kind == CNAME:
                cname = value.decode("utf-8", "replace")
            at += 2 + length
        at += 4 - at % 4
        found.append(SourceDescription(ssrc, cname))
    return found


def to_bytes(packets: Sequence[RtcpPacket]) -> bytes:
    """A compound packet."""
    return b"".join(_serialise(packet) for packet in packets)


def _serialise(packet: RtcpPacket) -> bytes:
    if isinstance(packet, SenderReport):
        head = _SENDER.pack(*packet[:5])
        body = head + _pack_blocks(packet.reports)
        return _framed(SENDER_REPORT, len(packet.reports), body)
    if isinstance(packet, ReceiverReport):
        body = struct.pack("!I", packet.ssrc) + _pack_blocks(packet.reports)
        return _framed(RECEIVER_REPORT, len(packet.reports), body)
    if isinstance(packet, SourceDescription):
        cname = packet.cname.encode()[:255]
        chunk = struct.pack("!IBB", packet.ssrc, CNAME, len(cname)) + cname
        return _framed(SOURCE_DESCRIPTION, 1, chunk + bytes(4 - len(chunk) % 4))
    if isinstance(packet, Goodbye):
        body = struct.pack(f"!{len(packet.ssrcs)}I", *packet.ssrcs)
        if packet.reason:
            reason = packet.reason.encode()[:255]
            body += bytes((len(reason),)) + reason
            body += bytes(-len(body) % 4)
        return _framed(GOODBYE, len(packet.ssrcs), body)
    return _framed(packet.packet_type, packet.subtype, packet.body)


def _pack_blocks(blocks: Sequence[ReportBlock]) -> bytes:
    return b"".join(
        _BLOCK.pack(
            block.ssrc,
            block.fraction_lost << 24 | block.lost & 0xFFFFFF,
            block.highest_sequence,
            block.jitter,
            block.last_sr,
            block.delay_since_last_sr,
        )
        for block in blocks
    )


def _framed(packet_type: int, count: int, body: bytes) -> bytes:
    return _HEAD.pack(0x80 | count, packet_type, len(body) // 4) + body


def ntp_of(wall_s: float) -> int:
    """Unix time as NTP 32.32."""
    seconds = int(wall_s // 1)
    fraction = int((wall_s - seconds) * (1 << 32))
    return (seconds + NTP_EPOCH_S << 32 | fraction) & 0xFFFF_FFFF_FFFF_FFFF


def round_trip_s(block: ReportBlock, arrival_ntp: int) -> float | None:
    """RFC 3550 §6.4.1: A - LSR - DLSR; None if the block tells nothing, or nonsense."""
    if not block.last_sr:
        return None
    trip = ((arrival_ntp >> 16) - block.last_sr - block.delay_since_last_sr) & 0xFFFF_FFFF
    if trip >= 1 << 31:  # clocks of one machine do not go back: a made-up report
        return None
    return trip / 65_536.0
