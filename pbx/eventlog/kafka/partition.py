"""The replica partition by partition: positions that are the same on every node.

A position is derived from the Kafka offset and the event's index in its record, so a checkpoint
that one node wrote is good on another. Only what was met in Kafka is here: journal rows that wait
to be shipped are not. Used by the shared read model (one checkpoint a partition) and by feeds.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Final

from pbx.eventlog.embedded_file import COLUMNS
from pbx.eventlog.feed import Step
from pbx.eventlog.feed_query import Condition, feed_condition, thin_streams
from pbx.eventlog.port import TIME_DISORDER_NS
from pbx.eventlog.record import START, Entry, Meta, Position, Record
from pbx.eventlog.registry import Codec
from pbx.kernel.errors import BadPosition, Conflict, LogError, PositionUnknown
from pbx.kernel.events import Event

if TYPE_CHECKING:
    from pbx.eventlog.kafka.log import ClusterLog

INDEX_BITS: Final = 12
"""Bits of the index in the record; offsets have 51 bits left."""
_MASK: Final = (1 << INDEX_BITS) - 1
CHUNK: Final = 1000
CHUNK_BACK: Final = 100


def position_of(offset: int, index: int) -> Position:
    """Position of the event `index` of the record at `offset`."""
    return (offset << INDEX_BITS | index) + 1


def place_of(position: Position) -> tuple[int, int]:
    """The reverse of :func:`position_of`."""
    return (position - 1) >> INDEX_BITS, (position - 1) & _MASK


class PartitionLog:
    """A reading :class:`~pbx.eventlog.port.EventLog` over one partition of `log`."""

    def __init__(self, log: ClusterLog, name: str) -> None:
        found = log.query("SELECT id FROM partitions WHERE name = ?", (name,))
        if not found:
            raise LogError(f"there is no partition {name} in this log; see: pbx log status")
        self.name = name
        self.node = log.node
        self._log = log
        self._id: int = found[0][0]

    @property
    def codec(self) -> Codec:
        """That of the log."""
        return self._log.codec

    def read(
        self,
        after: Position = START,
        *,
        category: str | None = None,
        types: Sequence[str] = (),
        limit: int | None = None,
    ) -> Iterator[Record]:
        """As the port says. A partition has one category: another one is empty."""
        if category is not None and category != self.name.partition("/")[0]:
            return iter(())
        return islice(self._scan(after, types), limit)

    def _scan(self, after: Position, types: Sequence[str]) -> Iterator[Record]:
        until = self.head()
        while after < until:
            records = self._records(
                "(s.kafka_offset, s.idx) > (?, ?) AND (s.kafka_offset, s.idx) <= (?, ?)",
                (*place_of(after), *place_of(until)),
                types,
                CHUNK,
            )
            yield from records
            if len(records) < CHUNK:
                return
            after = records[-1].position

    def matching(self, after: Position, until: Position, condition: Condition) -> Iterator[Record]:
        """Records up to `until` that fit a feed's condition."""
        while after < until:
            records = self._records(
                "(s.kafka_offset, s.idx) > (?, ?) AND (s.kafka_offset, s.idx) <= (?, ?)"
                + condition.text,
                (*place_of(after), *place_of(until), *condition.values),
                (),
                CHUNK,
            )
            yield from records
            if len(records) < CHUNK:
                return
            after = records[-1].position

    def read_back(
        self, until: Position | None = None, *, types: Sequence[str] = ()
    ) -> Iterator[Record]:
        """As the port says."""
        before = (self.head() if until is None else until) + 1
        while True:
            records = self._records(
                "(s.kafka_offset, s.idx) < (?, ?)",
                place_of(before),
                types,
                CHUNK_BACK,
                order="s.kafka_offset DESC, s.idx DESC",
            )
            yield from records
            if len(records) < CHUNK_BACK:
                return
            before = records[-1].position

    def at(self, position: Position) -> Record | None:
        """As the port says."""
        found = self._records("s.kafka_offset = ? AND s.idx = ?", place_of(position), (), 1)
        return found[0] if found else None

    def read_stream(self, stream: str, after_version: int = 0) -> Iterator[Record]:
        """As the port says; what is not in Kafka yet is not here."""
        while True:
            records = self._records(
                "e.stream = ? AND e.version > ?",
                (stream, after_version),
                (),
                CHUNK,
                order="e.version",
            )
            yield from records
            if len(records) < CHUNK:
                return
            after_version = records[-1].version

    def head(self) -> Position:
        """As the port says."""
        found = self._log.query(
            "SELECT kafka_offset, idx FROM shipped WHERE partition = ?"
            " ORDER BY kafka_offset DESC, idx DESC LIMIT 1",
            (self._id,),
        )
        return position_of(*found[0]) if found else START

    def position_at(self, time_ns: int) -> Position:
        """As the port says, but for facts that waited for Kafka longer than the disorder that is
        promised: those of an outage lie where they arrived."""
        wanted = time_ns - TIME_DISORDER_NS
        low, high = START, self.head()
        while low < high:
            middle = (low + high) // 2
            found = self._records("(s.kafka_offset, s.idx) > (?, ?)", place_of(middle), (), 1)
            if found and found[0].time_ns < wanted:
                low = found[0].position
            else:
                high = middle
        return low

    def wait(self, after: Position, timeout_s: float) -> bool:
        """As the port says."""
        deadline = time.monotonic() + timeout_s
        while True:
            seen = self._log.head()
            if self.head() > after:
                return True
            left = deadline - time.monotonic()
            if left <= 0 or not self._log.wait(seen, left):
                return self.head() > after

    def append(
        self, stream: str, expected_version: int, events: Sequence[Event], meta: Meta
    ) -> Position:
        """Refused: append to the log."""
        raise LogError(f"partition {self.name} is for reading: append to the log")

    def commit(self, batch: Sequence[Entry]) -> list[Position | Conflict]:
        """Refused: commit to the log."""
        raise LogError(f"partition {self.name} is for reading: append to the log")

    def sync(self) -> None:
        """Nothing to do: what is here is in Kafka."""

    def close(self) -> None:
        """Nothing to do: the file belongs to the log."""

    def _records(
        self,
        where: str,
        values: Sequence[object],
        types: Sequence[str],
        limit: int,
        *,
        order: str = "s.kafka_offset, s.idx",
    ) -> list[Record]:
        inside = f" AND ({' OR '.join(['e.type GLOB ?'] * len(types))})" if types else ""
        columns = ", ".join(f"e.{name}" for name in COLUMNS.split(", "))
        rows = self._log.query(
            f"SELECT s.kafka_offset, s.idx, {columns} FROM shipped AS s JOIN events AS e"
            f" USING (position) WHERE s.partition = ? AND {where}{inside}"
            f" ORDER BY {order} LIMIT {limit}",
            (self._id, *values, *types),
        )
        codec = self._log.codec
        return [Record(codec, position_of(row[0], row[1]), *row[2:]) for row in rows]


