"""The relay as a sans-I/O core: a datagram goes in, where it has to leave comes out.

Fed by the socket shell (`twin.py`) or by a test; feeds it `Forward` values, events and
statistics. `packet.c` decides the same, check by check, in the same order.

RFC 3550 (RTP, RTCP), RFC 5761 (telling RTCP from RTP), RFC 3264 §8.4 (RTCP goes on in a hold).
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from media.native.check import normalised
from media.native.counters import RateCap, SourceCounters
from media.native.latch import Accepted, Latch, control_ports, may_send_early
from media.native.relay import (
    FRAME_HEAD_BYTES,
    TAP_BYTES,
    TAP_FRAMES,
    Address,
    Buffer,
    DropReason,
    Locked,
    Rebound,
    RelayEvent,
    SelfLoop,
    SourceAlarm,
    StreamConfig,
    StreamStats,
)

RTP_HEADER_BYTES = 12
RTCP_MIN_BYTES = 8
SENDER_REPORT, RECEIVER_REPORT = 200, 201
ALARM_PACKETS = 10  # dropped packets of strangers that are worth an alarm
ALARM_INTERVAL_S = 10.0  # between two alarms of a stream: a flood must not flood the log
MAX_ROUND_TRIP_S = 60  # a larger figure comes from a wrong report
MAX_EVENTS = 4096  # waiting for `events()`; later ones are lost, `stats()` still tells


_FRAME_HEAD = struct.Struct("<QdIIIHHBB6x")  # FRAME_FIELDS of relay.py


class Forward(NamedTuple):
    """Send the datagram from the socket of `sink` to `destination`; then tell `sent`."""

    sink: int
    destination: Address
    control: bool


class RtpHeader(NamedTuple):
    payload_type: int
    marker: bool
    sequence_number: int
    timestamp: int
    ssrc: int
    payload_bytes: int


def unpacked(handles: Buffer, sizes: Buffer) -> zip[tuple[int, int]]:
    """Handles and sizes of `Relay.send`, pair by pair."""
    return zip(
        memoryview(handles).cast("B").cast("Q"), memoryview(sizes).cast("B").cast("H"), strict=False
    )


def parse_rtp(data: bytes) -> RtpHeader | None:
    """RFC 3550 §5.1. Padding is not looked at: SRTP encrypts it."""
    size = len(data)
    if size < RTP_HEADER_BYTES or data[0] >> 6 != 2:
        return None
    start = RTP_HEADER_BYTES + 4 * (data[0] & 0x0F)
    if data[0] & 0x10:
        if size < start + 4:
            return None
        start += 4 + 4 * int.from_bytes(data[start + 2 : start + 4], "big")
    if size < start:
        return None
    return RtpHeader(
        data[1] & 0x7F,
        data[1] > 0x7F,
        int.from_bytes(data[2:4], "big"),
        int.from_bytes(data[4:8], "big"),
        int.from_bytes(data[8:12], "big"),
        size - start,
    )


def is_rtcp(data: bytes) -> bool:
    """Whether the second byte is of a packet type that RFC 5761 §4 keeps for RTCP."""
    return len(data) >= 2 and 192 <= data[1] <= 223


def is_proper_rtcp(data: bytes) -> bool:
    """RFC 3550 A.2, of the first packet only: SRTCP encrypts the others."""
    return (
        len(data) >= RTCP_MIN_BYTES
        and data[0] >> 6 == 2
        and is_rtcp(data)
        and 4 * int.from_bytes(data[2:4], "big") + 4 <= len(data)
    )


def _short_time(now: float) -> int:
    """Seconds in the 16.16 format of LSR and DLSR (RFC 3550 §6.4.1)."""
    return int(now * 65536.0) & 0xFFFFFFFF


class _Stream:
    """State of one socket: configuration, latch, counters."""

    __slots__ = (
        "alarm_at",
        "bytes_in",
        "bytes_out",
        "config",
        "control_source",
        "dropped",
        "early",
        "last_in_s",
        "latch",
        "local",
        "markers",
        "next_alarm_s",
        "packets_in",
        "packets_out",
        "rate",
        "report",
        "round_trip",
        "rtcp_in",
        "rtcp_out",
        "source",
        "source_changes",
    )

    def __init__(self, local: Address, is_own_port: Callable[[Address], bool]) -> None:
        self.local = local
        self.config: StreamConfig | None = None
        self.early = False
        self.latch = Latch(is_own_port)
        self.source = SourceCounters()
        self.rate = RateCap()
        self.control_source: Address | None = None  # of the last accepted RTCP
        self.report: tuple[int, int] | None = None  # last SR: its middle NTP bits, our time
        self.round_trip: int | None = None  # in 1/65536 s
        self.packets_in = self.bytes_in = self.packets_out = self.bytes_out = 0
        self.rtcp_in = self.rtcp_out = self.markers = self.source_changes = 0
        self.last_in_s: float | None = None
        self.dropped: dict[DropReason, int] = {}
        self.alarm_at = ALARM_PACKETS  # strangers' packets so far that raise the next alarm
        self.next_alarm_s = 0.0

    def drop(self, reason: DropReason) -> Forward | None:
        """Count a dropped packet. Returns None, so that a caller drops and leaves in one line."""
        self.dropped[reason] = self.dropped.get(reason, 0) + 1
        return None


class RelayCore:
    """All streams of a relay. Not thread-safe: its shell serialises the calls."""

    def __init__(self, local_hosts: frozenset[str] = frozenset()) -> None:
        """`local_hosts`: addresses of this machine that a wildcard socket answers on."""
        self._local_hosts = local_hosts
        self._streams: dict[int, _Stream] = {}
        self._own: dict[Address, int] = {}  # bound address to the number of streams on it
        self._last_handle = 0
        self._events: list[RelayEvent] = []
        self._frames: deque[tuple[bytes, bytes]] = deque()  # heads and payloads, for `take`

    # -- control side -----------------------------------------------------------------------

    def open(self, local: Address) -> int:
        """Add a stream that is bound to `local`."""
        self._last_handle += 1
        self._streams[self._last_handle] = _Stream(local, self.is_own_port)
        self._own[local] = self._last_handle
        return self._last_handle

    def address(self, handle: int) -> Address:
        return self._streams[handle].local

    def configure(self, handle: int, config: StreamConfig) -> None:
        """Apply a configuration; raises ValueError and changes nothing when it is unsafe."""
        stream = self._streams[handle]
        config = normalised(config, stream.local)
        if handle in (config.sink, config.rtcp_sink):
            raise SelfLoop("a stream cannot be its own sink")
        if config.remote is not None and self.is_own_port(config.remote):
            raise SelfLoop(f"{config.remote} is a port of this relay")
        former = stream.config
        if former is None or (former.generation, former.nat) != (config.generation, config.nat):
            stream.control_source = None
        stream.config = config
        stream.early = may_send_early(config)
        stream.latch.describe(config)

    def stats(self, handle: int, now: float) -> StreamStats:
        stream = self._streams[handle]
        return StreamStats(
            packets_in=stream.packets_in,
            bytes_in=stream.bytes_in,
            packets_out=stream.packets_out,
            bytes_out=stream.bytes_out,
            rtcp_in=stream.rtcp_in,
            rtcp_out=stream.rtcp_out,
            dropped=dict(stream.dropped),
            lost=stream.source.lost,
            jitter=stream.source.jitter,
            ssrc=stream.source.ssrc,
            markers=stream.markers,
            last_packet_age_s=None if stream.last_in_s is None else now - stream.last_in_s,
            source_changes=stream.source.source_changes + stream.source_changes,
            locked=stream.latch.locked,
            round_trip_s=None if stream.round_trip is None else stream.round_trip / 65536.0,
        )

    def close(self, handle: int, now: float) -> StreamStats:
        stats = self.stats(handle, now)
        stream = self._streams.pop(handle)
        if self._own[stream.local] == handle:
            del self._own[stream.local]
        return stats

    def events(self) -> list[RelayEvent]:
        """Take the events so far."""
        events, self._events = self._events, []
        return events

    @property
    def has_events(self) -> bool:
        return bool(self._events)

    def is_own_port(self, address: Address) -> bool:
        """Whether a datagram to `address` would arrive at a stream of this relay."""
        if address in self._own:
            return True
        wildcard = "::" if ":" in address[0] else "0.0.0.0"
        return address[0] in self._local_hosts and (wildcard, address[1]) in self._own

    # -- packet side ------------------------------------------------------------------------

    def receive(self, handle: int, data: bytes, source: Address, now: float) -> Forward | None:
        """A datagram arrived on a stream; None: it was dropped, and counted."""
        stream = self._streams.get(handle)
        if stream is None:
            return None  # closed while the datagram waited
        config = stream.config
        if config is None:
            return stream.drop(DropReason.IDLE)
        if len(data) > config.max_packet_bytes:
            return stream.drop(DropReason.SIZE)
        if config.rtcp:
            reason = self._screen_control(stream, config, source)
            if reason is None and not is_proper_rtcp(data):
                reason = DropReason.NOT_RTP
        elif stream.latch.is_stranger(source):
            reason = DropReason.SOURCE
        elif config.payload_types is None:
            return self._receive_opaque(handle, stream, config, data, source, now)
        elif not is_rtcp(data):
            return self._receive_rtp(handle, stream, config, data, source, now)
        elif not config.mux or not is_proper_rtcp(data):
            reason = DropReason.NOT_RTP
        else:
            reason = stream.latch.control(source)
        if reason is not None:
            return self._refuse(handle, stream, reason, source, now)
        return self._receive_control(stream, config, data, source, now)

    def take(self, heads: Buffer, payloads: Buffer, stride: int) -> int:
        """See `Relay.take`."""
        into, bodies = memoryview(heads).cast("B"), memoryview(payloads).cast("B")
        count = min(len(self._frames), len(into) // FRAME_HEAD_BYTES, len(bodies) // (stride or 1))
        for number in range(count):
            head, payload = self._frames.popleft()
            into[number * FRAME_HEAD_BYTES : (number + 1) * FRAME_HEAD_BYTES] = head
            payload = payload[:stride]
            bodies[number * stride : number * stride + len(payload)] = payload
        return count

    def aim(self, handle: int, *, control: bool) -> Forward | None:
        """Where a packet of our own toward the peer of a stream goes; None: nowhere."""
        stream = self._streams.get(handle)
        if stream is None:
            return None
        config = stream.config
        if config is None:
            return None  # not counted: the counters are those of what arrives
        if not control and not config.enabled_out:
            return None  # a hold: the audio path goes on without being heard
        destination = self._destination(stream, config)
        return None if destination is None else Forward(handle, destination, control)

    def sent(self, forward: Forward, size: int) -> None:
        """The shell sent a datagram of `size` bytes."""
        stream = self._streams.get(forward.sink)
        if stream is None:
            return
        if forward.control:
            stream.rtcp_out += 1
        else:
            stream.packets_out += 1
            stream.bytes_out += size

    def refused(self, handle: int) -> None:
        """The kernel did not take the datagram that came in on this stream."""
        stream = self._streams.get(handle)
        if stream is not None:
            stream.drop(DropReason.SEND)

    def _receive_rtp(
        self,
        handle: int,
        stream: _Stream,
        config: StreamConfig,
        data: bytes,
        source: Address,
        now: float,
    ) -> Forward | None:
        header = parse_rtp(data)
        if header is None:
            return stream.drop(DropReason.NOT_RTP)
        if config.payload_types is not None and header.payload_type not in config.payload_types:
            return stream.drop(DropReason.PAYLOAD_TYPE)
        verdict = stream.latch.receive(
            source,
            header.ssrc,
            header.sequence_number,
            header.timestamp,
            header.payload_bytes,
            now,
        )
        if not self._admit(handle, stream, config, verdict, source, now):
            return None
        stream.markers += header.marker
        stream.source.receive(
            header.ssrc, header.sequence_number, header.timestamp, now, config.clock_rate
        )
        return self._forward_media(handle, stream, config, data, source, now, header)

    def _receive_opaque(
        self,
        handle: int,
        stream: _Stream,
        config: StreamConfig,
        data: bytes,
        source: Address,
        now: float,
    ) -> Forward | None:
        verdict = stream.latch.receive(source, 0, -1, 0, len(data), now)
        if not self._admit(handle, stream, config, verdict, source, now):
            return None
        return self._forward_media(handle, stream, config, data, source, now, None)

    def _admit(
        self,
        handle: int,
        stream: _Stream,
        config: StreamConfig,
        verdict: Accepted | DropReason,
        source: Address,
        now: float,
    ) -> bool:
        """Act on the verdict of the latch; whether the packet goes on."""
        if isinstance(verdict, DropReason):
            self._refuse(handle, stream, verdict, source, now)
            return False
        if verdict is Accepted.LOCKED:
            self._tell(Locked(handle, source))
        elif verdict is Accepted.REBOUND and stream.latch.previous is not None:
            stream.source_changes += 1
            self._tell(Rebound(handle, stream.latch.previous, source))
        if not stream.rate.allows(config.max_packets_per_s, now):
            stream.drop(DropReason.RATE)
            return False
        return True

    def _forward_media(
        self,
        handle: int,
        stream: _Stream,
        config: StreamConfig,
        data: bytes,
        source: Address,
        now: float,
        header: RtpHeader | None,
    ) -> Forward | None:
        stream.packets_in += 1
        stream.bytes_in += len(data)
        stream.last_in_s = now
        if not config.enabled_in:
            return stream.drop(DropReason.DISABLED)
        if config.sink == 0 and config.tap != 0 and header is not None:
            return self._hand_over(handle, stream, config, data, header, now)
        return self._forward(stream, config.sink, source, control=False)

    def _hand_over(
        self,
        handle: int,
        stream: _Stream,
        config: StreamConfig,
        data: bytes,
        header: RtpHeader,
        now: float,
    ) -> Forward | None:
        """Keep a packet for the audio path."""
        size = header.payload_bytes
        end = len(data)
        if data[0] & 0x20:  # RFC 3550 §5.1: the last octet counts the padding
            padding = data[-1]
            if size == 0 or padding == 0 or padding > size:
                return stream.drop(DropReason.NOT_RTP)
            end -= padding
        payload = data[len(data) - size : end]
        if len(payload) > TAP_BYTES:
            return stream.drop(DropReason.SIZE)
        if len(self._frames) == TAP_FRAMES:
            return stream.drop(DropReason.OVERRUN)
        head = _FRAME_HEAD.pack(
            handle,
            now,
            header.ssrc,
            header.timestamp,
            config.tap,
            header.sequence_number,
            len(payload),
            header.payload_type,
            header.marker,
        )
        self._frames.append((head, payload))
        return None

    def _screen_control(
        self, stream: _Stream, config: StreamConfig, source: Address
    ) -> DropReason | None:
        """RTCP on a port of its own comes from the host that RTP is locked to."""
        lock = self._rtp_lock(config)
        if lock is None:
            return DropReason.NOT_LOCKED
        if source[0] != lock[0]:
            return DropReason.SOURCE
        if not config.asymmetric and source[1] not in control_ports(config, lock):
            return DropReason.SOURCE
        return None

    def _receive_control(
        self, stream: _Stream, config: StreamConfig, data: bytes, source: Address, now: float
    ) -> Forward | None:
        if not stream.rate.allows(config.max_packets_per_s, now):
            return stream.drop(DropReason.RATE)
        stream.rtcp_in += 1
        if config.rtcp:
            stream.control_source = source
        sink = config.rtcp_sink or config.sink
        self._measure_round_trip(stream, self._streams.get(sink), data, now)
        return self._forward(stream, sink, source, control=True)

    def _forward(
        self, stream: _Stream, sink: int, source: Address, *, control: bool
    ) -> Forward | None:
        target = self._streams.get(sink)
        if target is None or target.config is None:
            return stream.drop(DropReason.NO_SINK)
        if not control and not target.config.enabled_out:
            return stream.drop(DropReason.DISABLED)
        destination = self._destination(target, target.config)
        if destination is None:
            return stream.drop(DropReason.NO_REMOTE)
        if destination == source:
            return stream.drop(DropReason.ECHO)
        return Forward(sink, destination, control)

    def _destination(self, stream: _Stream, config: StreamConfig) -> Address | None:
        """Where media or RTCP to the peer of a stream goes now."""
        if not config.nat:
            return config.remote
        lock = self._rtp_lock(config) if config.rtcp else stream.latch.locked
        if lock is None:
            return config.remote if stream.early else None
        if not config.rtcp:
            return lock
        if stream.control_source is not None and stream.control_source[0] == lock[0]:
            return stream.control_source
        if config.remote is not None and config.remote[0] == lock[0]:
            return config.remote
        return (lock[0], lock[1] + 1) if lock[1] < 65535 else None

    def _rtp_lock(self, config: StreamConfig) -> Address | None:
        """Whom the RTP that this RTCP belongs to is accepted from."""
        companion = self._streams.get(config.rtp_stream)
        if companion is not None:
            return companion.latch.locked
        return None if config.nat else config.remote

    def _measure_round_trip(
        self, stream: _Stream, sink: _Stream | None, data: bytes, now: float
    ) -> None:
        """RFC 3550 §6.4.1: a peer's reception report tells how long ago it received the sender
        report that we forwarded to it, the one that came in on the stream it now goes out to."""
        our_time = _short_time(now)
        sent = None if sink is None else sink.report
        position = 0
        while len(data) >= position + RTCP_MIN_BYTES and data[position] >> 6 == 2:
            kind = data[position + 1]
            end = position + 4 + 4 * int.from_bytes(data[position + 2 : position + 4], "big")
            if end > len(data):
                return
            blocks = position + (28 if kind == SENDER_REPORT else 8)
            if kind == SENDER_REPORT and end >= blocks:
                middle = int.from_bytes(data[position + 10 : position + 14], "big")
                stream.report = (middle, our_time)
            if kind in (SENDER_REPORT, RECEIVER_REPORT) and sent is not None:
                count = min(data[position] & 0x1F, (end - blocks) // 24)
                for block in range(blocks, blocks + 24 * count, 24):
                    last_report = int.from_bytes(data[block + 16 : block + 20], "big")
                    delay = int.from_bytes(data[block + 20 : block + 24], "big")
                    round_trip = (our_time - sent[1] - delay) & 0xFFFFFFFF
                    if last_report == sent[0] and round_trip < MAX_ROUND_TRIP_S << 16:
                        stream.round_trip = round_trip
            position = end

    def _refuse(
        self, handle: int, stream: _Stream, reason: DropReason, source: Address, now: float
    ) -> Forward | None:
        """Drop a packet; too many strangers raise an alarm."""
        stream.drop(reason)
        if reason is DropReason.SOURCE:
            strangers = stream.dropped[reason]
            if strangers >= stream.alarm_at and now >= stream.next_alarm_s:
                stream.alarm_at = strangers + ALARM_PACKETS
                stream.next_alarm_s = now + ALARM_INTERVAL_S
                self._tell(SourceAlarm(handle, source, strangers))
        return None

    def _tell(self, event: RelayEvent) -> None:
        if len(self._events) < MAX_EVENTS:
            self._events.append(event)
