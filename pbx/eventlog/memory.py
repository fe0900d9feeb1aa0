"""The log in memory: for tests and the simulator, under the same contract as the others."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from itertools import islice

from pbx.eventlog.feed import BEGINNING, Step, check_filter, fits, make_token, position_of
from pbx.eventlog.port import TIME_DISORDER_NS
from pbx.eventlog.record import (
    ANY_VERSION,
    DATA,
    START,
    STREAM,
    TIME_NS,
    TYPE,
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
from pbx.eventlog.sealing import memory_keys
from pbx.kernel.clock import Clock, SystemClock
from pbx.kernel.errors import Conflict
from pbx.kernel.events import Event


class MemoryLog:
    """Records in a list; positions count from 1."""

    def __init__(
        self, *, codec: Codec | None = None, node: str = "memory", clock: Clock | None = None
    ) -> None:
        self.node = node
        self._codec = codec if codec is not None else Codec(memory_keys())
        self._clock = clock if clock is not None else SystemClock()
        self._records: list[Record] = []
        self._streams: dict[str, dict[int, Record]] = {}
        self._versions: dict[str, int] = {}
        self._appended = threading.Condition()
        self._closed = False

    @property
    def codec(self) -> Codec:
        return self._codec

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
        verdicts: list[Position | Conflict] = []
        with self._appended:
            for entry in batch:
                if isinstance(entry, Decision):
                    verdicts.append(self._decide(entry))
                else:
                    self._observe(entry)
            self._appended.notify_all()
        return verdicts

    def sync(self) -> None:
        """Memory is as durable as it gets."""

    def _decide(self, decision: Decision) -> Position | Conflict:
        current = self._versions.get(decision.stream, 0)
        if decision.expected_version not in (current, ANY_VERSION):
            return Conflict(decision.stream, decision.expected_version, current)
        for row in decision.numbered(current):
            self._store(row)
        return len(self._records)

    def _observe(self, row: Row) -> None:
        present = self._streams.get(row[STREAM], {}).get(row[VERSION])
        if row[VERSION] > 0 and present is None:
            self._store(row)
        elif present is None or not same_fact(present.row, row):
            self._store((row[0], self._versions.get(row[STREAM], 0) + 1, *row[2:]))

    def _store(self, row: Row) -> None:
        record = Record(self._codec, len(self._records) + 1, *row)
        self._records.append(record)
        self._streams.setdefault(record.stream, {})[record.version] = record
        self._versions[record.stream] = max(record.version, self._versions.get(record.stream, 0))

    def read(
        self,
        after: Position = START,
        *,
        category: str | None = None,
        types: Sequence[str] = (),
        limit: int | None = None,
    ) -> Iterator[Record]:
        prefixes = prefixes_of(category) if category is not None else None
        return islice(self._scan(after, self.head(), prefixes, types), limit)

    def _scan(
        self,
        after: Position,
        until: Position,
        prefixes: tuple[str, ...] | None,
        types: Sequence[str],
    ) -> Iterator[Record]:
        for index in range(after, until):
            record = self._records[index]
            if prefixes is not None and record.stream.partition("/")[0] not in prefixes:
                continue
            if not types or _fits(record, types):
                yield record

    def read_back(
        self, until: Position | None = None, *, types: Sequence[str] = ()
    ) -> Iterator[Record]:
        for index in range(self.head() if until is None else min(until, self.head()), 0, -1):
            record = self._records[index - 1]
            if not types or _fits(record, types):
                yield record

    def at(self, position: Position) -> Record | None:
        return self._records[position - 1] if 0 < position <= self.head() else None

    def read_stream(self, stream: str, after_version: int = 0) -> Iterator[Record]:
        with self._appended:
            records = dict(self._streams.get(stream, ()))
        return (records[v] for v in sorted(records) if v > after_version)

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
        return self._feed(first, head, fits(categories, types, streams, tenant), limit)

    def _feed(
        self, after: Position, until: Position, keep: Callable[[Record], bool], limit: int | None
    ) -> Iterator[Step]:
        given = 0
        for record in self._records[after:until]:
            if given == limit:
                return
            if keep(record):
                given += 1
                yield make_token(record.position, record.time_ns), record
        if after < until:
            yield make_token(until, self._records[until - 1].time_ns), None

    def _time_at(self, position: Position) -> int | None:
        record = self.at(position)
        return None if record is None else record.time_ns

    def feed_head(self) -> str:
        records = self._records
        return make_token(len(records), records[-1].time_ns) if records else BEGINNING

    def head(self) -> Position:
        return len(self._records)

    def position_at(self, time_ns: int) -> Position:
        return bisect_left(self._records, time_ns - TIME_DISORDER_NS, key=lambda r: r.time_ns)

    def wait(self, after: Position, timeout_s: float) -> bool:
        with self._appended:
            self._appended.wait_for(lambda: self.head() > after or self._closed, timeout_s)
            return self.head() > after

    def close(self) -> None:
        with self._appended:
            self._closed = True
            self._appended.notify_all()


def _fits(record: Record, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(record.type, pattern) for pattern in patterns)


def same_fact(stored: Row, row: Row) -> bool:
    """Whether `row` was written before: same type, time and data at the same version."""
    return (
        stored[TYPE] == row[TYPE]
        and stored[TIME_NS] == row[TIME_NS]
        and (stored[DATA] == row[DATA])
    )
