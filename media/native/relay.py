"""What a media relay is: its values, its configuration and its protocol.

Fed by `media/server` (configuration per stream, decided from SDP) and implemented twice:
by the C core (`native.py`) and by the Python twin (`twin.py`). Both pass the same tests
(`tests/contract/test_relay.py`). `latch.py` specifies which packets are accepted.

A *stream* is one bound UDP socket toward one peer. What is accepted on a stream leaves from
the socket of its *sink* toward the peer of the sink; a bridge of two legs is two streams that
are each other's sink (four with RTCP on ports of its own).

RFC 3550 (RTP, RTCP), RFC 5761 (RTP and RTCP on one port), RFC 4961 (symmetric RTP).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

Buffer = Any  # what has the buffer protocol; Python 3.12 has a type for it
Address = tuple[str, int]  # numeric host without brackets, port

ANY_PAYLOAD_TYPE = frozenset(range(128))
"""RTP with whatever payload type; `payload_types=None` means that the stream is not RTP."""


class SelfLoop(ValueError):
    """The stream would send to a port of this relay: media would circle for ever."""


class LearnPolicy(enum.Enum):
    """How far a source behind NAT may differ from what signalling said (only when `nat`)."""

    EXACT = "exact"  # the host of the SDP address, any port
    SIGNALLING_IP = "signalling-ip"  # or the host that the SIP message came from
    ANY = "any"  # whoever sends proper RTP first: only for trusted gateways


class DropReason(enum.StrEnum):
    """Why a received packet was not forwarded; the C core counts in this order."""

    IDLE = "idle"  # no description of this side has been applied yet
    SOURCE = "source"  # not from whom we expect
    NOT_LOCKED = "not-locked"  # a packet of a source that is still being learned
    NOT_RTP = "not-rtp"  # malformed, another protocol, or RTCP where it is not multiplexed
    PAYLOAD_TYPE = "payload-type"  # was not negotiated
    SIZE = "size"  # longer than `max_packet_bytes`
    RATE = "rate"  # above `max_packets_per_s`
    OWN_PORT = "own-port"  # the source is a port of this relay
    DISABLED = "disabled"  # a hold: the direction of this side or of the sink is off
    NO_SINK = "no-sink"  # nobody to forward to
    NO_REMOTE = "no-remote"  # the address of the sink's peer is not known
    ECHO = "echo"  # would return to where it came from
    SEND = "send"  # the kernel refused to send
    OVERRUN = "overrun"  # the audio path has not taken the packets before it


@dataclass(frozen=True, slots=True)
class StreamConfig:
    """One stream's configuration; immutable, swapped as a whole.

    The relay checks values that would harm it; whether `remote` is an acceptable destination
    (loopback, internal networks) is decided by whoever makes the configuration.
    """

    sink: int = 0  # handle of the stream that forwards what arrives here; 0 = nowhere
    rtcp_sink: int = 0  # where RTCP multiplexed here leaves; 0 = `sink` (it is multiplexed too)
    rtcp: bool = False  # this socket carries RTCP only
    rtp_stream: int = 0  # with `rtcp`: the stream whose lock decides who may send RTCP here
    mux: bool = False  # RTCP shares the port of RTP (RFC 5761)
    remote: Address | None = None  # where the peer's SDP wants media; None = unknown or unusable
    signalling_host: str | None = None  # source host of the peer's SIP messages
    nat: bool = False  # the peer is behind NAT: its source address is learned
    asymmetric: bool = False  # the peer sends from another port than it receives on
    learn: LearnPolicy = LearnPolicy.SIGNALLING_IP
    payload_types: frozenset[int] | None = ANY_PAYLOAD_TYPE  # None: datagrams that are not RTP
    max_packets_per_s: int = 0  # of the accepted source; 0 = no cap
    max_packet_bytes: int = 1500
    clock_rate: int = 8000  # Hz of the RTP timestamp; 0 = no jitter figure
    generation: int = 0
    """Raise it when this side's SDP changed its address or restarted ICE: the lock is dropped
    and learning opens again. The same generation keeps the lock whatever else changes."""
    enabled_in: bool = True  # media from this peer is forwarded (RTCP always is)
    enabled_out: bool = True  # media is sent to this peer (RTCP always is)
    rebind_silence_s: float = 5.0  # silence after which a NAT may have a new mapping
    tap: int = 0
    """Without a sink: accepted RTP is kept for :meth:`Relay.take` under this number (below 2³²);
    0 = it is dropped."""


@dataclass(frozen=True, slots=True)
class StreamStats:
    """Counters of one stream since it was opened."""

    packets_in: int  # accepted media packets
    bytes_in: int  # UDP payload of them
    packets_out: int  # media packets sent from this socket
    bytes_out: int
    rtcp_in: int
    rtcp_out: int
    dropped: Mapping[DropReason, int]  # only reasons that happened
    lost: int  # RFC 3550 A.3, summed over the sources of the stream
    jitter: float  # RFC 3550 §6.4.1, in timestamp units
    ssrc: int | None  # of the last accepted RTP packet
    markers: int  # packets with the marker bit: talkspurts, of audio
    last_packet_age_s: float | None  # since the last accepted media packet; None = never
    source_changes: int  # new SSRC, restarted sequence or new address, after the first
    locked: Address | None  # whom media is accepted from
    round_trip_s: float | None  # between relay and peer, from RTCP; None = unknown


@dataclass(frozen=True, slots=True)
class Locked:
    """A source behind NAT was learned; media to that side now goes there."""

    handle: int
    address: Address


@dataclass(frozen=True, slots=True)
class Rebound:
    """A locked source came back after silence from another port of its host."""

    handle: int
    old: Address
    address: Address


@dataclass(frozen=True, slots=True)
class SourceAlarm:
    """Strangers send to this stream: `dropped` packets so far (at most one alarm in 10 s)."""

    handle: int
    address: Address  # of the packet that raised the alarm
    dropped: int


RelayEvent = Locked | Rebound | SourceAlarm


@dataclass(frozen=True, slots=True)
class RelayOptions:
    """Settings of a relay as a whole."""

    workers: int = 1  # native threads; the twin has always one
    dscp: int = 46  # RFC 3246 expedited forwarding; 0 = best effort
    receive_buffer_bytes: int = 262_144  # of each socket; the kernel may grant less
    send_buffer_bytes: int = 262_144


FRAME_FIELDS = [
    ("handle", "<u8"),
    ("arrival_s", "<f8"),
    ("ssrc", "<u4"),
    ("timestamp", "<u4"),
    ("tap", "<u4"),
    ("sequence_number", "<u2"),
    ("size", "<u2"),
    ("payload_type", "u1"),
    ("marker", "u1"),
    ("rest", "V6"),
]
"""Fields of one head of :meth:`Relay.take`, as numpy wants them; 40 bytes."""
FRAME_HEAD_BYTES = 40
TAP_FRAMES = 8192  # kept for `take` by one worker; 160 ms of 1,000 legs
TAP_BYTES = 1500  # the longest payload that is kept


class Relay(Protocol):
    """Forwards datagrams between streams until it is shut down; methods never block.

    Handles are positive and never reused; a stale one raises KeyError.
    """

    def open(self, host: str, port: int) -> int:
        """Bind a socket (port 0: any) and return its handle; raises OSError, e.g. EADDRINUSE.

        Nothing is accepted before `configure`.
        """
        ...

    def address(self, handle: int) -> Address:
        """The address that the stream is bound to."""
        ...

    def configure(self, handle: int, config: StreamConfig) -> None:
        """Swap the configuration at once; raises ValueError (SelfLoop) and changes nothing."""
        ...

    def stats(self, handle: int) -> StreamStats: ...

    def close(self, handle: int) -> StreamStats:
        """Close the socket; returns the last figures. Streams that point here drop packets."""
        ...

    def events(self) -> list[RelayEvent]:
        """Take what happened; call it when `fileno()` is readable."""
        ...

    def take(self, heads: Buffer, payloads: Buffer, stride: int) -> int:
        """Take RTP packets of tapped streams; returns how many.

        ``heads``: writable, one record of `FRAME_FIELDS` a packet. ``payloads``: writable,
        ``stride`` bytes a packet; a longer payload is cut there (``size`` tells).
        """
        ...

    def send(
        self, handles: Buffer, sizes: Buffer, packets: Buffer, stride: int, control: bool
    ) -> int:
        """Send packets of our own, each to the peer of its stream; returns how many left.

        ``handles``: uint64; ``sizes``: uint16, bytes; ``packets``: ``stride`` bytes each. Stale
        handles and streams whose peer is not known yet are passed over.
        """
        ...

    def fileno(self) -> int: ...

    def shutdown(self) -> None:
        """Stop the threads and close every socket. Idempotent; nothing may be called after."""
        ...
