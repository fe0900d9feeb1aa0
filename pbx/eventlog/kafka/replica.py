"""The tables that make a local log a replica and a journal, and how folded records get into it.

Used by the log role alone (one process writes here; facts of other processes enter ``events`` as
they always did). Everything that a batch of Kafka records changes, events, addresses, lanes,
verdicts and the offsets read up to, is one transaction: after a crash the role reads on from a
state that is that of some offset exactly.

- ``events`` rows without a row in ``shipped`` are the *journal*: facts of this node that Kafka does
  not have yet, or that were not met there yet. Their versions are tentative.
- When a fact of this node is met, its row gets its address and, if the version was taken in the
  meantime, its final version. Events of others and of decisions are inserted.
- These transactions are not synced to the disk: what a power cut takes is read from Kafka again.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from pbx.eventlog.embedded_file import APPLICATION_ID, CLUSTER_FORMAT, COLUMNS, ONE_ROW
from pbx.eventlog.kafka.envelope import Envelope
from pbx.eventlog.kafka.fold import Lane, Verdict, fold
from pbx.eventlog.memory import same_fact
from pbx.eventlog.record import START, Position, Row
from pbx.kernel.errors import LogFormatError, LogUnavailable

BUSY_S: Final = 5.0
"""Others write for milliseconds."""
MOVED: Final = 100
"""Tentative versions of a stream that are moved for one record: half a millisecond."""
VERSIONS_KEPT: Final = 50_000
"""Streams whose version is kept in memory (about 10 MB); others cost one look into the file."""
VERDICTS_KEPT: Final = 10_000
"""Verdicts that a caller may still ask for after the role died: minutes of a busy cluster."""

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS cluster (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS partitions (
    id          INTEGER PRIMARY KEY,
    name        TEXT    NOT NULL UNIQUE,
    next_offset INTEGER NOT NULL,
    base_offset INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS shipped (
    position     INTEGER PRIMARY KEY,
    partition    INTEGER NOT NULL,
    kafka_offset INTEGER NOT NULL,
    idx          INTEGER NOT NULL,
    UNIQUE (partition, kafka_offset, idx)
) STRICT;
CREATE TABLE IF NOT EXISTS lanes (
    partition INTEGER NOT NULL,
    writer    TEXT    NOT NULL,
    session   INTEGER NOT NULL,
    seq       INTEGER NOT NULL,
    PRIMARY KEY (partition, writer)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS verdicts (
    number   INTEGER PRIMARY KEY,
    id       TEXT    NOT NULL UNIQUE,
    position INTEGER NOT NULL,
    current  INTEGER NOT NULL
) STRICT;
"""

_VERSION: Final = (
    "SELECT version FROM events AS e JOIN shipped AS s USING (position)"
    " WHERE e.stream = ? AND s.kafka_offset >= ? ORDER BY version DESC LIMIT 1"
)
_JOURNAL: Final = (
    f"SELECT position, {COLUMNS} FROM events WHERE position > ? AND position <= ?"
    " AND NOT EXISTS (SELECT 1 FROM shipped WHERE shipped.position = events.position)"
    " ORDER BY position LIMIT ?"
)
_BACKLOG: Final = (
    "WITH low AS (SELECT CAST(value AS INTEGER) AS at FROM cluster WHERE name = 'shipped')"
    " SELECT (SELECT coalesce(max(position), 0) FROM events) - low.at"
    " - (SELECT count(*) FROM shipped WHERE position > low.at),"
    " (SELECT time_ns FROM events WHERE position > low.at AND NOT EXISTS"
    " (SELECT 1 FROM shipped WHERE shipped.position = events.position) ORDER BY position LIMIT 1)"
    " FROM low"
)


class Met(NamedTuple):
    """A record as it came from Kafka; None for a value that is no record of ours."""

    partition: int
    offset: int
    envelope: Envelope | None


class Own(NamedTuple):
    """What became of a record of this node."""

    partition: int
    envelope: Envelope
    verdict: Verdict
    lane: Lane | None
    """Of this node in the partition, before the record."""
    position: Position
    """Of the last event, if VALID."""


class Partition(NamedTuple):
    """How far a partition was read."""

    id: int
    name: str
    next_offset: int
    base_offset: int
    """First offset this replica has; above 0 the partition had been cut before."""


