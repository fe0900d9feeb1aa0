"""The log role's eye: reads all partitions, folds them into the replica, says what it met.

One thread. Kafka being away is nothing special: the client connects again by itself, and what
raises is logged once and tried again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, NamedTuple

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError, OffsetOutOfRangeError

from pbx.eventlog.kafka.categories import CONFIG
from pbx.eventlog.kafka.envelope import decode_envelope
from pbx.eventlog.kafka.replica import Met, Own, Replica
from pbx.kernel.errors import DecodeError, LogUnavailable

logger = logging.getLogger(__name__)

BATCH: Final = 500
"""Records to a transaction: it keeps the file's write lock for some ten milliseconds."""
POLL_MS: Final = 500
RETRY_S: Final = 1.0
ASK_S: Final = 1.0
"""Silence after which a broker is asked whether it is there."""
ASK_TIMEOUT_MS: Final = 2500
MALFORMED_LOGGED: Final = 10
"""A topic full of foreign records must not fill the operator's log."""


class Topic(NamedTuple):
    """A topic that belongs to the log."""

    category: str
    name: str


class _Mismatch(LogUnavailable):
    """Kafka and the replica do not belong together; nothing but an operator can mend that."""


class Reader:
    """Reads `topics` into the replica at `path`.

    `connect` makes a consumer; `met` is told what became of this node's records after each batch,
    `known` the partitions once they are known, `trouble` a reason or, when it is over, nothing.
    """

    def __init__(
        self,
        path: Path,
        topics: list[Topic],
        connect: Callable[[], KafkaConsumer],
        *,
        met: Callable[[list[Own]], None],
        known: Callable[[dict[int, tuple[str, int]]], None],
        trouble: Callable[[str], None],
    ) -> None:
        self._path = path
        self._topics = topics
        self._connect = connect
        self._met = met
        self._known = known
        self._trouble = trouble
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log-reader", daemon=True)
        self._ids: dict[TopicPartition, int] = {}
        self._malformed = 0
        self._asked = 0
        self.caught_up = threading.Event()
        """Everything that Kafka had at the start is in the replica."""
        self.lag = -1
        """Records in Kafka that are not in the replica; -1 while unknown."""
        self.consumed = 0
        self.fatal = ""
        """Why the role cannot go on until somebody mended it."""

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """End after the batch at hand."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def wait_caught_up(self, timeout_s: float) -> bool:
        """Wait for :attr:`caught_up`; ends early when nothing will come of it."""
        deadline = time.monotonic() + timeout_s
        while not self.caught_up.wait(min(0.1, max(0.0, deadline - time.monotonic()))):
            if self.fatal or time.monotonic() >= deadline:
                return False
        return True

    # The thread.

    def _run(self) -> None:
        replica = Replica(self._path)
        try:
            while not self._stop.is_set() and not self.fatal:
                try:
                    self._read(replica)
                except (KafkaError, LogUnavailable, OSError) as error:
                    self.lag = -1
                    self._trouble(str(error) or type(error).__name__)
                    self._stop.wait(RETRY_S)
                except Exception:
                    logger.exception("reading from Kafka failed")
                    self._trouble("a defect; see the log")
                    self._stop.wait(RETRY_S)
        finally:
            replica.close()

    def _read(self, replica: Replica) -> None:
        consumer = self._connect()
        try:
            try:
                self._assign(consumer, replica)
            except _Mismatch as error:
                self.fatal = str(error)
                raise
            heard_at = time.monotonic()
            while not self._stop.is_set():
                try:
                    polled = consumer.poll(timeout_ms=POLL_MS, max_records=BATCH)
                except OffsetOutOfRangeError:
                    return  # assigned anew, the bounds are checked
                now = time.monotonic()
                if polled:
                    self._apply(replica, polled)
                    heard_at = now
                elif now - heard_at >= ASK_S:
                    if not self._answers(consumer):
                        self.lag = -1  # the last end that we know of says nothing now
                        continue
                    heard_at = time.monotonic()
                self._measure(consumer, replica)
        finally:
            consumer.close()

    def _assign(self, consumer: KafkaConsumer, replica: Replica) -> None:
        known = {partition.name: partition for partition in replica.partitions.values()}
        found: dict[TopicPartition, str] = {}
        for topic in self._topics:
            numbers = consumer.partitions_for_topic(topic.name)
            if not numbers:
                raise LogUnavailable(
                    f"Kafka has no topic {topic.name}: make the topics with pbx log init"
                )
            for number in sorted(numbers):
                found[TopicPartition(topic.name, number)] = f"{topic.category}/{number}"
        _check_counts(known, found.values())
        begins = consumer.beginning_offsets(list(found))
        if not known and replica.has_shared_events():
            ends = consumer.end_offsets(list(found))
            if any(ends[place] for place, name in found.items() if name.startswith(CONFIG)):
                raise _Mismatch(
                    "this data directory has accounts of its own and the cluster has others: start"
                    " the node with a new --data DIR (only the first node may bring its log along)"
                )
        new = {name: begins[place] for place, name in found.items() if name not in known}
        if new:
            replica.add_partitions(new)
        known = {partition.name: partition for partition in replica.partitions.values()}
        self._ids = {place: known[name].id for place, name in found.items()}
        consumer.assign(list(found))
        for place, name in found.items():
            consumer.seek(place, replica.partitions[known[name].id].next_offset)
        self._check_bounds(consumer, replica)
        self._known({id_: (place.topic, place.partition) for place, id_ in self._ids.items()})
        self._trouble("")

    def _check_bounds(self, consumer: KafkaConsumer, replica: Replica) -> None:
        """What Kafka has must reach from before our offset to behind it."""
        begins = consumer.beginning_offsets(list(self._ids))
        ends = consumer.end_offsets(list(self._ids))
        for place, id_ in self._ids.items():
            partition = replica.partitions[id_]
            if ends[place] < partition.next_offset:
                raise _Mismatch(
                    f"{place.topic}/{place.partition} ends at offset {ends[place]}, but this node"
                    f" has read up to {partition.next_offset}: Kafka lost records, or this is"
                    " another Kafka; see docs/kafka.md"
                )
            if begins[place] > partition.next_offset:
                logger.warning(
                    "%s/%d: Kafka deleted offsets %d to %d before this node read them; its copy"
                    " has a gap there", place.topic, place.partition,
                    partition.next_offset, begins[place] - 1,
                )  # fmt: skip
                replica.cut(id_, begins[place])
                consumer.seek(place, begins[place])

    def _answers(self, consumer: KafkaConsumer) -> bool:
        """Nothing came for a while: is there nothing, or nobody? A decision that is not sent to
        a broker that is gone can be refused with certainty."""
        self._asked = (self._asked + 1) % len(self._ids)
        place = list(self._ids)[self._asked]
        try:
            consumer.end_offsets([place], timeout_ms=ASK_TIMEOUT_MS)
        except KafkaError as error:
            self._trouble(f"the leader of {place.topic}/{place.partition} does not answer: {error}")
            return False
        self._trouble("")
        return True

    def _apply(self, replica: Replica, polled: dict[TopicPartition, list[object]]) -> None:
        batch: list[Met] = []
        for place, records in polled.items():
            id_ = self._ids[place]
            for record in records:
                try:
                    envelope = decode_envelope(record.value)  # type: ignore[attr-defined]
                except DecodeError as error:
                    envelope = None
                    self._complain(place, record.offset, error)  # type: ignore[attr-defined]
                batch.append(Met(id_, record.offset, envelope))  # type: ignore[attr-defined]
        while True:
            try:
                own = replica.apply(batch)
                break
            except LogUnavailable as error:
                # The disk is full or the file locked: what was polled must not be lost.
                self._trouble(str(error))
                if self._stop.wait(RETRY_S):
                    return
        self._trouble("")
        self.consumed += len(batch)
        self._met(own)

    def _complain(self, place: TopicPartition, offset: int, error: DecodeError) -> None:
        self._malformed += 1
        if self._malformed <= MALFORMED_LOGGED:
            logger.warning(
                "%s/%d offset %d is no record of Ringlog and is passed over: %s",
                place.topic, place.partition, offset, error,
            )  # fmt: skip

    def _measure(self, consumer: KafkaConsumer, replica: Replica) -> None:
        lag = 0
        for place, id_ in self._ids.items():
            high = consumer.highwater(place)
            if high is None:
                return  # not fetched from yet
            lag += max(0, high - replica.partitions[id_].next_offset)
        self.lag = lag
        if lag == 0:
            self.caught_up.set()


def _check_counts(known: Iterable[str], found: Iterable[str]) -> None:
    """A topic keeps its number of partitions for ever; later versions may add topics."""
    before = Counter(name.partition("/")[0] for name in known)
    now = Counter(name.partition("/")[0] for name in found)
    for category, count in before.items():
        if now[category] != count:
            raise _Mismatch(
                f"{category} has {now[category]} partitions and this log was made with {count}:"
                " partitions must not change, since streams would move; put the topic back as it"
                " was, or begin anew with new topics (kafka.prefix) and new data directories"
            )
