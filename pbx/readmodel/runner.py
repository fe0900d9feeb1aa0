"""The runner: carries events from the log into the tables, exactly once, in order.

Fed by an :class:`~pbx.eventlog.EventLog`; run by the project role for ever
(:meth:`Projector.run`) and by commands when no server runs (:func:`catch_up`). Whoever runs it
holds the lease of the partition of the log that it reads; a log that is one file has one partition.

Rows and checkpoint commit in one transaction, in which the checkpoint is locked and must be the one
the projector went on from: of two that both believe to hold a lease one begins again. An event that
a projection cannot apply stops that projection before it, visibly (table ``projections``), and no
other; it tries again when it is started anew, and an operator may skip the event: the log remembers
that (``projection.skipped.v1``), and the table ``skipped_events`` as long as it lives.

A checkpoint names the event at its position. If the log has another one there it is not the log
the rows came from: it was restored from a backup, or lost its last second in a power cut and has
grown again. Then the projection begins anew.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from heapq import merge
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, bindparam, delete, select, update
from sqlalchemy.exc import InterfaceError, OperationalError

from pbx.domain.readmodel import STREAM, ProjectionSkipped
from pbx.eventlog import ANY_VERSION, START, EventLog, Meta, Position, Record
from pbx.kernel.clock import Clock, SystemClock
from pbx.kernel.errors import (
    LagTimeout,
    LogUnavailable,
    PbxError,
    ProjectionStopped,
    ReadModelAway,
)
from pbx.kernel.events import Event
from pbx.readmodel.cdr_feed import forget_feed
from pbx.readmodel.database import Database
from pbx.readmodel.partitions import concerned
from pbx.readmodel.projection import Projection, insert_missing, run_rows, write_rows
from pbx.readmodel.tables import cdr_files, skipped_events
from pbx.readmodel.tables import projections as checkpoints

BATCH: Final = 2000
"""Records to a transaction: large enough for rebuilds, written in some 20 ms."""
SETTLE_S: Final = 0.5
"""How soon what follows the tables is brought up (text call records), and how long the projector
sleeps at most between looks at its stop signal."""
LOOK_S: Final = 2.0
"""How soon an idle projector notices that somebody rebuilt its tables or skipped an event."""
WAIT_S: Final = 1.0
"""Pause before trying again while the database cannot be written."""
GATHER_S: Final = 0.03
"""Pause after the first new record: a transaction costs as much for one record as for fifty. With
the log's own poll the tables lag some 50 ms."""
REBUILD_BATCH: Final = 10_000
"""Records to a transaction on a file that nobody else uses; some 20 MB."""
POLL_S: Final = 0.02
"""How often :func:`wait_for` looks at the checkpoints."""

_SKIPPED: Final = select(
    skipped_events.c.projection, skipped_events.c.partition, skipped_events.c.position
)
_MEND: Final = (
    update(checkpoints)
    .where(checkpoints.c.partition == bindparam("its_partition"), checkpoints.c.error != "")
    .values(error="", error_position=0)
)
_AWAY: Final = (OperationalError, InterfaceError, ReadModelAway)
"""The disk, the file or the server, not the event."""

logger = logging.getLogger(__name__)


class Checkpoint(NamedTuple):
    """A row of ``projections``."""

    name: str
    position: Position
    generation: int
    error: str
    error_position: Position
    time_ns: int = 0
    """Of the event at `position`; 0 if it is not known."""
    partition: str = ""


_CHECKPOINTS: Final = select(*(checkpoints.c[name] for name in Checkpoint._fields)).order_by(
    checkpoints.c.name, checkpoints.c.partition
)


class _Moved(PbxError):
    """Somebody else (a rebuild) wrote our tables: forget what we remember and read them again."""


