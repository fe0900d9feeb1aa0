"""The ports of the log: reading and appending (:class:`EventLog`), and the queue before it.

One contract test class runs on every implementation (``tests/contract/test_event_log.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, runtime_checkable

from pbx.eventlog.record import START, Decision, Entry, Meta, Position, Record
from pbx.eventlog.registry import Codec
from pbx.kernel.errors import Conflict
from pbx.kernel.events import Event


class EventLog(Protocol):
    """An ordered, durable sequence of records. Safe to use from several threads."""

    node: str
    """Name written into records whose meta names no node."""

    @property
    def codec(self) -> Codec:
        """Encodes and decodes the events of this log."""
        ...

    def append(
        self, stream: str, expected_version: int, events: Sequence[Event], meta: Meta
    ) -> Position:
        """Append decided events at once, all or none; blocks until they are durable.

        `expected_version` is the version of the last event of the stream the decision was based
        on, 0 for a new stream, ``ANY_VERSION`` if the order does not matter. Returns the position
        of the last event. Raises :class:`~pbx.kernel.errors.Conflict` or
        :class:`~pbx.kernel.errors.LogUnavailable`.
        """
        ...

    def commit(self, batch: Sequence[Entry]) -> list[Position | Conflict]:
        """Write facts and decisions in order, in one transaction.

        On return it survives the death of the process, and with a decision in it also a power
        cut; facts alone do that from the next :meth:`sync` on.

        Returns a verdict for each decision, in order. A fact whose version is taken was either
        written before (a repeated batch) or raced with another writer: it happened all the same
        and gets the next free version, as does one at ``ANY_VERSION``. Raises
        ``LogUnavailable``: then nothing was written.
        """
        ...

    def sync(self) -> None:
        """Have everything committed so far survive a power cut. Raises ``LogUnavailable``."""
        ...

    def read(
        self,
        after: Position = START,
        *,
        category: str | None = None,
        types: Sequence[str] = (),
        limit: int | None = None,
    ) -> Iterator[Record]:
        """Records after a position, up to the head at some moment after the call.

        `types` are names or patterns of names, of which one must fit: ``*`` stands for any text,
        ``?`` for one character.
        """
        ...

    def read_back(
        self, until: Position | None = None, *, types: Sequence[str] = ()
    ) -> Iterator[Record]:
        """Records from a position (or the head) backwards, the newest first; stop when you have
        enough."""
        ...

    def at(self, position: Position) -> Record | None:
        """The record at a position, None if this log has none there."""
        ...

    def read_stream(self, stream: str, after_version: int = 0) -> Iterator[Record]:
        """The records of one stream in order of version."""
        ...

    def head(self) -> Position:
        """Position of the last record."""
        ...

    def position_at(self, time_ns: int) -> Position:
        """A position after which every record of `time_ns` or later lies (some older ones too).

        Times grow with positions up to the time an event may wait in a writer's queue and the
        steps of wall clocks; see ``TIME_DISORDER_NS``.
        """
        ...

    def wait(self, after: Position, timeout_s: float) -> bool:
        """Block until the head is past `after` (True), or time is up or the log closed (False)."""
        ...

    def close(self) -> None:
        """Release files; waiting readers return."""
        ...


@runtime_checkable
class AsksOthers(Protocol):
    """A log that has some decisions made elsewhere: those take a while, and many may be on their
    way at once."""

    def asks(self, decision: Decision) -> bool:
        """Whether this decision is one of them."""
        ...

    def submit(self, decision: Decision, done: Callable[[Position | Exception], None]) -> None:
        """Have it made. `done` gets what ``append`` would return or raise, on some thread.

        What was committed before counts as known to whoever decided.
        """
        ...


class EventWriter(Protocol):
    """The write side that never blocks its caller (the signal role, the simulator)."""

    @property
    def backlog(self) -> int:
        """Events queued and not durable yet."""
        ...

    @property
    def healthy(self) -> bool:
        """False while appends fail: refuse new work, keep calls up."""
        ...

    def observe(self, stream: str, version: int, event: Event, meta: Meta) -> None:
        """Queue a fact that will be version `version` (or ``ANY_VERSION``) of its stream."""
        ...

    def decide(
        self,
        stream: str,
        expected_version: int,
        events: Sequence[Event],
        meta: Meta,
        done: Callable[[Position | Exception], None],
        *,
        alone: bool = False,
    ) -> None:
        """Append; `done` later gets the position, ``Conflict`` or ``LogUnavailable``. `alone`: as
        :class:`~pbx.eventlog.record.Decision` has it."""
        ...


TIME_DISORDER_NS = 120 * 1_000_000_000
"""How far the time of a record may lie behind that of an earlier one for time filters to find it.

Writers stamp events when they happen and write them within milliseconds; two minutes cover a
queue that waited for a full disk and the usual step of a clock.
"""
