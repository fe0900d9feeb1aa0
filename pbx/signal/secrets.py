"""Digest secrets whose keys lie in another machine's database: opened on a thread, not on the loop.

The keys of a cluster may lie in PostgreSQL. To ask it costs a round trip, and seconds if it is
away: the loop may not wait for that. A request that needs such a secret rests until it is there
(:mod:`pbx.calls.node`)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from pbx.eventlog import Codec, LogError
from pbx.kernel.events import Event

log = logging.getLogger("pbx.signal")

MAX_WAITING: Final = 1_000
"""Secrets asked for at once; a phone whose question is dropped asks again by itself."""

Opened = Callable[[Event | None], None]


class RemoteSecrets:
    """A :data:`~pbx.calls.stored_directory.AskPassword`."""

    def __init__(self, codec: Codec, loop: asyncio.AbstractEventLoop) -> None:
        self._codec = codec
        self._loop = loop
        self._waiting = 0
        self._said = False
        self._worker = ThreadPoolExecutor(1, "secrets")
        self._worker.submit(codec.reach_keys)

    def ask(self, stream: str, type_name: str, data: bytes, done: Opened) -> None:
        """Have the record of a password opened; `done` is called on the loop, later, with its
        event, or with None if that cannot be now."""
        if self._waiting >= MAX_WAITING:
            self._loop.call_soon(done, None)
            return
        self._waiting += 1
        future = self._worker.submit(self._codec.decode, stream, type_name, data)
        future.add_done_callback(
            lambda done_: self._loop.call_soon_threadsafe(self._answered, done_, done)
        )

    def _answered(self, future: Future[Event], done: Opened) -> None:
        self._waiting -= 1
        try:
            event = future.result()
        except LogError as error:
            if not self._said:
                log.error("accounts that were not asked for before cannot log in: %s", error)
            self._said = True
            done(None)
        else:
            self._said = False
            done(event)

    def close(self) -> None:
        """Ask nothing any more."""
        self._worker.shutdown(wait=False, cancel_futures=True)