class Projector:
    """Runs `projections` over `log` into `database`.

    `log` is one partition of a log, named `partition`: only those projections are run that may
    find something in it.
    """

    def __init__(
        self,
        log: EventLog,
        database: Database,
        projections: Sequence[Projection],
        *,
        partition: str = "",
        clock: Clock | None = None,
        batch: int = BATCH,
    ) -> None:
        self._log = log
        self._database = database
        self._partition = partition
        self._projections = {p.name: p for p in concerned(partition, projections)}
        self._clock = clock if clock is not None else SystemClock()
        self._batch = batch
        self._at: dict[str, Checkpoint] = {}
        self.applied = 0
        """Records read from the log so far."""
        for projection in self._projections.values():
            projection.partition = partition
        self._load()
        self._ahead = False
        self._forget_other_histories()
        self._start_again()
        self._settle()

    def run(self, stop: threading.Event) -> None:
        """Project until `stop` is set; what is in the log by then is projected.

        A full disk, a locked file: it waits and tries again, and says so once.
        """
        trouble = ""
        due = time.monotonic()
        while True:
            stopping = stop.is_set()
            try:
                while self.step():
                    due = min(due, time.monotonic() + SETTLE_S)
                if trouble:
                    self._look()  # there may have been nothing to write
                    logger.warning("read model works again")
                trouble = ""
                if stopping or time.monotonic() >= due:
                    due = time.monotonic() + LOOK_S
                    self._look()
                if not stopping and self._log.wait(self._lowest(), SETTLE_S):
                    stop.wait(GATHER_S)
            except (*_AWAY, LogUnavailable) as error:
                if not trouble:
                    logger.error("read model cannot be written, trying again: %s", error)
                trouble = str(error)
                stop.wait(WAIT_S)
            if stopping:
                return

    def catch_up(self, until: Position) -> None:
        """Project everything up to `until` and nothing beyond (what stopped stays behind)."""
        while self.step(until):
            pass
        self._settle()

    def step(self, until: Position | None = None) -> bool:
        """Project the next batch; False if there was nothing to do."""
        running = self._running()
        if not running:
            return False
        if self._ahead:
            self._forget_other_histories()
        records = list(self._log.read(self._lowest(), limit=self._batch))
        if until is not None:
            records = [record for record in records if record.position <= until]
        if not records:
            return False
        try:
            self._project(running, records)
        except _Moved:
            self._load()
            return True
        self.applied += len(records)
        return True

    def _settle(self) -> None:
        for projection in self._projections.values():
            projection.settled()

    def reload(self) -> None:
        """Read checkpoints and skipped events once more."""
        self._load()

    def _look(self) -> None:
        """A rebuild may have replaced tables, an operator skipped an event."""
        self._load()
        self._settle()

    def _running(self) -> list[Projection]:
        return [p for p in self._projections.values() if not self._at[p.name].error]

    def _lowest(self) -> Position:
        positions = [c.position for c in self._at.values() if not c.error]
        return min(positions, default=self._log.head())

    def _project(self, running: Iterable[Projection], records: Sequence[Record]) -> None:
        decoded = _by_category(running, records)
        last = records[-1]
        sound: list[Projection] = []
        failed: list[Projection] = []
        for projection in running:
            try:
                _apply(projection, decoded, self._at[projection.name].position)
                sound.append(projection)
            except Exception:  # noqa: BLE001  whatever it is: _isolate finds the event and says so
                failed.append(projection)
        try:
            self._write(sound, last)
        except _Flush as error:
            if self._database.careful():
                raise _Moved from error  # the batch comes once more, looked through
            failed.append(error.projection)
        for projection in failed:
            self._isolate(projection, last.position)

    def _write(self, flushed: Sequence[Projection], last: Record) -> None:
        """Rows and checkpoints of `flushed` in one transaction, all or none."""
        moved = [
            self._at[p.name]._replace(position=last.position, time_ns=last.time_ns)
            for p in flushed
            if self._at[p.name].position < last.position
        ]
        try:
            with self._database.write() as connection:
                self._lock(connection, [c.name for c in moved])
                for projection in flushed:
                    try:
                        projection.flush(connection)
                    except _AWAY:
                        raise
                    except Exception as error:
                        raise _Flush(projection) from error
                self._store(connection, moved)
        except BaseException:
            for projection in flushed:
                projection.reset()
            self._load()
            raise
        for projection in flushed:
            projection.committed()

    def _isolate(self, projection: Projection, until: Position) -> None:
        """Take a failing projection event by event up to the one it fails at."""
        projection.reset()
        position = self._at[projection.name].position
        for record in self._log.read(position, limit=self._batch):
            if record.position > until:
                return
            try:
                _apply(projection, _by_category([projection], [record]), position)
                self._write([projection], record)
            except (_Moved, *_AWAY):
                raise
            except Exception as error:  # noqa: BLE001  reported in the table and in the log
                cause = error.__cause__ if isinstance(error, _Flush) else error
                projection.reset()
                self._stop(projection.name, record.position, f"{type(cause).__name__}: {cause}")
                return

    def _stop(self, name: str, position: Position, reason: str) -> None:
        logger.error(
            "projection %s stopped at position %d%s: %s",
            name,
            position,
            f" of {self._partition}" if self._partition else "",
            reason,
        )
        with self._database.write() as connection:
            self._lock(connection, [name])
            self._store(
                connection, [self._at[name]._replace(error=reason, error_position=position)]
            )

    def _lock(self, connection: Connection, names: Sequence[str]) -> None:
        """Keep others from moving our checkpoints before the commit; raises :class:`_Moved` if
        somebody has."""
        if _load(connection, names, self._partition, lock=True) != {n: self._at[n] for n in names}:
            raise _Moved

    def _load(self) -> None:
        """Read the checkpoints; projections whose tables were replaced forget what they know."""
        with self._database.read() as connection:
            found = _load(connection, self._projections, self._partition)
            skipped = load_skipped(connection, self._partition)
        for name, projection in self._projections.items():
            new = Checkpoint(name, START, 0, "", 0, partition=self._partition)
            checkpoint = found.get(name, new)
            if checkpoint != self._at.get(name):
                projection.reset()
            self._at[name] = checkpoint
            projection.skipped = skipped.get(name, frozenset())

    def _forget_other_histories(self) -> None:
        """Empty what was projected from a log that is not this one, all partitions of it.

        A checkpoint that this node's copy has not reached is looked at again when it has.
        """
        self._ahead = any(is_ahead(self._log, checkpoint) for checkpoint in self._at.values())
        for name, checkpoint in self._at.items():
            if is_of(self._log, checkpoint):
                continue
            with self._database.write() as connection:
                found = [c for c in load_checkpoints(connection, lock=True) if c.name == name]
                if checkpoint not in found:
                    continue  # another node was faster
                logger.warning(
                    "projection %s is at position %d of another log: it begins anew",
                    name,
                    checkpoint.position,
                )
                for table in self._projections[name].tables:
                    connection.execute(delete(table))
                connection.execute(
                    delete(skipped_events).where(skipped_events.c.projection == name)
                )
                anew = [
                    Checkpoint(name, START, c.generation + 1, "", 0, partition=c.partition)
                    for c in found
                ]
                store_checkpoints(connection, anew, self._clock.wall_ns())
                forget_files(connection, name)
                forget_feed(connection, name)
        self._load()

    def _start_again(self) -> None:
        """Whatever stopped before may have been mended since; who is new begins."""
        with self._database.write() as connection:
            known = _load(connection, self._projections, self._partition, lock=True)
            new = [c for name, c in self._at.items() if name not in known]
            add_checkpoints(connection, new, self._clock.wall_ns())
            connection.execute(
                _MEND.where(checkpoints.c.name.in_(list(self._projections))),
                {"its_partition": self._partition},
            )
        self._load()

    def _store(self, connection: Connection, changed: Sequence[Checkpoint]) -> None:
        store_checkpoints(connection, changed, self._clock.wall_ns())
        self._at.update((checkpoint.name, checkpoint) for checkpoint in changed)


