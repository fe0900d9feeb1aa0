"""The queue before the log: a thread that commits in groups, so that a call never waits.

Fed by the event loop of the signal role through :meth:`LogWriter.observe` and
:meth:`LogWriter.decide`; feeds an :class:`~pbx.eventlog.port.EventLog`.

- Facts are committed within 10 ms: the thread gathers for :data:`GROUP_S`, then writes. A decision
  ends the gathering at once and takes everything queued before it along, so order is kept. Where
  one follows the other they are gathered, too, for :data:`GATHER_S`.
- Facts are synced to the disk after a second at most (:data:`SYNC_S`), decisions at once.
- While the log takes nothing (disk full, locked), decisions fail with
  :class:`~pbx.kernel.errors.LogUnavailable` and facts stay queued, in order, until it does. No
  restart is needed. :attr:`LogWriter.healthy` says so; new calls are refused meanwhile.
- In a cluster some decisions take a round trip to Kafka (:class:`~pbx.eventlog.port.AsksOthers`).
  They are handed over once the facts before them are committed; nothing waits behind them.
- The queue is bounded. Past `bound` events the oldest statistics go first; the facts about calls
  go only past ten times the bound, the newest first, so that what is in the log stays a prefix of
  what happened.

Producer and consumer share a ``deque`` (its operations are atomic) and two flags; the fast path of
``observe`` takes no lock.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, TypeAlias

from pbx.eventlog.port import AsksOthers, EventLog
from pbx.eventlog.record import TYPE, Decision, Entry, Meta, Position, Row, make_rows
from pbx.kernel.clock import Clock, SystemClock
from pbx.kernel.errors import Conflict, LogUnavailable
from pbx.kernel.events import EVENT_TYPES, Event

GROUP_S: Final = 0.008
"""Gathering time; with the commit itself (1 to 2 ms) a fact is durable within 10 ms."""
GATHER_S: Final = 0.002
"""Decisions that come closer to each other than this are committed together: each commit is an
fsync, a quarter of a millisecond of CPU. One that comes alone waits for nothing."""
SYNC_S: Final = 1.0
"""Longest time a fact may be lost to a power cut; a crash of the process loses nothing written."""
RETRY_S: Final = 0.25
"""Between attempts while the log is unavailable: recovery is noticed soon, and failing decisions
come in groups instead of one attempt each."""
BATCH: Final = 2000
"""Entries to a transaction: bounds the time the write lock is kept from other processes."""
BOUND: Final = 20_000
"""Queued events (about 10 MB) past which statistics are dropped: minutes of a busy server."""
HARD_BOUND_FACTOR: Final = 10
"""Times ``BOUND``: past that (about 100 MB) nothing enters any more."""

Done: TypeAlias = Callable[[Position | Exception], None]
Notify: TypeAlias = Callable[[Callable[[], None]], object]
Completion: TypeAlias = tuple[Done, Position | Exception]

logger = logging.getLogger(__name__)


class _Pending(Decision):
    """A decision and whoever waits for it."""

    __slots__ = ("done", "refused")

    def __init__(
        self, stream: str, expected_version: int, rows: Sequence[Row], done: Done, *, alone: bool
    ) -> None:
        super().__init__(stream, expected_version, rows, alone=alone)
        self.done = done
        self.refused = False


class LogWriter:
    """An :class:`~pbx.eventlog.port.EventWriter` with a thread of its own.

    `notify` hands a function to the event loop (``loop.call_soon_threadsafe``); completions run
    there. ``observe`` and ``decide`` are called from one thread, usually that of the loop. Call
    :meth:`start`, and :meth:`stop` at the end.
    """

    def __init__(
        self,
        log: EventLog,
        *,
        notify: Notify,
        clock: Clock | None = None,
        group_s: float = GROUP_S,
        retry_s: float = RETRY_S,
        sync_s: float = SYNC_S,
        bound: int = BOUND,
    ) -> None:
        self._log = log
        self._asks: AsksOthers | None = log if isinstance(log, AsksOthers) else None
        self._encode = log.codec.encode
        self._notify = notify
        clock = clock if clock is not None else SystemClock()
        self._wall_ns = clock.wall_ns
        self._monotonic = clock.monotonic
        self._unsynced_since: float | None = None
        self._decided_at = -GATHER_S
        self._group_s = group_s
        self._retry_s = retry_s
        self._sync_s = sync_s
        self._bound = bound
        self._shed_at = bound
        self._queue: deque[Entry] = deque()
        self._undecided: deque[_Pending] = deque()
        """The decisions in the queue, in order, so that they can be refused where they are."""
        self._refused = 0
        """Decisions that are still in the queue and count no more."""
        self._draining = threading.Lock()
        """Held while entries leave the queue other than by the producer's hand."""
        self._in_flight: list[Entry] = []
        """Taken from the queue, not yet committed; the thread's own."""
        self._wake = threading.Event()
        self._halt = threading.Event()
        self._asleep = False
        self._urgent = False
        self._stopping = False
        self._error = ""
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._written = self._batches = self._shed = self._lost = self._rejected = 0

    # The producer's side.

    def observe(self, stream: str, version: int, event: Event, meta: Meta) -> None:
        """Queue a fact; returns within microseconds, whatever the state of the disk."""
        name, data = self._encode(stream, event)
        queue = self._queue
        if len(queue) >= self._bound and not self._make_room(name):
            return
        queue.append(
            (
                stream,
                version,
                name,
                meta.time_ns or self._wall_ns(),
                meta.node or self._log.node,
                meta.actor,
                meta.correlation,
                meta.causation,
                meta.tenant,
                data,
            )
        )
        if self._asleep:
            self._asleep = False
            self._wake.set()

    def decide(
        self,
        stream: str,
        expected_version: int,
        events: Sequence[Event],
        meta: Meta,
        done: Done,
        *,
        alone: bool = False,
    ) -> None:
        """Append as soon as possible; `done` runs on the loop with the position or the error."""
        rows = make_rows(
            self._log.codec,
            stream,
            events,
            meta,
            time_ns=self._wall_ns(),
            node=self._log.node,
        )
        pending = _Pending(stream, expected_version, rows, done, alone=alone)
        self._undecided.append(pending)
        self._queue.append(pending)
        self._urgent = True
        self._asleep = False
        self._wake.set()

    @property
    def backlog(self) -> int:
        """Entries queued and not durable yet."""
        return len(self._queue) + len(self._in_flight) - self._refused

    @property
    def healthy(self) -> bool:
        """False while the last attempt to write failed or events are being dropped."""
        return not self._error and len(self._queue) < self._bound and self._thread.is_alive()

    @property
    def error(self) -> str:
        """Why the log takes nothing now; empty while it does."""
        return self._error

    def statistics(self) -> dict[str, int]:
        """Counters since the start."""
        return {
            "backlog": self.backlog,
            "written": self._written,
            "batches": self._batches,
            "shed": self._shed,  # statistics dropped on overflow
            "lost": self._lost,  # facts dropped at ten times the bound
            "rejected": self._rejected,  # entries the log can never take: a defect
        }

    def _make_room(self, type_name: str) -> bool:
        """The queue is over its bound: may an event of this type still enter?"""
        if len(self._queue) >= self._shed_at:
            self._drop_statistics(len(self._queue) - self._bound * 9 // 10)
            # One pass over the queue for each tenth of the bound it grows.
            self._shed_at = max(self._bound, len(self._queue) + self._bound // 10)
        if len(self._queue) < self._bound * HARD_BOUND_FACTOR:
            return True
        if _expendable(type_name):
            self._shed += 1
        else:
            self._lost += 1
        return False

    def _drop_statistics(self, excess: int) -> None:
        with self._draining:
            for _ in range(len(self._queue)):
                entry = self._queue.popleft()
                if excess > 0 and isinstance(entry, tuple) and _expendable(entry[TYPE]):
                    excess -= 1
                    self._shed += 1
                else:
                    self._queue.append(entry)

    # Life cycle.

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> int:
        """Write what is queued, end the thread; returns how many entries could not be written."""
        self._stopping = True
        self._halt.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        return self.backlog

    # The thread's side.

    def _run(self) -> None:
        while self._gather():
            self._take()
            try:
                completions = self._commit()
            except LogUnavailable as error:
                self._refuse(error)
                if self._stopping:
                    return
                self._halt.wait(self._retry_s)
                continue
            if self._error:
                logger.warning("event log takes events again, backlog %d", self.backlog)
                self._error = ""
            self._shed_at = self._bound
            if completions:
                self._decided_at = self._monotonic()
            self._complete(completions)
        if self._unsynced_since is not None:
            self._sync()

    def _gather(self) -> bool:
        """Wait until there is something to write; False at the end."""
        if not self.backlog:
            self._wake.clear()
            self._asleep = True
            # The producer appends, then looks at the flag; we set it, then look at the queue: one
            # of us sees the other.
            while not self._queue and not self._stopping:
                if not self._wake.wait(self._sync_left()):
                    self._sync()
            self._asleep = False
        if not self._stopping and len(self._queue) < BATCH:
            self._wake.clear()
            if not self._urgent:
                self._wake.wait(self._group_s)
            elif self._monotonic() - self._decided_at < GATHER_S:
                self._halt.wait(GATHER_S)
        self._urgent = False
        return not self._stopping or self.backlog > 0

    def _sync_left(self) -> float | None:
        """Seconds until the oldest unsynced fact must be synced; None if there is none."""
        since = self._unsynced_since
        return None if since is None else max(0.0, since + self._sync_s - self._monotonic())

    def _sync(self) -> None:
        """Facts that were committed reach the disk; while the disk fails, the next try is due."""
        try:
            self._log.sync()
        except LogUnavailable as error:
            logger.error("event log cannot be synced: %s", error)
            self._unsynced_since = self._monotonic()
        else:
            self._unsynced_since = None

    def _take(self) -> None:
        with self._draining:
            room = BATCH - len(self._in_flight)
            for _ in range(min(room, len(self._queue))):
                entry = self._queue.popleft()
                if isinstance(entry, _Pending):
                    if entry.refused:
                        self._refused -= 1
                        continue
                    self._undecided.popleft()
                self._in_flight.append(entry)

    def _commit(self) -> list[Completion]:
        if self._asks is not None:
            return self._commit_and_ask(self._asks)
        return self._commit_all()

    def _commit_and_ask(self, asks: AsksOthers) -> list[Completion]:
        """Commit what this node decides, then hand over what it does not."""
        asked = [e for e in self._in_flight if isinstance(e, _Pending) and asks.asks(e)]
        if not asked:
            return self._commit_all()
        everything = self._in_flight
        self._in_flight = [e for e in everything if not (isinstance(e, _Pending) and asks.asks(e))]
        completions: list[Completion] = []
        if self._in_flight:
            try:
                completions = self._commit_all()
            except LogUnavailable:
                self._in_flight += asked  # refused with the others
                raise
        for entry in asked:
            asks.submit(entry, partial(self._decided, entry.done))
        return completions

    def _decided(self, done: Done, verdict: Position | Exception) -> None:
        """On a thread of the log."""
        self._complete([(done, verdict)])

    def _commit_all(self) -> list[Completion]:
        try:
            verdicts = self._log.commit(self._in_flight)
        except LogUnavailable:
            raise
        except Exception:  # noqa: BLE001  one bad entry must not stop all others for ever
            return self._commit_singly()
        completions: list[Completion] = list(zip(self._waiting(), verdicts, strict=True))
        if verdicts:
            self._unsynced_since = None
        elif self._unsynced_since is None:
            self._unsynced_since = self._monotonic()
        elif self._sync_left() == 0.0:
            self._sync()
        self._written += len(self._in_flight)
        self._batches += 1
        self._in_flight.clear()
        return completions

    def _commit_singly(self) -> list[Completion]:
        """Something in the batch cannot be stored: write each entry by itself, drop that one."""
        completions: list[Completion] = []
        while self._in_flight:
            entry = self._in_flight[0]
            verdicts: list[Position | Conflict | Exception]
            try:
                verdicts = [*self._log.commit([entry])]
                self._written += 1
            except LogUnavailable:
                self._complete(completions)
                raise
            except Exception as error:
                logger.exception("the event log cannot store an entry")
                self._rejected += 1
                verdicts = [error]
            if isinstance(entry, _Pending):
                completions.append((entry.done, verdicts[0]))
            del self._in_flight[0]
        self._batches += 1
        return completions

    def _waiting(self) -> list[Done]:
        return [entry.done for entry in self._in_flight if isinstance(entry, _Pending)]

    def _refuse(self, error: LogUnavailable) -> None:
        """Fail all decisions, keep all facts."""
        if not self._error:
            logger.error("event log unavailable, new work is refused: %s", error)
        self._error = str(error)
        refused = self._waiting()
        self._in_flight = [entry for entry in self._in_flight if isinstance(entry, tuple)]
        while self._undecided:
            pending = self._undecided.popleft()
            pending.refused = True
            self._refused += 1
            refused.append(pending.done)
        self._complete([(done, error) for done in refused])

    def _complete(self, completions: list[Completion]) -> None:
        if not completions:
            return
        try:
            self._notify(partial(_call, completions))
        except RuntimeError as error:
            # The loop is closed: nobody waits any more, but the facts still have to be written.
            logger.warning("%d completions came after the loop's end: %s", len(completions), error)


def _call(completions: list[Completion]) -> None:
    for done, verdict in completions:
        try:
            done(verdict)
        except Exception:  # a defect in one caller must not keep the verdict from the others
            logger.exception("completion of an append failed")


def _expendable(type_name: str) -> bool:
    row = EVENT_TYPES.get(type_name)
    return row is not None and row.expendable
