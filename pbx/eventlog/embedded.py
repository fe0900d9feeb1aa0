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
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, suppress
from itertools import chain, islice
from pathlib import Path
from typing import Any, ClassVar, Final

from pbx.eventlog.feed import BEGINNING, Step, check_filter, make_token, position_of
from pbx.eventlog.feed_query import Condition, feed_condition, thin_streams
from pbx.eventlog.keystore import create_private
from pbx.eventlog.memory import same_fact
from pbx.eventlog.own_rows import OwnRows
from pbx.eventlog.port import TIME_DISORDER_NS
from pbx.eventlog.record import (
    ANY_VERSION,
    START,
    STREAM,
    VERSION,
    Decision,
    Entry,
    Meta,
    Position,
    Record,
    Row,
    make_rows,
)
from pbx.eventlog.registry import Codec, prefixes_of
from pbx.kernel.clock import Clock, SystemClock
from pbx.kernel.errors import Conflict, LogFormatError, LogUnavailable
from pbx.kernel.events import Event

APPLICATION_ID: Final = 0x52_4C_4F_47
"""``RLOG`` in the file header: `file log.sqlite3` tells what it is."""
FORMAT: Final = 1
"""``PRAGMA user_version``; a program refuses a log of a later format."""
CLUSTER_FORMAT: Final = 2
"""That of a log which is a node's part of a cluster (:mod:`pbx.eventlog.kafka`)."""

CHUNK: Final = 1000
"""Rows a reader fetches at once: each fetch is a short snapshot, so that no reader keeps the WAL
from being checkpointed."""
CHUNK_BACK: Final = 100
"""Rows fetched at once from the end backwards: whoever reads that way wants the last few."""
POLL_S: Final = 0.04
"""How often a waiting reader looks for commits of other processes. A look takes 6 µs, to wake up
for it ten times as much: this is 0.2 % of a core."""
WINDOW: Final = 20_000
"""Positions a feed with a filter looks through at once: some 10 ms, during which other readers of
this process wait."""
FAR_BEHIND: Final = 10_000
"""Positions behind the head from which reading a category goes by the stream key."""

