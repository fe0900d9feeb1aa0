"""The timers of an engine: one heap, and lanes for fixed delays; lazy deletion, bounded garbage.

Fed by transactions and usages (`arm`, `arm_after`, `cancel`), run by `SipEngine.handle_timers`.
Time is the caller's monotonic clock in seconds. Most timers of SIP are cancelled before they
fire, so cancelling only marks the entry; marked entries are swept out when they outnumber the
live ones.

Nearly all timers have one of a few delays (T1, T4, 64·T1, 200 ms). Armed at growing times, the
deadlines of one delay grow too: such a *lane* is a queue, and neither arming nor firing has to
sift a heap in which every transaction of the last 32 s lingers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Final, TypeAlias

Callback: TypeAlias = Callable[[float], None]

# Below this many entries a sweep would cost more than the garbage it frees.
_SWEEP_MINIMUM: Final = 256


class Timer(list[object]):
    """One armed deadline: [deadline_s, serial, callback or None].

    A list, because lists compare in C; the serial makes the order total (and equal deadlines
    fire in the order they were armed), so callbacks are never compared.
    """

    __slots__ = ()


class TimerHeap:
    """Deadlines in order. `len()` counts only live entries."""

    __slots__ = ("_cancelled", "_heap", "_lanes", "_serial")

    def __init__(self) -> None:
        self._heap: list[Timer] = []
        self._lanes: dict[float, deque[Timer]] = {}
        self._serial = 0
        self._cancelled = 0

    def __len__(self) -> int:
        return self._entries() - self._cancelled

    def _entries(self) -> int:
        return len(self._heap) + sum([len(lane) for lane in self._lanes.values()])

    @property
    def garbage(self) -> int:
        """Cancelled entries that are still kept."""
        return self._cancelled

    def arm(self, deadline: float, callback: Callback) -> Timer:
        """Call `callback(now)` once `now >= deadline`; keep the result to cancel it."""
        self._serial = serial = self._serial + 1
        timer = Timer((deadline, serial, callback))
        heappush(self._heap, timer)
        return timer

    def arm_after(self, now: float, delay_s: float, callback: Callback) -> Timer:
        """The same for a delay out of a small fixed set: every value has a lane of its own."""
        self._serial = serial = self._serial + 1
        timer = Timer((now + delay_s, serial, callback))
        lane = self._lanes.get(delay_s)
        if lane is None:
            lane = self._lanes[delay_s] = deque()
        if lane and lane[-1] > timer:
            heappush(self._heap, timer)  # the clock was read in another order
        else:
            lane.append(timer)
        return timer

    def cancel(self, timer: Timer | None) -> None:
        """Forget a timer; harmless when it fired or was cancelled before."""
        if timer is None or timer[2] is None:
            return
        timer[2] = None
        self._cancelled += 1
        if self._cancelled > _SWEEP_MINIMUM and self._cancelled * 2 > self._entries():
            self._sweep()

    def _sweep(self) -> None:
        self._heap = [timer for timer in self._heap if timer[2] is not None]
        heapify(self._heap)
        for delay_s, lane in self._lanes.items():
            self._lanes[delay_s] = deque([timer for timer in lane if timer[2] is not None])
        self._cancelled = 0

    def _first(self) -> tuple[Timer, deque[Timer] | None] | None:
        """The earliest live timer and its lane (None: the heap); drops garbage on the way."""
        heap = self._heap
        while heap and heap[0][2] is None:
            heappop(heap)
            self._cancelled -= 1
        first = heap[0] if heap else None
        source: deque[Timer] | None = None
        for lane in self._lanes.values():
            while lane and lane[0][2] is None:
                lane.popleft()
                self._cancelled -= 1
            if lane and (first is None or lane[0] < first):
                first, source = lane[0], lane
        return None if first is None else (first, source)

    def next_deadline(self) -> float | None:
        """When `run` must be called next; None when nothing is armed."""
        found = self._first()
        return None if found is None else found[0][0]  # type: ignore[return-value]

    def run(self, now: float) -> None:
        """Fire everything due, in order. Timers armed meanwhile for a due time fire too."""
        while True:
            found = self._first()
            if found is None:
                return
            timer, lane = found
            if timer[0] > now:  # type: ignore[operator]
                return
            if lane is None:
                heappop(self._heap)
            else:
                lane.popleft()
            callback = timer[2]
            timer[2] = None  # so that a later cancel() is harmless
            callback(now)  # type: ignore[operator]
