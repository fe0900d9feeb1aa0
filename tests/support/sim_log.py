"""The log writer of the simulator: one thread, virtual time, crashes and full disks on demand.

Behaves like :class:`pbx.eventlog.LogWriter` towards call control (same port, same order, same
classes of durability) over any log, usually a ``MemoryLog`` that outlives the simulated server:

- facts become durable ``group_s`` of virtual time after the first of their group; a crash before
  that loses them;
- a decision becomes durable ``decide_s`` after it was made (0: at once), together with everything
  queued before it, and its completion runs afterwards, never inside ``decide``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pbx.eventlog import EventLog, LogUnavailable, Meta, Position
from pbx.eventlog.record import Decision, Entry, Row, make_rows
from pbx.kernel.clock import Clock
from pbx.kernel.events import Event

Schedule = Callable[[float, Callable[[], None]], object]
"""``Scheduler.at``: run a function at a moment of virtual time."""

Done = Callable[[Position | Exception], None]


class SimulatedLogWriter:
    """An ``EventWriter`` whose thread is the scheduler."""

    def __init__(
        self,
        log: EventLog,
        clock: Clock,
        schedule: Schedule,
        *,
        decide_s: float = 0.0,
        group_s: float = 0.01,
        node: str = "",
    ) -> None:
        """`node`: who writes, if it is not the one that `log` is named for."""
        self._log = log
        self._node = node or log.node
        self._clock = clock
        self._schedule = schedule
        self._decide_s = decide_s
        self._group_s = group_s
        self._queue: list[Entry] = []
        self._waiting: list[Done] = []
        self._flush_due = float("inf")
        self._fault = ""
        self._crashed = False
        self.lost: list[Entry] = []
        """What a crash took with it."""

    @property
    def backlog(self) -> int:
        return len(self._queue)

    @property
    def healthy(self) -> bool:
        return not self._fault

    def observe(self, stream: str, version: int, event: Event, meta: Meta) -> None:
        if self._crashed:
            return
        (row,) = self._rows(stream, [event], meta)
        self._queue.append((row[0], version, *row[2:]))
        self._flush_at(self._clock.monotonic() + self._group_s)

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
        if self._crashed:
            return
        self._queue.append(Decision(stream, expected_version, self._rows(stream, events, meta)))
        self._waiting.append(done)
        self._flush_at(self._clock.monotonic() + self._decide_s)

    def fail(self, reason: str) -> None:
        """From now on the log takes nothing."""
        self._fault = reason

    def heal(self) -> None:
        """The log takes events again; what waited is written."""
        self._fault = ""
        self._flush_at(self._clock.monotonic())

    def flush(self) -> None:
        """Make everything durable now: the orderly end of a server."""
        self._flush()

    def crash(self) -> int:
        """kill -9: what is not durable is gone, nobody is called back. Returns how many facts."""
        self._crashed = True
        self.lost, self._queue = self._queue, []
        self._waiting.clear()
        return len(self.lost)

    def _rows(self, stream: str, events: Sequence[Event], meta: Meta) -> list[Row]:
        return make_rows(
            self._log.codec,
            stream,
            events,
            meta,
            time_ns=self._clock.wall_ns(),
            node=self._node,
        )

    def _flush_at(self, when: float) -> None:
        if when < self._flush_due:
            self._flush_due = when
            self._schedule(when, self._due)

    def _due(self) -> None:
        if self._clock.monotonic() >= self._flush_due:
            self._flush()

    def _flush(self) -> None:
        self._flush_due = float("inf")
        if self._crashed or not self._queue:
            return
        waiting, self._waiting = self._waiting, []
        verdicts: Sequence[Position | Exception]
        if self._fault:
            verdicts = [LogUnavailable(self._fault)] * len(waiting)
            self._queue = [entry for entry in self._queue if not isinstance(entry, Decision)]
        else:
            batch, self._queue = self._queue, []
            verdicts = self._log.commit(batch)
        for done, verdict in zip(waiting, verdicts, strict=True):
            done(verdict)
