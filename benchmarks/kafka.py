"""The log on Kafka: what is shipped, read and decided a second, and what it costs.

``python -m benchmarks.kafka`` starts a broker of its own (as the tests do), nodes whose log role is
the real process, and prints:

- facts shipped a second from a journal that waited, and CPU of the role for each;
- records read a second into the replica of a new node, and CPU for each;
- milliseconds of a decision, alone and with 1000 facts a second going on.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import psutil

from pbx.domain.calls import LegDigit
from pbx.eventlog import EmbeddedLog, Meta, open_log
from pbx.eventlog.record import Row
from pbx.settings import KafkaSettings
from tests.support.cluster_node import RoleNode, new_topics
from tests.support.kafka_broker import KafkaCluster

CALL_EVENTS = 10
START_S = 0.7
"""Of the role: Python, modules, connections, the first session."""


def facts(count: int, name: str) -> list[Row]:
    """Events of calls, ten each, of the usual size."""
    data = json.dumps({"leg_id": "0190b1c2", "uri": "sip:someone@example.org", "x": "y" * 150})
    return [
        (
            f"call/{name}-{number // CALL_EVENTS:08d}", number % CALL_EVENTS + 1, "leg.digit.v1",
            time.time_ns(), name, "account:al@example.org", f"{number // CALL_EVENTS:08d}", "",
            "example.org", data.encode(),
        )
        for number in range(count)
    ]  # fmt: skip


def fill(node: RoleNode, count: int) -> None:
    """A journal that waited for Kafka."""
    log = EmbeddedLog(node.data.path / "log.sqlite3", node=node.name)
    rows = facts(count, node.name)
    for start in range(0, count, 2000):
        log.commit(rows[start : start + 2000])
    log.close()


def measured(node: RoleNode, records: int, what: str) -> str:
    """Start the role and wait until everything is where it belongs."""
    begin = time.monotonic()
    node.start()
    process = psutil.Process(node.pid)
    node.await_ready(600)
    node.await_shipped(600)
    took = time.monotonic() - begin - START_S
    used = sum(process.cpu_times()[:2]) - START_S
    return f"{what}: {records / took:,.0f}/s, {used / records * 1e6:.0f} µs CPU each"


def decisions(node: RoleNode, count: int, facts_per_s: int) -> str:
    """Decisions one after the other, as a command makes them."""
    log = open_log(node.data.path, node=node.name)
    stop = threading.Event()

    def load() -> None:
        rows = facts(100_000, f"{node.name}-load")
        step = max(1, facts_per_s // 100)
        for start in range(0, len(rows), step):
            if stop.wait(0.01):
                return
            log.commit(rows[start : start + step])

    thread = threading.Thread(target=load)
    if facts_per_s:
        thread.start()
    took = []
    for version in range(count):
        begin = time.perf_counter()
        log.append(f"account/b{facts_per_s}@example.org", version, [LegDigit(leg_id="x")], Meta())
        took.append((time.perf_counter() - begin) * 1000)
    stop.set()
    if facts_per_s:
        thread.join()
    log.close()
    took.sort()
    return (
        f"decision with {facts_per_s} facts/s: p50 {took[count // 2]:.1f} ms,"
        f" p99 {took[count * 99 // 100]:.1f} ms"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--facts", type=int, default=100_000)
    parser.add_argument("--decisions", type=int, default=1000)
    parser.add_argument("--brokers", type=int, default=1)
    arguments = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        cluster = stack.enter_context(KafkaCluster(arguments.brokers))
        settings = new_topics(cluster.servers, KafkaSettings())
        first = RoleNode(folder / "n1", cluster.servers, settings, "n1")
        second = RoleNode(folder / "n2", cluster.servers, settings, "n2")
        stack.callback(first.kill)
        stack.callback(second.kill)
        fill(first, arguments.facts)
        lines = [
            measured(first, arguments.facts, "shipped and met"),
            measured(second, arguments.facts, "read by a new node"),
            decisions(first, arguments.decisions, 0),
            decisions(first, arguments.decisions, 1000),
        ]
        sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
