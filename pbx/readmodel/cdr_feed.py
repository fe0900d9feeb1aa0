"""Call records as events: what the tables ``cdrs`` and ``cdr_legs`` have goes into the log.

Run by the project role, after rows were committed: each record that the log does not have yet, or
has otherwise, is appended to ``cdr/<call id>`` (:mod:`pbx.domain.cdrs`), from where feeds, webhooks
and in a cluster the topic ``pbx.cdrs`` have it.

Two tables say what is left to do. ``cdr_feed`` has for each partition the position up to which new
records are published; positions of records grow, so that is all there is to new ones.
``cdr_changed`` names records that were changed afterwards, by an erasure or a correction, written
in the transaction that changed them. Before anything is appended it is compared with the newest
event of its stream, so a repetition after a crash, and a read model that was deleted and begins
anew, publish what differs and nothing else.

Who publishes: whoever projects the partition. Nodes of a cluster that each have tables of their own
project all calls; there a node publishes those that ran on it. If a node dies between writing an
event and noting it, and another takes its partition over before the event was shipped, the record
comes twice, with the same content.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, bindparam, delete, select

from pbx.domain.cdrs import CdrRecorded, CdrWithdrawn, RecordedLeg, cdr_stream
from pbx.eventlog import START, DecodeError, EventLog, Position, Record
from pbx.eventlog.record import Row
from pbx.kernel.clock import Clock, SystemClock
from pbx.kernel.events import Event
from pbx.readmodel.database import Database
from pbx.readmodel.partitions import PartitionedLog
from pbx.readmodel.projection import run_rows, write_rows
from pbx.readmodel.tables import cdr_changed, cdr_feed, cdr_legs, cdrs

BATCH: Final = 250
"""Records to an append: some 5 ms, in which calls' events wait for the log's write lock."""
BUDGET_S: Final = 0.25
"""Time for publishing at once, after which the projector goes on: a million records of the past
take a quarter of an hour, and the tables stay up to date meanwhile."""
RECENT_NS: Final = 60 * 1_000_000_000
"""A record published so soon after its call bears the time of the call's end, the same whoever
publishes it. Later ones bear the time of their publication: times in the log grow, but for two
minutes of disorder."""

_CALL_FIELDS: Final = tuple(n for n in CdrRecorded.__struct_fields__ if n not in ("rules", "legs"))
_LEG_FIELDS: Final = RecordedLeg.__struct_fields__
_CALLS: Final = select(*(cdrs.c[name] for name in _CALL_FIELDS))
_LEGS: Final = select(cdr_legs.c.call_id, *(cdr_legs.c[name] for name in _LEG_FIELDS))
_DONE: Final = delete(cdr_changed).where(
    cdr_changed.c.call_id == bindparam("its_call"), cdr_changed.c.changed_ns == bindparam("its_ns")
)


class CdrFeed:
    """Publishes the records of one partition of `log`; one of its own for each thread."""

    def __init__(
        self,
        log: EventLog,
        database: Database,
        partition: str,
        *,
        node: str,
        rules: int,
        clock: Clock | None = None,
        budget_s: float = BUDGET_S,
    ) -> None:
        self._log = log
        self._database = database
        self._partition = partition
        self._node = node
        self._rules = rules
        self._clock = clock if clock is not None else SystemClock()
        self._budget_s = budget_s
        self._own_only = isinstance(log, PartitionedLog) and not database.shared
        self.published = 0
        """Events appended so far."""

    def publish(self) -> bool:
        """Append what is missing; True if there is more. Raises ``LogUnavailable``: what was not
        noted as published is tried again the next time."""
        until = self._clock.monotonic() + self._budget_s
        more = True
        while more and self._clock.monotonic() <= until:
            more = self._publish_changed() | self._publish_new()
        return more

    def _publish_changed(self) -> bool:
        """Whether there may be more."""
        with self._database.read() as connection:
            changed = connection.execute(
                select(cdr_changed.c.call_id, cdr_changed.c.changed_ns)
                .where(cdr_changed.c.partition == self._partition)
                .order_by(cdr_changed.c.changed_ns, cdr_changed.c.call_id)
                .limit(BATCH)
            ).all()
            ids = [call_id for call_id, _ in changed]
            found = connection.execute(_CALLS.where(cdrs.c.call_id.in_(ids))) if ids else ()
            records = self._records(connection, [tuple(row) for row in found])
        if not changed:
            return False
        self._append([(call_id, records.get(call_id)) for call_id in ids])
        with self._database.write() as connection:
            # Not those that were changed once more meanwhile.
            run_rows(connection, _DONE, ("its_call", "its_ns"), [tuple(row) for row in changed])
        return len(changed) == BATCH

    def _publish_new(self) -> bool:
        with self._database.read() as connection:
            after = connection.execute(
                select(cdr_feed.c.position).where(cdr_feed.c.partition == self._partition)
            ).scalar()
            rows = connection.execute(
                _CALLS.add_columns(cdrs.c.position)
                .where(
                    cdrs.c.partition == self._partition,
                    cdrs.c.position > (START if after is None else after),
                )
                .order_by(cdrs.c.position)
                .limit(BATCH)
            ).all()
            records = self._records(connection, [tuple(row)[:-1] for row in rows])
        if not rows:
            return False
        self._append(list(records.items()))
        reached: Position = rows[-1][-1]
        with self._database.write() as connection:
            write_rows(
                connection, cdr_feed, ("partition", "position"), [(self._partition, reached)]
            )
        return len(rows) == BATCH

    def _records(
        self, connection: Connection, rows: Sequence[tuple[Any, ...]]
    ) -> dict[str, CdrRecorded]:
        """The rows of ``cdrs`` with their legs, by call id, in the order given."""
        if not rows:
            return {}
        calls = [dict(zip(_CALL_FIELDS, row, strict=True)) for row in rows]
        legs: defaultdict[str, list[RecordedLeg]] = defaultdict(list)
        ids = [call["call_id"] for call in calls]
        query = _LEGS.where(cdr_legs.c.call_id.in_(ids)).order_by(cdr_legs.c.ordinal)
        for call_id, *values in connection.execute(query):
            legs[call_id].append(RecordedLeg(**dict(zip(_LEG_FIELDS, values, strict=True))))
        return {
            call["call_id"]: CdrRecorded(
                rules=self._rules, legs=tuple(legs[call["call_id"]]), **call
            )
            for call in calls
        }

    def _append(self, records: Iterable[tuple[str, CdrRecorded | None]]) -> None:
        facts = []
        for call_id, record in records:
            if self._own_only and self._node_of(call_id) != self._node:
                continue
            newest = self._newest(call_id)
            told = _event(newest)
            if record is None:
                if isinstance(told, CdrRecorded):
                    withdrawn = CdrWithdrawn(call_id=call_id, rules=self._rules)
                    facts.append(self._fact(withdrawn, call_id, newest, newest))
            elif not _is_same(told, record):
                facts.append(self._fact(record, call_id, newest, record))
        if facts:
            self._log.commit(facts)
            # What is noted as published must not be lost to a power cut.
            self._log.sync()
            self.published += len(facts)

    def _node_of(self, call_id: str) -> str:
        """The node the call ran on."""
        first = next(iter(self._log.read_stream(f"call/{call_id}")), None)
        return first.node if first is not None else ""

    def _newest(self, call_id: str) -> Record | None:
        newest = None
        for newest in self._log.read_stream(cdr_stream(call_id)):  # noqa: B007  the last one
            pass
        return newest

    def _fact(
        self,
        event: CdrRecorded | CdrWithdrawn,
        call_id: str,
        newest: Record | None,
        tenant_of: CdrRecorded | Record | None,
    ) -> Row:
        stream = cdr_stream(call_id)
        name, data = self._log.codec.encode(stream, event)
        time_ns = now_ns = self._clock.wall_ns()
        if newest is None and isinstance(event, CdrRecorded):
            if now_ns - RECENT_NS <= event.end_ns <= now_ns:
                time_ns = event.end_ns
        version = newest.version + 1 if newest is not None else 1
        tenant = tenant_of.tenant if tenant_of is not None else ""
        return (stream, version, name, time_ns, self._node, "", call_id, "", tenant, data)


def _event(record: Record | None) -> Event | None:
    try:
        return record.event if record is not None else None
    except DecodeError:
        return None  # whatever it is: what is right is said behind it


def _is_same(told: Event | None, record: CdrRecorded) -> bool:
    """The same content; by which rules does not matter."""
    return (
        isinstance(told, CdrRecorded)
        and msgspec.structs.replace(told, rules=record.rules) == record
    )


def mark_changed(connection: Connection, partitions: Mapping[str, str]) -> None:
    """The records of these calls (with the partition of each) are to be published once more.

    In the transaction that changes them.
    """
    now_ns = time.time_ns()
    names = ("call_id", "partition", "changed_ns")
    rows = [(call_id, partition, now_ns) for call_id, partition in partitions.items()]
    write_rows(connection, cdr_changed, names, rows)


def mark_replaced(
    connection: Connection, source: Connection, projection: str, calls: Iterable[str]
) -> None:
    """Rows of these calls are about to be replaced by those of a second copy, `source`."""
    if projection != "cdrs":
        return
    query = select(cdrs.c.call_id, cdrs.c.partition).where(cdrs.c.call_id.in_(set(calls)))
    found = [tuple(row) for side in (connection, source) for row in side.execute(query)]
    mark_changed(connection, dict(found))


def forget_feed(connection: Connection, projection: str) -> None:
    """The rows are of another log now: publish all that this one does not have."""
    if projection == "cdrs":
        connection.execute(delete(cdr_feed))
        connection.execute(delete(cdr_changed))
