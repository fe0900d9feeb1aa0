"""Waiting for new records, for any number of coroutines at the price of one.

A reader that is level with the log waits here instead of looking by itself. While nobody waits,
nothing is looked at.
"""

from __future__ import annotations

import asyncio
from typing import Final

from pbx.eventlog.feed import FeedLog
from pbx.kernel.errors import LogUnavailable

POLL_S: Final = 0.05
"""How often the head is looked at while somebody waits: 0.2 % of a core."""


class FeedWatch:
    """Wakes those who wait for a log to grow. For one event loop."""

    def __init__(self, log: FeedLog, poll_s: float = POLL_S) -> None:
        self._log = log
        self._poll_s = poll_s
        self._waiting = 0
        self._grown = asyncio.Condition()
        self._looking: asyncio.Task[None] | None = None
        self._head = ""
        self._closed = False

    async def wait_beyond(self, seen: str, timeout_s: float) -> bool:
        """Wait until the head is another than `seen`; False if it was not within `timeout_s`.

        Take `seen` from ``feed_head()`` before you read: what is appended while you do so is then
        noticed. Returns at once after :meth:`close`. Raises ``LogUnavailable``.
        """
        await self._moved_to(self._log.feed_head())
        if self._head != seen or self._closed:
            return self._head != seen
        self._waiting += 1
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        try:
            async with asyncio.timeout(timeout_s), self._grown:
                await self._grown.wait_for(lambda: self._head != seen or self._closed)
        except TimeoutError:
            pass
        finally:
            self._waiting -= 1
        return self._head != seen

    async def _look(self) -> None:
        while self._waiting and not self._closed:
            await asyncio.sleep(self._poll_s)
            try:
                head = self._log.feed_head()
            except LogUnavailable:
                continue  # readers meet it themselves when their time is up
            await self._moved_to(head)

    async def _moved_to(self, head: str) -> None:
        """Whoever sees first that the log has grown wakes all who wait."""
        if head != self._head:
            self._head = head
            async with self._grown:
                self._grown.notify_all()

    async def close(self) -> None:
        """Wake everybody and wait for nobody any more."""
        self._closed = True
        async with self._grown:
            self._grown.notify_all()
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