class _Flush(PbxError):
    """`projection` could not write its rows."""

    def __init__(self, projection: Projection) -> None:
        super().__init__(projection.name)
        self.projection = projection


Decoded = tuple[Record, Event | Exception]


def _by_category(
    running: Iterable[Projection], records: Iterable[Record]
) -> dict[str, list[Decoded]]:
    """The records that somebody wants, decoded once for all of them."""
    decoded: dict[str, list[Decoded]] = {c: [] for p in running for c in p.categories}
    for record in records:
        wanted = decoded.get(record.category)
        if wanted is not None:
            wanted.append((record, _decode(record)))
    return decoded


def _decode(record: Record) -> Event | Exception:
    try:
        return record.event
    except PbxError as error:
        return error


def _apply(projection: Projection, decoded: dict[str, list[Decoded]], after: Position) -> None:
    apply, skipped = projection.apply, projection.skipped
    for record, event in _merged([decoded[category] for category in projection.categories]):
        if record.position > after and record.position not in skipped:
            if isinstance(event, Exception):
                raise event
            apply(record, event)


def _merged(parts: list[list[Decoded]]) -> Iterable[Decoded]:
    if len(parts) == 1:
        return parts[0]
    return merge(*parts, key=lambda item: item[0].position)


_COLUMNS: Final = (*Checkpoint._fields, "updated_ns")


def store_checkpoints(connection: Connection, changed: Sequence[Checkpoint], now_ns: int) -> None:
    """Write rows of ``projections``."""
    write_rows(connection, checkpoints, _COLUMNS, [(*row, now_ns) for row in changed])


def add_checkpoints(connection: Connection, new: Sequence[Checkpoint], now_ns: int) -> None:
    """Write rows of ``projections`` that are not there yet; another node may be adding them."""
    add = insert_missing(checkpoints, connection.dialect.name)
    run_rows(connection, add, _COLUMNS, [(*row, now_ns) for row in new])


def _load(
    connection: Connection, names: Iterable[str], partition: str, *, lock: bool = False
) -> dict[str, Checkpoint]:
    wanted = set(names)
    found = load_checkpoints(connection, partition, lock=lock)
    return {c.name: c for c in found if c.name in wanted}


def load_checkpoints(
    connection: Connection, partition: str | None = None, *, lock: bool = False
) -> list[Checkpoint]:
    """How far the projections are, in one partition or in all, by name.

    With `lock` nobody else moves them before the end of the transaction.
    """
    query = _CHECKPOINTS
    if partition is not None:
        query = query.where(checkpoints.c.partition == partition)
    if lock:
        query = query.with_for_update()
    return [Checkpoint(*row) for row in connection.execute(query)]


