"""Reading the log in one SQLite file: by position, by stream, as a feed.

The half of :class:`pbx.eventlog.embedded.EmbeddedLog` that changes nothing. All readers of a
process share one connection; each fetch is short, so that none keeps another waiting for long.
"""

from __future__ import annotations

import sqlite3
import threading
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final

from pbx.eventlog.embedded_file import COLUMNS, connect, explain, number_in
from pbx.eventlog.feed import BEGINNING, Step, check_filter, make_token, position_of
from pbx.eventlog.feed_query import Condition, feed_condition, thin_streams
from pbx.eventlog.own_rows import OwnRows
from pbx.eventlog.port import TIME_DISORDER_NS
from pbx.eventlog.record import START, Position, Record
from pbx.eventlog.registry import Codec, prefixes_of
from pbx.kernel.errors import LogUnavailable

CHUNK: Final = 1000
"""Rows a reader fetches at once: each fetch is a short snapshot, so that no reader keeps the WAL
from being checkpointed."""
CHUNK_BACK: Final = 100
"""Rows fetched at once from the end backwards: whoever reads that way wants the last few."""
WINDOW: Final = 20_000
"""Positions a feed with a filter looks through at once: some 10 ms, during which other readers of
this process wait."""
FAR_BEHIND: Final = 10_000
"""Positions behind the head from which reading a category goes by the stream key."""


class EmbeddedReader:
    """The reading half of an :class:`~pbx.eventlog.port.EventLog` in the file `path`."""

    def __init__(self, path: Path, codec: Codec, busy_timeout_s: float) -> None:
        """Opens the file, which must exist. Raises ``sqlite3.Error``."""
        self.path = path
        self._codec = codec
        self._busy_timeout_s = busy_timeout_s
        self._own = OwnRows()
        self._read_lock = threading.Lock()
        self._reader = connect(path, busy_timeout_s)

    @property
    def codec(self) -> Codec:
        return self._codec

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
        return number_in(self._query("SELECT max(position) FROM events", ()))

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
                raise LogUnavailable(explain(self.path, error, self._busy_timeout_s)) from error

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
                raise LogUnavailable(explain(self.path, error, self._busy_timeout_s)) from error


def _of_types(patterns: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """The condition on the type, to be appended to another, and its values."""
    if not patterns:
        return "", ()
    return f" AND ({' OR '.join(['type GLOB ?'] * len(patterns))})", tuple(patterns)
