"""A cluster without Kafka: partitions are lists in memory, everything else is the product's own.

Each :class:`FakeLogRole` folds into a real replica and answers over the real socket; only the
broker, and the threads that speak with it, are missing. For tests that need the log of a node of a
cluster and no broker's behaviour.
"""

from __future__ import annotations

import threading
from pathlib import Path
from zlib import crc32

import msgspec

from pbx.eventlog import Codec, EmbeddedLog, memory_keys
from pbx.eventlog.embedded_file import CLUSTER_FORMAT, format_of
from pbx.eventlog.kafka.categories import CONFIG, LOG_CATEGORIES
from pbx.eventlog.kafka.control import ControlServer, Send
from pbx.eventlog.kafka.envelope import Envelope, decode_envelope, encode_envelope, wire_event
from pbx.eventlog.kafka.log import ClusterLog
from pbx.eventlog.kafka.replica import Journal, Met, Own, Replica, join, next_session
from pbx.eventlog.kafka.wire import Answer, Decide
from pbx.eventlog.registry import category_of

PARTITIONS = 2


class FakeKafka:
    """What brokers keep."""

    def __init__(self) -> None:
        self.partitions: dict[str, list[bytes]] = {
            f"{category}/{number}": []
            for category in LOG_CATEGORIES
            for number in range(1 if category == CONFIG else PARTITIONS)
        }
        self.roles: list[FakeLogRole] = []
        self.lock = threading.RLock()
        self.reachable = True

    def partition_of(self, stream: str) -> str:
        category = category_of(stream)
        return f"{category}/{0 if category == CONFIG else crc32(stream.encode()) % PARTITIONS}"


class FakeLogRole:
    """A node: :attr:`log` is what its processes see. :meth:`ship` and :meth:`read` happen when a
    decision is asked for, or when the test says so."""

    def __init__(self, kafka: FakeKafka, folder: Path, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.kafka = kafka
        self.name = name
        self.path = folder / "log.sqlite3"
        self.socket = folder / "log.sock"
        if format_of(self.path) != CLUSTER_FORMAT:
            EmbeddedLog(self.path).close()
            join(self.path, f"writer-{name}")
        self.replica = Replica(self.path)
        if not self.replica.partitions:
            self.replica.add_partitions(dict.fromkeys(kafka.partitions, 0))
        self.journal = Journal(self.path)
        self.session = 0
        with kafka.lock:
            kafka.roles.append(self)
            self.begin()
        self._control = ControlServer(self.socket, self._decide, dict)
        self._control.start()
        self.log = ClusterLog(self.path, codec=Codec(memory_keys()), node=name, socket=self.socket)

    def close(self) -> None:
        self.log.close()
        self._control.stop()
        with self.kafka.lock:
            self.kafka.roles.remove(self)
        self.replica.close()
        self.journal.close()

    def begin(self) -> None:
        """A new session."""
        self.session = next_session(self.path, self.session)
        self._seq = dict.fromkeys(self.kafka.partitions, 0)
        for name in self.kafka.partitions:
            self.send(name, Envelope("", "", 0, 0, []))
        self.read()

    def send(self, partition: str, record: Envelope) -> bytes:
        """Append a record as this node's next one; returns it."""
        self._seq[partition] += 1
        value = encode_envelope(
            msgspec.structs.replace(
                record,
                writer=self.replica.writer,
                session=self.session,
                seq=self._seq[partition],
            )
        )
        self.kafka.partitions[partition].append(value)
        return value

    def ship(self) -> None:
        """Send what the journal has."""
        with self.kafka.lock:
            facts, _ = self.journal.unshipped(0, 1_000_000)
            for position, row in facts:
                record = Envelope(row[0], "", 0, 0, [wire_event(row)], at=position)
                self.send(self.kafka.partition_of(row[0]), record)
            for role in self.kafka.roles:
                role.read()

    def read(self) -> list[Own]:
        """Fold what is new into the replica."""
        with self.kafka.lock:
            batch = [
                Met(place.id, offset, decode_envelope(value))
                for place in self.replica.partitions.values()
                for offset, value in enumerate(self.kafka.partitions[place.name])
                if offset >= place.next_offset
            ]
            return self.replica.apply(batch)

    def _decide(self, question: Decide, answer: Send) -> None:
        with self.kafka.lock:
            if not self.kafka.reachable:
                answer(Answer(id=question.id, error="Kafka does not take it now"))
                return
            self.ship()
            record = Envelope(
                question.stream, "", 0, 0, question.events,
                expected=question.expected, id=question.id,
            )  # fmt: skip
            self.send(self.kafka.partition_of(question.stream), record)
            for role in self.kafka.roles:
                for own in role.read():
                    if own.envelope.id == question.id:
                        position, current = own.position, own.verdict.current
        if position:
            answer(Answer(id=question.id, position=position))
        else:
            answer(Answer(id=question.id, conflict=current))