COLUMNS: Final = "stream, version, type, time_ns, node, actor, correlation, causation, tenant, data"
ONE_ROW: Final = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_INSERTS: Final = tuple(
    (count, f"INSERT INTO events ({COLUMNS}) VALUES {', '.join([ONE_ROW] * count)}")
    for count in (64, 32, 16, 8, 4, 2, 1)
)
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS events (
    position    INTEGER PRIMARY KEY,
    stream      TEXT    NOT NULL,
    version     INTEGER NOT NULL CHECK (version > 0),
    type        TEXT    NOT NULL,
    time_ns     INTEGER NOT NULL,
    node        TEXT    NOT NULL,
    actor       TEXT    NOT NULL,
    correlation TEXT    NOT NULL,
    causation   TEXT    NOT NULL,
    tenant      TEXT    NOT NULL,
    data        BLOB    NOT NULL,
    UNIQUE (stream, version)
) STRICT
"""


class EmbeddedLog:
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
        self.path = path
        self.renumbered = 0
        """Facts that got another version than they were observed with."""
        self._codec = codec if codec is not None else Codec()
        self._clock = clock if clock is not None else SystemClock()
        self._busy_timeout_s = busy_timeout_s
        self._write_lock = threading.Lock()
        self._read_lock = threading.Lock()
        self._appended = threading.Condition()
        self._closed = False
        self._unsynced = False
        self._own = OwnRows()
        self._last_row = START
        self._inserted = 0  # rows of the transaction that is open
        self._writer: sqlite3.Connection | None = None
        try:
            create_private(path)
            self._create()
            self._reader = self._connect()
        except (OSError, sqlite3.Error) as error:
            raise LogUnavailable(_explain(path, error, busy_timeout_s)) from error

    @property
    def codec(self) -> Codec:
        return self._codec

    # ------------------------------------------------------------------------------- appending

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
                raise LogUnavailable(_explain(self.path, error, self._busy_timeout_s)) from error
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
            database = self._writer = self._connect()
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

    # --------------------------------------------------------------------------------- reading

    def read(
        self,
        after: Position = START,
        *,
        category: str | None = None,
        types: Sequence[str] = (),
        limit: int | None = None,
    ) -> Iterator[Record]:
        inside, values = _of_types(types)
        if category is None:
            return islice(self._scan(after, inside, values), limit)
        prefixes = prefixes_of(category)
        bounds = tuple(chain.from_iterable((f"{p}/", f"{p}0") for p in prefixes))
        # `server` is a stream without a slash. The unary plus keeps SQLite from using the stream
        # key, which would sort the whole category for each chunk.
        streams = " OR ".join(
            ["(+stream >= ? AND +stream < ?)"] * len(prefixes) + ["+stream = ?"] * len(prefixes)
        )
        streams = f"{inside} AND ({streams})"
        records = self._read_category(
            after, streams, (*values, *bounds, *prefixes), category, (inside, values)
        )
        return islice(records, limit)

    def _read_category(
        self,
        after: Position,
        inside: str,
        values: tuple[str, ...],
        category: str,
        of_types: tuple[str, tuple[str, ...]],
    ) -> Iterator[Record]:
        head = self.head()
        prefixes = prefixes_of(category)
        runs = self._own.elsewhere(after, head, prefixes)
        # Settings are thin among calls: find their positions by the stream key, then fetch those.
        if (
            category not in ("pbx.calls", "pbx.cdrs")
            and sum(until - start for start, until in runs) > FAR_BEHIND
        ):
            # They may be thick just here, as while accounts are imported: look nearby first.
            yield from self._scan(after, inside, values, after + FAR_BEHIND)
            after += FAR_BEHIND
            positions = self._positions_by_key(after, head, prefixes, of_types)
            for start in range(0, len(positions), CHUNK):
                chunk = positions[start : start + CHUNK]
                marks = ", ".join("?" * len(chunk))
                yield from self._records(f"position IN ({marks})", tuple(chunk))
            runs = [(head, self.head())]
        for start, until in runs:
            yield from self._scan(start, inside, values, until)

    def _scan(
        self, after: Position, inside: str, values: tuple[str, ...], until: Position | None = None
    ) -> Iterator[Record]:
        until = self.head() if until is None else until
        while True:
            rows = self._records(
                f"position > ? AND position <= ?{inside}", (after, until, *values), CHUNK
            )
            yield from rows
            if len(rows) < CHUNK:
                return
            after = rows[-1].position

    def read_back(
        self, until: Position | None = None, *, types: Sequence[str] = ()
    ) -> Iterator[Record]:
        inside, values = _of_types(types)
        before = (self.head() if until is None else until) + 1
        while True:
            rows = self._records(
                f"position < ?{inside}", (before, *values), CHUNK_BACK, order="position DESC"
            )
            yield from rows
            if len(rows) < CHUNK_BACK:
                return
            before = rows[-1].position

    def at(self, position: Position) -> Record | None:
        return next(iter(self._records("position = ?", (position,))), None)

    def read_stream(self, stream: str, after_version: int = 0) -> Iterator[Record]:
        while True:
            rows = self._records(
                "stream = ? AND version > ?", (stream, after_version), CHUNK, order="version"
            )
            yield from rows
            if len(rows) < CHUNK:
                return
            after_version = rows[-1].version

    def read_feed(
        self,
        after: str = BEGINNING,
        *,
        categories: Sequence[str] = (),
        types: Sequence[str] = (),
        streams: Sequence[str] = (),
        tenant: str | None = None,
        limit: int | None = None,
    ) -> Iterator[Step]:
        check_filter(categories, types, streams)
        head = self.head()
        first = position_of(after, self._time_at)
        condition = feed_condition(categories, types, streams, tenant)
        thin = thin_streams(streams, all_of_them=limit is None)
        if thin is not None:
            return self._thin_feed(first, head, thin, condition, limit)
        return self._feed(first, head, condition, limit)

    def _feed(
        self, after: Position, until: Position, condition: Condition, limit: int | None
    ) -> Iterator[Step]:
        left = -1 if limit is None else limit
        while after < until and left:
            end = min(until, after + WINDOW)
            wanted = CHUNK if left < 0 else min(CHUNK, left)
            rows = self._records(
                f"position > ? AND position <= ?{condition.text}",
                (after, end, *condition.values),
                wanted,
            )
            for record in rows:
                yield make_token(record.position, record.time_ns), record
            left -= len(rows) if left > 0 else 0
            after = rows[-1].position if len(rows) == wanted else end
            if len(rows) < wanted:
                yield self._token_at(after), None

    def _thin_feed(
        self,
        first: Position,
        until: Position,
        thin: Condition,
        condition: Condition,
        limit: int | None,
    ) -> Iterator[Step]:
        """Few streams in a long log: their positions by the stream key, then their records."""
        rows = self._query(
            f"SELECT position FROM events WHERE position > ? AND position <= ?{thin.text}",
            (first, until, *thin.values),
        )
        positions = array("q", sorted(row[0] for row in rows))
        left = -1 if limit is None else limit
        for start in range(0, len(positions), CHUNK):
            chunk = positions[start : start + CHUNK]
            marks = ", ".join("?" * len(chunk))
            found = self._records(
                f"position IN ({marks}){condition.text}", (*chunk, *condition.values), left
            )
            for record in found:
                yield make_token(record.position, record.time_ns), record
            left -= len(found) if left > 0 else 0
            if not left:
                return
        if first < until:
            yield self._token_at(until), None

    def _time_at(self, position: Position) -> int | None:
        rows = self._query("SELECT time_ns FROM events WHERE position = ?", (position,))
        return rows[0][0] if rows else None

    def _token_at(self, position: Position) -> str:
        return make_token(position, self._time_at(position) or 0)

    def feed_head(self) -> str:
        rows = self._query(
            "SELECT position, time_ns FROM events ORDER BY position DESC LIMIT 1", ()
        )
        return make_token(*rows[0]) if rows else BEGINNING

    def head(self) -> Position:
        return _number(self._query("SELECT max(position) FROM events", ()))

    def position_at(self, time_ns: int) -> Position:
        wanted = time_ns - TIME_DISORDER_NS
        low, high = START, self.head()
        while low < high:
            middle = (low + high) // 2
            row = self._query(
                "SELECT position, time_ns FROM events WHERE position > ? ORDER BY position LIMIT 1",
                (middle,),
            )[0]
            if row[1] < wanted:
                low = row[0]
            else:
                high = middle
        return low

    def _records(
        self,
        where: str,
        values: tuple[object, ...],
        limit: int = -1,
        *,
        order: str = "position",
    ) -> list[Record]:
        codec = self._codec
        rows = self._query(
            f"SELECT position, {COLUMNS} FROM events WHERE {where} ORDER BY {order} LIMIT {limit}",
            values,
        )
        return [Record(codec, *row) for row in rows]

    def _query(self, statement: str, values: Iterable[object]) -> list[tuple[Any, ...]]:
        with self._read_lock:
            try:
                return self._reader.execute(statement, tuple(values)).fetchall()
            except sqlite3.Error as error:
                raise LogUnavailable(_explain(self.path, error, self._busy_timeout_s)) from error

    def _positions_by_key(
        self,
        after: Position,
        until: Position,
        prefixes: Sequence[str],
        of_types: tuple[str, tuple[str, ...]],
    ) -> array[int]:
        """Positions of the streams with these prefixes, in order, without looking at others.

        Eight bytes for each, as they come: there may be millions.
        """
        text, values = of_types
        # The unary plus keeps SQLite from going by positions. Each range is asked for by itself:
        # it does not use a key for one of many, if they are joined by OR.
        within = f"+position > ? AND +position <= ?{text}"
        parts, bound = [], list[object]()
        for prefix in prefixes:
            parts.append(
                f"SELECT position FROM events WHERE stream >= ? AND stream < ? AND {within}"
            )
            bound += (f"{prefix}/", f"{prefix}0", after, until, *values)
            parts.append(f"SELECT position FROM events WHERE stream = ? AND {within}")
            bound += (prefix, after, until, *values)
        statement = f"{' UNION ALL '.join(parts)} ORDER BY position"
        with self._read_lock:
            try:
                rows = self._reader.execute(statement, tuple(bound))
                return array("q", (row[0] for row in rows))
            except sqlite3.Error as error:
                raise LogUnavailable(_explain(self.path, error, self._busy_timeout_s)) from error

    # --------------------------------------------------------------------------------- waiting

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

    # ------------------------------------------------------------------------------ connecting

    def _connect(self) -> sqlite3.Connection:
        database = sqlite3.connect(
            self.path,
            timeout=self._busy_timeout_s,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            database.execute("PRAGMA synchronous = FULL")
        except sqlite3.Error:
            database.close()
            raise
        return database

    def _create(self) -> None:
        database = self._connect()
        try:
            (found,) = database.execute("PRAGMA user_version").fetchone()
            (owner,) = database.execute("PRAGMA application_id").fetchone()
            if found not in (0, self.format) or owner not in (0, APPLICATION_ID):
                raise LogFormatError(
                    f"event log {self.path} has format {found} of another or a newer program;"
                    f" this one reads format {self.format}"
                )
            if not found:
                database.execute("PRAGMA journal_mode = WAL")
                database.execute("BEGIN IMMEDIATE")
                database.execute(_SCHEMA)
                database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                database.execute(f"PRAGMA user_version = {FORMAT}")
                database.execute("COMMIT")
        finally:
            database.close()


def format_of(path: Path) -> int:
    """The format of the log at `path`; 0 if there is none, or none that can be read (who opens
    it says what is wrong)."""
    if not path.exists():
        return 0
    try:
        with closing(sqlite3.connect(path, timeout=1.0)) as database:
            found: int = database.execute("PRAGMA user_version").fetchone()[0]
    except sqlite3.Error:
        return 0
    return found


def _of_types(patterns: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """The condition on the type, to be appended to another, and its values."""
    if not patterns:
        return "", ()
    return f" AND ({' OR '.join(['type GLOB ?'] * len(patterns))})", tuple(patterns)


_CONNECTION_STAYS_GOOD: Final = (None, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL)


def _stream_of(entry: Entry) -> str:
    return entry.stream if isinstance(entry, Decision) else entry[STREAM]


def _current(database: sqlite3.Connection, stream: str) -> int:
    return _number(
        database.execute("SELECT max(version) FROM events WHERE stream = ?", (stream,)).fetchall()
    )


def _number(rows: list[tuple[Any, ...]]) -> int:
    number: int | None = rows[0][0]
    return number or 0


def _explain(path: Path, error: Exception, busy_timeout_s: float) -> str:
    """What is wrong, for the operator who has to mend it."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return f"event log {path}: the disk is full; free some space, nothing else is needed"
    if code == sqlite3.SQLITE_BUSY:
        return f"event log {path}: locked by another process for more than {busy_timeout_s:g} s"
    return f"event log {path}: {error}"
