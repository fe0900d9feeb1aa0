"""The one timer heap of an engine: lazy deletion, bounded garbage.

Fed by transactions and usages (`arm`, `cancel`), run by `SipEngine.handle_timers(now)`. Time is
the caller's monotonic clock in seconds. Most timers of SIP are cancelled before they fire, so
cancelling only marks the entry; marked entries are swept out when they outnumber the live ones.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Final, TypeAlias

Callback: TypeAlias = Callable[[float], None]

# Below this many entries a sweep would cost more than the garbage it frees.
_SWEEP_MINIMUM: Final = 256


class Timer(list[object]):
    """One armed deadline: [deadline_s, serial, callback or None].

    A list, because heapq compares lists in C; the serial makes the order total (and equal
    deadlines fire in the order they were armed), so callbacks are never compared.
    """

    __slots__ = ()


class TimerHeap:
    """Deadlines in order. `statistics()` counts only live entries."""

    __slots__ = ("_cancelled", "_heap", "_serial")

    def __init__(self) -> None:
        self._heap: list[Timer] = []
        self._serial = 0
        self._cancelled = 0

    def __len__(self) -> int:
        return len(self._heap) - self._cancelled

    @property
    def garbage(self) -> int:
        """Cancelled entries that still lie in the heap."""
        return self._cancelled

    def arm(self, deadline: float, callback: Callback) -> Timer:
        """Call `callback(now)` once `now >= deadline`; keep the result to cancel it."""
        self._serial = serial = self._serial + 1
        timer = Timer((deadline, serial, callback))
        heappush(self._heap, timer)
        return timer

    def cancel(self, timer: Timer | None) -> None:
        """Forget a timer; harmless when it fired or was cancelled before."""
        if timer is None or timer[2] is None:
            return
        timer[2] = None
        self._cancelled += 1
        if self._cancelled > _SWEEP_MINIMUM and self._cancelled * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2] is not None]
            heapify(self._heap)
            self._cancelled = 0

    def next_deadline(self) -> float | None:
        """When `run` must be called next; None when nothing is armed."""
        heap = self._heap
        while heap:
            if heap[0][2] is not None:
                return heap[0][0]  # type: ignore[return-value]
            heappop(heap)
            self._cancelled -= 1
        return None

    def run(self, now: float) -> None:
        """Fire everything due. Timers armed meanwhile for a due time fire too."""
        while True:
            deadline = self.next_deadline()
            if deadline is None or deadline > now:
                return
            timer = heappop(self._heap)
            callback = timer[2]
            timer[2] = None  # so that a later cancel() is harmless
            callback(now)  # type: ignore[operator]
