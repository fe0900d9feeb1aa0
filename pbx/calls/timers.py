"""Timers of call control: one heap, cancelled entries dropped lazily.

The shell asks :meth:`Timers.next_due` and calls :meth:`Timers.run`; time is an argument.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Final

#: Cancelled entries are swept when they outnumber the live ones by this many: the heap stays
#: within twice its live size plus this.
_SLACK: Final = 512


class Timer:
    """Handle of one scheduled callback."""

    __slots__ = ("callback", "due", "owner")

    def __init__(self, owner: Timers, due: float, callback: Callable[[float], None]) -> None:
        self.owner = owner
        self.due = due
        self.callback: Callable[[float], None] | None = callback

    def cancel(self) -> None:
        """Never fire; harmless when it has fired."""
        if self.callback is not None:
            self.callback = None
            self.owner._cancelled()


class Timers:
    """Heap of :class:`Timer`."""

    __slots__ = ("_dead", "_heap", "_serial")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._serial = 0
        self._dead = 0

    def __len__(self) -> int:
        """Timers that will still fire."""
        return len(self._heap) - self._dead

    def call_at(self, due: float, callback: Callable[[float], None]) -> Timer:
        """Call `callback(now)` at monotonic time `due` or soon after."""
        timer = Timer(self, due, callback)
        self._serial += 1
        heapq.heappush(self._heap, (due, self._serial, timer))
        return timer

    def next_due(self) -> float | None:
        """When :meth:`run` must be called next, or None."""
        heap = self._heap
        while heap and heap[0][2].callback is None:
            heapq.heappop(heap)
            self._dead -= 1
        return heap[0][0] if heap else None

    def run(self, now: float) -> None:
        """Fire everything due; callbacks may add and cancel timers."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            timer = heapq.heappop(heap)[2]
            callback = timer.callback
            if callback is None:
                self._dead -= 1
                continue
            timer.callback = None
            callback(now)

    def _cancelled(self) -> None:
        self._dead += 1
        if self._dead > _SLACK and self._dead * 2 > len(self._heap):
            # In place: run() may be in the middle of it.
            self._heap[:] = [entry for entry in self._heap if entry[2].callback is not None]
            heapq.heapify(self._heap)
            self._dead = 0
