"""The relay in C: worker threads that never take the GIL. Gives `_relay` the `Relay` protocol.

Checks and settings are made here, so that the C core only reads what it was given.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from media.native import sockets
from media.native._relay import Relay as Core
from media.native.check import normalised
from media.native.latch import WORST_RANK, may_send_early
from media.native.relay import (
    Address,
    Buffer,
    DropReason,
    Locked,
    Rebound,
    RelayEvent,
    RelayOptions,
    SelfLoop,
    SourceAlarm,
    StreamConfig,
    StreamStats,
)

if TYPE_CHECKING:
    from media.native._relay import StatsTuple  # exists in the stub only

_REASONS = tuple(DropReason)
_LOCKED, _REBOUND = 0, 1  # enum event_kind of packet.h


class NativeRelay:
    """`Relay` on the C core."""

    def __init__(self, options: RelayOptions | None = None) -> None:
        """Start the workers; raises OSError, and ValueError for options out of range."""
        self._options = options or RelayOptions()
        if self._options.workers < 1:
            raise ValueError("a relay has at least one worker")
        sockets.raise_file_limit()
        self._core = Core(self._options.workers, tuple(sockets.local_hosts()))

    def open(self, host: str, port: int) -> int:
        try:
            sock = sockets.bind(host, port, self._options)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            # A stream that was just closed may still be in the hands of a worker.
            self._core.reclaim()
            sock = sockets.bind(host, port, self._options)
        try:
            handle = self._core.open(sock.fileno(), sockets.bound_address(sock))
        except BaseException:
            sock.close()
            raise
        sock.detach()
        return handle

    def address(self, handle: int) -> Address:
        return self._core.address(handle)

    def configure(self, handle: int, config: StreamConfig) -> None:
        apply(self._core, handle, config)

    def stats(self, handle: int) -> StreamStats:
        return stats_from(self._core.stats(handle))

    def close(self, handle: int) -> StreamStats:
        return stats_from(self._core.close(handle))

    def events(self) -> list[RelayEvent]:
        return events_from(self._core)

    def take(self, heads: Buffer, payloads: Buffer, stride: int) -> int:
        return self._core.take(heads, payloads, stride)

    def send(
        self, handles: Buffer, sizes: Buffer, packets: Buffer, stride: int, control: bool
    ) -> int:
        return self._core.send(handles, sizes, packets, stride, control)

    def fileno(self) -> int:
        return self._core.fileno()

    def shutdown(self) -> None:
        self._core.shutdown()


def apply(core: Core, handle: int, config: StreamConfig) -> None:
    """Check a configuration and hand it to the C core."""
    config = normalised(config, core.address(handle))
    if handle in (config.sink, config.rtcp_sink):
        raise SelfLoop("a stream cannot be its own sink")
    if config.remote is not None and core.is_own_port(config.remote):
        raise SelfLoop(f"{config.remote} is a port of this relay")
    core.configure(
        handle,
        config.sink,
        config.rtcp_sink,
        config.rtcp,
        config.rtp_stream,
        config.mux,
        config.remote,
        None if config.signalling_host is None else (config.signalling_host, 0),
        config.nat,
        config.asymmetric,
        WORST_RANK[config.learn],
        _bits(config.payload_types),
        config.max_packets_per_s,
        config.max_packet_bytes,
        config.clock_rate,
        config.generation,
        config.enabled_in,
        config.enabled_out,
        config.rebind_silence_s,
        may_send_early(config),
        config.tap,
    )


def stats_from(values: StatsTuple) -> StreamStats:
    """What the C core counted, as the protocol has it."""
    ssrc, age_s, round_trip = values[9], values[11], values[14]
    return StreamStats(
        packets_in=values[0],
        bytes_in=values[1],
        packets_out=values[2],
        bytes_out=values[3],
        rtcp_in=values[4],
        rtcp_out=values[5],
        dropped={reason: count for reason, count in zip(_REASONS, values[6], strict=True) if count},
        lost=values[7],
        jitter=values[8],
        ssrc=None if ssrc < 0 else ssrc,
        markers=values[10],
        last_packet_age_s=None if age_s < 0 else age_s,
        source_changes=values[12],
        locked=values[13],
        round_trip_s=None if round_trip < 0 else round_trip / 65536.0,
    )


def events_from(core: Core) -> list[RelayEvent]:
    """Take what happened in the C core."""
    events: list[RelayEvent] = []
    for kind, handle, address, old, dropped in core.events():
        if kind == _LOCKED:
            events.append(Locked(handle, address))
        elif kind == _REBOUND and old is not None:
            events.append(Rebound(handle, old, address))
        else:
            events.append(SourceAlarm(handle, address, dropped))
    return events


def _bits(payload_types: frozenset[int] | None) -> bytes | None:
    if payload_types is None:
        return None
    return sum(1 << payload_type for payload_type in payload_types).to_bytes(16, "little")
