"""Reads a log for one consumer in bounded batches.

Whoever is slow reads late; nothing is kept for it, since the log is the queue.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from pbx.eventlog.envelope import envelope
from pbx.eventlog.feed import FeedFilter, FeedLog

BATCH: Final = 200
"""Events read at once for a consumer that follows."""
BATCH_BYTES: Final = 262_144
"""Bytes of them after which a batch ends: what one reader costs in memory."""
BATCH_S: Final = 0.25
"""Time after which a batch ends, whatever it found: narrow filters look through much."""


class Item(NamedTuple):
    """One event on its way to a consumer."""

    token: str
    """The token behind it."""
    name: str
    """Names the event for ever, whichever way it was read: ``stream@version``."""
    body: bytes
    """Its envelope, JSON."""


class Batch(NamedTuple):
    """Some events."""

    events: list[Item]
    after: str
    """Where to go on."""
    more: bool
    """It ended by a bound; False: the log has no more for now."""


def read_batch(
    log: FeedLog,
    chosen: FeedFilter,
    after: str,
    limit: int,
    monotonic: Callable[[], float],
    *,
    max_s: float = BATCH_S,
    max_bytes: int = BATCH_BYTES,
) -> Batch:
    """The next events behind `after`, at most `limit`. Raises ``FeedError``, ``LogUnavailable``."""
    deadline = monotonic() + max_s
    events: list[Item] = []
    size = 0
    for token, record in chosen.read(log, after, limit):
        after = token
        if record is not None:
            body = envelope(token, record)
            events.append(Item(token, f"{record.stream}@{record.version}", body))
            size += len(body)
            if len(events) == limit or size >= max_bytes:
                return Batch(events, after, True)
        if monotonic() >= deadline:
            return Batch(events, after, True)
    return Batch(events, after, False)
