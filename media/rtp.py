"""RTP packets (RFC 3550 §5): bytes to values and back, and arithmetic on their wire integers.

For the audio path and for tests; the relay (``media.native``) reads headers by itself, in place.
"""

from __future__ import annotations

import enum
import struct
from typing import Final

from media.errors import LocalMediaError, RtpError

HEADER_BYTES: Final = 12
VERSION: Final = 2
#: RFC 3550 A.1: a larger step forward is another stream, not loss.
MAX_DROPOUT: Final = 3000
#: RFC 3550 A.1: a packet that is later than this is of another stream.
MAX_MISORDER: Final = 100

_HEADER: Final = struct.Struct("!BBHII")
_EXTENSION: Final = struct.Struct("!HH")


class Protocol(enum.Enum):
    """What a datagram on a media port is."""

    STUN = "stun"
    ZRTP = "zrtp"
    DTLS = "dtls"
    TURN = "turn"
    RTP = "rtp"
    RTCP = "rtcp"
    UNKNOWN = "unknown"


def classify(data: bytes) -> Protocol:
    """Tell protocols apart by their first byte (RFC 7983 §7), RTCP by its second (RFC 5761 §4)."""
    if not data:
        return Protocol.UNKNOWN
    first = data[0]
    if 128 <= first <= 191:
        if len(data) >= 2 and 192 <= data[1] <= 223:
            return Protocol.RTCP
        return Protocol.RTP
    for low, high, protocol in _FIRST_BYTES:
        if low <= first <= high:
            return protocol
    return Protocol.UNKNOWN


_FIRST_BYTES: Final = (
    (0, 3, Protocol.STUN),
    (16, 19, Protocol.ZRTP),
    (20, 63, Protocol.DTLS),
    (64, 79, Protocol.TURN),
)


class RtpPacket:
    """One packet. Padding is dropped when parsed and not written."""

    __slots__ = (
        "csrcs",
        "extension",
        "extension_profile",
        "marker",
        "payload",
        "payload_type",
        "rtp_timestamp",
        "sequence_number",
        "ssrc",
    )

    def __init__(
        self,
        payload_type: int,
        sequence_number: int,
        rtp_timestamp: int,
        ssrc: int,
        payload: bytes,
        *,
        marker: bool = False,
        csrcs: tuple[int, ...] = (),
        extension_profile: int = 0,
        extension: bytes | None = None,
    ) -> None:
        """``extension``: RFC 3550 §5.3.1, whole 32-bit words; None = no extension."""
        self.payload_type = payload_type
        self.sequence_number = sequence_number
        self.rtp_timestamp = rtp_timestamp
        self.ssrc = ssrc
        self.payload = payload
        self.marker = marker
        self.csrcs = csrcs
        self.extension_profile = extension_profile
        self.extension = extension

    @classmethod
    def parse(cls, data: bytes) -> RtpPacket:
        """Raises :class:`RtpError`: too short, not version 2, sizes that contradict themselves."""
        if len(data) < HEADER_BYTES:
            raise RtpError("shorter than the RTP header")
        first, second, sequence_number, rtp_timestamp, ssrc = _HEADER.unpack_from(data)
        if first >> 6 != VERSION:
            raise RtpError("not RTP version 2")
        start = HEADER_BYTES + 4 * (first & 0x0F)
        end = len(data)
        if start > end:
            raise RtpError("CSRC list is cut off")
        csrcs = struct.unpack_from(f"!{first & 0x0F}I", data, HEADER_BYTES)
        profile, extension = 0, None
        if first & 0x10:
            if start + 4 > end:
                raise RtpError("header extension is cut off")
            profile, words = _EXTENSION.unpack_from(data, start)
            start += 4
            extension = data[start : start + 4 * words]
            start += 4 * words
            if start > end:
                raise RtpError("header extension is cut off")
        if first & 0x20:
            padding = data[-1]
            if padding == 0 or start + padding > end:
                raise RtpError("impossible padding")
            end -= padding
        return cls(
            second & 0x7F,
            sequence_number,
            rtp_timestamp,
            ssrc,
            data[start:end],
            marker=second > 0x7F,
            csrcs=csrcs,
            extension_profile=profile,
            extension=extension,
        )

    def to_bytes(self) -> bytes:
        """Raises :class:`LocalMediaError` for an extension that is not whole words."""
        first = VERSION << 6 | len(self.csrcs)
        middle = struct.pack(f"!{len(self.csrcs)}I", *self.csrcs)
        if self.extension is not None:
            if len(self.extension) % 4:
                raise LocalMediaError("an RTP header extension is whole 32-bit words")
            first |= 0x10
            words = len(self.extension) // 4
            middle += _EXTENSION.pack(self.extension_profile, words) + self.extension
        head = _HEADER.pack(
            first,
            self.marker << 7 | self.payload_type,
            self.sequence_number,
            self.rtp_timestamp,
            self.ssrc,
        )
        return head + middle + self.payload


def sequence_step(before: int, after: int) -> int:
    """Signed distance of two sequence numbers, -32768 … 32767."""
    return ((after - before + 0x8000) & 0xFFFF) - 0x8000


def timestamp_step(before: int, after: int) -> int:
    """Signed distance of two RTP timestamps."""
    return ((after - before + 0x8000_0000) & 0xFFFF_FFFF) - 0x8000_0000


class SequenceExtender:
    """Sequence numbers with their cycles counted in (RFC 3550 A.1), so that they only grow."""

    __slots__ = ("highest",)

    def __init__(self) -> None:
        self.highest: int | None = None
        """The highest extended number so far."""

    def extend(self, sequence_number: int) -> int | None:
        """The extended number; None if the jump means another stream (then start a new one)."""
        if self.highest is None:
            self.highest = sequence_number
            return sequence_number
        step = sequence_step(self.highest & 0xFFFF, sequence_number)
        if not -MAX_MISORDER < step < MAX_DROPOUT:
            return None
        extended = self.highest + step
        self.highest = max(self.highest, extended)
        return extended
