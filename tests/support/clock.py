"""Virtual time: one clock and one event heap drive every simulated component.

Feeds everything that takes ``now``; fed by :class:`tests.support.network.FakeNetwork`, by the
timers of the fake phones and by the simulated server. Nothing here sleeps or reads a real clock,
so that one seed gives one history.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Any

#: 2030-01-01T00:00:00Z: far from today, so that a leaked real clock is noticed at once.
EPOCH_NS = 1_893_456_000_000_000_000

#: One scheduled callback: ``[when, serial, callback or None, arguments]``. A list, because lists
#: compare in C and cancelling is one assignment; the serial is unique, so comparing stops there.
Timer = list[Any]

#: Cancelled entries are swept when they are more than this and more than half of the heap.
_SWEEP_FLOOR = 4096


class VirtualClock:
    """Monotonic seconds from 0 and wall nanoseconds that follow them.

    Satisfies ``pbx.kernel.clock.Clock``. ``now`` is a plain attribute for the hot paths.
    """

    __slots__ = ("_wall_offset_ns", "now")

    def __init__(self, now: float = 0.0, epoch_ns: int = EPOCH_NS) -> None:
        self.now = now
        self._wall_offset_ns = epoch_ns

    def monotonic(self) -> float:
        return self.now

    def wall_ns(self) -> int:
        return self._wall_offset_ns + int(self.now * 1e9)

    def wall_ns_at(self, now: float) -> int:
        """The wall time that belongs to the monotonic moment `now` (without later steps)."""
        return self._wall_offset_ns + int(now * 1e9)

    def step_wall(self, seconds: float) -> None:
        """Wall-clock step as by NTP: monotonic time does not move."""
        self._wall_offset_ns += int(seconds * 1e9)


class Scheduler:
    """The event heap. Equal times run in the order in which they were scheduled."""

    __slots__ = ("_cancelled", "_heap", "_serial", "clock", "fired")

    def __init__(self, clock: VirtualClock | None = None) -> None:
        self.clock = clock or VirtualClock()
        self.fired = 0
        self._heap: list[Timer] = []
        self._serial = 0
        self._cancelled = 0

    def at(self, when: float, callback: Callable[..., object], *arguments: object) -> Timer:
        """Call `callback` at `when`; the handle can be given to :meth:`cancel`."""
        self._serial = serial = self._serial + 1
        timer: Timer = [when, serial, callback, arguments]
        heappush(self._heap, timer)
        return timer

    def after(self, delay_s: float, callback: Callable[..., object], *arguments: object) -> Timer:
        return self.at(self.clock.now + delay_s, callback, *arguments)

    def cancel(self, timer: Timer | None) -> None:
        """Forget a timer; harmless for one that has fired, was cancelled or is None."""
        if timer is None or timer[2] is None:
            return
        timer[2] = None
        timer[3] = ()
        self._cancelled = cancelled = self._cancelled + 1
        if cancelled > _SWEEP_FLOOR and cancelled * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2] is not None]
            heapify(self._heap)
            self._cancelled = 0

    def next_time(self) -> float | None:
        heap = self._heap
        while heap and heap[0][2] is None:
            heappop(heap)
            self._cancelled -= 1
        return heap[0][0] if heap else None

    def run_until(self, end: float) -> None:
        """Run everything due up to and including `end`, then set the clock to `end`."""
        clock = self.clock
        while self._heap:
            heap = self._heap  # a sweep replaces the list
            timer = heappop(heap)
            callback = timer[2]
            if callback is None:
                self._cancelled -= 1
                continue
            when = timer[0]
            if when > end:
                heappush(heap, timer)
                break
            timer[2] = None  # fired: a later cancel() is a no-op
            clock.now = when
            self.fired += 1
            callback(*timer[3])
        clock.now = max(clock.now, end)

    def __len__(self) -> int:
        return len(self._heap) - self._cancelled
