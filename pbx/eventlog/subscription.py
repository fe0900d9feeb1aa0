"""Following a log from a position, without gaps and without doubles.

For a thread: ``for record in Subscription(log, after)`` or :meth:`Subscription.poll`. For a
coroutine: ``async for record in follow(log, after)``, which looks at the log's head (6 µs, in
memory) and reads on a worker thread, so that the loop is never blocked by a disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Final

from pbx.eventlog.port import EventLog
from pbx.eventlog.record import START, Position, Record

BATCH: Final = 1000
"""Records read at once."""
POLL_S: Final = 0.05
"""How often :func:`follow` looks at the head. Waking up is what costs: 0.2 % of a core."""


class Subscription:
    """A cursor over a log. :attr:`position` is what was handed out last: keep it to resume."""

    def __init__(
        self, log: EventLog, after: Position = START, *, category: str | None = None
    ) -> None:
        self._log = log
        self._category = category
        self.position = after
        self._seen = after
        """Up to here nothing of the category is left unread."""

    @property
    def behind(self) -> bool:
        """Whether the log has records that were not looked at."""
        return self._log.head() > self._seen

    def poll(self, limit: int = BATCH) -> list[Record]:
        """The next records, perhaps none; does not wait."""
        head = self._log.head()
        if head <= self._seen:
            return []
        records = list(self._log.read(self._seen, category=self._category, limit=limit))
        if records:
            self.position = records[-1].position
        self._seen = self.position if len(records) == limit else max(head, self.position)
        return records

    def wait_records(self, timeout_s: float, limit: int = BATCH) -> list[Record]:
        """The next records; waits for one up to `timeout_s`."""
        return self.poll(limit) or (
            self.poll(limit) if self._log.wait(self._seen, timeout_s) else []
        )

    def __iter__(self) -> Iterator[Record]:
        """All records there are now; iterate again for later ones."""
        while records := self.poll():
            yield from records


async def follow(
    log: EventLog,
    after: Position = START,
    *,
    category: str | None = None,
    poll_s: float = POLL_S,
) -> AsyncIterator[Record]:
    """Every record after a position, for ever. Ends by cancellation of its task."""
    subscription = Subscription(log, after, category=category)
    while True:
        while subscription.behind:
            for record in await asyncio.to_thread(subscription.poll):
                yield record
        await asyncio.sleep(poll_s)