def projection_status(connection: Connection) -> list[dict[str, Any]]:
    """The rows of ``projections``, by name: what operators look at."""
    order = (checkpoints.c.name, checkpoints.c.partition)
    rows = connection.execute(select(checkpoints).order_by(*order))
    return [dict(row) for row in rows.mappings()]


def is_of(log: EventLog, checkpoint: Checkpoint) -> bool:
    """Whether `checkpoint` was made from `log`.

    In a partition another node may be ahead of this one's copy: that says nothing yet.
    """
    if checkpoint.position == START or is_ahead(log, checkpoint):
        return True
    record = log.at(checkpoint.position)
    return record is not None and checkpoint.time_ns in (0, record.time_ns)


def is_ahead(log: EventLog, checkpoint: Checkpoint) -> bool:
    """Whether a node that has read more of the partition wrote `checkpoint`."""
    return bool(checkpoint.partition) and checkpoint.position > log.head()


def forget_files(connection: Connection, name: str) -> None:
    """The rows of `name` were replaced: if they are call records, the text files begin anew."""
    if name == "cdrs":
        connection.execute(delete(cdr_files))


def load_skipped(connection: Connection, partition: str = "") -> dict[str, frozenset[Position]]:
    """What operators let projections step over in a partition."""
    found: defaultdict[str, set[Position]] = defaultdict(set)
    for name, its_partition, position in connection.execute(_SKIPPED):
        if its_partition == partition:
            found[name].add(position)
    return {name: frozenset(positions) for name, positions in found.items()}


def skip_event(
    log: EventLog, database: Database, name: str, partition: str = "", *, actor: str = ""
) -> Position | None:
    """Let a stopped projection go on behind the event it stopped at: an operator's act.

    Returns the position of that event, None if `name` runs. A running projector notices; rebuilds
    remember, and so does the log when the read model is deleted. Raises ``LogUnavailable``.
    """
    with database.read() as connection:
        stopped = _load(connection, [name], partition).get(name)
    if stopped is None or not stopped.error:
        return None
    skipped = ProjectionSkipped(
        projection=name,
        partition=partition,
        position=stopped.error_position,
        reason=stopped.error,
    )
    # The log first: a read model that lacks a skip gets it from there.
    log.append(STREAM, ANY_VERSION, [skipped], Meta(actor=actor, time_ns=SystemClock().wall_ns()))
    recall_skipped(log, database)
    with database.write() as connection:
        if _load(connection, [name], partition, lock=True).get(name) == stopped:
            goes_on = stopped._replace(
                generation=stopped.generation + 1, error="", error_position=0
            )
            store_checkpoints(connection, [goes_on], SystemClock().wall_ns())
    return stopped.error_position


def recall_skipped(log: EventLog, database: Database) -> bool:
    """Bring the table of skipped events level with the log; projectors made later step over.

    True if it had to be.
    """
    rows = {
        (event.projection, event.partition, event.position): (event.reason, record.time_ns)
        for record in log.read_stream(STREAM)
        if isinstance(event := record.event, ProjectionSkipped)
    }
    if not rows:
        return False
    with database.read() as connection:
        known = {tuple(row) for row in connection.execute(_SKIPPED)}
    missing = [(*key, *rows[key]) for key in rows if key not in known]
    if missing:
        with database.write() as connection:
            add = insert_missing(skipped_events, connection.dialect.name)
            names = ("projection", "partition", "position", "error", "skipped_ns")
            run_rows(connection, add, names, missing)
    return bool(missing)


def wait_for(
    database: Database,
    position: Position,
    names: Sequence[str] = (),
    timeout_s: float = 5.0,
    *,
    partition: str = "",
) -> None:
    """Return once the tables hold everything up to `position`: read what you wrote.

    Raises :class:`ProjectionStopped` or :class:`LagTimeout`.
    """
    deadline = time.monotonic() + timeout_s
    pause = threading.Event()
    while not reached(database, position, names, partition):
        if time.monotonic() > deadline:
            raise LagTimeout(f"the read model did not reach position {position} in {timeout_s} s")
        pause.wait(POLL_S)


def reached(
    database: Database, position: Position, names: Sequence[str] = (), partition: str = ""
) -> bool:
    """Whether all (or the named) projections are at `position`. Raises ProjectionStopped."""
    with database.read() as connection:
        every = load_checkpoints(connection, partition)
    found = [c for c in every if not names or c.name in names]
    for checkpoint in found:
        if checkpoint.error and checkpoint.error_position <= position:
            raise ProjectionStopped(checkpoint.name, checkpoint.error_position, checkpoint.error)
    return len(found) >= max(1, len(names)) and all(
        checkpoint.position >= position for checkpoint in found
    )
