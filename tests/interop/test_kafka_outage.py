"""Kafka away for a while, in every way it can be, with facts going on: nothing is lost, nothing is
doubled, each stream keeps its order, and decisions meanwhile say what became of them."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from pbx.domain.accounts import DomainCreated
from pbx.eventlog import Conflict, LogUnavailable, Meta, OutcomeUnknown, open_log
from pbx.settings import KafkaSettings
from tests.support.cluster_node import RoleNode, contents, new_topics
from tests.support.kafka_broker import KafkaCluster, killed, paused
from tests.support.network_namespace import NamedNetwork
from tests.support.tcp_proxy import TcpProxy

pytestmark = pytest.mark.needs("kafka-broker")

OUTAGE_S = 6.0
"""Longer than it takes to notice, and than a producer's first retries."""
STREAMS = 5
SETTINGS = KafkaSettings(partitions=2, decide_s=2.0, unknown_s=30.0)


class Facts:
    """A process that commits facts, as the signal role does; :attr:`acknowledged` by stream."""

    def __init__(self, node: RoleNode, log: Path) -> None:
        self._node = node
        self._said = log
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Facts:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        with self._said.open("ab") as said:
            self._process = subprocess.Popen(
                [
                    sys.executable, "-m", "tests.support.cluster_worker", "facts",
                    str(self._node.data.path), self._node.name, str(STREAMS),
                ],
                stdout=said,
            )  # fmt: skip

    def kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    @property
    def acknowledged(self) -> dict[str, int]:
        lines = self._said.read_bytes().splitlines(keepends=True) if self._said.exists() else []
        whole = [line for line in lines if line.endswith(b"\n")]
        found: dict[str, int] = json.loads(whole[-1]) if whole else {}
        return found

    def await_more(self, count: int = 100) -> None:
        wanted = sum(self.acknowledged.values()) + count
        deadline = time.monotonic() + 30
        while sum(self.acknowledged.values()) < wanted:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def decide(node: RoleNode, name: str) -> str:
    """Create a domain; what became of it."""
    log = open_log(node.data.path, node=node.name)
    try:
        log.append(f"domain/{name}", 0, [DomainCreated(name=name)], Meta())
    except OutcomeUnknown:
        return "unknown"
    except LogUnavailable:
        return "refused"
    finally:
        log.close()
    return "made"


def check(facts: list[Facts], nodes: list[RoleNode]) -> None:
    """Every node's copy has every acknowledged fact once and in order, and they are equal."""
    for node in nodes:
        node.await_shipped()
    deadline = time.monotonic() + 30
    while True:
        # What a node shipped last may be a poll away from the others.
        read = [contents(node.data.path) for node in nodes]
        if all(one == read[0] for one in read[1:]):
            break
        assert time.monotonic() < deadline, "the copies differ"
        time.sleep(0.2)
    events: dict[str, list[str]] = {}
    for rows in read[0].values():
        for row in rows:
            stream, data = str(row[1]), row[-1]
            if stream.startswith("call/"):
                assert isinstance(data, bytes)
                events.setdefault(stream, []).append(json.loads(data)["leg_id"])
    for one in facts:
        for stream, count in one.acknowledged.items():
            found = events[stream]
            assert found == [f"{stream}#{n}" for n in range(1, len(found) + 1)]
            assert len(found) >= count


@contextlib.contextmanager
def _away(network: TcpProxy | NamedNetwork, begin: Callable[[], None]) -> Iterator[None]:
    begin()
    try:
        yield
    finally:
        network.heal()


Trouble = Callable[[KafkaCluster, TcpProxy], Any]
TROUBLES: dict[str, Trouble] = {
    "killed": lambda cluster, _: killed(cluster.brokers[0]),
    "hanging": lambda cluster, _: paused(cluster.brokers[0]),
    "cut": lambda _, proxy: _away(proxy, proxy.cut),
    "silent": lambda _, proxy: _away(proxy, proxy.stall),
}


