"""The file of the configuration database: made, brought level with the log, made anew.

Any process may bring it level (:meth:`ConfigDb.advance`): one that is about to look something up,
one that has just changed something, the project role, which does nothing else meanwhile. A batch of
records, the rows they change and the position they reach are one transaction, which begins where
the one before it ended; so it does not matter who does it, how many do, or when one of them dies.

The position is that of the last record of the configuration. Such records are decisions, but for
addresses that rules remembered: no power cut takes them from the log. If the log has another record
there, it was restored from a backup, and the file is made anew.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

from pbx.configdb.fold import Fold
from pbx.configdb.reader import ConfigReader, ConfigUnavailable
from pbx.domain.accounts import CONFIG
from pbx.eventlog import START, Codec, EventLog, Position, Record, open_keys
from pbx.eventlog.keystore import create_private

log = logging.getLogger("pbx.configdb")

FILE: Final = "config.sqlite3"
FORMAT: Final = 2
"""``PRAGMA user_version``; a file of another format is made anew. It changes with the tables, with
the rows (:mod:`.rows`) and with what they mean."""
BATCH: Final = 2_000
"""Records of one transaction: some 50 ms, for which other writers of the file wait."""
_BUSY_S: Final = 30.0
"""Whoever waits for another's batch waits for milliseconds; while the file is made, for batches."""
_SEEN_EVERY: Final = 5_000
"""Positions without configuration after which the file says so; a start looks through no more."""
_SEEN_AGE_S: Final = 5.0
"""How old such a position is at least: what is younger may be lost in a power cut, and given
again."""
_CACHE_KB: Final = 8_192
"""Pages that a connection keeps; the operating system has the others."""
_BROKEN: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

_SCHEMA: Final = """
CREATE TABLE level (
    id INTEGER PRIMARY KEY CHECK (id = 1), position INTEGER NOT NULL, time_ns INTEGER NOT NULL,
    seen INTEGER NOT NULL, accounts INTEGER NOT NULL, ruled_accounts INTEGER NOT NULL,
    ruled_domains INTEGER NOT NULL
) STRICT;
CREATE TABLE server (id INTEGER PRIMARY KEY CHECK (id = 1), data BLOB NOT NULL) STRICT;
CREATE TABLE domains (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, accounts INTEGER NOT NULL, data BLOB NOT NULL
) STRICT;
CREATE TABLE domain_names (name TEXT PRIMARY KEY, domain TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE objects (
    id INTEGER PRIMARY KEY, domain TEXT NOT NULL, name TEXT NOT NULL, kind INTEGER NOT NULL,
    data BLOB NOT NULL, UNIQUE (domain, name, kind)
) STRICT;
CREATE INDEX other_objects ON objects (domain, kind) WHERE kind > 0;
CREATE TABLE aliases (
    domain TEXT NOT NULL, alias TEXT NOT NULL, account TEXT NOT NULL, PRIMARY KEY (domain, alias)
) STRICT, WITHOUT ROWID;
CREATE TABLE telnums (
    digits TEXT PRIMARY KEY, number TEXT NOT NULL, address TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE noted_streams (
    stream TEXT NOT NULL, what TEXT NOT NULL, PRIMARY KEY (stream, what)
) STRICT, WITHOUT ROWID;
INSERT INTO level VALUES (1, 0, 0, 0, 0, 0, 0);
"""
_TABLES: Final = (
    "level", "server", "domains", "domain_names", "objects", "aliases", "telnums", "noted_streams",
    "trunk_streams",
)  # fmt: skip


class Level(NamedTuple):
    """What the file is level with."""

    position: Position
    time_ns: int
    seen: Position
    """Nothing of the configuration lies between `position` and here."""


