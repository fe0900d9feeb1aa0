"""What a projection is, and what most of them need: buffered statements and call states.

The runner (:mod:`pbx.readmodel.runner`) feeds a projection with records in order and flushes it
once a batch: ``apply`` folds in memory, ``flush`` writes rows in the transaction that also moves
the checkpoint. (One statement an event would cost 30 µs of SQLAlchemy each; a batch writes the
last state of each row once.)

Rules: the same records give the same rows, however they were cut into batches; nothing is read but
the log and the projection's own tables; names never change.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from functools import cache
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, Protocol, cast

from sqlalchemy import ClauseElement, Connection, Dialect, Executable, Insert, Table
from sqlalchemy.sql.compiler import SQLCompiler

from pbx.domain.calls import CallErased
from pbx.eventlog import EventLog, Position, Record
from pbx.kernel.events import Event
from pbx.readmodel.call_state import CallState

CALL_STATES: Final = 50_000
"""Open calls remembered between batches (1 to 2 KB each); others are folded from the log again."""


class Projection(Protocol):
    """One named projection over one log."""

    @property
    def name(self) -> str:
        """Key of its checkpoint; never changes."""
        ...

    @property
    def categories(self) -> frozenset[str]:
        """Only records of these categories are applied."""
        ...

    @property
    def tables(self) -> tuple[Table, ...]:
        """What it writes; nobody else does."""
        ...

    partition: str
    """Of the log, where the records come from; set by the runner. '' where there is only one."""

    skipped: frozenset[Position]
    """Events an operator has it step over; set by the runner, which does not apply them. They are
    not to be applied either when a stream is read again."""

    def apply(self, record: Record, event: Event) -> None:
        """Take in the next record. Any exception stops the projection at it."""
        ...

    def flush(self, connection: Connection) -> None:
        """Write what was taken in since the last flush."""
        ...

    def reset(self) -> None:
        """Forget everything that is not in the tables: the next record may be any."""
        ...

    def committed(self) -> None:
        """The transaction of the last flush is durable."""
        ...

    def settled(self) -> None:
        """Everything flushed so far is durable; called twice a second and when all is caught up.

        The place for what follows the tables outside the database.
        """
        ...


class ProjectionBase:
    """What the runner sets, and nothing to do where a projection has nothing to add."""

    partition: str = ""
    skipped: frozenset[Position] = frozenset()

    def committed(self) -> None:
        """Nothing is remembered beyond a flush."""

    def settled(self) -> None:
        """Nothing follows the tables."""


class Statements:
    """Statements with their parameters, executed in order, runs of the same one at once."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer: list[tuple[Executable | Table, Mapping[str, Any]]] = []

    def add(self, statement: Executable | Table, **values: object) -> None:
        """Remember one execution (of the upsert, if it is a table). Equal statements should be the
        same object."""
        self._buffer.append((statement, values))

    def flush(self, connection: Connection) -> None:
        """Execute and forget."""
        for _, run in groupby(self._buffer, key=lambda item: id(item[0])):
            items = list(run)
            statement = items[0][0]
            if isinstance(statement, Table):
                statement = upsert(statement, connection.dialect.name)
            connection.execute(statement, [values for _, values in items])
        self._buffer.clear()

    def clear(self) -> None:
        """Forget."""
        self._buffer.clear()


@cache
def upsert(table: Table, dialect: str) -> Executable:
    """Insert, or replace all columns of the row with the same primary key."""
    statement = _insert(table, dialect)
    rest = {
        column.name: statement.excluded[column.name]
        for column in table.columns
        if not column.primary_key
    }
    keys = table.primary_key.columns
    return cast(Executable, statement.on_conflict_do_update(index_elements=keys, set_=rest))


@cache
def insert_missing(table: Table, dialect: str) -> Executable:
    """Insert, or leave the row with the same primary key as it is."""
    return cast(Executable, _insert(table, dialect).on_conflict_do_nothing())


def _insert(table: Table, dialect: str) -> Any:
    # The two say the same and are of two classes; only one of the drivers is loaded.
    if dialect == "postgresql":
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(table)
    from sqlalchemy.dialects import sqlite

    return sqlite.insert(table)


def write_rows(
    connection: Connection, table: Table, names: tuple[str, ...], rows: Sequence[tuple[Any, ...]]
) -> None:
    """Upsert `rows`, whose values are those of the columns `names`; no two may have the same key.

    Past SQLAlchemy's handling of parameters, which costs as much again as SQLite's whole work:
    the columns are plain numbers and text, which drivers take as they are.
    """
    if not rows:
        return
    if connection.dialect.name == "postgresql":
        from pbx.readmodel import postgres

        rows = postgres.storable(connection, rows)
        if postgres.upsert_many(connection, table, names, rows):
            return
    run_rows(connection, upsert(table, connection.dialect.name), names, rows)


def run_rows(
    connection: Connection,
    statement: Executable,
    names: tuple[str, ...],
    rows: Sequence[tuple[Any, ...]],
) -> None:
    """Execute `statement` for each of `rows`, whose values are those of the parameters `names`."""
    if rows:
        words, arrange = _compiled(statement, names, connection.dialect)
        connection.exec_driver_sql(words, [arrange(row) for row in rows])


@cache
def _compiled(
    statement: Executable, names: tuple[str, ...], dialect: Dialect
) -> tuple[str, Callable[[tuple[Any, ...]], tuple[Any, ...]]]:
    """The statement as text, and what puts a row in the order of its parameters."""
    inserted = list(names) if isinstance(statement, Insert) else None
    compiled = cast(
        SQLCompiler, cast(ClauseElement, statement).compile(dialect=dialect, column_keys=inserted)
    )
    assert compiled.positiontup is not None
    places = [names.index(name) for name in compiled.positiontup]
    if len(places) == 1:
        place = places[0]
        return str(compiled), lambda row: (row[place],)
    return str(compiled), itemgetter(*places)


class CallStates:
    """The calls that are under way, folded; those not in memory are folded from their stream.

    `until_end`: what comes after a call's end is not part of it, but for an erasure.
    """

    def __init__(
        self, log: EventLog, capacity: int = CALL_STATES, *, until_end: bool = False
    ) -> None:
        self._log = log
        self._until_end = until_end
        self._capacity = capacity
        self._states: dict[str, CallState] = {}

    def before(self, record: Record, skipped: Container[Position]) -> CallState:
        """The call of `record` as it was before it; without what was `skipped`."""
        state = self._states.get(record.stream)
        if state is None:
            state = CallState(record.stream.partition("/")[2])
            if record.version > 1:
                for earlier in self._earlier(record):
                    if earlier.position not in skipped:
                        self.apply(state, earlier, earlier.event)
            if len(self._states) >= self._capacity:
                del self._states[next(iter(self._states))]
            self._states[record.stream] = state
        return state

    def apply(self, state: CallState, record: Record, event: Event) -> bool:
        """Fold the next event of a call in; False if it is not part of it."""
        if self._until_end and state.end_position and not isinstance(event, CallErased):
            return False
        state.apply(record, event)
        return True

    def _earlier(self, record: Record) -> Iterator[Record]:
        for earlier in self._log.read_stream(record.stream):
            if earlier.position >= record.position:
                return
            yield earlier

    def forget(self, call_id: str) -> None:
        """The call has ended: nothing more is expected."""
        self._states.pop(f"call/{call_id}", None)

    def clear(self) -> None:
        """Forget all."""
        self._states.clear()
