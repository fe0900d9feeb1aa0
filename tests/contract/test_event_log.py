"""The contract of the event log: one class of tests, run on every implementation."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pbx.domain.accounts import AccountPasswordSet, DomainCreated
from pbx.domain.calls import CallDecided, LegAnswered, LegDigit
from pbx.domain.nodes import NodeAlive
from pbx.eventlog import (
    ANY_VERSION,
    Codec,
    Conflict,
    EmbeddedLog,
    EventLog,
    LogUnavailable,
    MemoryLog,
    Meta,
    Subscription,
    UnknownEvent,
    follow,
    memory_keys,
)
from pbx.eventlog.embedded_reader import CHUNK, CHUNK_BACK, FAR_BEHIND
from pbx.eventlog.port import TIME_DISORDER_NS
from pbx.eventlog.record import Decision, Row
from tests.support.fake_kafka import FakeKafka, FakeLogRole

SECOND = 1_000_000_000


def digit(name: str) -> LegDigit:
    return LegDigit(leg_id=name)


def row(stream: str, version: int, *, time_ns: int = 1, data: bytes = b'{"leg_id":"a"}') -> Row:
    return (stream, version, "leg.digit.v1", time_ns, "n", "", "", "", "", data)


KAFKA = pytest.param("kafka", marks=[pytest.mark.interop, pytest.mark.needs("kafka-broker")])


@pytest.fixture(params=["memory", "embedded", "replica", KAFKA])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EventLog]:
    if request.param == "kafka":
        from tests.support.cluster_node import cluster_node, new_topics

        servers = request.getfixturevalue("kafka_servers")
        with cluster_node(tmp_path, servers, new_topics(servers)) as node:
            yield node.log
        return
    if request.param == "replica":
        fake = FakeLogRole(FakeKafka(), tmp_path, "n1")
        yield fake.log
        fake.close()
        return
    opened: EventLog
    if request.param == "memory":
        opened = MemoryLog(node="n1")
    else:
        opened = EmbeddedLog(tmp_path / "log.sqlite3", codec=Codec(memory_keys()), node="n1")
    yield opened
    opened.close()


class TestAppend:
    def test_a_new_stream_starts_at_version_1_and_returns_the_last_position(
        self, log: EventLog
    ) -> None:
        position = log.append("call/a", 0, [digit("x"), digit("y")], Meta())
        records = list(log.read())
        assert [r.version for r in records] == [1, 2]
        assert position == records[-1].position == log.head()

    def test_the_envelope_is_stored_and_gaps_are_filled(self, log: EventLog) -> None:
        meta = Meta(
            time_ns=5,
            actor="cli:root",
            correlation="c",
            causation="7",
            tenant="example.org",
            node="other",
        )
        log.append("domain/example.org", 0, [DomainCreated(name="example.org")], meta)
        log.append("domain/example.net", 0, [DomainCreated(name="example.net")], Meta())
        first, second = log.read()
        assert first.row[3:9] == (5, "other", "cli:root", "c", "7", "example.org")
        assert first.event == DomainCreated(name="example.org")
        assert (first.category, first.type) == ("pbx.config", "domain.created.v1")
        assert second.node == "n1"
        assert second.time_ns > 0

    @pytest.mark.parametrize("expected", [0, 2, 99])
    def test_another_version_is_a_conflict_and_writes_nothing(
        self, log: EventLog, expected: int
    ) -> None:
        log.append("call/a", 0, [digit("x")], Meta())
        with pytest.raises(Conflict) as caught:
            log.append("call/a", expected, [digit("y"), digit("z")], Meta())
        assert (caught.value.expected_version, caught.value.current_version) == (expected, 1)
        assert len(list(log.read())) == 1

    def test_any_version_appends_behind_whatever_there_is(self, log: EventLog) -> None:
        for calls in range(3):
            log.append("node/a", ANY_VERSION, [NodeAlive(calls=calls)], Meta())
        assert [r.version for r in log.read_stream("node/a")] == [1, 2, 3]

    def test_of_racing_writers_exactly_one_wins_each_version(self, log: EventLog) -> None:
        won: list[int] = []

        def race() -> None:
            for version in range(20):
                try:
                    log.append("account/a@b", version, [digit("x")], Meta())
                    won.append(version)
                except Conflict:
                    continue

        threads = [threading.Thread(target=race) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(won) == list(range(20))
        assert [r.version for r in log.read_stream("account/a@b")] == list(range(1, 21))


class TestCommit:
    def test_what_is_decided_alone_is_a_decision_for_this_node(self, log: EventLog) -> None:
        """All or nothing at the expected version; what it means to others is their log's affair."""
        rows = [row("binding/x", 0), row("binding/x", 0)]
        (position,) = log.commit([Decision("binding/x", 0, rows, alone=True)])
        assert position == log.head()
        (conflict,) = log.commit([Decision("binding/x", 0, rows, alone=True)])
        assert isinstance(conflict, Conflict)
        assert conflict.current_version == 2
        assert [r.version for r in log.read_stream("binding/x")] == [1, 2]
        log.append("binding/x", 2, [digit("y")], Meta())
        assert [r.version for r in log.read_stream("binding/x")] == [1, 2, 3]

    def test_a_batch_keeps_its_order_and_answers_each_decision(self, log: EventLog) -> None:
        verdicts = log.commit(
            [
                row("call/a", 1),
                Decision("account/x", 0, [row("account/x", 0)]),
                row("call/a", 2),
                Decision("account/x", 0, [row("account/x", 0)]),
                Decision("account/x", 1, [row("account/x", 0), row("account/x", 0)]),
            ]
        )
        records = list(log.read())
        assert [(r.stream, r.version) for r in records] == [
            ("call/a", 1),
            ("account/x", 1),
            ("call/a", 2),
            ("account/x", 2),
            ("account/x", 3),
        ]
        first, second, third = verdicts
        assert first == records[1].position
        assert isinstance(second, Conflict)
        assert third == records[-1].position

    def test_a_repeated_batch_is_written_once(self, log: EventLog) -> None:
        """A commit whose outcome is unknown may be tried again."""
        batch = [row("call/a", v, time_ns=v) for v in range(1, 101)]
        log.commit(batch)
        log.commit([*batch, row("call/a", 101)])
        assert [r.version for r in log.read()] == list(range(1, 102))

    def test_a_fact_whose_version_was_taken_is_kept_behind(self, log: EventLog) -> None:
        log.append("binding/a", 0, [digit("cli")], Meta())
        log.commit([row("binding/a", v, data=b'{"leg_id":"wire%d"}' % v) for v in (1, 2, 3)])
        events = [r.event for r in log.read_stream("binding/a")]
        assert events[0] == digit("cli")
        assert sorted(events[1:], key=str) == [digit(f"wire{v}") for v in (1, 2, 3)]

    def test_versions_may_have_gaps(self, log: EventLog) -> None:
        """A dropped statistic leaves its number unused; the next decision counts from the last."""
        log.commit([row("call/a", 1), row("call/a", 4)])
        log.append("call/a", 4, [digit("x")], Meta())
        assert [r.version for r in log.read_stream("call/a")] == [1, 4, 5]

    def test_facts_without_a_version_go_to_the_end_of_their_stream(self, log: EventLog) -> None:
        log.commit([row("node/a", ANY_VERSION), row("node/a", ANY_VERSION, time_ns=2)])
        assert [r.version for r in log.read_stream("node/a")] == [1, 2]