class ConfigDb:
    """See the module. `path` None: in memory, for tests. Thread-safe.

    `codec` opens what is personal in events, not secrets; it is asked for when there is something
    to fold.
    """

    def __init__(self, path: Path | None, codec: Callable[[], Codec]) -> None:
        self._path = path
        self._make_codec = codec
        self._codec: Codec | None = None
        self._lock = threading.Lock()
        self._level_seen = START
        """Up to here this process knows the file to be level; looks at neither file nor log."""
        self._checked = False
        self._candidate: tuple[Position, float] = (START, 0.0)
        try:
            self._writer = self._open()
        except (OSError, sqlite3.Error) as error:
            raise ConfigUnavailable(f"{self._name}: {error}") from error

    @property
    def _name(self) -> str:
        return f"the configuration database {self._path or 'in memory'}"

    # Opening.

    def _open(self) -> sqlite3.Connection:
        if self._path is not None:
            create_private(self._path)
        try:
            return self._prepared()
        except sqlite3.DatabaseError as error:
            if self._path is None or error.sqlite_errorcode not in _BROKEN:
                raise
            log.warning("%s is broken and made anew: %s", self._name, error)
            for suffix in ("", "-wal", "-shm"):
                Path(f"{self._path}{suffix}").unlink(missing_ok=True)
            create_private(self._path)
            return self._prepared()

    def _prepared(self) -> sqlite3.Connection:
        database = self._connect()
        try:
            database.execute("PRAGMA synchronous = NORMAL")
            database.execute("PRAGMA secure_delete = FAST")
            if _format(database) != FORMAT:
                database.execute("PRAGMA journal_mode = WAL")  # the file keeps that
                with _immediate(database):
                    if _format(database) != FORMAT:  # nobody was faster
                        _make(database)
        except BaseException:
            database.close()
            raise
        return database

    def _connect(self) -> sqlite3.Connection:
        database = sqlite3.connect(
            ":memory:" if self._path is None else self._path,
            timeout=_BUSY_S,
            isolation_level=None,
            check_same_thread=False,
        )
        database.execute(f"PRAGMA cache_size = -{_CACHE_KB}")
        return database

    def reader(self) -> ConfigReader:
        """A connection for look-ups, for one thread at a time."""
        try:
            if self._path is None:
                return ConfigReader(self._writer, owned=False)
            database = self._connect()
            database.execute("PRAGMA query_only = ON")
            return ConfigReader(database)
        except sqlite3.Error as error:
            raise ConfigUnavailable(f"{self._name}: {error}") from error

    def close(self) -> None:
        """Release the file; readers are closed by who asked for them."""
        self._writer.close()

    # Levelling.

    @property
    def level(self) -> Level:
        """What the file is level with now."""
        with self._lock:
            return self._level()

    def advance(self, event_log: EventLog) -> Position:
        """Bring the file level with the log as it is now; returns the position reached.

        Costs a look at the log's head if nothing was appended. Raises :class:`ConfigUnavailable`,
        and what the log raises; then the file is as it was, or nearer.
        """
        head = event_log.head()
        if self._checked and head <= self._level_seen:
            return self._level_seen
        with self._lock:
            try:
                if not self._checked:
                    self._check(event_log)
                while not self._advanced(event_log, head):
                    pass
            except sqlite3.Error as error:
                raise ConfigUnavailable(f"{self._name}: {error}") from error
            return self._level_seen

    def _check(self, event_log: EventLog) -> None:
        """Whether the file is of this log."""
        level = self._level()
        if level.position > START:
            record = event_log.at(level.position)
            if record is None or record.time_ns != level.time_ns:
                log.warning("%s is of another log and made anew", self._name)
                with _immediate(self._writer):
                    if self._level() == level:
                        _make(self._writer)
        elif level.seen > event_log.head():
            with _immediate(self._writer):
                self._writer.execute("UPDATE level SET seen = position")
        if level.seen > max(level.position, event_log.head()):
            with _immediate(self._writer):  # a power cut took facts from the log's end
                self._writer.execute("UPDATE level SET seen = position")
        self._checked = True

    def _advanced(self, event_log: EventLog, head: Position) -> bool:
        """Fold what lies behind; False if somebody else did meanwhile."""
        level = self._level()
        if level.seen >= head:
            self._level_seen = head
            return True
        # One reading for all batches: far behind, it looks the whole configuration up at once.
        records = iter(event_log.read(level.seen, category=CONFIG))
        began = time.monotonic()
        folded = 0
        while batch := list(islice(records, BATCH)):
            with _immediate(self._writer) as database:
                if self._level() != level:
                    return False
                level = self._fold(database, batch)
            folded += len(batch)
            self._level_seen = level.seen
        if folded > 10 * BATCH:
            log.info(
                "%d events of the configuration were folded in %.1f s",
                folded,
                time.monotonic() - began,
            )
        self._level_seen = max(head, level.seen)
        self._note_seen(level)
        return True

    def _fold(self, database: sqlite3.Connection, batch: Sequence[Record]) -> Level:
        if self._codec is None:
            self._codec = self._make_codec()
        fold = Fold(database, self._codec)
        for record in batch:
            fold.apply(record)
        fold.flush()
        last = batch[-1]
        level = Level(last.position, last.time_ns, last.position)
        database.execute("UPDATE level SET position = ?, time_ns = ?, seen = ?", level)
        return level

    def _note_seen(self, level: Level) -> None:
        """Once in a while tell the next start how much it need not look at."""
        position, at = self._candidate
        now = time.monotonic()
        if position <= level.seen:
            self._candidate = (self._level_seen, now)
        elif now - at >= _SEEN_AGE_S and position - level.seen >= _SEEN_EVERY:
            with _immediate(self._writer) as database:
                if self._level() == level:
                    database.execute("UPDATE level SET seen = ?", (position,))
            self._candidate = (self._level_seen, now)

    def _level(self) -> Level:
        row = self._writer.execute("SELECT position, time_ns, seen FROM level").fetchone()
        return Level(*row)


def open_config(data_dir: Path) -> ConfigDb:
    """The configuration database of a data directory, made if there is none.

    Raises :class:`ConfigUnavailable`.
    """
    return ConfigDb(data_dir / FILE, lambda: Codec(open_keys(data_dir), secrets=False))


def _format(database: sqlite3.Connection) -> int:
    found: int = database.execute("PRAGMA user_version").fetchone()[0]
    return found


def _make(database: sqlite3.Connection) -> None:
    """Empty tables, within a transaction."""
    for table in _TABLES:
        database.execute(f"DROP TABLE IF EXISTS {table}")
    for statement in _SCHEMA.split(";"):
        if statement.strip():
            database.execute(statement)
    database.execute(f"PRAGMA user_version = {FORMAT}")


@contextlib.contextmanager
def _immediate(database: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    database.execute("BEGIN IMMEDIATE")
    try:
        yield database
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            database.execute("ROLLBACK")
        raise
    database.execute("COMMIT")
