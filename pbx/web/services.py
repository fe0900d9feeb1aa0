"""What the routes work with, made once by the web role."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import TypeVar

from starlette.requests import HTTPConnection

from pbx.eventlog.batches import BATCH, Batch, read_batch
from pbx.eventlog.feed import FeedFilter, FeedLog
from pbx.eventlog.watch import FeedWatch
from pbx.kernel.clock import Clock
from pbx.settings import LimitSettings, WebSettings
from pbx.tokens import TokenDirectory
from pbx.web.problems import Problem

T = TypeVar("T")


@dataclass(slots=True)
class Services:
    """For one event loop."""

    log: FeedLog
    """Opened without keys: no route can show what is sealed."""
    tokens: TokenDirectory
    watch: FeedWatch
    clock: Clock
    executor: Executor
    """Reads the log, so that no request waits for another one's disk."""
    settings: WebSettings = field(default_factory=WebSettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    """The role stops: feeds end."""
    feeds: int = 0
    """Readers that follow now."""

    @contextlib.contextmanager
    def feed_place(self) -> Iterator[None]:
        """One of the places for readers that follow. Raises :class:`Problem` if all are taken."""
        if self.feeds >= self.settings.feeds:
            raise Problem(
                503,
                "too-many-feeds",
                "All places for feeds are taken",
                f"{self.feeds} readers follow events; the setting web.feeds is the limit",
                headers={"Retry-After": "30"},
            )
        self.feeds += 1
        try:
            yield
        finally:
            self.feeds -= 1

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Do what may wait for a disk."""
        return await asyncio.get_running_loop().run_in_executor(self.executor, work)

    async def next_batch(self, chosen: FeedFilter, after: str, limit: int = BATCH) -> Batch:
        """:func:`~pbx.eventlog.batches.read_batch` without blocking the loop."""
        return await self.in_thread(
            lambda: read_batch(self.log, chosen, after, limit, self.clock.monotonic)
        )


def services_of(connection: HTTPConnection) -> Services:
    """The services of the application a request came to."""
    services = connection.app.state.services
    assert isinstance(services, Services)
    return services