class TestRead:
    def test_after_and_limit(self, log: EventLog) -> None:
        log.commit([row("call/a", v) for v in range(1, 6)])
        positions = [r.position for r in log.read()]
        assert [r.position for r in log.read(positions[1], limit=2)] == positions[2:4]
        assert list(log.read(positions[-1])) == []

    def test_chunks_join_without_gap_or_double(self, log: EventLog) -> None:
        count = CHUNK * 2 + 1
        log.commit([row("call/a", v) for v in range(1, count + 1)])
        assert [r.version for r in log.read()] == list(range(1, count + 1))
        assert [r.version for r in log.read_stream("call/a")] == list(range(1, count + 1))
        assert [r.version for r in log.read_stream("call/a", count - 1)] == [count]

    @pytest.mark.parametrize("calls", [3, FAR_BEHIND + 1])
    def test_a_category_is_read_alone_and_in_order(self, log: EventLog, calls: int) -> None:
        """Near the head by position, far behind it by the stream key: same records."""
        log.append("domain/z", 0, [DomainCreated(name="z")], Meta())
        log.append("server", 0, [DomainCreated(name="s")], Meta())
        log.commit([row("call/a", v) for v in range(1, calls + 1)])
        log.append("account/a@z", 0, [DomainCreated(name="a")], Meta())
        log.append("node/n", 0, [NodeAlive()], Meta())
        config = list(log.read(category="pbx.config"))
        assert [r.stream for r in config] == ["domain/z", "server", "account/a@z"]
        assert [r.stream for r in log.read(config[0].position, category="pbx.config")] == [
            "server",
            "account/a@z",
        ]
        assert len(list(log.read(category="pbx.calls"))) == calls
        with pytest.raises(ValueError, match="no such category"):
            log.read(category="pbx.nothing")

    def test_a_reader_may_append_while_it_reads(self, log: EventLog) -> None:
        log.commit([row("call/a", 1), row("call/a", 2)])
        for record in log.read():
            log.append("node/copy", ANY_VERSION, [record.event], Meta())
        assert len(list(log.read())) == 4

    def test_time_is_found_by_bisection(self, log: EventLog) -> None:
        """Everything of the wanted time or later lies behind the found position, even when
        records are out of order by less than the promised disorder."""
        minute = 60 * SECOND
        times = [(n - (n % 3 == 0)) * minute for n in range(1000)]
        log.commit([row("call/a", n + 1, time_ns=t) for n, t in enumerate(times)])
        for wanted in (0, 10 * minute, 997 * minute, 10_000 * minute):
            position = log.position_at(wanted)
            found = [r.time_ns for r in log.read(position)]
            assert [t for t in found if t >= wanted] == [t for t in times if t >= wanted]
            assert len(found) <= len([t for t in times if t >= wanted - TIME_DISORDER_NS]) + 3

    def test_records_are_read_backwards_from_the_end_or_a_position(self, log: EventLog) -> None:
        count = CHUNK_BACK * 2 + 1
        log.commit([row("call/a", v) for v in range(1, count + 1)])
        positions = [r.position for r in log.read()]
        assert [r.position for r in log.read_back()] == positions[::-1]
        assert [r.position for r in log.read_back(positions[4])] == positions[4::-1]
        assert [r.version for r, _ in zip(log.read_back(), range(3), strict=False)] == [
            count,
            count - 1,
            count - 2,
        ]
        assert list(log.read_back(0)) == []

    def test_types_are_chosen_by_name_or_pattern(self, log: EventLog) -> None:
        events = [
            digit("x"),
            LegAnswered(leg_id="a"),
            CallDecided(step="s", outcome="o", reason=""),
        ]
        log.append("call/a", 0, events, Meta())
        log.append("node/n", 0, [NodeAlive()], Meta())

        def names(*types: str, category: str | None = None) -> list[str]:
            found = [r.type for r in log.read(types=types, category=category)]
            if category is None:
                assert [r.type for r in log.read_back(types=types)] == found[::-1]
            return found

        assert names("leg.answered.v1") == ["leg.answered.v1"]
        assert names("leg.*", "call.decided.v?") == [
            "leg.digit.v1",
            "leg.answered.v1",
            "call.decided.v1",
        ]
        assert names("*") == [*names("leg.*", "call.*"), "node.alive.v1"]
        assert names("*", category="pbx.nodes") == ["node.alive.v1"]
        assert names("leg.answered") == []

    def test_a_position_is_looked_up(self, log: EventLog) -> None:
        log.commit([row("call/a", 1), row("call/a", 2)])
        first, second = log.read()
        assert log.at(first.position) == first
        assert log.at(second.position) == second
        assert log.at(0) is log.at(second.position + 1) is None

    def test_sealed_fields_come_back_and_are_not_in_the_data(self, log: EventLog) -> None:
        event = AccountPasswordSet(realm="b", ha1_md5="md5-secret", ha1_sha256="sha-secret")
        log.append("account/a@b", 0, [event], Meta())
        (record,) = log.read()
        assert record.event == event
        assert b"secret" not in record.data

    def test_unknown_types_are_kept_as_they_are(self, log: EventLog) -> None:
        stranger = UnknownEvent(type="fax.sent.v9", data=b'{"pages": 3}')
        log.append("fax/1", 0, [stranger], Meta())
        (record,) = log.read()
        assert (record.type, record.event, record.category) == (
            "fax.sent.v9",
            stranger,
            "pbx.other",
        )


