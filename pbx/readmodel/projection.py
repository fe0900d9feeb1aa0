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
from typing import Any, Final, Protocol

from sqlalchemy import Connection, Dialect, Executable, Table
from sqlalchemy.dialects.sqlite import Insert, insert

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


class Statements:
    """Statements with their parameters, executed in order, runs of the same one at once."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer: list[tuple[Executable, Mapping[str, Any]]] = []

    def add(self, statement: Executable, **values: object) -> None:
        """Remember one execution. Equal statements should be the same object."""
        self._buffer.append((statement, values))

    def flush(self, connection: Connection) -> None:
        """Execute and forget."""
        for _, run in groupby(self._buffer, key=lambda item: id(item[0])):
            items = list(run)
            connection.execute(items[0][0], [values for _, values in items])
        self._buffer.clear()

    def clear(self) -> None:
        """Forget."""
        self._buffer.clear()


@cache
def upsert(table: Table) -> Insert:
    """Insert, or replace all columns of the row with the same primary key."""
    statement = insert(table)
    rest = {
        column.name: statement.excluded[column.name]
        for column in table.columns
        if not column.primary_key
    }
    return statement.on_conflict_do_update(index_elements=table.primary_key.columns, set_=rest)


def write_rows(
    connection: Connection, table: Table, names: tuple[str, ...], rows: Sequence[tuple[Any, ...]]
) -> None:
    """Upsert `rows`, whose values are those of the columns `names`.

    Past SQLAlchemy's handling of parameters, which costs as much again as SQLite's whole work:
    the columns are plain numbers and text, which drivers take as they are.
    """
    if rows:
        statement, arrange = _compiled(table, names, connection.dialect)
        connection.exec_driver_sql(statement, [arrange(row) for row in rows])


@cache
def _compiled(
    table: Table, names: tuple[str, ...], dialect: Dialect
) -> tuple[str, Callable[[tuple[Any, ...]], tuple[Any, ...]]]:
    """The upsert as text, and what puts a row in the order of its parameters."""
    compiled = upsert(table).compile(dialect=dialect, column_keys=list(names))
    assert compiled.positiontup is not None
    return str(compiled), itemgetter(*(names.index(name) for name in compiled.positiontup))


class CallStates:
    """The calls that are under way, folded; those not in memory are folded from their stream."""

    def __init__(self, log: EventLog, capacity: int = CALL_STATES) -> None:
        self._log = log
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
                        state.apply(earlier, earlier.event)
            if len(self._states) >= self._capacity:
                del self._states[next(iter(self._states))]
            self._states[record.stream] = state
        return state

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
