"""A log with webhooks and the receivers they post to, in one thread.

Time is a number that sleeping moves; receivers are functions.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from itertools import count
from typing import Any

import msgspec

from pbx.domain.calls import LegDigit
from pbx.domain.webhooks import NO_WEBHOOK, WebhookState, evolve_webhook
from pbx.eventlog import MemoryLog, Meta
from pbx.eventlog.folded import Folded
from pbx.settings import WebhookSettings
from pbx.webhooks.commands import Wanted, add_webhook
from pbx.webhooks.progress import Outcome
from pbx.webhooks.signature import generate_secret
from pbx.webhooks.store import ProgressStore
from pbx.webhooks.worker import Deliveries

SECOND = 1_000_000_000
SECRET = generate_secret(bytes)
LIMIT = 5000
"""Turns of the loop after which a test has failed."""


class Site:
    """A log with webhooks, and the receivers they post to."""

    def __init__(self, store: ProgressStore) -> None:
        """`store` keeps the progress of :meth:`deliver`."""
        self.log = MemoryLog()
        self.store = store
        self.now_s = 1000.0
        self.answer: Callable[[str], Outcome] = lambda url: Outcome()
        self.before_answer: Callable[[], Awaitable[None]] = _at_once
        self.posts: list[tuple[str, Mapping[str, str], bytes]] = []
        self.posted_by: list[str] = []
        """The node that made each of them."""
        self.settings = WebhookSettings()
        self._ids = count(1)
        self._turns = 0

    def monotonic(self) -> float:
        return self.now_s

    def wall_ns(self) -> int:
        return int(self.now_s * SECOND)

    async def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        await asyncio.sleep(0)

    def digits(self, number: int, stream: str = "call/1", tenant: str = "") -> None:
        self.log.append(stream, -1, [LegDigit(leg_id="a")] * number, Meta(tenant=tenant))

    def add(self, url: str = "https://hooks.example/a", after: str = "", **more: Any) -> str:
        more = {"types": ("leg.*",), **more}
        return add_webhook(
            self.log,
            Wanted(url, SECRET, after, **more),
            actor="test",
            random=lambda length: next(self._ids).to_bytes(length, "big"),
        ).webhook_id

    def deliver(self, until: Callable[[], bool]) -> None:
        """Run until a condition holds."""

        def stopping() -> bool:
            self._turns += 1
            assert self._turns < LIMIT, "the condition never held"
            return until()

        asyncio.run(self.deliveries(self.store).run(stopping))

    def deliveries(self, store: ProgressStore, name: str = "") -> Deliveries:
        """Those of a node with its own `store`; what it posts is noted under its `name`."""
        return Deliveries(
            shown=self.log,
            keyed=self.log,
            store=store,
            clock=self,
            rng=random.Random(1),
            settings=self.settings,
            connect=lambda hook: Receiver(self, name),
            sleep=self.sleep,
            look_s=0.001,
        )

    def hook(self, webhook_id: str) -> WebhookState:
        folded = Folded(self.log, "webhook", NO_WEBHOOK, evolve_webhook)
        return folded.refresh().get(webhook_id, NO_WEBHOOK)

    def versions(self, url: str = "https://hooks.example/a") -> list[int]:
        """Versions in their stream of the events a receiver was sent."""
        return [msgspec.json.decode(body)["version"] for to, _, body in self.posts if to == url]


async def _at_once() -> None:
    await asyncio.sleep(0)


class Receiver:
    """What is behind the URLs."""

    def __init__(self, site: Site, node: str) -> None:
        self._site = site
        self._node = node

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        self._site.posts.append((url, headers, body))
        self._site.posted_by.append(self._node)
        await self._site.before_answer()
        return self._site.answer(url)

    async def close(self) -> None:
        pass