class TestSubscriptions:
    def test_a_subscription_resumes_where_it_stopped(self, log: EventLog) -> None:
        log.commit([row("call/a", v) for v in range(1, 8)])
        first = Subscription(log)
        seen = [r.version for r in first.poll(3)]
        second = Subscription(log, first.position)
        assert seen + [r.version for r in second] == list(range(1, 8))
        assert second.poll() == []

    def test_a_filtered_subscription_does_not_stick_behind_other_events(
        self, log: EventLog
    ) -> None:
        subscription = Subscription(log, category="pbx.nodes")
        log.commit([row("call/a", v) for v in range(1, 50)])
        assert subscription.wait_records(0.0) == []
        log.append("node/n", 0, [NodeAlive(calls=1)], Meta())
        log.append("node/n", 1, [NodeAlive(calls=2)], Meta())
        assert [r.event for r in subscription.poll(1)] == [NodeAlive(calls=1)]
        assert [r.event for r in subscription.wait_records(1.0)] == [NodeAlive(calls=2)]

    def test_waiting_ends_with_the_append_of_another_thread(self, log: EventLog) -> None:
        subscription = Subscription(log)
        found: list[str] = []
        thread = threading.Thread(
            target=lambda: found.extend(r.stream for r in subscription.wait_records(30.0))
        )
        thread.start()
        log.append("call/a", 0, [digit("x")], Meta())
        thread.join()
        assert found == ["call/a"]

    def test_waiting_ends_with_the_log(self, log: EventLog) -> None:
        results: list[bool] = []
        thread = threading.Thread(target=lambda: results.append(log.wait(log.head(), 30.0)))
        thread.start()
        log.close()
        thread.join()
        assert results == [False]

    def test_concurrent_writers_are_read_without_gap_or_double(self, log: EventLog) -> None:
        """The reader runs while four writers commit batches of several streams."""

        def write(writer: int) -> None:
            for batch in range(25):
                log.commit([row(f"call/{writer}", batch * 4 + n) for n in range(1, 5)])

        threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
        subscription = Subscription(log)
        for thread in threads:
            thread.start()
        seen: list[tuple[str, int]] = []
        while len(seen) < 400:
            records = subscription.wait_records(30.0, limit=7)
            assert records, "the subscription lost an event"
            seen += [(r.stream, r.version) for r in records]
        for thread in threads:
            thread.join()
        assert sorted(seen) == sorted((f"call/{w}", v) for w in range(4) for v in range(1, 101))
        assert seen == [(r.stream, r.version) for r in log.read()]

    def test_a_coroutine_follows_without_blocking_its_loop(self, log: EventLog) -> None:
        log.commit([row("call/a", 1)])

        async def scenario() -> list[int]:
            seen: list[int] = []
            async with asyncio.timeout(30):
                async for record in follow(log, poll_s=0.001):
                    seen.append(record.version)
                    if len(seen) == 3:
                        return seen
                    # Appended on the very loop that follows: it must be free to run.
                    log.commit([row("call/a", record.version + 1)])
            raise AssertionError

        assert asyncio.run(scenario()) == [1, 2, 3]


