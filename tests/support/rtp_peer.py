"""A telephone's media side: a loopback socket that speaks RTP and RTCP, for tests of relays."""

from __future__ import annotations

import select
import socket
import struct
from collections.abc import Iterable

Address = tuple[str, int]

TIMEOUT_S = 5.0  # loopback answers in microseconds; a busy machine may take its time


def rtp(
    sequence_number: int,
    *,
    payload_type: int = 0,
    ssrc: int = 0x1234,
    timestamp: int | None = None,
    marker: bool = False,
    payload: bytes = b"\xff" * 160,
) -> bytes:
    """One RTP packet (RFC 3550 §5.1); the timestamp follows the sequence in 20 ms steps."""
    if timestamp is None:
        timestamp = sequence_number * 160
    return (
        struct.pack(
            "!BBHII",
            0x80,
            payload_type | marker << 7,
            sequence_number & 0xFFFF,
            timestamp & 0xFFFFFFFF,
            ssrc,
        )
        + payload
    )


def sender_report(ntp: int = 0, *, ssrc: int = 0x1234) -> bytes:
    """RFC 3550 §6.4.1 without report blocks; `ntp` is the 64-bit time."""
    return struct.pack("!BBHIQIII", 0x80, 200, 6, ssrc, ntp, 0, 0, 0)


def receiver_report(last_report: int, delay: int, *, ssrc: int = 0x4321) -> bytes:
    """RFC 3550 §6.4.2 with one block; both times in 1/65536 s."""
    block = struct.pack("!IIIIII", 0x1234, 0, 0, 0, last_report, delay)
    return struct.pack("!BBHI", 0x81, 201, 7, ssrc) + block


class RtpPeer:
    """A socket on a loopback address; other hosts are other addresses of 127.0.0.0/8."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.bind((host, port))
        self.socket.settimeout(TIMEOUT_S)
        name = self.socket.getsockname()
        self.address: Address = (name[0], name[1])

    def send(self, to: Address, *packets: bytes) -> None:
        for packet in packets:
            self.socket.sendto(packet, to)

    def send_sequence(self, to: Address, numbers: Iterable[int], *, ssrc: int = 0x1234) -> None:
        self.send(to, *(rtp(number, ssrc=ssrc) for number in numbers))

    def receive(self) -> bytes:
        """The next datagram; TimeoutError when none comes."""
        return self.socket.recv(4096)

    def receive_from(self) -> tuple[bytes, Address]:
        data, source = self.socket.recvfrom(4096)
        return data, (source[0], source[1])

    def has_nothing(self) -> bool:
        """Whether nothing waits now. Ask after a packet sent later was seen to arrive elsewhere:
        one worker relays in the order of arrival of a socket."""
        return not select.select([self.socket], [], [], 0)[0]

    def close(self) -> None:
        self.socket.close()
