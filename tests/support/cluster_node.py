"""A node's log on a real Kafka, in the test's process: the log role's machinery and its callers."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Final

from pbx.eventlog import Codec, memory_keys
from pbx.eventlog.kafka import connect, topics
from pbx.eventlog.kafka.log import ClusterLog
from pbx.eventlog.kafka.service import LogService
from pbx.settings import KafkaSettings

CATCH_UP_S: Final = 60.0


def new_topics(servers: list[str], settings: KafkaSettings | None = None) -> KafkaSettings:
    """Fresh topics of a name of their own; returns the settings that name them."""
    settings = settings or KafkaSettings(partitions=2)
    settings = replace(settings, prefix=f"t{uuid.uuid4().hex[:12]}.")
    with closing(connect.admin(servers, settings, "tests")) as admin:
        for report in topics.init(admin, settings):
            assert report.created
            assert not report.differences
    return settings


class ClusterNode:
    """One node: :attr:`log` is what its processes see, :attr:`service` its log role."""

    def __init__(
        self, folder: Path, servers: list[str], settings: KafkaSettings, name: str
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "log.sqlite3"
        self.socket = folder / "log.sock"
        self.name = name
        self._servers = servers
        self._settings = settings
        self.start()
        self.log = self.open()

    def open(self) -> ClusterLog:
        """The log once more, as another process of the node would."""
        return ClusterLog(self.path, codec=Codec(memory_keys()), node=self.name, socket=self.socket)

    def start(self, *, wait: bool = True) -> None:
        """Start the log role."""
        self.service = LogService(self.path, self.socket, self._servers, self._settings, self.name)
        self.service.start()
        if wait:
            assert self.service.wait_caught_up(CATCH_UP_S), self.service.trouble

    def stop(self) -> None:
        """Stop the log role."""
        self.service.stop(0.0)

    def close(self) -> None:
        """Everything."""
        self.log.close()
        self.stop()


@contextlib.contextmanager
def cluster_node(
    folder: Path, servers: list[str], settings: KafkaSettings, name: str = "n1"
) -> Iterator[ClusterNode]:
    """A node for a while."""
    node = ClusterNode(folder, servers, settings, name)
    try:
        yield node
    finally:
        node.close()
