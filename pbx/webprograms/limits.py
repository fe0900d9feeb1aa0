"""How often strangers may have a web program run, and start calls by it."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

WINDOW_S: Final = 60.0
MAX_SOURCES: Final = 10_000
"""Addresses that are counted: 1 MB. The oldest is forgotten first."""
SHARE: Final = 3
"""One address gets a third of the calls, so that it cannot use up those of all others."""


class Windows:
    """Counts by key, in windows of a minute that begin with the first of each key."""

    def __init__(self) -> None:
        self._counts: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def wait_s(self, key: str, most: int, now: float) -> float:
        """0 if one more is within `most`, else for how many seconds none is."""
        began, count = self._counts.get(key, (now, 0))
        if now - began >= WINDOW_S or count < most:
            return 0.0
        return began + WINDOW_S - now

    def count(self, key: str, now: float) -> None:
        """One more."""
        began, count = self._counts.pop(key, (now, 0))
        if now - began >= WINDOW_S:
            began, count = now, 0
        self._counts[key] = (began, count + 1)
        if len(self._counts) > MAX_SOURCES:
            self._counts.popitem(last=False)


class CallLimits:
    """Tasks that web programs start: calls that somebody pays for. One thread at a time."""

    def __init__(self, most: int) -> None:
        """`most` a minute, from all addresses."""
        self._most = most
        self._all = Windows()
        self._sources = Windows()

    def take(self, source: str, now: float) -> str:
        """Count one; why it may not be, or nothing."""
        share = -(-self._most // SHARE)
        for windows, key, most in ((self._all, "", self._most), (self._sources, source, share)):
            if wait_s := windows.wait_s(key, most, now):
                return f"503-too many calls were started by web programs; again in {wait_s:.0f} s"
        if not self._most:
            return "503-web programs start no calls here (web.program_calls_a_minute)"
        self._all.count("", now)
        self._sources.count(source, now)
        return ""
