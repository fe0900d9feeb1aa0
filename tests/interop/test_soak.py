"""Nodes and the broker are killed at random moments under calls: nothing acknowledged is lost,
nothing is doubled. ``make soak SECONDS=600`` runs it for long, the tests of every day for a while.

``SOAK_SEED=7`` draws other moments; the seed of a run is printed. What is judged is correctness: a
slow machine makes fewer calls and takes longer to come to rest, and passes all the same.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

import pytest

from pbx.eventlog.kafka.categories import LOG_CATEGORIES
from tests.interop.conftest import with_accounts
from tests.interop.peers.raw_phone import RawPhone
from tests.interop.peers.sipp import Sipp, register
from tests.support.cluster import Cluster
from tests.support.cluster_node import contents
from tests.support.server_process import ServerError, ServerProcess
from tests.support.topics_reader import Stored, read_topics

pytestmark = pytest.mark.needs("kafka-broker", "initdb", "psycopg", "sipp")

#: Its own rate is what the machine gives: callers wait when so many of their calls are going on, so
#: a slow machine makes fewer calls and no more trouble. What is judged is what became of them.
TOGETHER = 120
SECONDS = float(os.environ.get("SOAK_SECONDS", "15"))
SEED = int(os.environ.get("SOAK_SEED", "1"))
CALLS_PER_S = int(os.environ.get("SOAK_RATE", "50"))
HOLD_MS = 500
#: Calls whose phones are switched off with the load end soon, for want of audio or of answers.
SETTINGS = """
[sip]
client_ips = ["127.0.0.0/8"]
t1_s = 0.1
t2_s = 0.4
[media]
ng = "off"
timeout_s = 2
[limits]
requests_per_s = 1e6
requests_burst = 1000000
setups_per_s = 1000
"""
STALL_S = 120.0
"""The last calls end and all nodes read everything: at whatever rate, but not without progress."""
PATIENCE_S = 600.0
"""For one command or one start, however slow the machine."""
TRY_S = 1.0


class Registrar(threading.Thread):
    """A phone that registers and leaves at random nodes; remembers what it was promised."""

    def __init__(self, nodes: list[ServerProcess], rng: Random) -> None:
        super().__init__(name="registrar")
        self._nodes = nodes
        self._rng = rng
        self.promised: list[str] = []
        """Call-IDs of REGISTER requests that were answered 200."""
        self.enough = threading.Event()

    def run(self) -> None:
        while not self.enough.is_set():
            with RawPhone(self._rng.choice(self._nodes), "carol") as phone:
                try:
                    answer = phone.register(300, TRY_S)
                    if answer.status == 200:
                        self.promised.append(answer.call_id)
                        phone.register(0, TRY_S)
                except (TimeoutError, AssertionError):
                    continue  # its node is dead: nothing was promised


@contextmanager
def load(cluster: Cluster, folder: Path, rng: Random) -> Iterator[Registrar]:
    """Calls at all nodes, and registrations without a pause."""
    registrar = Registrar(cluster.nodes, rng)
    life_s = int(SECONDS) + 300
    with ExitStack() as stack:
        uas = stack.enter_context(
            Sipp(folder, "uas_answer", calls=10_000_000, timeout_s=life_s, trace=False)
        )
        register(folder, cluster.nodes[0].address(), "bob", uas.port, expires_s=3600)
        rates = [CALLS_PER_S // 3 + (n < CALLS_PER_S % 3) for n in range(len(cluster.nodes))]
        callers = [
            stack.enter_context(
                Sipp(
                    folder / name, "uac_plain", node.address(), calls=10_000_000, rate=rate,
                    hold_ms=HOLD_MS, limit=TOGETHER, timeout_s=life_s, trace=False,
                )
            )
            for name, node, rate in zip(cluster.names, cluster.nodes, rates, strict=True)
        ]  # fmt: skip
        registrar.start()
        try:
            yield registrar
        finally:
            registrar.enough.set()
            registrar.join()
            for sipp in (*callers, uas):
                sipp.kill()


def kill_at_random(cluster: Cluster, rng: Random) -> tuple[Counter[str], set[tuple[object, ...]]]:
    """Until the time is over; who died how often, and what the dead nodes had on disk of calls."""
    killed: Counter[str] = Counter()
    acknowledged: set[tuple[object, ...]] = set()
    until = time.monotonic() + SECONDS
    victims = ["broker", rng.choice(cluster.names)]  # a short run must see both
    rng.shuffle(victims)
    while time.monotonic() < until:
        if not victims:
            victims = [*cluster.names, "broker"]
            rng.shuffle(victims)
        victim = victims.pop()
        time.sleep(rng.uniform(0.5, 5.0))
        say(f"{until - time.monotonic():.1f} s left: kill -9 {victim}")
        killed[victim] += 1
        if victim == "broker":
            cluster.broker.kill()
            time.sleep(rng.uniform(0.0, 3.0))
            cluster.restart_broker(PATIENCE_S)
            continue
        node = cluster.nodes[cluster.names.index(victim)]
        node.kill()
        acknowledged |= calls_on_disk(node, victim)
        time.sleep(rng.uniform(0.0, 3.0))
        node.start(PATIENCE_S)
    return killed, acknowledged


def calls_on_disk(node: ServerProcess, name: str) -> set[tuple[object, ...]]:
    """(stream, version, type) of all that a node has of its own calls."""
    said = node.run("log", "--type", "*", "--limit", "100000000", "--json", timeout_s=PATIENCE_S)
    rows = [json.loads(line) for line in said.splitlines()]
    return {
        (row["stream"], row["version"], row["type"])
        for row in rows
        if row["node"] == name and row["stream"].startswith("call/")
    }


def test_nothing_acknowledged_is_lost_or_doubled(tmp_path: Path) -> None:
    say(f"SOAK_SEED={SEED}, {SECONDS:g} s, {CALLS_PER_S} calls/s")
    rng = Random(SEED)
    with Cluster(tmp_path / "nodes", settings=SETTINGS) as cluster:
        with_accounts(cluster.nodes[0])
        with load(cluster, tmp_path, Random(SEED)) as registrar:
            killed, acknowledged = kill_at_random(cluster, rng)
        await_level(cluster)
        stored = read_topics(
            cluster.kafka.servers,
            [f"{cluster.prefix}{category}" for category in LOG_CATEGORIES],
        )
        check_log(cluster, stored, acknowledged)
        check_promises(stored, registrar.promised)
        calls, good = check_records(cluster, stored)
        say(
            f"killed {dict(killed)}; {calls} calls, {good} of them ended by their phones,"
            f" {len(stored)} events, {len(acknowledged)} of them on the disk of a dead node,"
            f" {len(registrar.promised)} registrations"
        )
        assert sum(killed.values()) >= 2
        # Something happened; how much of it is the machine's affair.
        assert good > 0
        assert registrar.promised
        cluster.stop()


def say(line: str) -> None:
    """For who runs it for long."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def eventually(left: Callable[[], int], what: str) -> None:
    """Until nothing is `left`; it may take its time as long as it gets less. A command may fail
    while a node is still busy with its start."""
    least: float = float("inf")
    until = time.monotonic() + STALL_S
    while True:
        try:
            found = left()
        except (ServerError, subprocess.TimeoutExpired):
            found = None
        if found == 0:
            return
        if found is not None and found < least:
            least = found
            until = time.monotonic() + STALL_S
        assert time.monotonic() < until, f"{what}: {least} left, and no fewer for {STALL_S:g} s"
        time.sleep(0.5)


