"""Counters of one received RTP stream. Fed by `core.py`, read into `StreamStats`.

RFC 3550 A.1 (sequence numbers), A.3 (lost packets), §6.4.1 and A.8 (jitter). `packet.c` does the
same arithmetic in the same order.
"""

from __future__ import annotations

MAX_DROPOUT = 3000  # RFC 3550 A.1: a larger step forward is a restart, not loss
MAX_MISORDER = 100  # RFC 3550 A.1: a larger step back is a restart, not reordering
SEQUENCE_MODULUS = 1 << 16
RATE_BURST_S = 0.25  # packets that a network held back for so long may come at once
RATE_MIN_BURST = 8  # packets; so that a low cap does not punish one lump


class SourceCounters:
    """Sequence and jitter figures over the successive sources (SSRCs) of a stream."""

    __slots__ = (
        "_arrival",
        "_bad",
        "_base",
        "_cycles",
        "_lost_before",
        "_max",
        "_received",
        "_timestamp",
        "jitter",
        "source_changes",
        "ssrc",
    )

    def __init__(self) -> None:
        self.ssrc: int | None = None
        self.source_changes = 0
        self.jitter = 0.0
        self._lost_before = 0  # by former sources
        self._base = self._max = self._cycles = self._received = 0
        self._bad = -1  # the sequence number that would prove a restart
        self._arrival = self._timestamp = 0

    def receive(
        self, ssrc: int, sequence_number: int, timestamp: int, now: float, clock_rate: int
    ) -> None:
        """Count one accepted RTP packet."""
        arrival = int(now * clock_rate)
        if ssrc != self.ssrc:
            if self.ssrc is not None:
                self.source_changes += 1
            self._start(sequence_number)
            self.ssrc = ssrc
        else:
            step = (sequence_number - self._max) & 0xFFFF
            if step < MAX_DROPOUT:
                if sequence_number < self._max:
                    self._cycles += SEQUENCE_MODULUS
                self._max = sequence_number
                self._received += 1
            elif step <= SEQUENCE_MODULUS - MAX_MISORDER:
                if sequence_number != self._bad:
                    self._bad = (sequence_number + 1) & 0xFFFF
                    return
                # Two in sequence: the sender restarted without saying so.
                self.source_changes += 1
                self._start(sequence_number)
            else:
                self._received += 1  # a duplicate, or late
            # Deviation: RFC 3550 also counts packets that share a timestamp (DTMF events of
            # RFC 4733, video frames); their sending times differ, so they say nothing.
            if timestamp != self._timestamp and self._received > 1:
                difference = (timestamp - self._timestamp) & 0xFFFFFFFF
                if difference >= 1 << 31:
                    difference -= 1 << 32
                deviation = abs((arrival - self._arrival) - difference)
                if deviation < clock_rate * 60:  # a timestamp that jumped is no jitter
                    self.jitter += (deviation - self.jitter) / 16.0
        self._arrival = arrival
        self._timestamp = timestamp

    @property
    def lost(self) -> int:
        """Packets that never came; duplicates cannot make it negative."""
        return self._lost_before + self._lost_now()

    def _lost_now(self) -> int:
        if self.ssrc is None:
            return 0
        return max(0, self._cycles + self._max - self._base + 1 - self._received)

    def _start(self, sequence_number: int) -> None:
        self._lost_before += self._lost_now()
        self._base = self._max = sequence_number
        self._cycles = 0
        self._received = 1
        self._bad = -1


class RateCap:
    """At most so many packets a second, with a burst of `RATE_BURST_S` (leaky bucket as meter)."""

    __slots__ = ("_full_until_s",)

    def __init__(self) -> None:
        self._full_until_s = 0.0

    def allows(self, packets_per_s: int, now: float) -> bool:
        """Take one packet; 0 packets a second stands for no cap."""
        if packets_per_s == 0:
            return True
        interval_s = 1.0 / packets_per_s
        burst = max(RATE_MIN_BURST, int(packets_per_s * RATE_BURST_S))
        full_until_s = max(self._full_until_s, now)
        # Half an interval keeps the rounding of sums out of the decision.
        if full_until_s - now > (burst - 0.5) * interval_s:
            return False
        self._full_until_s = full_until_s + interval_s
        return True
