"""Rebuilding projections from zero, comparing, and putting the result in place.

Run by ``pbx replay``, also beside a running server: the rebuild fills a file of its own; only at
the end the live tables are locked, the rebuild brought level with them and both compared. Equal
tables prove that projection and history fit; differences mean that a projection was changed (or
was wrong), and the rebuilt rows replace the live ones. A running projector notices by the
generation of its checkpoint and goes on from there.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Table, delete, func, insert, select

from pbx.eventlog import START, EventLog, Position
from pbx.kernel.clock import SystemClock
from pbx.kernel.errors import ProjectionStopped
from pbx.readmodel.database import Database
from pbx.readmodel.projection import Projection
from pbx.readmodel.projections import all_projections
from pbx.readmodel.runner import Checkpoint, Projector, load_checkpoints, store_checkpoints
from pbx.readmodel.tables import cdr_files

CHUNK: Final = 1000
"""Rows copied at once."""
SHOWN: Final = 20
"""Differences kept word by word; the rest is counted."""

Row = tuple[Any, ...]


class Difference(NamedTuple):
    """A row that the rebuild changed; None where there is none."""

    table: str
    key: Row
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
    """Rebuild the named projections of `live` up to where they are, compare and install.

    Raises ``ProjectionStopped`` if a rebuild meets an event it cannot apply: then nothing is
    replaced.
    """
    with tempfile.TemporaryDirectory(prefix="replay-", dir=live.path.parent) as folder:
        rebuilt = Database(Path(folder) / live.path.name)
        try:
            projections = [p for p in make(log) if p.name in names]
            projector = Projector(log, rebuilt, projections)
            begin = time.perf_counter()
            projector.catch_up(min(_positions(live, names).values()))
            seconds = time.perf_counter() - begin
            # What happened during the long run, so that little is left to do under the lock.
            projector.catch_up(min(_positions(live, names).values()))
            with live.write() as connection:
                for projection in projections:
                    at = _checkpoints(connection, names)[projection.name]
                    Projector(log, rebuilt, [projection]).catch_up(at.position)
                    _raise_if_stopped(rebuilt, projection.name)
                rows, different, shown = _install(connection, rebuilt, projections)
        finally:
            rebuilt.close()
    return Outcome(tuple(names), projector.applied, seconds, rows, different, shown)


def _install(
    connection: Connection, rebuilt: Database, projections: Sequence[Projection]
) -> tuple[int, int, list[Difference]]:
    rows = different = 0
    shown: list[Difference] = []
    with rebuilt.read() as source:
        for projection in projections:
            changed = 0
            for table in projection.tables:
                rows += source.execute(select(func.count()).select_from(table)).scalar_one()
                for difference in differences(connection, source, table):
                    changed += 1
                    if len(shown) < SHOWN:
                        shown.append(difference)
            if changed:
                _replace(connection, source, projection)
            different += changed
    return rows, different, shown


def _replace(connection: Connection, source: Connection, projection: Projection) -> None:
    """The rebuilt rows instead of the live ones, in the transaction of `connection`."""
    for table in projection.tables:
        connection.execute(delete(table))
        found = source.execute(select(table)).mappings()
        for part in found.partitions(CHUNK):
            connection.execute(insert(table), [dict(row) for row in part])
    if projection.name == "cdrs":
        connection.execute(delete(cdr_files))  # the projector writes the files anew
    (checkpoint,) = _checkpoints(connection, [projection.name]).values()
    renewed = checkpoint._replace(generation=checkpoint.generation + 1, error="", error_position=0)
    store_checkpoints(connection, [renewed], SystemClock().wall_ns())


def differences(left: Connection, right: Connection, table: Table) -> Iterator[Difference]:
    """Rows that are not the same in two databases, in order of their key."""
    before, after = _rows(left, table), _rows(right, table)
    old, new = next(before, None), next(after, None)
    while old is not None or new is not None:
        if new is None or (old is not None and old[0] < new[0]):
            assert old is not None
            yield Difference(table.name, old[0], old[1], None)
            old = next(before, None)
        elif old is None or new[0] < old[0]:
            yield Difference(table.name, new[0], None, new[1])
            new = next(after, None)
        else:
            if old[1] != new[1]:
                yield Difference(table.name, old[0], old[1], new[1])
            old, new = next(before, None), next(after, None)


def _rows(connection: Connection, table: Table) -> Iterator[tuple[Row, Mapping[str, Any]]]:
    keys = [column.name for column in table.primary_key.columns]
    found = connection.execute(select(table).order_by(*table.primary_key.columns)).mappings()
    for part in found.partitions(CHUNK):
        for row in part:
            yield tuple(row[key] for key in keys), dict(row)


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
