"""Time as a value that is handed in.

The composition root makes one :class:`SystemClock`; the simulator its virtual clock. Two readings
are kept apart: *monotonic* seconds order and measure things on one machine, *wall* nanoseconds
(UTC since 1970) say when something happened to people. A duration is never computed from wall
time: it may step.
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """The two readings."""

    def monotonic(self) -> float:
        """Seconds since some start, never going back."""
        ...

    def wall_ns(self) -> int:
        """Nanoseconds since 1970-01-01 UTC; may step."""
        ...


class SystemClock:
    """The clock of the machine."""

    __slots__ = ()

    def monotonic(self) -> float:
        return time.monotonic()

    def wall_ns(self) -> int:
        return time.time_ns()
