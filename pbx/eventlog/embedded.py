"""The log in one SQLite file: the only storage a single machine needs.

Appended to by :class:`pbx.eventlog.writer.LogWriter` (the signal role) and by commands of other
processes; read by projections, by ``pbx log`` and by the signal role when it starts.

- WAL: readers never block a writer, and a torn tail after a crash is cut off by SQLite's frame
  checksums. A transaction with a decision is on disk when its commit returns
  (``synchronous=FULL``). One of facts only is with the operating system: it survives the death of
  the process, however it dies, and a power cut from the next :meth:`EmbeddedLog.sync` or decision
  on. An fsync costs as much CPU as the twenty events of two calls, and nobody waits for a fact.
- Positions are row ids. They are given out inside the write transaction, of which there is one at
  a time, so the order of positions is the order of commits: a reader that continues after the last
  position it has seen can miss nothing.
- One table, one unique key (stream, version). The key is the optimistic lock between processes
  and finds the events of a stream; other filters scan by position, which is by time.
- Facts are inserted many rows to a statement: ``sqlite3`` gives up the GIL at every statement, and
  a busy event loop would take up to 5 ms (``sys.getswitchinterval``) to give it back each time.

The file itself is in :mod:`pbx.eventlog.embedded_file`, reading in
:mod:`pbx.eventlog.embedded_reader`; here is appending, and waiting for what is appended.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import ClassVar, Final

from pbx.eventlog.embedded_file import (
    COLUMNS,
    FORMAT,
    ONE_ROW,
    connect,
    create_file,
    explain,
    number_in,
)
from pbx.eventlog.embedded_reader import EmbeddedReader
from pbx.eventlog.memory import same_fact
from pbx.eventlog.record import (
    ANY_VERSION,
    START,
    STREAM,
    VERSION,
    Decision,
    Entry,
    Meta,
    Position,
    Row,
    make_rows,
)
from pbx.eventlog.registry import Codec
from pbx.kernel.clock import Clock, SystemClock
from pbx.kernel.errors import Conflict, LogUnavailable
from pbx.kernel.events import Event

POLL_S: Final = 0.04
"""How often a waiting reader looks for commits of other processes. A look takes 6 µs, to wake up
for it ten times as much: this is 0.2 % of a core."""

_INSERTS: Final = tuple(
    (count, f"INSERT INTO events ({COLUMNS}) VALUES {', '.join([ONE_ROW] * count)}")
    for count in (64, 32, 16, 8, 4, 2, 1)
)
_CONNECTION_STAYS_GOOD: Final = (None, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL)


class EmbeddedLog(EmbeddedReader):
    """An :class:`~pbx.eventlog.port.EventLog` in the file `path`, created if missing.

    `busy_timeout_s` bounds how long an append waits for another process that is writing.
    """

    format: ClassVar[int] = FORMAT
    """What the file must have; a subclass knows another."""

    def __init__(
        self,
        path: Path,
        *,
        codec: Codec | None = None,
        node: str = "",
        clock: Clock | None = None,
        busy_timeout_s: float = 1.0,
    ) -> None:
        self.node = node
        self.renumbered = 0
        """Facts that got another version than they were observed with."""
        self._clock = clock if clock is not None else SystemClock()
        self._write_lock = threading.Lock()
        self._appended = threading.Condition()
        self._closed = False
        self._unsynced = False
        self._last_row = START
        self._inserted = 0  # rows of the transaction that is open
        self._writer: sqlite3.Connection | None = None
        try:
            create_file(path, self.format, busy_timeout_s)
            super().__init__(path, codec if codec is not None else Codec(), busy_timeout_s)
        except (OSError, sqlite3.Error) as error:
            raise LogUnavailable(explain(path, error, busy_timeout_s)) from error

    def append(
        self, stream: str, expected_version: int, events: Sequence[Event], meta: Meta
    ) -> Position:
        rows = make_rows(
            self._codec, stream, events, meta, time_ns=self._clock.wall_ns(), node=self.node
        )
        (verdict,) = self.commit([Decision(stream, expected_version, rows)])
        if isinstance(verdict, Conflict):
            raise verdict
        return verdict

    def commit(self, batch: Sequence[Entry]) -> list[Position | Conflict]:
        with self._write_lock:
            try:
                verdicts = self._transact(batch)
            except (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.DataError):
                # The batch cannot be stored at all: a defect of the caller.
                self._roll_back(None)
                raise
            except sqlite3.DatabaseError as error:
                self._roll_back(error)
                raise LogUnavailable(explain(self.path, error, self._busy_timeout_s)) from error
            except BaseException:
                self._roll_back(None)
                raise
        with self._appended:
            self._appended.notify_all()
        return verdicts

    def sync(self) -> None:
        with self._write_lock:
            if not self._unsynced:
                return
            try:
                descriptor = os.open(f"{self.path}-wal", os.O_RDONLY | os.O_CLOEXEC)
                try:
                    os.fdatasync(descriptor)
                finally:
                    os.close(descriptor)
            except OSError as error:
                raise LogUnavailable(f"event log {self.path}: {error.strerror}") from error
            self._unsynced = False

    def _transact(self, batch: Sequence[Entry]) -> list[Position | Conflict]:
        if self._closed:
            raise LogUnavailable(f"event log {self.path} is closed")
        database = self._writer
        if database is None:
            database = self._writer = connect(self.path, self._busy_timeout_s)
        decided = any(isinstance(entry, Decision) for entry in batch)
        database.execute(f"PRAGMA synchronous = {'FULL' if decided else 'NORMAL'}")
        database.execute("BEGIN IMMEDIATE")
        self._inserted = 0
        verdicts: list[Position | Conflict] = []
        facts: list[Row] = []
        for entry in batch:
            if isinstance(entry, Decision):
                self._insert_facts(database, facts)
                facts = []
                verdicts.append(self._decide(database, entry))
            else:
                facts.append(entry)
        self._insert_facts(database, facts)
        last = self._last_row
        self._own.appending((_stream_of(entry) for entry in batch), last)
        database.execute("COMMIT")
        if self._inserted:  # one after the other: nobody else writes during a transaction
            self._own.appended(last - self._inserted + 1, last)
        self._unsynced = not decided
        return verdicts

    def _insert_facts(self, database: sqlite3.Connection, facts: list[Row]) -> None:
        start = 0
        for count, statement in _INSERTS:
            while len(facts) - start >= count:
                rows = facts[start : start + count]
                try:
                    values = tuple(chain.from_iterable(rows))
                    self._last_row = database.execute(statement, values).lastrowid or START
                    self._inserted += count
                except sqlite3.IntegrityError:
                    # A version is taken or open. The statement left nothing behind and the
                    # transaction goes on.
                    for row in rows:
                        self._insert_fact(database, row)
                start += count

    def _insert_fact(self, database: sqlite3.Connection, row: Row) -> None:
        present = database.execute(
            f"SELECT {COLUMNS} FROM events WHERE stream = ? AND version = ?",
            (row[STREAM], row[VERSION]),
        ).fetchone()
        if present is not None and same_fact(present, row):
            return
        if present is not None or row[VERSION] == ANY_VERSION:
            self.renumbered += present is not None
            row = (row[0], _current(database, row[STREAM]) + 1, *row[2:])
        self._insert(database, [row])

    def _decide(self, database: sqlite3.Connection, decision: Decision) -> Position | Conflict:
        current = _current(database, decision.stream)
        if decision.expected_version not in (current, ANY_VERSION):
            return Conflict(decision.stream, decision.expected_version, current)
        return self._insert(database, decision.numbered(current))

    def _insert(self, database: sqlite3.Connection, rows: Sequence[Row]) -> Position:
        start = 0
        for count, statement in _INSERTS:
            while len(rows) - start >= count:
                values = tuple(chain.from_iterable(rows[start : start + count]))
                self._last_row = database.execute(statement, values).lastrowid or START
                self._inserted += count
                start += count
        return self._last_row if rows else START

    def _roll_back(self, error: sqlite3.DatabaseError | None) -> None:
        """Leave no transaction open; a connection that saw an I/O error is not used again."""
        if self._writer is None:
            return
        with suppress(sqlite3.Error):
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
        code = getattr(error, "sqlite_errorcode", None)
        if self._writer.in_transaction or code not in _CONNECTION_STAYS_GOOD:
            with suppress(sqlite3.Error):
                self._writer.close()
            self._writer = None

    def wait(self, after: Position, timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        while not self._closed:
            if self.head() > after:
                return True
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return False
            with self._appended:
                # An append of this process wakes at once; those of others are polled for.
                self._appended.wait(min(POLL_S, remaining))
        return False

    def close(self) -> None:
        with self._appended:
            self._closed = True
            self._appended.notify_all()
        with self._write_lock, self._read_lock:
            if self._writer is not None:
                self._writer.close()
                self._writer = None
            self._reader.close()


def _stream_of(entry: Entry) -> str:
    return entry.stream if isinstance(entry, Decision) else entry[STREAM]


def _current(database: sqlite3.Connection, stream: str) -> int:
    return number_in(
        database.execute("SELECT max(version) FROM events WHERE stream = ?", (stream,)).fetchall()
    )
