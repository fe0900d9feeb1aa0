"""A cluster without containers: Kafka, PostgreSQL and nodes, each a process tree of its own.

The same topology as ``docker-compose.yml``, by the same settings (:func:`node_environment`; a test
compares both): one broker, one PostgreSQL with a database for the read model and another for the
keys, nodes that are linked by a secret, each with a data directory and a media process of its own.
Ports are free ones, so that several clusters do not meet.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final

from tests.interop.peers.processes import await_condition
from tests.support.kafka_broker import Broker, KafkaCluster
from tests.support.postgres import PostgresServer
from tests.support.server_process import ServerProcess

SECRET: Final = "a secret of these nodes"
PARTITIONS: Final = 4
NAMES: Final = ("pbx-1", "pbx-2", "pbx-3")
LISTENERS: Final = ("127.0.0.1:0/udp", "127.0.0.1:0/tcp")
READY_S: Final = 30.0


def node_environment(
    name: str, *, kafka: Sequence[str], readmodel: str, keys: str, link: str, secret: str
) -> dict[str, str]:
    """What makes a server a node of a cluster, as variables of its environment."""
    return {
        "RINGLOG_SERVER__NODE": name,
        "RINGLOG_EVENTLOG__ENGINE": f"kafka:{','.join(kafka)}",
        "RINGLOG_KAFKA__PARTITIONS": str(PARTITIONS),
        "RINGLOG_READMODEL__URL": readmodel,
        "RINGLOG_PRIVACY__KEYS": keys,
        "RINGLOG_CLUSTER__LINK": link,
        "RINGLOG_CLUSTER__SECRET": secret,
    }


class Cluster:
    """A context manager that starts everything and leaves nothing behind."""

    def __init__(self, folder: Path, *, settings: str = "", names: Sequence[str] = NAMES) -> None:
        """`settings` is TOML for each node; data and logs of the nodes lie in `folder`."""
        self.folder = folder
        self.names = tuple(names)
        self.nodes: list[ServerProcess] = []
        self.prefix = f"t{uuid.uuid4().hex[:12]}."
        self._settings = settings
        self._stack = ExitStack()

    def __enter__(self) -> Cluster:
        with ExitStack() as stack:
            self.kafka = stack.enter_context(KafkaCluster())
            self.postgres = stack.enter_context(PostgresServer())
            self.readmodel = self.postgres.new_database()
            keys = self.postgres.new_database().replace("+psycopg", "")
            for name in self.names:
                environment = node_environment(
                    name,
                    kafka=self.kafka.servers,
                    readmodel=self.readmodel,
                    keys=keys,
                    link="127.0.0.1:0",
                    secret=SECRET,
                )
                environment["RINGLOG_KAFKA__PREFIX"] = self.prefix
                self.nodes.append(
                    ServerProcess(
                        self.folder / name,
                        listeners=LISTENERS,
                        settings=self._settings,
                        environment=environment,
                    )
                )
            self.nodes[0].run("log", "init")
            for node in self.nodes:
                stack.callback(node.end)
            with ThreadPoolExecutor() as starting:
                list(starting.map(ServerProcess.start, self.nodes))
            self.await_linked()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    @property
    def broker(self) -> Broker:
        """The only one."""
        return self.kafka.brokers[0]

    def stop(self) -> None:
        """Every node in order, which must succeed."""
        for node in self.nodes:
            node.stop()

    def await_linked(self) -> None:
        """Until every node's log says that all are up."""
        for node in self.nodes:
            await_condition(partial(self._all_up, node), "the nodes", READY_S)

    def _all_up(self, node: ServerProcess) -> bool:
        states = {row["node"]: row["state"] for row in node.listing("node", "list")}
        return states == dict.fromkeys(self.names, "up")

    def restart_broker(self, timeout_s: float = READY_S) -> None:
        """After it was killed: start it and wait until it takes connections."""
        self.broker.start()
        self.broker.wait(time.monotonic() + timeout_s)
