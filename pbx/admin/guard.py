"""Guessing of passwords is made slow, then impossible for a while.

Every wrong login makes the next answer to that address and for that account later, and so many of
them lock either. Counts decay by half each window, so an honest user who mistyped is never far from
being welcome. Asked and told by the service; time is an argument. Both tables are bounded: the
oldest entry makes room, so a flood of addresses costs its own entries only.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

MAX_ENTRIES: Final = 20_000
"""Addresses and accounts remembered, about 200 bytes each."""
FIRST_DELAY_S: Final = 0.25
LONGEST_DELAY_S: Final = 8.0
"""Below the time after which client libraries give up."""


@dataclass(frozen=True, slots=True)
class GuardLimits:
    """How many wrong logins are too many."""

    failures: float = 10
    window_s: float = 60.0
    """Time in which the count of wrong logins halves."""
    lock_s: float = 300.0


class _Entry:
    __slots__ = ("at", "count", "locked_until")

    def __init__(self, now: float) -> None:
        self.count = 0.0
        self.at = now
        self.locked_until = 0.0


class LoginGuard:
    """Keys are addresses (``ip:…``) and accounts (``name@domain``)."""

    def __init__(self, limits: GuardLimits) -> None:
        self._limits = limits
        self._entries: OrderedDict[str, _Entry] = OrderedDict()

    def locked_s(self, key: str, now: float) -> float:
        """Seconds for which logins of `key` are refused unseen; 0 if they are not."""
        entry = self._entries.get(key)
        return max(0.0, entry.locked_until - now) if entry is not None else 0.0

    def failed(self, key: str, now: float, limits: GuardLimits | None = None) -> bool:
        """Count a wrong login; True when `key` gets locked by it just now."""
        limits = limits or self._limits
        entry = self._entries.get(key)
        if entry is None:
            if len(self._entries) >= MAX_ENTRIES:
                self._entries.popitem(last=False)
            entry = self._entries[key] = _Entry(now)
        entry.count = self._decayed(entry, now, limits.window_s) + 1.0
        entry.at = now
        # The decay since the first of them must not let through one more than the limit says.
        if entry.count > limits.failures - 1 and entry.locked_until <= now:
            entry.locked_until = now + limits.lock_s
            return True
        return False

    def delay_s(self, key: str, now: float) -> float:
        """How long the answer to a wrong login is kept back: doubles with each of them."""
        entry = self._entries.get(key)
        if entry is None:
            return 0.0
        count = self._decayed(entry, now, self._limits.window_s)
        return min(LONGEST_DELAY_S, FIRST_DELAY_S * math.exp2(max(0.0, min(count, 16.0) - 1.0)))

    def succeeded(self, key: str) -> None:
        """A right login clears what the account did wrong before."""
        self._entries.pop(key, None)

    def locked(self, now: float) -> dict[str, float]:
        """All keys that are locked, with the seconds left."""
        return {
            key: entry.locked_until - now
            for key, entry in self._entries.items()
            if entry.locked_until > now
        }

    def statistics(self) -> dict[str, int]:
        """Table size."""
        return {"guard_entries": len(self._entries)}

    @staticmethod
    def _decayed(entry: _Entry, now: float, window_s: float) -> float:
        return entry.count * math.exp2((entry.at - now) / window_s)
