"""Rebuilding projections from zero, comparing, and putting right.

Run by ``pbx replay`` and ``pbx cdr correct``, also beside a running server. The rebuild fills a
second copy of the tables (a file of its own, or a schema of its own in PostgreSQL) and is compared
with a snapshot of the live ones: nobody waits for that. Equal tables prove that projection and
history fit; differences mean that a projection was changed (or was wrong). Their keys are kept in
the second copy.

Then the rows of these keys are put right: the second copy is brought level with the live
checkpoints, which nobody moves until the commit. In SQLite, where a writer keeps others from
writing, a short transaction puts right one part after the other; in PostgreSQL one transaction does
it all, so that readers see the old rows or the new ones. A running projector notices by the
generation of its checkpoint and goes on from there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from heapq import merge
from operator import itemgetter
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    MetaData,
    Row,
    Select,
    Table,
    delete,
    func,
    insert,
    select,
    tuple_,
)

from pbx.eventlog import START, EventLog, Position
from pbx.kernel.clock import SystemClock
from pbx.kernel.errors import LagTimeout, ProjectionStopped
from pbx.readmodel.cdr_feed import mark_replaced
from pbx.readmodel.database import Database
from pbx.readmodel.partitions import concerned, views_of
from pbx.readmodel.projection import Projection, write_rows
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
BEHIND_S: Final = 10.0
"""Patience for this node's copy of the log to reach what another node projected: a busy node is
milliseconds behind."""
SHOWN: Final = 20
"""Differences kept word by word; the rest is counted."""

Key = tuple[Any, ...]
Make = Callable[[EventLog], list[Projection]]


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
    log: EventLog, live: Database, names: Sequence[str], *, make: Make = all_projections
) -> Outcome:
    """Rebuild the named projections of `live` up to where they are, compare and put right.

    What operators had them step over is stepped over again. Raises ``ProjectionStopped`` if a
    rebuild meets another event it cannot apply: then nothing is replaced.
    """
    with rebuilt(log, live, names, make=make) as rebuild:
        different = 0
        shown: list[Difference] = []
        for name in rebuild.names:
            before = different
            for difference in rebuild.compare(name):
                different += 1
                if len(shown) < SHOWN:
                    shown.append(difference)
            if different > before:
                rebuild.put_right(name)
    return Outcome(tuple(names), rebuild.events, rebuild.seconds, rebuild.rows, different, shown)


@contextmanager
def rebuilt(
    log: EventLog, live: Database, names: Sequence[str], *, make: Make = all_projections
) -> Iterator[Rebuild]:
    """The named projections once more, from zero up to where the live ones are.

    Raises ``ProjectionStopped`` at an event that cannot be applied.
    """
    with live.second_copy() as copy:
        rebuild = Rebuild(log, live, copy, names, make)
        rebuild.build()
        yield rebuild


def _nothing() -> None:
    pass


class Rebuild:
    """A second copy of some projections, in which the keys of differing rows are noted."""

    def __init__(
        self, log: EventLog, live: Database, copy: Database, names: Sequence[str], make: Make
    ) -> None:
        self._live = live
        self._copy = copy
        self._views = views_of(log, live)
        self._made = {p: make(view) for p, view in self._views.items()}
        known = {p.name: p for projections in self._made.values() for p in projections}
        self._kinds = {name: known[name] for name in known if name in names}
        self.events = 0
        """Events read."""
        self.seconds = 0.0
        """How long that took."""
        self.rows = 0
        """Rows compared so far."""

    @property
    def names(self) -> tuple[str, ...]:
        """The projections."""
        return tuple(self._kinds)

    def build(self) -> None:
        """Project from zero."""
        notes = MetaData()
        with self._copy.write() as connection:
            for projection in self._kinds.values():
                for table in projection.tables:
                    _wrong(table).to_metadata(notes)
            notes.create_all(connection)
        self._copy_skipped()
        projectors = {
            partition: Projector(
                view,
                self._copy,
                [p for p in self._made[partition] if p.name in self._kinds],
                partition=partition,
                batch=REBUILD_BATCH,
            )
            for partition, view in self._views.items()
        }
        begin = time.perf_counter()
        for partition, projector in projectors.items():
            projector.catch_up(self._lowest(partition))
        self.seconds = time.perf_counter() - begin
        # What happened during the long run, so that the snapshot need not be kept for it.
        for partition, projector in projectors.items():
            projector.catch_up(self._lowest(partition))
        self.events = sum(projector.applied for projector in projectors.values())

    def compare(
        self, name: str, keep: Callable[[Difference], bool] = lambda _: True
    ) -> Iterator[Difference]:
        """The rows of a projection that differ as of one moment of the live tables, in order.

        Those that `keep` wants are given, and will be put right. To be read to the end.
        """
        with self._live.read() as connection:
            self._level(name, connection)
            with self._copy.read() as source:
                tables = {table.name: table for table in self._kinds[name].tables}
                for table in tables.values():
                    count = select(func.count()).select_from(table)
                    self.rows += source.execute(count).scalar_one()
                noted: dict[str, list[Key]] = {table_name: [] for table_name in tables}
                # The tables of a projection share the first part of their keys: what belongs
                # together (a call and its legs) comes together.
                parts = [differences(connection, source, table) for table in tables.values()]
                for difference in merge(*parts, key=lambda difference: difference.key[0]):
                    if not keep(difference):
                        continue
                    keys = noted[difference.table]
                    keys.append(difference.key)
                    if len(keys) >= PART:
                        self._note(tables[difference.table], keys)
                    yield difference
                for table_name, keys in noted.items():
                    self._note(tables[table_name], keys)

    def put_right(self, name: str, at_last: Callable[[], object] = _nothing) -> None:
        """Make the noted rows those of the second copy; `at_last` is called before the commit."""
        parts = ((table, k) for table in self._kinds[name].tables for k in self._noted(table))
        if self._live.atomic:
            self._put_right(name, parts, at_last)
            return
        part = next(parts, None)
        while part is not None:
            following = next(parts, None)
            self._put_right(name, [part], _nothing if following is not None else at_last)
            part = following

    def _put_right(
        self,
        name: str,
        parts: Iterable[tuple[Table, list[Key]]],
        at_last: Callable[[], object],
    ) -> None:
        """One transaction."""
        with self._live.write() as connection:
            self._level(name, connection, lock=True)
            with self._copy.read() as source:
                for table, keys in parts:
                    mark_replaced(connection, source, name, (str(key[0]) for key in keys))
                    _write_part(connection, source, table, keys)
            self._renew(connection, name)
            at_last()

    def _copy_skipped(self) -> None:
        with self._live.read() as source:
            rows = [dict(row) for row in source.execute(select(skipped_events)).mappings()]
        if rows:
            with self._copy.write() as connection:
                connection.execute(insert(skipped_events), rows)

    def _lowest(self, partition: str) -> Position:
        """How far all the live projections are that a partition concerns."""
        with self._live.read() as connection:
            found = {c.name: c.position for c in load_checkpoints(connection, partition)}
        names = [p.name for p in concerned(partition, list(self._kinds.values()))]
        return min((found.get(name, START) for name in names), default=START)

    def _level(self, name: str, connection: Connection, *, lock: bool = False) -> None:
        """Bring the second copy to where the live tables that `connection` sees are."""
        found = load_checkpoints(connection, lock=lock)
        live = {c.partition: c.position for c in found if c.name == name}
        for partition, projections in self._made.items():
            mine = [p for p in concerned(partition, projections) if p.name == name]
            position = live.get(partition, START)
            if mine and self._position(name, partition) < position:
                view = self._views[partition]
                if partition and not view.wait(position - 1, BEHIND_S):
                    # Rows that this node knows nothing of would count as wrong.
                    raise LagTimeout(
                        f"the tables are ahead of this node's copy of {partition}: try again when"
                        " pbx log status shows no lag, or on another node"
                    )
                Projector(view, self._copy, mine, partition=partition).catch_up(position)
            self._raise_if_stopped(name, partition)

    def _position(self, name: str, partition: str) -> Position:
        checkpoint = self._checkpoint(name, partition)
        return checkpoint.position if checkpoint is not None else START

    def _checkpoint(self, name: str, partition: str) -> Checkpoint | None:
        with self._copy.read() as connection:
            found = load_checkpoints(connection, partition)
        return next((c for c in found if c.name == name), None)

    def _raise_if_stopped(self, name: str, partition: str) -> None:
        checkpoint = self._checkpoint(name, partition)
        if checkpoint is not None and checkpoint.error:
            raise ProjectionStopped(name, checkpoint.error_position, checkpoint.error)

    def _note(self, table: Table, keys: list[Key]) -> None:
        if keys:
            wrong = _wrong(table)
            with self._copy.write() as connection:
                names = wrong.columns.keys()
                rows = [dict(zip(names, key, strict=True)) for key in keys]
                connection.execute(insert(wrong), rows)
            keys.clear()

    def _noted(self, table: Table) -> Iterator[list[Key]]:
        wrong = _wrong(table)
        after: Key | None = None
        while True:
            with self._copy.read() as connection:
                query = _part(select(wrong), wrong, after).limit(PART)
                keys = [tuple(row) for row in connection.execute(query)]
            if not keys:
                return
            yield keys
            after = keys[-1]

    def _renew(self, connection: Connection, name: str) -> None:
        """A running projector forgets what it remembers, the text files are written anew."""
        renewed = [
            c._replace(generation=c.generation + 1, error="", error_position=0)
            for c in load_checkpoints(connection)
            if c.name == name
        ]
        store_checkpoints(connection, renewed, SystemClock().wall_ns())
        forget_files(connection, name)


@cache
def _wrong(table: Table) -> Table:
    """The table of the second copy that has the keys of differing rows of `table`."""
    columns = [Column(c.name, c.type, primary_key=True) for c in table.primary_key.columns]
    return Table(f"wrong_{table.name}", MetaData(), *columns)


def _write_part(
    connection: Connection, source: Connection, table: Table, keys: Sequence[Key]
) -> None:
    """Make the rows of `keys` those of `source`."""
    found = source.execute(select(table).where(_is_one_of(table, keys)))
    right = {_key_of(table)(row): row for row in found}
    surplus = [key for key in keys if key not in right]
    if surplus:
        connection.execute(delete(table).where(_is_one_of(table, surplus)))
    names = tuple(table.columns.keys())
    write_rows(connection, table, names, [tuple(row) for row in right.values()])


def _is_one_of(table: Table, keys: Sequence[Key]) -> ColumnElement[bool]:
    columns = list(table.primary_key.columns)
    if len(columns) == 1:
        return columns[0].in_([key[0] for key in keys])
    return tuple_(*columns).in_(keys)


def differences(left: Connection, right: Connection, table: Table) -> Iterator[Difference]:
    """Rows that are not the same in two databases, in order of their keys."""
    names = table.columns.keys()

    def words(row: Row[Any] | None) -> dict[str, Any] | None:
        return None if row is None else dict(zip(names, row, strict=True))

    key_of = _key_of(table)
    before, behind = (_rows(side, table) for side in (left, right))
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


def _rows(connection: Connection, table: Table) -> Iterator[Row[Any]]:
    query = _part(select(table), table, None)
    yield from connection.execute(query, execution_options={"yield_per": PART})


def _part(query: Select[Any], table: Table, after: Key | None) -> Select[Any]:
    """Rows in order of their keys, those behind `after`."""
    columns = table.primary_key.columns
    if after is not None:
        query = query.where(tuple_(*columns) > tuple_(*after))
    return query.order_by(*columns)
