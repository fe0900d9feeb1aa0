"""Delivers: a coroutine a webhook, on a loop of its own within the project role.

A receiver that is slow makes its own webhook late and nobody else. A webhook whose orders change is
stopped and begun again with the new ones. Of nodes that share their tables each delivers its share
of the webhooks; what a node held that died, the others go on with where it was.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

from pbx.domain.webhooks import NO_WEBHOOK, WebhookState, evolve_webhook
from pbx.eventlog import open_log
from pbx.eventlog.batches import Batch, Item, read_batch
from pbx.eventlog.feed import FeedFilter
from pbx.eventlog.folded import Folded
from pbx.eventlog.watch import FeedWatch
from pbx.kernel.clock import Clock, SystemClock
from pbx.kernel.entropy import SystemEntropy
from pbx.kernel.errors import BadPosition, LogError, PositionUnknown, ReadModelError
from pbx.settings import WebhookSettings
from pbx.tokens import ReadableLog
from pbx.webhooks import progress as steps
from pbx.webhooks.commands import pause_webhook
from pbx.webhooks.progress import Outcome, Progress, RetryPolicy, Rng
from pbx.webhooks.signature import key_of, message_id, signed_headers
from pbx.webhooks.store import (
    PROGRESS_FILE,
    Overtaken,
    ProgressFile,
    ProgressStore,
    SharedProgress,
    SharedRows,
)

log = logging.getLogger("pbx.webhooks")

READ_AHEAD: Final = 100
"""Events read at once for a webhook: at most `BATCH_BYTES` of memory."""
LOOK_S: Final = 0.5
"""How often the end is looked for."""
SHARE_S: Final = 1.0
"""How often nodes look whether another has come or died."""
IDLE_S: Final = 1.0
"""How often a first webhook is looked for."""
TROUBLE_S: Final = 5.0
"""Pause after an error of our own: a log or a file that is not available."""
FINISH_S: Final = 3.0
"""Time for an attempt that is under way when its webhook is stopped; most take milliseconds."""
POSITION_HEADER: Final = "Ringlog-Event-Position"

_NS_PER_S: Final = 1_000_000_000


class Client(Protocol):
    """Posts for one webhook."""

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Outcome: ...

    async def close(self) -> None: ...


class Deliveries:
    """All webhooks of a log. For one event loop."""

    def __init__(
        self,
        *,
        shown: ReadableLog,
        keyed: ReadableLog,
        store: ProgressStore,
        clock: Clock,
        rng: Rng,
        settings: WebhookSettings,
        connect: Callable[[WebhookState], Client],
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        look_s: float = LOOK_S,
    ) -> None:
        """`shown` is read for the receivers, `keyed` for the secrets they know; `connect` makes the
        client of a webhook."""
        self._shown = shown
        self._keyed = keyed
        self._store = store
        self._clock = clock
        self._rng = rng
        self._settings = settings
        self._policy = RetryPolicy(
            settings.retry_first_s, settings.retry_longest_s, settings.give_up_s
        )
        self._connect = connect
        self._sleep = sleep
        self._look_s = look_s
        self._watch: FeedWatch
        self._hooks = Folded(keyed, "webhook", NO_WEBHOOK, evolve_webhook)
        self._running: dict[str, tuple[WebhookState, asyncio.Task[None]]] = {}
        self._forgotten: set[str] = set()
        self._over = 0
        self._share_at = 0.0
        self._shared: list[str] = []
        """What was wanted when the webhooks were shared out last."""

    def wanted(self) -> dict[str, WebhookState]:
        """The webhooks that are to deliver now, the oldest first, as many as may be."""
        active = [
            hook for hook in self._hooks.refresh().values() if hook.exists and not hook.paused
        ]
        over = max(0, len(active) - self._settings.most)
        if over and over != self._over:
            log.error("%d webhooks are left out: webhooks.most is %d", over, self._settings.most)
        self._over = over
        return {hook.webhook_id: hook for hook in active[: self._settings.most]}

    async def run(self, stopping: Callable[[], bool]) -> None:
        """Deliver until `stopping` says so, or no webhook is left."""
        self._watch = FeedWatch(self._shown)  # of this run's loop
        try:
            while not stopping():
                seen = self._shown.feed_head()
                if not await self._adjust():
                    return
                await self._watch.wait_beyond(seen, self._look_s)
        finally:
            await self._watch.close()
            await self._stop(list(self._running))

    async def _adjust(self) -> int:
        """Start and stop what the newest orders start and stop; returns how many are wanted."""
        wanted = self.wanted()
        await self._stop(
            [
                name
                for name, (hook, task) in self._running.items()
                if wanted.get(name) != hook or task.done()
            ]
        )
        for name, state in self._hooks.states.items():
            if not state.exists and name not in self._forgotten:
                self._store.forget(name)
                self._forgotten.add(name)
        now = self._clock.monotonic()
        if now >= self._share_at or self._shared != list(wanted):
            await self._share_out(wanted)
            self._share_at, self._shared = now + SHARE_S, list(wanted)
        return len(wanted)

    async def _share_out(self, wanted: Mapping[str, WebhookState]) -> None:
        """Deliver as many as are this node's share."""
        if self._running and not self._store.alive(self._running):
            await self._stop(list(self._running))
        share = self._store.share(len(wanted))
        await self._stop(list(self._running)[share:])
        for name, hook in wanted.items():
            if len(self._running) >= share:
                break
            if name not in self._running and self._store.take(name):
                self._running[name] = (hook, asyncio.create_task(self._deliver(hook)))

    async def _stop(self, names: Sequence[str]) -> None:
        tasks = [self._running.pop(name)[1] for name in names]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for name in names:
            self._store.give(name)
        if names:
            self._share_at = 0.0

    async def _deliver(self, hook: WebhookState) -> None:
        client = self._connect(hook)
        try:
            while True:
                try:
                    await self._follow(hook, client)
                    return
                except (PositionUnknown, BadPosition) as error:
                    await self._pause(hook, str(error), "")
                    return
                except Overtaken as error:
                    log.warning("%s", error)
                    return
                except LogError as error:
                    log.error("webhook %s: %s", hook.webhook_id, error)
                except Exception:
                    log.exception("webhook %s failed", hook.webhook_id)
                await self._sleep(TROUBLE_S)
        finally:
            await client.close()

    async def _follow(self, hook: WebhookState, client: Client) -> None:
        """Deliver for ever; returns when the webhook was paused."""
        now = steps.level(self._store.load(hook.webhook_id), hook)
        self._store.save(hook.webhook_id, now)
        delivery = Delivery(hook, client, self._clock)
        chosen = FeedFilter(hook.categories, hook.types, hook.streams, hook.domain or None)
        while True:
            wait_s = (now.next_try_ns - self._clock.wall_ns()) / _NS_PER_S
            if wait_s > 0:
                await self._sleep(min(wait_s, self._settings.retry_longest_s))
            seen = self._shown.feed_head()
            batch = await self._read(chosen, now.after)
            for items in _groups(batch.events, hook.batch):
                now, outcome = await _to_its_end(self._attempt(hook, delivery, now, items))
                if outcome.error:
                    reason = steps.reason_to_pause(
                        now, outcome, self._clock.wall_ns(), self._policy
                    )
                    if reason:
                        await self._pause(hook, reason, now.after)
                        return
                    break
            else:
                if batch.after != now.after:
                    now = steps.moved(now, batch.after)
                    self._store.save(hook.webhook_id, now)
                if not batch.more:
                    await self._watch.wait_beyond(seen, self._settings.retry_longest_s)

    async def _read(self, chosen: FeedFilter, after: str) -> Batch:
        return await asyncio.to_thread(
            read_batch, self._shown, chosen, after, READ_AHEAD, self._clock.monotonic
        )

    async def _attempt(
        self, hook: WebhookState, delivery: Delivery, now: Progress, items: Sequence[Item]
    ) -> tuple[Progress, Outcome]:
        outcome = await delivery.attempt(items)
        wall_ns = self._clock.wall_ns()
        if outcome.error:
            now = steps.failed(now, outcome, wall_ns, self._policy, self._rng)
        else:
            now = steps.succeeded(now, items[-1].token, len(items), wall_ns)
        self._store.save(hook.webhook_id, now)
        return now, outcome

    async def _pause(self, hook: WebhookState, reason: str, after: str) -> None:
        log.error("webhook %s is paused: %s", hook.webhook_id, reason)
        await asyncio.to_thread(
            pause_webhook, self._keyed, hook.webhook_id, reason, after, actor="node:webhooks"
        )


