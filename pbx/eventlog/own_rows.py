"""What a process need not read back: the rows that it appended itself.

The signal role follows configuration, bindings and mailboxes, and writes nearly all rows of a busy
log: those of calls. To look through these for a setting costs each follower as much as an append.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable
from typing import Final

from pbx.eventlog.record import Position

MAX_GAPS: Final = 64
"""Runs of rows of other processes that are told apart; each is a query. Of more, the older ones
are read together with what lies between them."""


class OwnRows:
    """Positions and stream prefixes of the appends of one process. Appends are reported one at a
    time; any thread may ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._since: Position | None = None
        """After this position all own rows are known."""
        self._until: Position = 0
        self._gaps: list[tuple[Position, Position]] = []
        """Between own rows, in order: (after, until) of others."""
        self._last: dict[str, Position] = {}
        """By the prefix of the stream, up to the first slash: no own row lies behind this."""

    def appending(self, streams: Iterable[str], last: Position) -> None:
        """Rows of these streams, up to `last`, are about to be seen by readers (or not at all)."""
        prefixes = {stream.partition("/")[0] for stream in streams}
        with self._lock:
            for prefix in prefixes:
                self._last[prefix] = max(last, self._last.get(prefix, last))

    def appended(self, first: Position, last: Position) -> None:
        """The positions `first` to `last` are ours, for good."""
        with self._lock:
            if self._since is None:
                self._since = first - 1
            elif first > self._until + 1:
                self._gaps.append((self._until, first - 1))
                if len(self._gaps) > MAX_GAPS:
                    self._since = self._gaps.pop(0)[1]
            self._until = last

    def elsewhere(
        self, after: Position, head: Position, prefixes: Collection[str]
    ) -> list[tuple[Position, Position]]:
        """Where up to `head` streams with these prefixes may have rows: (after, until) of runs, in
        order. Rows of others may hide in none of the positions that are left out."""
        with self._lock:
            last = self._last
            if self._since is None or any(last.get(prefix, 0) > after for prefix in prefixes):
                return [(after, head)]
            runs = []
            if after < self._since:
                runs.append((after, self._since))
            runs += ((max(after, start), end) for start, end in self._gaps if end > after)
            runs.append((max(after, self._until), head))
            return [(start, min(end, head)) for start, end in runs if start < min(end, head)]
