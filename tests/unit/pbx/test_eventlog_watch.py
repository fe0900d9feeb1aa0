"""``pbx.eventlog.watch``: everybody who waits is woken, and nobody looks when nobody waits."""

from __future__ import annotations

import asyncio

import pytest

from pbx.domain.calls import LegDigit
from pbx.eventlog import MemoryLog, Meta
from pbx.eventlog.watch import FeedWatch
from pbx.kernel.errors import LogUnavailable

LONG_S = 60.0
"""Longer than any test: whoever waits so long was forgotten."""


class CountingLog(MemoryLog):
    """Counts how often its head is looked at, and may fail then."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0
        self.failures = 0

    def feed_head(self) -> str:
        self.looks += 1
        if self.failures:
            self.failures -= 1
            raise LogUnavailable("not now")
        return str(self.head())

    def grow(self) -> None:
        self.append("call/1", -1, [LegDigit(leg_id="a")], Meta())


async def turns(count: int = 20) -> None:
    """Let others go on."""
    for _ in range(count):
        await asyncio.sleep(0)


def test_who_is_behind_does_not_wait() -> None:
    log = CountingLog()
    log.grow()
    assert asyncio.run(FeedWatch(log).wait_beyond("0", LONG_S))


def test_the_end_of_the_time_is_an_answer() -> None:
    assert not asyncio.run(FeedWatch(CountingLog(), 0.001).wait_beyond("0", 0.0))


def test_all_who_wait_are_woken_whoever_sees_it_first() -> None:
    """One that begins to wait after the log grew must not take the news from the others."""

    async def scenario() -> None:
        log = CountingLog()
        watch = FeedWatch(log, poll_s=0.001)
        first = [asyncio.create_task(watch.wait_beyond("0", LONG_S)) for _ in range(3)]
        await turns()
        log.grow()
        late = asyncio.create_task(watch.wait_beyond("1", LONG_S))
        assert await asyncio.gather(*first) == [True] * 3
        assert not late.done()
        log.grow()
        assert await late
        await watch.close()

    asyncio.run(scenario())


def test_nobody_looks_when_nobody_waits() -> None:
    async def scenario() -> int:
        log = CountingLog()
        watch = FeedWatch(log, poll_s=0.0)
        waiting = asyncio.create_task(watch.wait_beyond("0", LONG_S))
        await turns()
        log.grow()
        await waiting
        await turns()
        looks = log.looks
        await turns(100)
        return log.looks - looks

    assert asyncio.run(scenario()) == 0


def test_the_end_wakes_everybody() -> None:
    async def scenario() -> None:
        watch = FeedWatch(CountingLog(), poll_s=0.001)
        waiting = asyncio.create_task(watch.wait_beyond("0", LONG_S))
        await turns()
        await watch.close()
        assert not await waiting
        assert not await watch.wait_beyond("0", LONG_S)

    asyncio.run(scenario())


def test_a_log_that_fails_for_a_moment_is_looked_at_again() -> None:
    async def scenario() -> None:
        log = CountingLog()
        watch = FeedWatch(log, poll_s=0.0)
        waiting = asyncio.create_task(watch.wait_beyond("0", LONG_S))
        await turns()
        log.failures = 3
        log.grow()
        assert await waiting
        log.failures = 1
        with pytest.raises(LogUnavailable):
            await watch.wait_beyond("1", LONG_S)
        await watch.close()

    asyncio.run(scenario())
