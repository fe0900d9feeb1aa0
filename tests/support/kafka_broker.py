"""A real Apache Kafka 4 for tests: one or several brokers in KRaft mode, on loopback.

No container engine is needed: the published jars come from Maven Central (``python -m
tests.support.kafka_broker`` fetches them once into the user's cache) and run with Java 17. Every
broker is broker and controller. Ports and directories are the caller's own, so that several runs
do not meet.
"""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from tests.support.kafka_security import PROTOCOLS, Security

VERSION: Final = "4.1.0"
START_S: Final = 90.0
"""Two busy cores start three brokers in twenty seconds."""

_POM: Final = """<?xml version="1.0" encoding="UTF-8"?>
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>ringlog.tests</groupId>
  <artifactId>broker</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_2.13</artifactId>
      <version>{version}</version>
    </dependency>
    <dependency>
      <groupId>org.slf4j</groupId>
      <artifactId>slf4j-simple</artifactId>
      <version>1.7.36</version>
    </dependency>
  </dependencies>
</project>
"""


def cache() -> Path:
    """Where the jars lie."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "ringlog-tests" / f"kafka-{VERSION}"


def installed() -> bool:
    """Whether brokers can be started here."""
    return shutil.which("java") is not None and (cache() / "complete").exists()


def fetch() -> None:
    """Have Maven fetch the jars, unless they are here. Raises ``CalledProcessError``."""
    place = cache()
    if (place / "complete").exists():
        return
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    (place / "pom.xml").write_text(_POM.format(version=VERSION), encoding="utf-8")
    subprocess.run(
        ["mvn", "-q", "-B", "dependency:copy-dependencies", f"-DoutputDirectory={place / 'jars'}"],
        cwd=place,
        check=True,
        stdout=sys.stderr,
    )
    (place / "complete").touch()


class Broker:
    """One broker process. Ports stay the same over :meth:`stop` and :meth:`start`."""

    def __init__(
        self,
        number: int,
        folder: Path,
        port: int,
        controller_port: int,
        seen_port: int,
        *,
        host: str = "127.0.0.1",
        security: Security | None = None,
        within: Sequence[str] = (),
    ) -> None:
        """`security` adds listeners that ask for it; `within` is a command that the broker is run
        by, in a network where it has the address `host`."""
        self.host = host
        self._security = security
        self._within = tuple(within)
        self.number = number
        self.folder = folder
        self.port = port
        self.controller_port = controller_port
        self.seen_port = seen_port
        """Where clients find it: that of a proxy, if there is one."""
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """``HOST:PORT`` for clients."""
        return f"{self.host}:{self.seen_port}"

    def format(self, cluster_id: str, voters: str, brokers: int) -> None:
        """Write the settings and make the storage."""
        self.folder.mkdir(parents=True)
        copies = min(3, brokers)
        security = self._security
        more = f",{security.listeners()}" if security is not None else ""
        protocols = ",".join(f"{name}:{name}" for name in ("PLAINTEXT", *PROTOCOLS))
        properties: dict[str, object] = {
            "process.roles": "broker,controller",
            "node.id": self.number,
            "controller.quorum.voters": voters,
            "listeners": f"PLAINTEXT://{self.host}:{self.port},"
            f"CONTROLLER://{self.host}:{self.controller_port}{more}",
            "advertised.listeners": f"PLAINTEXT://{self.address}{more}",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": f"CONTROLLER:PLAINTEXT,{protocols}",
            "log.dirs": self.folder / "data",
            "auto.create.topics.enable": "false",
            "offsets.topic.replication.factor": copies,
            "offsets.topic.num.partitions": 1,
            "transaction.state.log.replication.factor": copies,
            "transaction.state.log.min.isr": max(1, copies - 1),
            "share.coordinator.state.topic.replication.factor": copies,
            "share.coordinator.state.topic.min.isr": max(1, copies - 1),
            "group.initial.rebalance.delay.ms": 0,
            # Deaths are noticed within seconds, for tests of fail-over.
            "broker.session.timeout.ms": 3000,
            "broker.heartbeat.interval.ms": 500,
            "replica.lag.time.max.ms": 4000,
            "controller.quorum.election.timeout.ms": 1000,
            "controller.quorum.fetch.timeout.ms": 2000,
            **(security.properties() if security is not None else {}),
        }
        self._properties.write_text(
            "".join(f"{name}={value}\n" for name, value in properties.items()), encoding="utf-8"
        )
        done = subprocess.run(
            [*self._java(64), "kafka.tools.StorageTool", "format",
             f"--cluster-id={cluster_id}", "-c", str(self._properties),
             *(security.format_options() if security is not None else ())],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"the storage cannot be made: {(done.stdout + done.stderr)[-2000:]}")

    def start(self) -> None:
        """Start the process; :meth:`wait` says when it answers."""
        assert self._process is None
        with (self.folder / "broker.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self._within, *self._java(256), "kafka.Kafka", str(self._properties)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def wait(self, deadline: float) -> None:
        """Until it takes connections. Raises ``RuntimeError`` with the end of its log."""
        while True:
            with (
                contextlib.suppress(OSError),
                socket.create_connection((self.host, self.port), 1.0),
            ):
                return
            if self._process is None or self._process.poll() is not None:
                break
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)
        said = (self.folder / "broker.log").read_text(encoding="utf-8", errors="replace")
        raise RuntimeError(f"broker {self.number} does not start:\n{said[-3000:]}")

    def stop(self) -> None:
        """Orderly."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """As a power cut would, but that its disk stays."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Connections stay open and nothing answers."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """After :meth:`pause`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _end(self, number: int) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGCONT)
        process.send_signal(number)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    @property
    def _properties(self) -> Path:
        return self.folder / "server.properties"

    def _java(self, heap_mb: int) -> list[str]:
        return [
            "java", f"-Xmx{heap_mb}m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-cp", str(cache() / "jars" / "*"),
        ]  # fmt: skip


class KafkaCluster:
    """Some brokers; a context manager that ends them and removes their data."""

    def __init__(
        self,
        brokers: int = 1,
        *,
        proxied: bool = False,
        secure: bool = False,
        host: str = "127.0.0.1",
        within: Sequence[str] = (),
    ) -> None:
        """`proxied`: clients come over a port where a :class:`~tests.support.tcp_proxy.TcpProxy`
        of the caller listens. `secure`: :attr:`security` has listeners with TLS and log-in (of one
        broker). `host` and `within`: as :class:`Broker` has them."""
        self._folder = Path(tempfile.mkdtemp(prefix="ringlog-kafka-"))
        ports = _free_ports(3 * brokers + len(PROTOCOLS))
        self.security: Security | None = None
        if secure:
            self.security = Security(self._folder / "security", ports[3 * brokers :])
        self.brokers = []
        for n in range(brokers):
            port, controller_port, seen_port = ports[3 * n : 3 * n + 3]
            self.brokers.append(
                Broker(
                    n + 1,
                    self._folder / str(n + 1),
                    port,
                    controller_port,
                    seen_port if proxied else port,
                    host=host,
                    security=self.security,
                    within=within,
                )
            )

    @property
    def servers(self) -> list[str]:
        """Addresses of all brokers."""
        return [broker.address for broker in self.brokers]

    def __enter__(self) -> KafkaCluster:
        cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode("ascii")[:22]
        voters = ",".join(f"{b.number}@{b.host}:{b.controller_port}" for b in self.brokers)
        try:
            for broker in self.brokers:
                broker.format(cluster_id, voters, len(self.brokers))
            for broker in self.brokers:
                broker.start()
            deadline = time.monotonic() + START_S
            for broker in self.brokers:
                broker.wait(deadline)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for broker in self.brokers:
            broker.kill()
        shutil.rmtree(self._folder, ignore_errors=True)


def _free_ports(count: int) -> list[int]:
    """Ports that nobody has now; held together so that they differ."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@contextlib.contextmanager
def killed(broker: Broker) -> Iterator[None]:
    """The broker is dead meanwhile; it answers again at the end."""
    broker.kill()
    try:
        yield
    finally:
        broker.start()
        broker.wait(time.monotonic() + 60)


@contextlib.contextmanager
def paused(broker: Broker) -> Iterator[None]:
    """The broker hangs meanwhile."""
    broker.pause()
    try:
        yield
    finally:
        broker.resume()


if __name__ == "__main__":
    fetch()