class Delivery:
    """Makes messages of events and sends them."""

    def __init__(self, hook: WebhookState, client: Client, clock: Clock) -> None:
        self._hook = hook
        self._client = client
        self._clock = clock
        self._key = key_of(hook.secret)

    async def attempt(self, items: Sequence[Item]) -> Outcome:
        """Send `items` as one message: an envelope, or a list of them if the webhook is batched."""
        hook = self._hook
        body = items[0].body if hook.batch == 1 else b"[" + b",".join(i.body for i in items) + b"]"
        headers = signed_headers(
            self._key,
            message_id(hook.webhook_id, (item.name for item in items)),
            self._clock.wall_ns() // _NS_PER_S,
            body,
        )
        headers[POSITION_HEADER] = items[-1].token
        return await self._client.post(hook.url, headers, body)


async def _to_its_end(
    attempt: Coroutine[object, object, tuple[Progress, Outcome]],
) -> tuple[Progress, Outcome]:
    """Have an order or the end of the role come after an attempt, not into it: what was posted and
    not written down would be posted again."""
    task = asyncio.create_task(attempt)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait((task,), timeout=FINISH_S)
        task.cancel()
        raise


def _groups(items: Sequence[Item], size: int) -> list[Sequence[Item]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def deliver_until(
    stop: threading.Event,
    data: Path,
    settings: WebhookSettings,
    shared: Callable[[], SharedRows] | None = None,
) -> None:
    """Deliver the webhooks of a data directory on this thread until `stop`.

    `shared` opens the rows by which nodes share them out; without it this node delivers all.
    """
    said = ""
    while not stop.is_set():
        try:
            with contextlib.closing(open_log(data, unseal=False)) as shown:
                _deliver_from(shown, stop, data, settings, shared)
        except (LogError, ReadModelError) as error:
            if str(error) != said:
                log.error("webhooks wait: %s", error)
            said = str(error)
            stop.wait(TROUBLE_S)
        except Exception:
            log.exception("the deliveries of webhooks failed; they begin anew")
            stop.wait(TROUBLE_S)


def _deliver_from(
    shown: ReadableLog,
    stop: threading.Event,
    data: Path,
    settings: WebhookSettings,
    shared: Callable[[], SharedRows] | None,
) -> None:
    """While there are no webhooks, only look for one: no keys, no HTTP client."""
    known = Folded(shown, "webhook", NO_WEBHOOK, evolve_webhook)
    while not stop.is_set():
        if not any(hook.exists and not hook.paused for hook in known.refresh().values()):
            stop.wait(IDLE_S)
            continue
        with (
            contextlib.closing(open_log(data)) as keyed,
            contextlib.closing(open_progress(data, shared)) as store,
        ):
            deliveries = Deliveries(
                shown=shown,
                keyed=keyed,
                store=store,
                clock=SystemClock(),
                rng=SystemEntropy(),
                settings=settings,
                connect=lambda hook: _poster(hook, settings),
            )
            asyncio.run(deliveries.run(stop.is_set))


def open_progress(data: Path, shared: Callable[[], SharedRows] | None) -> ProgressStore:
    """Where the webhooks of a data directory keep how far they got."""
    if shared is None:
        return ProgressFile(data / PROGRESS_FILE)
    store = SharedProgress(shared())
    try:
        store.adopt(data / PROGRESS_FILE)
    except BaseException:
        store.close()
        raise
    return store


def _poster(hook: WebhookState, settings: WebhookSettings) -> Client:
    from pbx.webhooks.poster import Poster  # an HTTP client, for those who have webhooks

    return Poster(timeout_s=settings.timeout_s, allow_private=hook.allow_private)
