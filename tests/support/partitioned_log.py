"""A log of several partitions in memory: what the read model needs of a log on a broker.

A stream lies in the partition that its name hashes to, as a keyed record does in a topic;
configuration has one. Positions count within a partition; those of the log as a whole are this
node's own, and it may have records that are in no partition yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from zlib import crc32

from pbx.eventlog import Conflict, EventLog, MemoryLog, Position, category_of
from pbx.eventlog.record import Entry


class PartitionedMemoryLog(MemoryLog):
    """`count` partitions of each busy category."""

    def __init__(self, count: int = 4) -> None:
        super().__init__(node="n1")
        names = ["pbx.config/0"]
        for category in ("pbx.calls", "pbx.bindings", "pbx.cdrs"):
            names += [f"{category}/{number}" for number in range(count)]
        self._count = count
        self.views = {name: MemoryLog(codec=self.codec, node="n1") for name in names}
        self.shipping = True
        """False: the broker is away."""

    def partitions(self) -> Sequence[str]:
        return list(self.views)

    def partition(self, name: str) -> EventLog:
        return self.views[name]

    def place_of(self, stream: str) -> MemoryLog:
        """Where a stream lies."""
        category = category_of(stream)
        if category == "pbx.config":
            return self.views["pbx.config/0"]
        return self.views[f"{category}/{crc32(stream.encode()) % self._count}"]

    def commit(self, batch: Sequence[Entry]) -> list[Position | Conflict]:
        before = self.head()
        verdicts = super().commit(batch)
        if self.shipping:
            for record in self.read(before):
                self.place_of(record.stream).commit([record.row])
        return verdicts
