"""When the audio path is due, and how late it was: every 20 ms, never drifting.

Fed by ``media.server.shell`` with the time; sans-I/O. Tick n is due at the start plus n times
20 ms. Who comes late is not to hurry, except that ticks missed by a short stall are made up for,
one after the other; after a long one they are left out (a burst of old sound helps nobody).
"""

from __future__ import annotations

from typing import Final

TICK_S: Final = 0.020
#: After this long a stall ticks are skipped.
MAX_STALL_S: Final = 0.100
#: Ticks over which overload is judged: 5 s.
WINDOW: Final = 250
#: A tick that begins this late eats into the jitter buffers of telephones.
LATE_S: Final = 0.010
#: Upper bounds of the histogram, in seconds.
BOUNDS_S: Final = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.010, 0.020, 0.050, 0.100)


class Pacer:
    """Schedule and lateness of one audio path."""

    def __init__(self) -> None:
        self._start = 0.0
        self._number = 0
        self._late = 0
        self._seen = 0
        self.overloaded = False
        """Whether most ticks of the last 5 s were late: then no more legs are taken."""
        self.counts = [0] * (len(BOUNDS_S) + 1)
        """Ticks by lateness; the last: above all bounds."""
        self.skipped = 0
        self.worst_s = 0.0

    def start(self, now: float) -> None:
        """The first tick is due at once."""
        self._start = now
        self._number = 0

    @property
    def due(self) -> float:
        return self._start + self._number * TICK_S

    def begin(self, now: float) -> float:
        """A tick begins; returns how late, in seconds. Then ``due`` is that of the next."""
        late_s = max(0.0, now - self.due)
        if late_s > MAX_STALL_S:
            missed = int(late_s / TICK_S)
            self.skipped += missed
            self._number += missed
        self._number += 1
        self._count(late_s)
        return late_s

    def percentile_s(self, percent: float) -> float:
        """The bound below which so many of the ticks were; 0 before the first."""
        wanted = sum(self.counts) * percent / 100.0
        seen = 0
        for bound, count in zip((*BOUNDS_S, self.worst_s), self.counts, strict=True):
            seen += count
            if seen >= wanted and seen:
                return bound
        return 0.0

    def statistics(self) -> dict[str, int]:
        """Integers, as bencode has no others."""
        return {
            "ticks": sum(self.counts),
            "skipped": self.skipped,
            "late p99 us": round(self.percentile_s(99) * 1e6),
            "late max us": round(self.worst_s * 1e6),
            "overloaded": int(self.overloaded),
        }

    def _count(self, late_s: float) -> None:
        self.worst_s = max(self.worst_s, late_s)
        place = sum(late_s > bound for bound in BOUNDS_S)
        self.counts[place] += 1
        self._late += late_s > LATE_S
        self._seen += 1
        if self._seen == WINDOW:
            self.overloaded = self._late > WINDOW // 2
            self._seen = self._late = 0
