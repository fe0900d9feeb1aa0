"""Rebuilding projections from zero, comparing, and putting right.

Run by ``pbx replay``, also beside a running server. The rebuild fills a file of its own and is
compared with a snapshot of the live tables: nobody waits for that. Equal tables prove that
projection and history fit; differences mean that a projection was changed (or was wrong). Then the
live rows are put right part by part, each in a short transaction at whose begin the rebuild is
brought level. A running projector notices by the generation of its checkpoint and goes on from
there.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Row, Select, Table, delete, func, insert, select, tuple_

from pbx.eventlog import START, EventLog, Position
from pbx.kernel.clock import SystemClock
from pbx.kernel.errors import ProjectionStopped
from pbx.readmodel.database import Database
from pbx.readmodel.projection import Projection
from pbx.readmodel.projections import all_projections
from pbx.readmodel.runner import (
    REBUILD_BATCH,
    Checkpoint,
    Projector,
    forget_files,
    load_checkpoints,
    store_checkpoints,
)
from pbx.readmodel.tables import skipped_events

PART: Final = 1000
"""Rows put right at once: some 30 ms in which the projector waits."""
SHOWN: Final = 20
"""Differences kept word by word; the rest is counted."""

Key = tuple[Any, ...]


class Difference(NamedTuple):
    """A row that the rebuild changed; None where there is none."""

    table: str
    key: Key
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None


class Outcome(NamedTuple):
    """What a rebuild of some projections came to."""

    names: tuple[str, ...]
    events: int
    seconds: float
    rows: int
    different: int
    differences: list[Difference]
    """The first of them."""

    @property
    def rate(self) -> float:
        """Events a second."""
        return self.events / self.seconds if self.seconds else 0.0


def replay(
    log: EventLog,
    live: Database,
    names: Sequence[str],
    *,
    make: Callable[[EventLog], list[Projection]] = all_projections,
) -> Outcome:
    """Rebuild the named projections of `live` up to where they are, compare and put right.

    What operators had them step over is stepped over again. Raises ``ProjectionStopped`` if a
    rebuild meets another event it cannot apply: then nothing is replaced.
    """
    with tempfile.TemporaryDirectory(prefix="replay-", dir=live.path.parent) as folder:
        rebuilt = Database(Path(folder) / live.path.name, fresh=True)
        try:
            _copy_skipped(live, rebuilt)
            projections = [p for p in make(log) if p.name in names]
            projector = Projector(log, rebuilt, projections, batch=REBUILD_BATCH)
            begin = time.perf_counter()
            projector.catch_up(min(_positions(live, names).values()))
            seconds = time.perf_counter() - begin
            # What happened during the long run, so that the snapshot need not be kept for it.
            projector.catch_up(min(_positions(live, names).values()))
            rows = different = 0
            shown: list[Difference] = []
            for projection in projections:
                found = _compare(log, live, rebuilt, projection, shown)
                rows += found[0]
                different += found[1]
                if found[1]:
                    _put_right(log, live, rebuilt, projection)
        finally:
            rebuilt.close()
    return Outcome(tuple(names), projector.applied, seconds, rows, different, shown)


def _copy_skipped(live: Database, rebuilt: Database) -> None:
    with live.read() as source:
        rows = [dict(row) for row in source.execute(select(skipped_events)).mappings()]
    if rows:
        with rebuilt.write() as connection:
            connection.execute(insert(skipped_events), rows)


def _compare(
    log: EventLog,
    live: Database,
    rebuilt: Database,
    projection: Projection,
    shown: list[Difference],
) -> tuple[int, int]:
    """Rebuilt rows and differing rows of one projection, as of one moment of the live tables."""
    rows = different = 0
    with live.read() as connection:
        _level(log, rebuilt, projection, connection)
        with rebuilt.read() as source:
            for table in projection.tables:
                rows += source.execute(select(func.count()).select_from(table)).scalar_one()
                for difference in differences(connection, source, table):
                    different += 1
                    if len(shown) < SHOWN:
                        shown.append(difference)
    return rows, different


def _level(
    log: EventLog, rebuilt: Database, projection: Projection, connection: Connection
) -> None:
    """Bring the rebuild to where the live tables that `connection` sees are."""
    at = _checkpoints(connection, [projection.name]).get(projection.name)
    position = at.position if at is not None else START
    if _positions(rebuilt, [projection.name])[projection.name] < position:
        Projector(log, rebuilt, [projection]).catch_up(position)
    _raise_if_stopped(rebuilt, projection.name)


def _put_right(log: EventLog, live: Database, rebuilt: Database, projection: Projection) -> None:
    """Make the live rows those of the rebuild, from part to part in order of the keys."""
    for table in projection.tables:
        after: Key | None = None
        while True:
            with live.write() as connection:
                _level(log, rebuilt, projection, connection)
                with rebuilt.read() as source:
                    until = _end_of_part(connection, source, table, after)
                    wrong = list(differences(connection, source, table, after, until))
                if wrong:
                    _write_part(connection, table, wrong)
                    _renew(connection, projection.name)
            if until is None:
                break
            after = until


def _end_of_part(
    left: Connection, right: Connection, table: Table, after: Key | None
) -> Key | None:
    """The key up to which there are at most :data:`PART` rows on each side; None: all the rest."""
    query = _part(select(*table.primary_key.columns), table, after, None)
    ends = [side.execute(query.limit(1).offset(PART - 1)).first() for side in (left, right)]
    return min((tuple(end) for end in ends if end is not None), default=None)


def _write_part(connection: Connection, table: Table, wrong: Sequence[Difference]) -> None:
    for difference in wrong:
        if difference.before is not None:
            key = zip(table.primary_key.columns, difference.key, strict=True)
            connection.execute(delete(table).where(*(column == value for column, value in key)))
    rows = [dict(difference.after) for difference in wrong if difference.after is not None]
    if rows:
        connection.execute(insert(table), rows)


def _renew(connection: Connection, name: str) -> None:
    """A running projector forgets what it remembers, the text files are written anew."""
    (checkpoint,) = _checkpoints(connection, [name]).values()
    renewed = checkpoint._replace(generation=checkpoint.generation + 1, error="", error_position=0)
    store_checkpoints(connection, [renewed], SystemClock().wall_ns())
    forget_files(connection, name)


def differences(
    left: Connection,
    right: Connection,
    table: Table,
    after: Key | None = None,
    until: Key | None = None,
) -> Iterator[Difference]:
    """Rows with keys in (`after`, `until`] that are not the same in two databases, in order."""
    names = table.columns.keys()

    def words(row: Row[Any] | None) -> dict[str, Any] | None:
        return None if row is None else dict(zip(names, row, strict=True))

    key_of = _key_of(table)
    before, behind = (_rows(side, table, after, until) for side in (left, right))
    old, new = next(before, None), next(behind, None)
    while old is not None or new is not None:
        old_key = None if old is None else key_of(old)
        new_key = None if new is None else key_of(new)
        if new_key is None or (old_key is not None and old_key < new_key):
            assert old_key is not None
            yield Difference(table.name, old_key, words(old), None)
            old = next(before, None)
        elif old_key is None or new_key < old_key:
            yield Difference(table.name, new_key, None, words(new))
            new = next(behind, None)
        else:
            if old != new:
                yield Difference(table.name, old_key, words(old), words(new))
            old, new = next(before, None), next(behind, None)


def _key_of(table: Table) -> Callable[[Row[Any]], Key]:
    names = table.columns.keys()
    places = [names.index(column.name) for column in table.primary_key.columns]
    if len(places) == 1:
        place = places[0]
        return lambda row: (row[place],)
    return itemgetter(*places)


def _rows(
    connection: Connection, table: Table, after: Key | None, until: Key | None
) -> Iterator[Row[Any]]:
    found = connection.execute(_part(select(table), table, after, until))
    for part in found.partitions(PART):
        yield from part


def _part(query: Select[Any], table: Table, after: Key | None, until: Key | None) -> Select[Any]:
    """Rows in order of their keys, those behind `after` up to `until`."""
    columns = table.primary_key.columns
    if after is not None:
        query = query.where(tuple_(*columns) > tuple_(*after))
    if until is not None:
        query = query.where(tuple_(*columns) <= tuple_(*until))
    return query.order_by(*columns)


def _positions(database: Database, names: Sequence[str]) -> dict[str, Position]:
    with database.read() as connection:
        found = _checkpoints(connection, names)
    return {name: found[name].position if name in found else START for name in names}


def _checkpoints(connection: Connection, names: Sequence[str]) -> dict[str, Checkpoint]:
    return {c.name: c for c in load_checkpoints(connection) if c.name in names}


def _raise_if_stopped(database: Database, name: str) -> None:
    with database.read() as connection:
        checkpoint = _checkpoints(connection, [name])[name]
    if checkpoint.error:
        raise ProjectionStopped(name, checkpoint.error_position, checkpoint.error)
