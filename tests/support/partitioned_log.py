"""A log of several partitions in memory: what the read model needs of a log on a broker.

A stream lies in the partition that its name hashes to, as a keyed record does in a topic;
configuration has one. Positions count within a partition.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from zlib import crc32

from pbx.eventlog import EventLog, MemoryLog, Meta, Position, Record, category_of
from pbx.kernel.events import Event


class PartitionedMemoryLog(MemoryLog):
    """`count` partitions of each busy category. Readable by partition and by stream only."""

    def __init__(self, count: int = 4) -> None:
        super().__init__(node="n1")
        names = ["pbx.config-0"]
        for category in ("pbx.calls", "pbx.bindings"):
            names += [f"{category}-{number}" for number in range(count)]
        self._count = count
        self.views = {name: MemoryLog(codec=self.codec, node="n1") for name in names}

    def partitions(self) -> Sequence[str]:
        return list(self.views)

    def partition(self, name: str) -> EventLog:
        return self.views[name]

    def place_of(self, stream: str) -> MemoryLog:
        """Where a stream lies."""
        category = category_of(stream)
        if category == "pbx.config":
            return self.views["pbx.config-0"]
        return self.views[f"{category}-{crc32(stream.encode()) % self._count}"]

    def append(
        self, stream: str, expected_version: int, events: Sequence[Event], meta: Meta
    ) -> Position:
        return self.place_of(stream).append(stream, expected_version, events, meta)

    def read_stream(self, stream: str, after_version: int = 0) -> Iterator[Record]:
        return self.place_of(stream).read_stream(stream, after_version)
