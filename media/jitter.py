"""Adaptive jitter buffers of many streams: packets in as they come, one frame out when it is due.

Fed by ``media.graph`` with all packets that came since the last tick, as arrays; asked by it once
a tick and row for what to play. Sans-I/O; times are arguments. RFC 3550 §6.4.1, A.1, A.8.

A stream is a row of every array here; its packets lie in a ring by extended sequence number. It
is in one of two states:

- *buffering* until the wanted delay is stored (or was waited for): nothing is played;
- *playing*: the next number is played, or concealed when later ones are there. When nothing is
  there at all the caller conceals without a step forward, so that a packet that is only late is
  still played: so the delay grows when it has to. After ``MAX_DRY`` such ticks it buffers again.

The delay shrinks by leaving out a frame, in silence if there is any.
"""

from __future__ import annotations

import enum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from media.codecs.base import Octets, Rows
from media.rtp import MAX_DROPOUT, MAX_MISORDER

SLOTS: Final = 32
"""Packets a stream: 640 ms at 20 ms, 320 ms at 10 ms; above the longest delay."""
MIN_DELAY_S: Final = 0.040
MAX_DELAY_S: Final = 0.200
TICK_S: Final = 0.020
MAX_DRY: Final = 3
"""Ticks that are concealed when nothing is there."""
SHRINK_AFTER: Final = 50
"""Ticks with too much stored, before a frame is left out."""
EXCESS_S: Final = 0.040
"""Stored above the wanted delay that is too much."""
FLUSH_GAP_S: Final = 2.0
"""A jump of the timestamp that is a new start of the source."""


class Due(enum.IntEnum):
    """What a row has for this tick."""

    SILENCE = 0  # nothing, or buffering
    PACKET = 1  # the slot is to be decoded
    LOST = 2  # conceal: later packets are there
    DRY = 3  # conceal: nothing is there yet
    PAUSE = 4  # the source was silent on purpose: its timestamp goes on before its sequence
    OTHER = 5  # a packet that is no audio (an event): silence


_Ints = NDArray[np.int64]