@pytest.fixture(scope="module")
def lone_broker() -> Iterator[tuple[KafkaCluster, TcpProxy]]:
    cluster = KafkaCluster(proxied=True)
    broker = cluster.brokers[0]
    with TcpProxy(broker.seen_port, ("127.0.0.1", broker.port)) as proxy, cluster:
        yield cluster, proxy


@pytest.mark.parametrize("trouble", TROUBLES)
def test_an_outage_loses_nothing_and_doubles_nothing(
    trouble: str, lone_broker: tuple[KafkaCluster, TcpProxy], tmp_path: Path
) -> None:
    cluster, proxy = lone_broker
    an_outage(cluster, lambda: TROUBLES[trouble](cluster, proxy), tmp_path)


@pytest.mark.needs("network-namespace")
@pytest.mark.parametrize("end", ["theirs", "ours"])
def test_a_cable_that_was_pulled_loses_nothing_and_doubles_nothing(
    end: str, tmp_path: Path
) -> None:
    """The broker in a network of its own: packets vanish, or there is no way to it."""
    with (
        NamedNetwork() as network,
        KafkaCluster(host=network.address, within=network.within) as cluster,
    ):
        pull = network.cut if end == "theirs" else network.unplug
        an_outage(cluster, lambda: _away(network, pull), tmp_path)


def an_outage(
    cluster: KafkaCluster, trouble: Callable[[], AbstractContextManager[None]], tmp_path: Path
) -> None:
    """Facts go on, a decision is refused, everything arrives once and in order afterwards."""
    settings = new_topics(cluster.servers, SETTINGS)
    with (
        RoleNode(tmp_path / "n1", cluster.servers, settings, "n1") as node,
        RoleNode(tmp_path / "n2", cluster.servers, settings, "n2") as other,
        Facts(node, tmp_path / "facts") as facts,
    ):
        facts.await_more()
        assert decide(node, "before") == "made"
        with trouble():
            begun = time.monotonic()
            time.sleep(OUTAGE_S)
            facts.await_more()
            outcome = decide(node, "during")
            assert outcome == "refused", "nothing is promised and nothing is left open"
            status = node.status()
            assert status is not None
            assert not status["reachable"]
            assert status["backlog_events"] > 100
            assert time.monotonic() - begun < OUTAGE_S + 15
        node.await_ready()
        assert decide(node, "after") == "made"
        assert decide(node, "during") == "made", "it was not made before"
        facts.await_more()
        facts.kill()
        check([facts], [node, other])
        assert "Kafka cannot be reached" in node.said()
        assert "Kafka is reached again" in node.said()


def test_a_node_without_calls_notices_too(
    lone_broker: tuple[KafkaCluster, TcpProxy], tmp_path: Path
) -> None:
    """Nothing is sent that could get lost: a decision is refused, not left open."""
    cluster, proxy = lone_broker
    settings = new_topics(cluster.servers, SETTINGS)
    with RoleNode(tmp_path / "n1", cluster.servers, settings, "n1") as node:
        for trouble in (proxy.stall, proxy.cut):
            with _away(proxy, trouble):
                time.sleep(OUTAGE_S)
                assert decide(node, "x") == "refused"
            node.await_ready()
        assert decide(node, "x") == "made"


def test_a_decision_caught_by_an_outage_is_settled_when_kafka_is_back(
    lone_broker: tuple[KafkaCluster, TcpProxy], tmp_path: Path
) -> None:
    """It was sent and nobody knows whether it arrived: the caller waits, and the next session's
    barrier tells."""
    cluster, _ = lone_broker
    settings = new_topics(cluster.servers, replace(SETTINGS, decide_s=30.0))
    with RoleNode(tmp_path / "n1", cluster.servers, settings, "n1") as node:
        log = open_log(node.data.path, node="n1")
        log.append("domain/x", 0, [DomainCreated(name="x")], Meta())
        with paused(cluster.brokers[0]):
            answers: list[object] = []
            log.submit(_decision(log, "domain/y"), answers.append)  # type: ignore[attr-defined]
            time.sleep(OUTAGE_S)
            assert answers == []
        deadline = time.monotonic() + 60
        while not answers and time.monotonic() < deadline:
            time.sleep(0.05)
        assert [type(answer) for answer in answers] == [int]
        assert len(list(log.read_stream("domain/y"))) == 1
        with pytest.raises(Conflict):
            log.append("domain/y", 0, [DomainCreated(name="y")], Meta())
        log.close()


