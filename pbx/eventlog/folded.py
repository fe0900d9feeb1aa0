"""The streams of one small kind, folded and kept level with the log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from pbx.eventlog.feed import BEGINNING, FeedLog
from pbx.kernel.events import Event

S = TypeVar("S")


class Folded(Generic[S]):
    """States of all streams ``kind/…`` by the rest of their names. Not for several threads at once.

    For kinds an administrator makes by hand: all of them are in memory.
    """

    def __init__(
        self, log: FeedLog, kind: str, initial: S, evolve: Callable[[S, Event], S]
    ) -> None:
        self._log = log
        self._pattern = f"{kind}/*"
        self._initial = initial
        self._evolve = evolve
        self._after = BEGINNING
        self._head = ""
        self.states: dict[str, S] = {}
        """As of the last :meth:`refresh`, in the order of their first events."""

    def refresh(self) -> dict[str, S]:
        """Take up what was appended; costs next to nothing if nothing was."""
        head = self._log.feed_head()
        if head != self._head:
            for token, record in self._log.read_feed(self._after, streams=(self._pattern,)):
                self._after = token
                if record is not None:
                    name = record.stream.partition("/")[2]
                    state = self.states.get(name, self._initial)
                    self.states[name] = self._evolve(state, record.event)
            self._head = head
        return self.states