def join(path: Path, writer: str) -> None:
    """Make the embedded log at `path` this node's part of a cluster; once made it stays so.

    `writer` names the file for ever. What the log has already is shipped like later facts.
    """
    with closing(_connect(path)) as database:
        try:
            (found,) = database.execute("PRAGMA user_version").fetchone()
            if found > CLUSTER_FORMAT:
                raise LogFormatError(f"event log {path} has format {found} of a newer program")
            if found == CLUSTER_FORMAT:
                return
            database.execute("BEGIN IMMEDIATE")
            for statement in SCHEMA.split(";"):
                database.execute(statement)
            database.execute("INSERT OR IGNORE INTO cluster VALUES ('writer', ?)", (writer,))
            database.execute("INSERT OR IGNORE INTO cluster VALUES ('session', '0')")
            database.execute("INSERT OR IGNORE INTO cluster VALUES ('shipped', '0')")
            database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            database.execute(f"PRAGMA user_version = {CLUSTER_FORMAT}")
            database.execute("COMMIT")
        except sqlite3.Error as error:
            raise LogUnavailable(f"event log {path}: {error}") from error


class Replica:
    """The writing side of the replica. Used by one thread; see :class:`Journal` for another."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._database = _connect(path)
        self._database.execute("PRAGMA synchronous = NORMAL")
        self.writer: str = self.value("writer")
        self.partitions: dict[int, Partition] = {}
        self._lanes: dict[tuple[int, str], Lane] = {}
        self._moved: set[tuple[int, str]] = set()
        """Lanes that the transaction moved."""
        self._versions: dict[str, int | None] = {}
        self._load()

    def _load(self) -> None:
        self._versions.clear()
        self._moved.clear()
        self.partitions = {
            row[0]: Partition(*row)
            for row in self._database.execute(
                "SELECT id, name, next_offset, base_offset FROM partitions ORDER BY id"
            )
        }
        self._lanes = {
            (partition, writer): Lane(session, seq)
            for partition, writer, session, seq in self._database.execute(
                "SELECT partition, writer, session, seq FROM lanes"
            )
        }

    def value(self, name: str, default: str = "") -> str:
        """A remembered word about the cluster."""
        row = self._database.execute("SELECT value FROM cluster WHERE name = ?", (name,)).fetchone()
        return row[0] if row is not None else default

    def remember(self, name: str, value: str) -> None:
        """Durable on return."""
        self._database.execute("PRAGMA synchronous = FULL")
        self._database.execute("INSERT OR REPLACE INTO cluster VALUES (?, ?)", (name, value))
        self._database.execute("PRAGMA synchronous = NORMAL")

    def add_partitions(self, bases: dict[str, int]) -> None:
        """Begin to read partitions, each at an offset; all of them or none."""
        with self._database:
            self._database.execute("BEGIN IMMEDIATE")
            self._database.executemany(
                "INSERT INTO partitions (name, next_offset, base_offset) VALUES (?, ?, ?)",
                [(name, base, base) for name, base in bases.items()],
            )
        self._load()

    def has_shared_events(self) -> bool:
        """Whether the log has events that other nodes have a say in."""
        found = self._database.execute(
            "SELECT 1 FROM events WHERE stream NOT GLOB 'call/*' AND stream NOT GLOB 'node/*'"
            " AND stream NOT GLOB 'cdr/*' LIMIT 1"
        ).fetchone()
        return found is not None

    def cut(self, partition: int, base_offset: int) -> None:
        """Kafka deleted what this node had not read: go on from `base_offset`."""
        with self._database:
            self._database.execute("BEGIN IMMEDIATE")
            self._database.execute(
                "UPDATE partitions SET next_offset = ?, base_offset = ? WHERE id = ?",
                (base_offset, base_offset, partition),
            )
            self._database.execute("DELETE FROM lanes WHERE partition = ?", (partition,))
        self._load()

    def lane(self, partition: int) -> Lane | None:
        """Of this node."""
        return self._lanes.get((partition, self.writer))

    # Applying.

    def apply(self, batch: Sequence[Met]) -> list[Own]:
        """Fold a batch and store what it has; returns what became of this node's own records.

        Raises ``LogUnavailable``: then nothing was stored, and the batch may be tried again.
        """
        database = self._database
        own: list[Own] = []
        try:
            database.execute("BEGIN IMMEDIATE")
            for met in batch:
                if met.envelope is not None:
                    self._fold(met.partition, met.offset, met.envelope, own)
            self._advance(batch, own)
            database.execute("COMMIT")
        except BaseException as error:
            with suppress(sqlite3.Error):
                if database.in_transaction:
                    database.execute("ROLLBACK")
            with suppress(sqlite3.Error):
                self._load()
            if isinstance(error, sqlite3.Error):
                raise LogUnavailable(f"event log {self._path}: {error}") from error
            raise
        if len(self._versions) > VERSIONS_KEPT:
            self._versions.clear()
        return own

    def _fold(self, partition: int, offset: int, record: Envelope, own: list[Own]) -> None:
        key = (partition, record.writer)
        lane = self._lanes.get(key)
        base = self.partitions[partition].base_offset

        def version_of(stream: str) -> int | None:
            if stream not in self._versions:
                row = self._database.execute(_VERSION, (stream, base)).fetchone()
                self._versions[stream] = row[0] if row is not None else None
            return self._versions[stream]

        verdict = fold(record, lane, version_of, cut=base > 0)
        mine = record.writer == self.writer
        position = START
        if verdict.versions:
            position = self._store(partition, offset, record, verdict.versions, mine=mine)
            self._versions[record.stream] = verdict.current
        if verdict.in_lane:
            self._lanes[key] = Lane(record.session, record.seq)
            self._moved.add(key)
        if mine:
            if verdict.in_lane and record.id:
                self._database.execute(
                    "INSERT OR IGNORE INTO verdicts (id, position, current) VALUES (?, ?, ?)",
                    (record.id, position, verdict.current),
                )
            own.append(Own(partition, record, verdict, lane, position))

    def _store(
        self,
        partition: int,
        offset: int,
        record: Envelope,
        versions: tuple[int, ...],
        *,
        mine: bool,
    ) -> Position:
        database = self._database
        position = START
        for index, row in enumerate(record.rows(versions)):
            if mine and record.at:
                position = self._find(record.at, row)
                if position:
                    self._settle(position, row)
            if not (mine and record.at and position):
                position = self._insert(row)
            database.execute(
                "INSERT INTO shipped VALUES (?, ?, ?, ?)", (position, partition, offset, index)
            )
        return position

    def _find(self, at: Position, row: Row) -> Position:
        """The journal's row of a fact of this node. None where a power cut took it from the
        journal after it was shipped, or a backup was put back: then Kafka has what we lost."""
        stored = self._database.execute(
            f"SELECT {COLUMNS} FROM events WHERE position = ?"
            " AND NOT EXISTS (SELECT 1 FROM shipped WHERE position = events.position)",
            (at,),
        ).fetchone()
        return at if stored is not None and stored[0] == row[0] and same_fact(stored, row) else 0

    def _settle(self, position: Position, row: Row) -> None:
        """Give a fact of this node its final version."""
        stream, version = row[0], row[1]
        database = self._database
        (present,) = database.execute(
            "SELECT version FROM events WHERE position = ?", (position,)
        ).fetchone()
        if present == version:
            return
        self._make_room(stream, version)
        database.execute("UPDATE events SET version = ? WHERE position = ?", (version, position))

    def _insert(self, row: Row) -> Position:
        statement = f"INSERT INTO events ({COLUMNS}) VALUES {ONE_ROW}"
        try:
            cursor = self._database.execute(statement, row)
        except sqlite3.IntegrityError:
            self._make_room(row[0], row[1])
            cursor = self._database.execute(statement, row)
        position = cursor.lastrowid
        assert position is not None
        return position

    def _make_room(self, stream: str, version: int) -> None:
        """Move the journal's tentative versions behind the one that Kafka gave to another.

        They keep their order, unless there are so many that moving them for every record would
        keep the file locked: then the one in the way goes to the end. All get their final
        versions, in order, as they are met.
        """
        rows = self._database.execute(
            "SELECT position, version FROM events AS e WHERE stream = ? AND version >= ? AND NOT"
            " EXISTS (SELECT 1 FROM shipped WHERE shipped.position = e.position)"
            " ORDER BY version DESC LIMIT ?",
            (stream, version, MOVED + 1),
        ).fetchall()
        if len(rows) > MOVED:
            self._database.execute(
                "UPDATE events SET version = ? WHERE stream = ? AND version = ?",
                (rows[0][1] + 1, stream, version),
            )
            return
        for position, tentative in rows:
            self._database.execute(
                "UPDATE events SET version = ? WHERE position = ?", (tentative + 1, position)
            )

    def _advance(self, batch: Sequence[Met], own: list[Own]) -> None:
        ends = {met.partition: met.offset + 1 for met in batch}
        self._database.executemany(
            "UPDATE partitions SET next_offset = ? WHERE id = ?",
            [(end, partition) for partition, end in ends.items()],
        )
        self._database.executemany(
            "INSERT OR REPLACE INTO lanes VALUES (?, ?, ?, ?)",
            [(*key, *self._lanes[key]) for key in self._moved],
        )
        self._moved.clear()
        for partition, end in ends.items():
            self.partitions[partition] = self.partitions[partition]._replace(next_offset=end)
        if any(item.envelope.at for item in own):
            self._advance_shipped()
        if any(item.envelope.id for item in own):
            self._database.execute(
                "DELETE FROM verdicts WHERE number <= (SELECT max(number) FROM verdicts) - ?",
                (VERDICTS_KEPT,),
            )

    def _advance_shipped(self) -> None:
        """Remember below which position nothing is left in the journal."""
        database = self._database
        low = int(self.value("shipped", "0"))
        (first,) = database.execute(
            "SELECT min(position) FROM (SELECT position FROM events WHERE position > ? AND NOT"
            " EXISTS (SELECT 1 FROM shipped WHERE shipped.position = events.position)"
            " ORDER BY position LIMIT 1)",
            (low,),
        ).fetchone()
        if first is None:
            (head,) = database.execute("SELECT max(position) FROM events").fetchone()
            first = (head or 0) + 1
        if first - 1 > low:
            database.execute(
                "UPDATE cluster SET value = ? WHERE name = 'shipped'", (str(first - 1),)
            )

    def close(self) -> None:
        """Release the file."""
        self._database.close()


class Backlog(NamedTuple):
    """What Kafka has not got yet."""

    events: int
    oldest_s: float
    """Age of the oldest; 0 if there is none."""


class Journal:
    """The reading side that the shipper uses, and ``pbx log status``: what is not shipped yet."""

    def __init__(self, path: Path) -> None:
        self._database = _connect(path)
        self._database.execute("PRAGMA query_only = ON")

    def shipped_up_to(self) -> Position:
        """Every event up to here is in Kafka."""
        row = self._database.execute("SELECT value FROM cluster WHERE name = 'shipped'").fetchone()
        return int(row[0]) if row is not None else START

    def head(self) -> Position:
        """The last position."""
        (head,) = self._database.execute("SELECT max(position) FROM events").fetchone()
        return head or START

    def unshipped(self, after: Position, limit: int) -> tuple[list[tuple[Position, Row]], Position]:
        """The next facts, and the position up to which there are no others."""
        head = self.head()
        rows = self._database.execute(_JOURNAL, (after, head, limit)).fetchall()
        facts = [(row[0], row[1:]) for row in rows]
        return facts, facts[-1][0] if len(facts) == limit else max(head, after)

    def last_of(self, stream: str) -> Position:
        """Position of the last event of a stream, 0 if it has none."""
        row = self._database.execute(
            "SELECT position FROM events WHERE stream = ? ORDER BY version DESC LIMIT 1", (stream,)
        ).fetchone()
        return row[0] if row is not None else START

    def backlog(self, now_ns: int | None = None) -> Backlog:
        """What waits, known without a server too, and soon after hours of an outage: positions have
        no gaps, so events are counted by subtraction, and of those that follow the first one that
        waits only what other nodes wrote has to be looked through."""
        count, oldest = self._database.execute(_BACKLOG).fetchone()
        if not count or oldest is None:
            return Backlog(0, 0.0)
        now_ns = time.time_ns() if now_ns is None else now_ns
        return Backlog(count, max(0.0, (now_ns - oldest) / 1e9))

    def partitions(self) -> list[Partition]:
        """How far each partition was read."""
        rows: list[Any] = self._database.execute(
            "SELECT id, name, next_offset, base_offset FROM partitions ORDER BY name"
        ).fetchall()
        return [Partition(*row) for row in rows]

    def close(self) -> None:
        """Release the file."""
        self._database.close()


class Verdicts:
    """Looks up what became of this node's decisions, on any thread."""

    def __init__(self, path: Path) -> None:
        self._database = _connect(path)
        self._lock = threading.Lock()

    def verdict(self, append_id: str) -> tuple[Position, int] | None:
        """Position (0 if it was a conflict) and version after it; None if it was not met."""
        with self._lock:
            row: tuple[int, int] | None = self._database.execute(
                "SELECT position, current FROM verdicts WHERE id = ?", (append_id,)
            ).fetchone()
        return row

    def close(self) -> None:
        """Release the file."""
        self._database.close()


def next_session(path: Path, above: int = 0, *, now_us: int = 0) -> int:
    """A session number that this log has not used, and higher than `above`; durable on return.

    `now_us`, microseconds of wall time, is the least of it. Copies of one directory would count on
    alike and take each other's records for repetitions of their own; so the one that begins later
    ends the other's session, and both learn of each other.
    """
    with closing(_connect(path)) as database:
        try:
            database.execute("PRAGMA synchronous = FULL")
            database.execute("BEGIN IMMEDIATE")
            (value,) = database.execute(
                "SELECT value FROM cluster WHERE name = 'session'"
            ).fetchone()
            session = max(int(value) + 1, above + 1, now_us)
            database.execute("UPDATE cluster SET value = ? WHERE name = 'session'", (str(session),))
            database.execute("COMMIT")
        except sqlite3.Error as error:
            raise LogUnavailable(f"event log {path}: {error}") from error
    return session


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
