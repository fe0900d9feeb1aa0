"""An hour of calls without a broker: by the number of events, not by the clock.

Every day it is that of a site with a call a second; ``make outage`` makes it fifty a second, 1.8
million events (``OUTAGE_CALLS``). What waits is on the disk: no number of events may cost memory,
or make the node slow to say how it is.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from pbx.domain.accounts import DomainCreated
from pbx.domain.calls import LegDigit
from pbx.eventlog import LogUnavailable, LogWriter, Meta, open_log
from pbx.kernel.errors import ClusterAway
from pbx.settings import KafkaSettings
from tests.interop.peers.processes import await_condition
from tests.support.cluster_node import RoleNode, contents, new_topics
from tests.support.kafka_broker import KafkaCluster, killed
from tests.support.small_disk import fill, small_file_system
from tests.support.topics_reader import read_topics

pytestmark = pytest.mark.needs("kafka-broker")

CALLS = int(os.environ.get("OUTAGE_CALLS", "3600"))
EVENTS = 10 * CALLS
ALARM = 1000
SETTINGS = KafkaSettings(partitions=2, decide_s=1.0, unknown_s=30.0, backlog_alarm=ALARM)
PATIENCE_S = 120.0 + EVENTS / 500
"""A busy machine ships at a twentieth of its rate and is not to be blamed for it."""
MEMORY_BYTES = 120_000_000
"""What the role may grow by: the producer's buffers (32 MB), caches of versions, a batch."""
STATUS_S = 2.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[KafkaCluster]:
    with KafkaCluster() as made:
        yield made


def work_for_an_hour(node: RoleNode) -> int:
    """The node's calls; how many events were acknowledged."""
    command = [sys.executable, "-m", "tests.support.cluster_worker", "calls"]
    done = subprocess.run(
        [*command, str(node.data.path), node.name, str(CALLS)],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return int(done.stdout)


def resident(node: RoleNode) -> int:
    return int(psutil.Process(node.pid).memory_info().rss)


def test_an_hour_of_calls_without_a_broker(cluster: KafkaCluster, tmp_path: Path) -> None:
    settings = new_topics(cluster.servers, SETTINGS)
    with (
        RoleNode(tmp_path / "n1", cluster.servers, settings, "n1") as node,
        RoleNode(tmp_path / "n2", cluster.servers, settings, "n2") as other,
        closing(open_log(node.data.path, node="n1")) as log,
    ):
        log.append("domain/before", 0, [DomainCreated(name="before")], Meta())
        with killed(cluster.brokers[0]):
            began = time.monotonic()
            assert work_for_an_hour(node) == EVENTS
            wrote_s = time.monotonic() - began
            await_condition(lambda: not (node.status() or {}).get("reachable"), "noticed", 30.0)
            with pytest.raises(ClusterAway, match=r"domain/x now; nothing was changed"):
                log.append("domain/x", 0, [DomainCreated(name="x")], Meta())
            # A role that dies meanwhile finds everything on the disk.
            node.kill()
            node.start()
            await_condition(lambda: node.status() is not None, "the role", 30.0)
            asked = time.monotonic()
            status = node.status()
            assert time.monotonic() - asked < STATUS_S
            assert status is not None
            assert not status["reachable"]
            assert status["trouble"]
            assert status["backlog_events"] >= EVENTS
            assert status["backlog_oldest_s"] > 0
            assert status["lag_records"] == -1, "unknown"
            await_condition(lambda: f"more than {ALARM} events wait" in node.said(), "the alarm")
            await_condition(lambda: "Kafka cannot be reached" in node.said(), "the other alarm")
            before = resident(node)
        began = time.monotonic()
        most = before
        while (node.status() or {}).get("backlog_events", 1):
            most = max(most, resident(node))
            assert time.monotonic() - began < PATIENCE_S, node.status()
            time.sleep(0.1)
        shipped_s = time.monotonic() - began
        node.await_shipped(PATIENCE_S)
        other.await_shipped(PATIENCE_S)
        log.append("domain/x", 0, [DomainCreated(name="x")], Meta())
        await_condition(lambda: "that waited for Kafka are shipped" in node.said(), "its end")
        assert "Kafka is reached again" in node.said()
        assert most - before < MEMORY_BYTES
        check(cluster, settings, other)
    sys.stdout.write(
        f"{EVENTS} events: {EVENTS / wrote_s:.0f}/s into the journal,"
        f" {EVENTS / shipped_s:.0f}/s shipped and met,"
        f" {(most - before) / 1e6:.0f} MB more memory than before\n"
    )


def check(cluster: KafkaCluster, settings: KafkaSettings, other: RoleNode) -> None:
    """Kafka and the other node have every event once, those of a call in order."""
    stored = read_topics(cluster.servers, [f"{settings.prefix}pbx.calls"])
    digits = [event for event in stored if event.type == "leg.digit.v1"]
    assert len(digits) == EVENTS
    last: Counter[str] = Counter()
    for event in digits:
        last[event.stream] += 1
        assert event.version == last[event.stream]
        assert event.data == {"leg_id": f"{event.stream}#{event.version}"}
    assert len(last) == CALLS
    assert set(last.values()) == {10}
    copy = [row[1:3] for rows in contents(other.data.path).values() for row in rows]
    mine = Counter(row for row in copy if str(row[0]).startswith("call/"))
    assert len(mine) == EVENTS
    assert set(mine.values()) == {1}


def test_the_disk_of_the_journal_is_full_meanwhile(cluster: KafkaCluster, tmp_path: Path) -> None:
    """First no broker, then no disk either, then the broker alone, then both again."""
    settings = new_topics(cluster.servers, replace(SETTINGS, partitions=1))
    with small_file_system(tmp_path / "data", 48) as mounted:
        if not mounted:
            pytest.skip("mounting a small file system needs root")
        with (
            RoleNode(tmp_path / "data" / "n1", cluster.servers, settings, "n1") as node,
            closing(open_log(node.data.path, node="n1")) as log,
        ):
            writer = LogWriter(log, notify=lambda function: function())
            writer.start()
            written = 0

            def observe(count: int) -> None:
                nonlocal written
                for _ in range(count):
                    written += 1
                    event = LegDigit(leg_id=f"call/full#{written}")
                    writer.observe("call/full", written, event, Meta())

            with killed(cluster.brokers[0]):
                observe(100)
                await_condition(lambda: writer.backlog == 0, "the journal")
                filler = fill(node.data.path)
                observe(2000)
                await_condition(lambda: not writer.healthy, "the disk is full", 30.0)
                refusals: list[object] = []
                created = [DomainCreated(name="d")]
                writer.decide("domain/d", 0, created, Meta(), refusals.append, alone=True)
                await_condition(lambda: len(refusals), "the refusal")
                assert isinstance(refusals[0], LogUnavailable)
                assert not isinstance(refusals[0], ClusterAway), "this node can do nothing either"
            observe(1000)
            await_condition(lambda: not (node.status() or {}).get("reachable"), "it says so", 30.0)
            assert writer.backlog >= 1000, "in memory, within the bound of the queue"
            filler.unlink()
            await_condition(
                lambda: writer.healthy and not writer.backlog, "the journal again", 30.0
            )
            observe(100)
            assert writer.stop() == 0
            assert writer.statistics()["lost"] == writer.statistics()["shed"] == 0
            node.await_shipped()
        stored = read_topics(cluster.servers, [f"{settings.prefix}pbx.calls"])
        names = [event.data["leg_id"] for event in stored if event.stream == "call/full"]
        assert names == [f"call/full#{number}" for number in range(1, written + 1)]