class FeedReader:
    """All partitions of `log` as one feed; its tokens are vectors of positions.

    In the order of each partition; between partitions by time, as far as they were met when the
    reading began. See :class:`pbx.eventlog.feed.FeedLog`.
    """

    def __init__(self, log: ClusterLog) -> None:
        self._log = log

    def read(
        self,
        after: str,
        *,
        categories: Sequence[str],
        types: Sequence[str],
        streams: Sequence[str],
        tenant: str | None,
        limit: int | None,
    ) -> Iterator[Step]:
        """The steps; the filter was checked."""
        reached = parse_token(after)
        views = {name: self._log.partition(name) for name in self._log.partitions()}
        for name, position in reached.items():
            view = views.get(name)
            # Where the reader comes from may be ahead of this node's copy: it waits here, then.
            reach = position if view is None or position <= view.head() else START
            if view is None or (reach > START and view.at(reach) is None):
                raise PositionUnknown(
                    f"this cluster has no such event in {name}: the position is of another one, or "
                    "older than what Kafka keeps. Read anew, or go on from another that you kept"
                )
        wanted = {
            name: view
            for name, view in views.items()
            if not categories or name.partition("/")[0] in categories
        }
        condition = feed_condition((), types, streams, tenant)
        thin = thin_streams(streams, all_of_them=limit is None)
        if thin is not None:
            condition = Condition(condition.text + thin.text, (*condition.values, *thin.values))
        return self._steps(reached, wanted, condition, limit)

    def head(self) -> str:
        """The token behind everything."""
        return make_token(
            {name: self._log.partition(name).head() for name in self._log.partitions()}
        )

    def _steps(
        self,
        reached: dict[str, Position],
        wanted: dict[str, PartitionLog],
        condition: Condition,
        limit: int | None,
    ) -> Iterator[Step]:
        heads = {name: view.head() for name, view in wanted.items()}

        def one(name: str) -> Iterator[tuple[int, str, Record]]:
            view = wanted[name]
            for record in view.matching(reached.get(name, START), heads[name], condition):
                yield record.time_ns, name, record

        left = -1 if limit is None else limit
        for _, name, record in heapq.merge(*map(one, wanted), key=lambda item: item[0]):
            if left == 0:
                return
            left -= 1
            reached[name] = record.position
            yield make_token(reached), record
        if left and any(heads[name] > reached.get(name, START) for name in heads):
            reached.update({name: max(at, reached.get(name, START)) for name, at in heads.items()})
            yield make_token(reached), None


TOKEN_PREFIX: Final = "k1."


def make_token(positions: dict[str, Position]) -> str:
    """An opaque text for positions by partition."""
    return TOKEN_PREFIX + ",".join(f"{name}:{at:x}" for name, at in sorted(positions.items()))


def parse_token(token: str) -> dict[str, Position]:
    """The reverse; the empty text is the beginning. Raises ``BadPosition``."""
    if not token:
        return {}
    if not token.startswith(TOKEN_PREFIX):
        raise _bad(token)
    found = {}
    for part in filter(None, token.removeprefix(TOKEN_PREFIX).split(",")):
        name, colon, at = part.rpartition(":")
        try:
            found[name] = int(at, 16)
        except ValueError:
            colon = ""
        if not colon or found[name] < START:
            raise _bad(token)
    return found


def _bad(token: str) -> BadPosition:
    return BadPosition(f"{token[:40]!r} is no position of this log; hand back one you were given")