class JitterBank:
    """All streams of one kind. ``width``: bytes kept of a payload; longer ones are refused."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.payloads: Octets = np.zeros((0, SLOTS, width), dtype=np.uint8)
        """(rows, slots, bytes)."""
        self.sizes: _Ints = np.zeros((0, SLOTS), dtype=np.int64)
        self.kinds: NDArray[np.int8] = np.zeros((0, SLOTS), dtype=np.int8)
        """The caller's, of each packet; below zero: no audio."""
        self._numbers: _Ints = np.zeros((0, SLOTS), dtype=np.int64)
        self._stamps: _Ints = np.zeros((0, SLOTS), dtype=np.int64)
        rows = np.zeros(0, dtype=np.int64)
        self._ssrc, self._newest, self._next, self._bad = rows, rows, rows, rows
        self._last_stamp, self._expected, self._step, self._clock = rows, rows, rows, rows
        self._dry, self._waited, self._excess = rows, rows, rows
        self._buffering = np.zeros(0, dtype=np.bool_)
        self._jitter_s = np.zeros(0, dtype=np.float64)
        self._last_arrival_s = np.zeros(0, dtype=np.float64)
        self.received, self.late, self.duplicate = rows, rows, rows
        self.lost, self.dropped, self.restarts = rows, rows, rows

    def grow(self, capacity: int) -> None:
        """Have room for rows below ``capacity``; what is stored is kept."""
        before = len(self._ssrc)
        if capacity <= before:
            return
        for name, value in list(vars(self).items()):
            if isinstance(value, np.ndarray):
                room = np.zeros((capacity - before, *value.shape[1:]), dtype=value.dtype)
                setattr(self, name, np.concatenate([value, room]))
        self.reset(np.arange(before, capacity, dtype=np.int64), 8000)

    def reset(self, rows: Rows, clock_rate_hz: int) -> None:
        """These rows are other streams now."""
        self._ssrc[rows] = -1
        self._clock[rows] = clock_rate_hz
        self._step[rows] = clock_rate_hz // 50
        self._jitter_s[rows] = 0.0
        self._last_arrival_s[rows] = 0.0
        for counter in (
            self.received,
            self.late,
            self.duplicate,
            self.lost,
            self.dropped,
            self.restarts,
        ):
            counter[rows] = 0
        self._start(rows, np.zeros(len(rows), dtype=np.int64), np.zeros(len(rows), dtype=np.int64))

    def _start(self, rows: Rows, sequence: _Ints, stamp: _Ints) -> None:
        """Begin with this packet; what was stored is forgotten."""
        self._numbers[rows] = -1
        # Far from zero, so that packets before the first one have numbers too.
        first = sequence + (1 << 20)
        self._newest[rows] = first - 1
        self._next[rows] = first
        self._bad[rows] = -1
        self._last_stamp[rows] = stamp
        self._expected[rows] = stamp
        self._buffering[rows] = True
        self._dry[rows] = self._waited[rows] = self._excess[rows] = 0

    def put(
        self,
        rows: Rows,
        sequence: _Ints,
        stamp: _Ints,
        ssrc: _Ints,
        kinds: NDArray[np.int8],
        sizes: _Ints,
        payloads: Octets,
        arrival_s: NDArray[np.float64],
    ) -> None:
        """Take packets, in the order of arrival; arrays have one element a packet.

        ``sequence``: 16 bits; ``stamp``: 32 bits. ``payloads``: (packets, bytes), cut at
        ``sizes``.
        """
        left = np.arange(len(rows))
        while len(left):
            # One packet of each row at a time: numpy's assignment knows no order.
            _, first = np.unique(rows[left], return_index=True)
            now = left[first]
            self._put(
                rows[now],
                sequence[now],
                stamp[now],
                ssrc[now],
                kinds[now],
                sizes[now],
                payloads[now],
                arrival_s[now],
            )
            left = np.delete(left, first)

    def _put(
        self,
        rows: Rows,
        sequence: _Ints,
        stamp: _Ints,
        ssrc: _Ints,
        kinds: NDArray[np.int8],
        sizes: _Ints,
        payloads: Octets,
        arrival_s: NDArray[np.float64],
    ) -> None:
        newest = self._newest[rows]
        delta = ((sequence - newest + 0x8000) & 0xFFFF) - 0x8000
        step = ((stamp - self._last_stamp[rows] + (1 << 31)) & 0xFFFFFFFF) - (1 << 31)
        known = self._ssrc[rows] == ssrc
        odd = known & ((delta > MAX_DROPOUT) | (delta < -MAX_MISORDER))
        # RFC 3550 A.1: two packets in a row from there are a source that started anew.
        again = odd & (sequence == self._bad[rows])
        self._bad[rows] = np.where(odd, (sequence + 1) & 0xFFFF, -1)
        jumped = known & ~odd & (np.abs(step) > FLUSH_GAP_S * self._clock[rows])
        anew = ~known | again | jumped | (known & ~odd & (delta > SLOTS))
        if anew.any():
            started = rows[anew]
            self.restarts[started] += self._ssrc[started] >= 0
            self._ssrc[started] = ssrc[anew]
            self._start(started, sequence[anew], stamp[anew])
            delta[anew] = 1
            step[anew] = 0
            self._last_arrival_s[started] = arrival_s[anew]
        keep = ~odd | again
        if not keep.all():
            self.dropped[rows[~keep]] += 1
        number = self._newest[rows] + delta
        # Before playing starts an earlier packet than the first moves the start.
        early = keep & self._buffering[rows] & (number < self._next[rows]) & (delta > -SLOTS // 2)
        early &= self._next[rows] - number <= SLOTS // 2
        self._next[rows] = np.where(early, number, self._next[rows])
        is_late = keep & (number < self._next[rows])
        self.late[rows[is_late]] += 1
        keep &= ~is_late
        slot = number % SLOTS
        repeated = keep & (self._numbers[rows, slot] == number)
        self.duplicate[rows[repeated]] += 1
        keep &= ~repeated
        too_long = keep & (sizes > self.width)
        self.dropped[rows[too_long]] += 1
        keep &= ~too_long
        # The ring is full: the oldest make room, as if they had been played.
        ahead = keep & (number >= self._next[rows] + SLOTS)
        if ahead.any():
            moved = rows[ahead]
            self.dropped[moved] += number[ahead] - SLOTS + 1 - self._next[moved]
            self._next[moved] = number[ahead] - SLOTS + 1

        self._measure(rows, keep & (delta > 0), delta, step, stamp, arrival_s)
        at, where = rows[keep], slot[keep]
        self._numbers[at, where] = number[keep]
        self._stamps[at, where] = stamp[keep]
        self.sizes[at, where] = sizes[keep]
        self.kinds[at, where] = kinds[keep]
        width = min(payloads.shape[1], self.width)
        self.payloads[at, where, :width] = payloads[keep, :width]
        self.received[at] += 1
        self._newest[at] = np.maximum(self._newest[at], number[keep])

    def _measure(
        self,
        rows: Rows,
        fresh: NDArray[np.bool_],
        delta: _Ints,
        step: _Ints,
        stamp: _Ints,
        arrival_s: NDArray[np.float64],
    ) -> None:
        """Interarrival jitter (RFC 3550 §6.4.1) and the step of the timestamp a packet."""
        at = rows[fresh]
        clock = self._clock[at]
        gap_s = arrival_s[fresh] - self._last_arrival_s[at]
        moved = step[fresh]
        deviation = np.abs(gap_s - moved / clock)
        # A repeated timestamp (events) says nothing; a long one was a pause of the source.
        useful = (moved > 0) & (deviation < 1.0)
        jitter = self._jitter_s[at]
        self._jitter_s[at] = np.where(useful, jitter + (deviation - jitter) / 16.0, jitter)
        regular = (delta[fresh] == 1) & (moved > 0) & (moved <= clock * 12 // 100)
        self._step[at] = np.where(regular, moved, self._step[at])
        self._last_arrival_s[at] = arrival_s[fresh]
        self._last_stamp[at] = np.where(moved != 0, stamp[fresh], self._last_stamp[at])

    def depth_s(self, rows: Rows) -> NDArray[np.float64]:
        """Seconds stored, gaps included."""
        frames = self._newest[rows] - self._next[rows] + 1
        depth: NDArray[np.float64] = frames * (self._step[rows] / self._clock[rows])
        return depth

    def target_s(self, rows: Rows) -> NDArray[np.float64]:
        """The delay that is wanted: one frame and three times the jitter, within bounds."""
        frame_s = self._step[rows] / self._clock[rows]
        wanted = np.maximum(frame_s + 3.0 * self._jitter_s[rows], MIN_DELAY_S)
        return np.minimum(np.maximum(wanted, 2.0 * frame_s), MAX_DELAY_S)

    def jitter_s(self, rows: Rows) -> NDArray[np.float64]:
        return self._jitter_s[rows]

    def pop(self, rows: Rows, quiet: NDArray[np.bool_]) -> tuple[_Ints, _Ints]:
        """The next packet of each row is due: :class:`Due` and slots, (rows,) both.

        ``quiet``: whose sound was silence just now; there a frame may be left out unheard. What
        a slot holds stays until another packet comes: decode it before the next :meth:`put`.
        """
        depth, target = self.depth_s(rows), self.target_s(rows)
        buffering = self._buffering[rows]
        stored = depth > 0.0
        self._waited[rows] = np.where(buffering & stored, self._waited[rows] + 1, 0)
        # A short spurt never fills the buffer: it has waited as long as a long one would have.
        ready = stored & ((depth >= target) | (self._waited[rows] * TICK_S >= target))
        starts = buffering & ready
        buffering = buffering & ~ready
        self._buffering[rows] = buffering
        self._shrink(rows, buffering, depth - target, quiet)

        number = self._next[rows]
        slot = number % SLOTS
        present = ~buffering & (self._numbers[rows, slot] == number)
        later = ~buffering & (self._newest[rows] >= number)
        lost = later & ~present
        dry = ~buffering & ~later
        stamp = self._stamps[rows, slot]
        self._expected[rows] = np.where(starts & present, stamp, self._expected[rows])
        audio = present & (self.kinds[rows, slot] >= 0)
        ahead = ((stamp - self._expected[rows] + (1 << 31)) & 0xFFFFFFFF) - (1 << 31)
        # The source was silent and says so by its timestamp. Not held back when the buffer is
        # full: then its clock jumped and time did not.
        pause = audio & (ahead > self._step[rows] // 2) & (depth <= target)
        self._dry[rows] = np.where(dry, self._dry[rows] + 1, 0)
        exhausted = dry & (self._dry[rows] > MAX_DRY)
        self._buffering[rows] |= exhausted

        plays = present & ~pause
        self.lost[rows] += lost
        self._next[rows] = number + (plays | lost)
        step = np.where(pause, (self._clock[rows] * TICK_S).astype(np.int64), self._step[rows])
        base = np.where(plays & audio, stamp, self._expected[rows])
        self._expected[rows] = np.where(buffering | dry, base, base + step)

        due = np.full(len(rows), int(Due.SILENCE))
        due[plays & audio] = Due.PACKET
        due[plays & ~audio] = Due.OTHER
        due[lost] = Due.LOST
        due[dry & ~exhausted] = Due.DRY
        due[pause] = Due.PAUSE
        return due, slot

    def following(self, rows: Rows) -> NDArray[np.bool_]:
        """Whether the packet that is next now is stored: a lost one before it can be repaired by
        what it carries (in-band FEC); it is in slot ``next_slot``."""
        number = self._next[rows]
        stored: NDArray[np.bool_] = self._numbers[rows, number % SLOTS] == number
        return stored

    def next_slot(self, rows: Rows) -> _Ints:
        slot: _Ints = self._next[rows] % SLOTS
        return slot

    def _shrink(
        self,
        rows: Rows,
        buffering: NDArray[np.bool_],
        above_s: NDArray[np.float64],
        quiet: NDArray[np.bool_],
    ) -> None:
        """Leave a frame out where more than the wanted delay has been stored for a second."""
        excess = np.where(~buffering & (above_s > EXCESS_S), self._excess[rows] + 1, 0)
        leave = (excess > SHRINK_AFTER) & (quiet | (excess > 4 * SHRINK_AFTER))
        self._excess[rows] = np.where(leave, SHRINK_AFTER // 2, excess)
        if leave.any():
            chosen = rows[leave]
            self._next[chosen] += 1
            self._expected[chosen] += self._step[chosen]
            self.dropped[chosen] += 1
