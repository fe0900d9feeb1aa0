"""Nodes of a cluster over a real Kafka, with the log role in this process or in its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from pbx.datadir import DataDirectory
from pbx.eventlog import Codec, memory_keys, open_log
from pbx.eventlog.kafka import connect, topics
from pbx.eventlog.kafka.client import ask_status
from pbx.eventlog.kafka.log import ClusterLog
from pbx.eventlog.kafka.service import LogService
from pbx.settings import EventLogSettings, KafkaSettings, LogSettings, ServerSettings, Settings
from pbx.settings_source import settings_to_raw

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


class RoleNode:
    """A node whose log role is the real one, in a process of its own that can be killed."""

    def __init__(
        self, folder: Path, servers: list[str], settings: KafkaSettings, name: str
    ) -> None:
        self.data = DataDirectory(folder)
        self.data.prepare()
        self.name = name
        raw = settings_to_raw(
            Settings(
                server=ServerSettings(data=str(folder), node=name),
                eventlog=EventLogSettings(engine=f"kafka:{','.join(servers)}"),
                kafka=settings,
                log=LogSettings(level="warning"),
            )
        )
        self.data.settings.write_text(json.dumps(raw), encoding="utf-8")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the role without waiting for it."""
        with (self.data.path / "role.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    sys.executable, "-m", "pbx", "role", "log", "--data", str(self.data.path),
                    "--report-to", "-1", "--supervisor", str(os.getpid()),
                ],
                stderr=log,
            )  # fmt: skip

    @property
    def pid(self) -> int:
        """Of the role."""
        assert self._process is not None
        return self._process.pid

    def await_ready(self, timeout_s: float = CATCH_UP_S) -> None:
        """Until it can decide."""
        deadline = time.monotonic() + timeout_s
        while not (self.status() or {}).get("reachable"):
            if time.monotonic() > deadline:
                raise AssertionError(f"{self.name}: {self.status()} {self.said()}")
            time.sleep(0.05)

    def await_shipped(self, timeout_s: float = CATCH_UP_S) -> None:
        """Until nothing waits for Kafka and nothing of Kafka is unread."""
        deadline = time.monotonic() + timeout_s
        while True:
            status = self.status() or {}
            shipped = status.get("backlog_events") == 0 and status.get("lag_records") == 0
            if shipped and status.get("reachable"):
                return
            if time.monotonic() > deadline:
                raise AssertionError(f"{self.name}: {status} {self.said()}")
            time.sleep(0.05)

    def status(self) -> dict[str, Any] | None:
        """What the role says."""
        return ask_status(self.data.log_socket)

    def said(self) -> str:
        """Its log."""
        return (self.data.path / "role.log").read_text(encoding="utf-8")

    def kill(self) -> None:
        """``kill -9``."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Orderly."""
        self._end(signal.SIGTERM)

    def _end(self, number: int) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(number)
            process.wait()

    def __enter__(self) -> RoleNode:
        self.start()
        self.await_ready()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


def contents(data: Path) -> dict[str, list[tuple[object, ...]]]:
    """What a node's replica has, partition by partition."""
    log = open_log(data, unseal=False)
    assert isinstance(log, ClusterLog)
    try:
        return {
            name: [(r.position, *r.row) for r in log.partition(name).read()]
            for name in log.partitions()
        }
    finally:
        log.close()
