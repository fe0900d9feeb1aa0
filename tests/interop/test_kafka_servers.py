"""Whole servers on one Kafka: what one node decides, all know; a node that dies leaves nothing
open; the consumer that the documentation shows reads the same."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from pbx.settings import KafkaSettings
from tests.interop.peers.processes import await_condition
from tests.interop.peers.raw_phone import a_call_works
from tests.support.cluster_node import contents, new_topics
from tests.support.server_process import ROOT, ServerProcess

pytestmark = pytest.mark.needs("kafka-broker")

TOML = """
[server]
node = "{name}"
[eventlog]
engine = "kafka:{servers}"
[kafka]
prefix = "{prefix}"
partitions = 2
[sip]
client_ips = ["127.0.0.0/8"]
[media]
ng = "off"
"""
KNOWN_S = 1.0


@pytest.fixture(scope="module")
def settings(kafka_servers: list[str]) -> KafkaSettings:
    return new_topics(kafka_servers)


@pytest.fixture(scope="module")
def servers(
    kafka_servers: list[str], settings: KafkaSettings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[ServerProcess]]:
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                ServerProcess(
                    tmp_path_factory.mktemp(name),
                    settings=TOML.format(
                        name=name, servers=",".join(kafka_servers), prefix=settings.prefix
                    ),
                )
            )
            for name in ("n1", "n2")
        ]


def streams(server: ServerProcess) -> set[str]:
    return {event["stream"] for event in server.events()}


def test_what_one_node_decides_all_know_within_a_second(servers: list[ServerProcess]) -> None:
    first, second = servers
    first.create_domain()
    for name in ("alice", "bob"):
        first.create_account(name)
    decided = time.monotonic()
    await_condition(lambda: "account/bob@test.example" in streams(second), "bob at the other node")
    assert time.monotonic() - decided < KNOWN_S + 1.0, "a second, and the command that looks"
    assert "alice" in second.run("account", "list")


def test_a_call_on_one_node_is_in_the_log_of_the_other(servers: list[ServerProcess]) -> None:
    first, second = servers
    a_call_works(first)
    (call,) = {stream for stream in streams(first) if stream.startswith("call/")}
    mine = [event["type"] for event in first.events("--stream", call)]
    assert mine[-1] == "call.ended.v1"
    await_condition(
        lambda: [event["type"] for event in second.events("--stream", call)] == mine,
        "the call at the other node",
    )


def test_a_node_that_was_killed_closes_its_calls_and_ships_them(
    servers: list[ServerProcess],
) -> None:
    first, second = servers
    before = streams(first)
    first.kill()
    first.start()
    a_call_works(first)
    (call,) = {s for s in streams(first) - before if s.startswith("call/")}
    await_condition(
        lambda: "call.ended.v1" in [e["type"] for e in second.events("--stream", call)],
        "the call at the other node",
    )
    await_condition(
        lambda: '"backlog_events": 0' in first.run("log", "status", "--json"), "nothing waits"
    )


def said_by_documented_consumer(
    page: str, kafka_servers: list[str], settings: KafkaSettings
) -> list[str]:
    """The lines that the consumer of a page of the documentation prints, as it stands there but for
    where the brokers are, what the topics are called here, and that it ends."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    (code,) = [
        block
        for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL)
        if "KafkaConsumer(" in block
    ]
    code = re.sub(r'"(pbx\.\w+)"', rf'"{settings.prefix}\1"', code)
    code = re.sub(r'"[\w.]+:9092"', repr(kafka_servers), code)
    # Who joins a group for the first time begins at the end, unless told otherwise.
    code = code.replace('group_id="billing"', 'auto_offset_reset="earliest"')
    code = code.replace('"earliest"', '"earliest", consumer_timeout_ms=3000')
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], check=True, capture_output=True, text=True
    )
    return done.stdout.splitlines()


def test_the_consumers_of_the_documentation_read_what_nodes_read(
    servers: list[ServerProcess], kafka_servers: list[str], settings: KafkaSettings
) -> None:
    held = contents(servers[0].data)
    wanted = [(row[1], row[2], row[3]) for row in held["pbx.config/0"]]
    said = said_by_documented_consumer("kafka.md", kafka_servers, settings)
    read = [line.split()[:3] for line in said]
    assert [(stream, int(version), name) for stream, version, name in read] == wanted
    assert len(wanted) >= 5
    calls = [(row[1], row[3]) for name, rows in held.items() if "calls" in name for row in rows]
    said = said_by_documented_consumer("feeds.md", kafka_servers, settings)
    assert sorted((line.split()[0], line.split()[1]) for line in said) == sorted(calls)
    assert len(calls) >= 10


def test_every_call_has_one_record_in_the_topic_and_the_documented_consumer_reads_them(
    servers: list[ServerProcess], kafka_servers: list[str], settings: KafkaSettings
) -> None:
    """Both nodes project all calls into tables of their own; the node of a call publishes it."""
    a_call_works(servers[0])

    def told(server: ServerProcess) -> list[str]:
        return sorted(e["stream"] for e in server.events() if e["type"] == "cdr.recorded.v1")

    ended = {e["stream"] for e in servers[0].events() if e["type"] == "call.ended.v1"}
    wanted = sorted(stream.replace("call/", "cdr/") for stream in ended)
    assert len(wanted) >= 2
    await_condition(lambda: told(servers[0]) == wanted, "the records at the node of the calls")
    await_condition(lambda: told(servers[1]) == wanted, "the same records at the other")

    said = said_by_documented_consumer("analytics.md", kafka_servers, settings)
    assert len(said) == len(wanted), "a line each record, none of them twice"
    (talked_ms,) = {
        sum(e["data"].get("talk_ms", 0) for e in server.events() if e["type"] == "cdr.recorded.v1")
        for server in servers
    }
    assert said[-1] == f"{len(wanted)} calls, {talked_ms / 1000:.0f} seconds"


def test_the_log_on_kafka_is_left_only_on_purpose(servers: list[ServerProcess]) -> None:
    """A server that is stopped, then started without its brokers, must not go on alone."""
    first, _ = servers
    assert "reachable  yes" in first.run("log", "status")
    first.stop()
    alone = subprocess.run(
        [sys.executable, "-m", "pbx", "serve", "--data", str(first.data)],
        env={**first.environment, "RINGLOG_EVENTLOG__ENGINE": "embedded"},
        capture_output=True,
        text=True,
    )
    assert alone.returncode == 1
    assert "part of a cluster" in alone.stderr
    first.start()