def await_level(cluster: Cluster) -> None:
    """Until no call is up and every node has shipped and read all."""
    for node in cluster.nodes:
        eventually(lambda node=node: len(node.calls()), "calls")  # type: ignore[misc]
    for node in cluster.nodes:
        eventually(lambda node=node: unread(node), "events to ship and read")  # type: ignore[misc]


def unread(node: ServerProcess) -> int:
    """Events that this node has not shipped, and records that it has not read."""
    status = json.loads(node.run("log", "status", "--json"))
    if not status["reachable"] or status["lag_records"] < 0:
        return sys.maxsize
    # Signs of life are written all the time.
    return max(0, int(status["backlog_events"]) - 4) + int(status["lag_records"])


def check_log(
    cluster: Cluster, stored: list[Stored], acknowledged: set[tuple[object, ...]]
) -> None:
    """Kafka has every event of every node once, and every node has what Kafka has."""
    keys = Counter((event.stream, event.version) for event in stored)
    assert [key for key, count in keys.items() if count > 1] == []
    in_kafka = {(event.stream, event.version, event.type) for event in stored}
    assert acknowledged - in_kafka == set()
    settled = {key for key in in_kafka if not key[0].startswith("node/")}
    for node in cluster.nodes:
        rows = [row[1:4] for part in contents(node.data).values() for row in part]
        mine = [row for row in rows if not str(row[0]).startswith("node/")]
        assert len(mine) == len(set(mine))
        assert set(mine) == settled


def check_promises(stored: list[Stored], promised: list[str]) -> None:
    """Every registration that was answered 200 is in the log once."""
    added = Counter(e.data["sip_call_id"] for e in stored if e.type == "binding.added.v1")
    assert {call_id: added[call_id] for call_id in promised} == dict.fromkeys(promised, 1)


def check_records(cluster: Cluster, stored: list[Stored]) -> tuple[int, int]:
    """One start, one end, one record for each call; the tables are those of a replay from zero.

    Returns how many calls there were, and how many of them took their course.
    """
    started = [e.stream for e in stored if e.type == "call.started.v1"]
    ended = [e.stream for e in stored if e.type == "call.ended.v1"]
    assert len(started) == len(set(started))
    assert sorted(ended) == sorted(started)
    database = urlsplit(cluster.readmodel).path.lstrip("/")

    def records() -> list[str]:
        with cluster.postgres.connect(database) as connection:
            return [f"call/{row[0]}" for row in connection.execute("SELECT call_id FROM cdrs")]

    eventually(lambda: max(0, len(started) - len(records())), "call records")
    assert sorted(records()) == sorted(started)
    for node in cluster.nodes:
        outcome = json.loads(node.run("replay", "--all", "--json", timeout_s=PATIENCE_S))
        assert outcome["different"] == 0, outcome
    with cluster.postgres.connect(database) as connection:
        ((good,),) = connection.execute(
            "SELECT count(*) FROM cdrs WHERE answer_ns IS NOT NULL AND status = 200"
        ).fetchall()
    return len(started), good