def _decision(log: Any, stream: str) -> Any:
    from pbx.eventlog.record import Decision, make_rows

    rows = make_rows(
        log.codec, stream, [DomainCreated(name="y")], Meta(), time_ns=time.time_ns(), node="n1"
    )
    return Decision(stream, 0, rows)


def test_the_log_role_is_killed_again_and_again(kafka_servers: list[str], tmp_path: Path) -> None:
    """``kill -9`` of the role alone, and of role and writer together, at random moments."""
    random = Random(1)
    settings = new_topics(kafka_servers, SETTINGS)
    with (
        RoleNode(tmp_path / "n1", kafka_servers, settings, "n1") as node,
        RoleNode(tmp_path / "n2", kafka_servers, settings, "n2") as other,
        Facts(node, tmp_path / "facts1") as facts,
        Facts(other, tmp_path / "facts2") as others,
    ):
        made = []
        for kill in range(6):
            facts.await_more(random.randrange(50, 400))
            time.sleep(random.random() * 0.3)
            node.kill()
            if kill % 2:
                facts.kill()
                facts.start()
            node.start()
            # Asked while the role starts, or before: it is answered once the role is back.
            made.append(decide(node, f"d{kill}"))
        node.await_ready()
        facts.await_more()
        facts.kill()
        others.kill()
        check([facts, others], [node, other])
        for kill, outcome in enumerate(made):
            log = open_log(other.data.path)
            count = len(list(log.read_stream(f"domain/d{kill}")))
            log.close()
            assert count == 1 if outcome == "made" else count <= 1
        assert "made" in made


def test_the_leader_of_partitions_dies(tmp_path: Path) -> None:
    """Three brokers, two copies must be in step: with one broker less everything goes on."""
    with KafkaCluster(3) as cluster:
        settings = new_topics(cluster.servers, replace(SETTINGS, decide_s=30.0))
        with (
            RoleNode(tmp_path / "n1", cluster.servers, settings, "n1") as node,
            RoleNode(tmp_path / "n2", cluster.servers, settings, "n2") as other,
            Facts(node, tmp_path / "facts") as facts,
        ):
            for number, broker in enumerate(cluster.brokers):
                facts.await_more()
                with killed(broker):
                    assert decide(node, f"without{number}") == "made"
                    facts.await_more()
                    node.await_ready()
                assert decide(other, f"with{number}") == "made"
            facts.kill()
            check([facts], [node, other])


def test_two_servers_on_copies_of_one_directory_say_so(
    kafka_servers: list[str], tmp_path: Path
) -> None:
    settings = new_topics(kafka_servers, SETTINGS)
    with RoleNode(tmp_path / "n1", kafka_servers, settings, "n1"):
        pass
    shutil.copytree(tmp_path / "n1", tmp_path / "copy", ignore=shutil.ignore_patterns("run"))
    with (
        RoleNode(tmp_path / "n1", kafka_servers, settings, "n1") as node,
        Facts(node, tmp_path / "facts1"),
    ):
        copy = RoleNode(tmp_path / "copy", kafka_servers, settings, "n2")
        copy.start()
        try:
            with Facts(copy, tmp_path / "facts2"):
                deadline = time.monotonic() + 60
                while "another server writes as this one" not in node.said() + copy.said():
                    assert time.monotonic() < deadline, node.said() + copy.said()
                    time.sleep(0.1)
        finally:
            copy.kill()