class TestEmbeddedOnly:
    """What only a log in a file can get wrong."""

    def test_positions_allocated_before_and_committed_after_do_not_hide_events(
        self, tmp_path: Path
    ) -> None:
        """The trap of logs with a sequence: writer A takes 1, B takes 2 and commits, a reader
        sees 2 and goes on from there, then A commits 1 and nobody ever sees it. Here B cannot
        take a position while A's transaction is open."""
        path = tmp_path / "log.sqlite3"
        log = EmbeddedLog(path, busy_timeout_s=0.01)
        subscription = Subscription(log)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        other.execute(
            "INSERT INTO events (stream, version, type, time_ns, node, actor, correlation,"
            " causation, tenant, data) VALUES ('call/a', 1, 'leg.digit.v1', 1, '', '', '', '',"
            " '', CAST('{\"leg_id\":\"a\"}' AS BLOB))"
        )
        with pytest.raises(LogUnavailable, match="locked by another process"):
            log.append("call/b", 0, [digit("b")], Meta())
        assert subscription.poll() == []
        other.execute("COMMIT")
        other.close()
        log.append("call/b", 0, [digit("b")], Meta())
        assert [r.stream for r in subscription] == ["call/a", "call/b"]
        log.close()

    def test_another_process_is_seen(self, tmp_path: Path) -> None:
        """Two opened logs stand for two processes: they share nothing but the file."""
        server = EmbeddedLog(tmp_path / "log.sqlite3")
        command = EmbeddedLog(tmp_path / "log.sqlite3")
        command.append("call/a", 0, [CallDecided(step="s", outcome="o", reason="r")], Meta())
        assert server.wait(0, 30.0)
        with pytest.raises(Conflict):
            server.append("call/a", 0, [LegAnswered(leg_id="x")], Meta())
        command.close()
        server.close()
