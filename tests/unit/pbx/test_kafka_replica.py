"""Journal and replica in one file: what is tentative, what is final, what a crash leaves."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx.domain.accounts import DomainCreated
from pbx.domain.bindings import BindingRemoved
from pbx.domain.calls import LegDigit
from pbx.domain.nodes import NodeAlive
from pbx.eventlog import Conflict, EmbeddedLog, LogFormatError, LogUnavailable, Meta, open_log
from pbx.eventlog.kafka.envelope import Envelope, wire_event
from pbx.eventlog.kafka.log import ClusterLog
from pbx.eventlog.kafka.partition import make_token, parse_token, place_of, position_of
from pbx.eventlog.kafka.replica import Met, Replica, join, next_session
from pbx.eventlog.record import Decision, Row
from pbx.kernel.errors import LogError
from tests.support.fake_kafka import FakeKafka, FakeLogRole

MakeNode = Callable[[str], FakeLogRole]


def fact(stream: str, version: int, name: str, time_ns: int = 1) -> Row:
    data = f'{{"leg_id":"{name}"}}'.encode()
    return (stream, version, "leg.digit.v1", time_ns, "n", "", "", "", "", data)


def names(log: EmbeddedLog, stream: str) -> list[str]:
    return [r.event.leg_id for r in log.read_stream(stream)]  # type: ignore[attr-defined]


@pytest.fixture
def kafka() -> FakeKafka:
    return FakeKafka()


@pytest.fixture
def node(kafka: FakeKafka, tmp_path: Path) -> Iterator[MakeNode]:
    made: list[FakeLogRole] = []

    def make(name: str) -> FakeLogRole:
        made.append(FakeLogRole(kafka, tmp_path / name, name))
        return made[-1]

    yield make
    for one in made:
        if one in kafka.roles:
            one.close()


def test_facts_wait_in_the_journal_until_they_are_met(node: MakeNode) -> None:
    a = node("a")
    a.log.commit([fact("call/1", v, f"x{v}", time_ns=v * 10**9) for v in (1, 2, 3)])
    waiting = a.journal.backlog(now_ns=11 * 10**9)
    assert waiting == (3, 10.0)
    assert list(a.log.partition(a.kafka.partition_of("call/1")).read()) == []
    a.ship()
    assert a.journal.backlog() == (0, 0.0)
    assert a.journal.shipped_up_to() == a.log.head() == 3
    a.ship()
    assert names(a.log, "call/1") == ["x1", "x2", "x3"]


def test_what_other_nodes_wrote_comes_into_the_log(node: MakeNode) -> None:
    a, b = node("a"), node("b")
    a.log.commit([fact("call/1", 1, "x")])
    a.log.append("domain/d", 0, [DomainCreated(name="d")], Meta())
    assert names(b.log, "call/1") == ["x"]
    assert [r.event for r in b.log.read(category="pbx.config")] == [DomainCreated(name="d")]
    assert b.journal.backlog().events == 0, "it is not shipped back"
    b.ship()
    assert names(a.log, "call/1") == ["x"]


def test_a_version_that_another_took_first_moves_the_facts_of_the_journal(node: MakeNode) -> None:
    a, b = node("a"), node("b")
    a.log.commit([fact("binding/x", v, f"a{v}") for v in (1, 2)])
    removed = BindingRemoved(contact_id="c", contact="sip:c", reason="admin")
    b.log.append("binding/x", 0, [removed], Meta())
    assert [r.version for r in a.log.read_stream("binding/x")] == [1, 2, 3]
    assert [r.type for r in a.log.read_stream("binding/x")] == [
        "binding.removed.v1",
        "leg.digit.v1",
        "leg.digit.v1",
    ]
    a.ship()
    for log in (a.log, b.log):
        assert [(r.version, r.node) for r in log.read_stream("binding/x")] == [
            (1, "b"),
            (2, "n"),
            (3, "n"),
        ]
    assert [r.row for r in a.log.read_stream("binding/x")] == [
        r.row for r in b.log.read_stream("binding/x")
    ]


def test_what_two_nodes_decided_alone_counts_everywhere(kafka: FakeKafka, node: MakeNode) -> None:
    """As while Kafka is away: nothing is void, versions follow, and who goes on is told of it."""
    a, b = node("a"), node("b")
    kafka.reachable = False
    for one in (a, b):
        rows = [fact("binding/x", 0, f"{one.log.node}{n}") for n in (1, 2)]
        (position,) = one.log.commit([Decision("binding/x", 0, rows, alone=True)])
        assert position == 2
        assert one.journal.backlog().events == 2
        again = one.log.commit([Decision("binding/x", 0, rows, alone=True)])
        assert isinstance(again[0], Conflict)
    kafka.reachable = True
    b.ship()
    a.ship()
    for one in (a, b):
        assert names(one.log, "binding/x") == ["b1", "b2", "a1", "a2"]
        assert [r.version for r in one.log.read_stream("binding/x")] == [1, 2, 3, 4]
    with pytest.raises(Conflict):
        a.log.append("binding/x", 2, [LegDigit(leg_id="c")], Meta())
    a.log.append("binding/x", 4, [LegDigit(leg_id="c")], Meta())
    assert names(b.log, "binding/x")[-1] == "c"


@given(st.lists(st.sampled_from(["a", "b", "ship a", "ship b", "decide a"]), max_size=40))
def test_the_backlog_is_what_was_not_shipped(steps: list[str]) -> None:
    kafka = FakeKafka()
    with TemporaryDirectory() as folder:
        nodes = {name: FakeLogRole(kafka, Path(folder) / name, name) for name in ("a", "b")}
        try:
            for number, step in enumerate(steps, 1):
                what, _, name = step.rpartition(" ")
                one = nodes[name]
                if what == "ship":
                    one.ship()
                elif what == "decide":
                    one.log.append(f"domain/{number}", 0, [LegDigit(leg_id="d")], Meta())
                else:
                    one.log.commit([fact(f"call/{name}{number}", 1, "x", number * 10**9)])
                for each in nodes.values():
                    waiting, _ = each.journal.unshipped(0, 1000)
                    found = each.journal.backlog(now_ns=100 * 10**9)
                    oldest_s = 100.0 - waiting[0][1][3] / 1e9 if waiting else 0.0
                    assert found == (len(waiting), oldest_s)
        finally:
            for one in nodes.values():
                one.close()


@pytest.mark.parametrize("facts", [3, 150])
def test_however_many_facts_wait_they_end_in_order(node: MakeNode, facts: int) -> None:
    a, b = node("a"), node("b")
    a.log.commit([fact("binding/x", v, f"a{v}") for v in range(1, facts + 1)])
    for version in range(5):
        b.log.append("binding/x", version, [LegDigit(leg_id=f"b{version}")], Meta())
    assert len(names(a.log, "binding/x")) == facts + 5
    a.ship()
    wanted = [f"b{v}" for v in range(5)] + [f"a{v}" for v in range(1, facts + 1)]
    assert names(a.log, "binding/x") == names(b.log, "binding/x") == wanted


def test_a_decision_counts_behind_the_facts_it_was_made_on(node: MakeNode) -> None:
    a, b = node("a"), node("b")
    a.log.commit([fact("binding/x", 1, "a1")])
    b.log.commit([fact("binding/x", 1, "b1")])
    removed = BindingRemoved(contact_id="c", contact="sip:c", reason="admin")
    a.log.append("binding/x", 1, [removed], Meta())
    with pytest.raises(Conflict) as caught:
        b.log.append("binding/x", 1, [removed], Meta())
    assert caught.value.current_version == 3
    b.log.append("binding/x", 3, [removed], Meta())
    assert [r.version for r in a.log.read_stream("binding/x")] == [1, 2, 3, 4]


def test_streams_of_the_node_itself_need_no_kafka(kafka: FakeKafka, node: MakeNode) -> None:
    a = node("a")
    kafka.reachable = False
    a.log.append("call/1", 0, [LegDigit(leg_id="x")], Meta())
    a.log.append("node/a", 0, [NodeAlive()], Meta())
    with pytest.raises(Conflict):
        a.log.append("call/1", 0, [LegDigit(leg_id="x")], Meta())
    with pytest.raises(LogUnavailable, match="does not take it"):
        a.log.append("domain/d", 0, [DomainCreated(name="d")], Meta())
    assert a.journal.backlog().events == 2


def test_what_a_power_cut_took_from_the_journal_comes_back_from_kafka(
    node: MakeNode, tmp_path: Path
) -> None:
    """The last second of facts was shipped, and then lost with the machine's memory. Their
    positions are used again by other facts."""
    a = node("a")
    a.log.commit([fact("call/1", 1, "kept")])
    a.ship()
    with closing(sqlite3.connect(a.path)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copy(a.path, tmp_path / "before")
    a.log.commit([fact("call/1", 2, "lost"), fact("call/2", 1, "lost too")])
    a.ship()
    a.close()
    for left in a.path.parent.glob("log.sqlite3-*"):
        left.unlink()
    shutil.copy(tmp_path / "before", a.path)
    b = node("b")
    with closing(open_log(a.path.parent)) as log:  # signal may be there before the log role
        log.commit([fact("call/3", 1, "new")])
    restarted = node("a")
    restarted.ship()
    for log in (restarted.log, b.log):
        assert names(log, "call/1") == ["kept", "lost"]
        assert names(log, "call/2") == ["lost too"]
        assert names(log, "call/3") == ["new"]
    assert restarted.journal.backlog().events == 0


def test_a_batch_that_fails_leaves_nothing_behind(node: MakeNode) -> None:
    a = node("a")
    a.log.append("domain/d", 0, [DomainCreated(name="d")], Meta())
    places = {p.name: p for p in a.replica.partitions.values()}
    config = places["pbx.config/0"]
    good = Envelope("domain/e", "w", 1, 1, [wire_event(fact("domain/e", 1, "e"))])
    bad = Envelope("domain/f", "w", 1, 2, [wire_event(fact("domain/f", 1, "f"))])
    before = a.log.head()
    with pytest.raises(KeyError):
        a.replica.apply([Met(config.id, config.next_offset, good), Met(999, 0, bad)])
    assert a.log.head() == before
    assert a.replica.partitions[config.id].next_offset == config.next_offset
    a.replica.apply([Met(config.id, config.next_offset, good)])
    assert names(a.log, "domain/e") == ["e"]


def test_records_that_are_none_of_ours_are_passed_over(node: MakeNode) -> None:
    a = node("a")
    place = next(iter(a.replica.partitions.values()))
    a.replica.apply([Met(place.id, place.next_offset, None)])
    assert a.replica.partitions[place.id].next_offset == place.next_offset + 1


def test_a_partition_that_kafka_cut_goes_on_from_its_new_beginning(node: MakeNode) -> None:
    a = node("a")
    place = next(p for p in a.replica.partitions.values() if p.name == "pbx.messages/0")
    a.replica.cut(place.id, 500)
    assert a.replica.partitions[place.id] == (place.id, place.name, 500, 500)
    late = Envelope("message/1", "w", 4, 9, [wire_event(fact("message/1", 0, "m"))], expected=6)
    a.replica.apply([Met(place.id, 500, late)])
    assert [r.version for r in a.log.read_stream("message/1")] == [7]


def test_sessions_never_repeat(node: MakeNode) -> None:
    a = node("a")
    first = next_session(a.path)
    assert next_session(a.path) == first + 1
    assert next_session(a.path, above=50) == 51
    assert next_session(a.path, now_us=1_000_000) == 1_000_000
    assert next_session(a.path, now_us=999_999) == 1_000_001  # the clock was set back


def test_verdicts_are_remembered_for_a_while(
    node: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pbx.eventlog.kafka import replica

    monkeypatch.setattr(replica, "VERDICTS_KEPT", 3)
    a = node("a")
    for version in range(5):
        a.log.append("domain/d", version, [DomainCreated(name="d")], Meta())
    with closing(sqlite3.connect(a.path)) as database:
        (count,) = database.execute("SELECT count(*) FROM verdicts").fetchone()
        assert count == 3


# Joining a cluster.


def test_a_log_that_joined_is_no_embedded_log_any_more(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite3"
    with closing(open_log(tmp_path)) as log:
        log.append("domain/d", 0, [DomainCreated(name="d")], Meta())
    with pytest.raises(LogFormatError):
        ClusterLog(path)
    join(path, "w1")
    join(path, "w2")
    with closing(Replica(path)) as replica:
        assert replica.writer == "w1", "it joins once"
        assert replica.has_shared_events()
    with pytest.raises(LogFormatError):
        EmbeddedLog(path)
    with closing(open_log(tmp_path)) as log:
        assert isinstance(log, ClusterLog)
        assert [r.stream for r in log.read()] == ["domain/d"]
        with pytest.raises(LogUnavailable, match="start it"):
            log.append("domain/e", 0, [DomainCreated(name="e")], Meta())


def test_the_first_node_brings_its_log_along(kafka: FakeKafka, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with closing(EmbeddedLog(tmp_path / "a" / "log.sqlite3")) as log:
        log.append("domain/d", 0, [DomainCreated(name="d"), DomainCreated(name="e")], Meta())
    a, b = FakeLogRole(kafka, tmp_path / "a", "a"), FakeLogRole(kafka, tmp_path / "b", "b")
    a.ship()
    assert [(r.stream, r.version) for r in b.log.read()] == [("domain/d", 1), ("domain/d", 2)]
    b.log.append("domain/d", 2, [DomainCreated(name="f")], Meta())
    a.close()
    b.close()


# By partitions.


def test_a_partition_is_the_same_on_every_node(node: MakeNode) -> None:
    a, b = node("a"), node("b")
    for version in range(3):
        a.log.commit([fact("call/1", version + 1, f"a{version}")])
        b.log.commit([fact("call/2", version + 1, f"b{version}")])
        (b if version == 1 else a).ship()
    a.ship()
    b.ship()
    assert a.log.partitions() == b.log.partitions() == sorted(a.kafka.partitions)
    assert [r.row for r in a.log.read()] != [r.row for r in b.log.read()], "their own come first"
    for name in a.log.partitions():
        mine, theirs = a.log.partition(name), b.log.partition(name)
        rows = [(r.position, r.row) for r in mine.read()]
        assert rows == [(r.position, r.row) for r in theirs.read()]
        assert mine.head() == (rows[-1][0] if rows else 0)
        assert [r.position for r in mine.read_back()] == [p for p, _ in reversed(rows)]
        for position, row in rows:
            record = mine.at(position)
            assert record is not None
            assert record.row == row
            assert [r.position for r in mine.read(position)] == [p for p, _ in rows if p > position]
            assert [r.position for r in mine.read_back(position)] == [
                p for p, _ in reversed(rows) if p <= position
            ]
        assert list(mine.read(category="pbx.nothing")) == []
        assert mine.at(0) is None


def test_a_partition_reads_chunks_types_times_and_streams(
    node: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pbx.eventlog.kafka import partition

    monkeypatch.setattr(partition, "CHUNK", 3)
    monkeypatch.setattr(partition, "CHUNK_BACK", 2)
    a = node("a")
    a.log.append("domain/d", 0, [DomainCreated(name=str(n)) for n in range(8)], Meta(time_ns=5))
    a.log.append("domain/d", 8, [LegDigit(leg_id="x")], Meta(time_ns=10**12))
    view = a.log.partition("pbx.config/0")
    records = list(view.read())
    assert [r.version for r in records] == list(range(1, 10))
    assert [r.version for r in view.read_back()] == list(range(9, 0, -1))
    assert [r.version for r in view.read_stream("domain/d", 2)] == list(range(3, 10))
    assert [r.version for r in view.read(types=["leg.*"])] == [9]
    assert [r.version for r in view.read(limit=2)] == [1, 2]
    assert view.position_at(10**12) == records[7].position
    assert view.position_at(0) == 0
    assert view.wait(records[0].position, 0.0)
    assert not view.wait(records[-1].position, 0.0)
    with pytest.raises(LogError, match="for reading"):
        view.append("domain/d", 9, [LegDigit(leg_id="x")], Meta())
    with pytest.raises(LogError, match="for reading"):
        view.commit([])
    with pytest.raises(LogError, match="no partition"):
        a.log.partition("pbx.calls/77")


def test_a_feed_goes_on_behind_its_token_on_any_node(node: MakeNode) -> None:
    a, b = node("a"), node("b")
    for number in range(6):
        a.log.commit([fact(f"call/{number}", 1, f"x{number}", time_ns=number + 1)])
        a.log.append("domain/d", number, [DomainCreated(name="d")], Meta(time_ns=number + 1))
    whole = [record.row for _, record in a.log.read_feed() if record is not None]
    assert len(whole) == 12
    assert [row[3] for row in whole] == sorted(row[3] for row in whole)
    for cut in range(13):
        seen = list(a.log.read_feed(limit=cut))
        token = seen[-1][0] if seen else ""
        rest = b.log.read_feed(token)
        assert [record.row for _, record in (*seen, *rest) if record is not None] == whole
    config = [r.stream for _, r in b.log.read_feed(categories=["pbx.config"]) if r is not None]
    assert config == ["domain/d"] * 6
    assert sum(record is not None for _, record in b.log.read_feed(types=["leg.*"])) == 6


def test_a_feed_waits_behind_a_token_that_this_node_has_not_reached(node: MakeNode) -> None:
    """The reader comes from a node that has read more."""
    a = node("a")
    a.log.append("domain/d", 0, [DomainCreated(name="d")], Meta(time_ns=1))
    token = a.log.feed_head()
    (_, event), *_ = a.log.read_feed()
    (name,) = [name for name, at in parse_token(token).items() if at]
    ahead = parse_token(token)[name] + position_of(1, 0) - position_of(0, 0)
    assert not list(a.log.read_feed(make_token({name: ahead})))
    a.log.append("domain/d", 1, [DomainCreated(name="d")], Meta(time_ns=2))
    a.log.append("domain/d", 2, [DomainCreated(name="d")], Meta(time_ns=3))
    found = [record.version for _, record in a.log.read_feed(make_token({name: ahead})) if record]
    assert event is not None
    assert found == [3]


def test_a_filtered_feed_is_resumed_without_filter_or_double(node: MakeNode) -> None:
    a = node("a")
    a.log.append("domain/d", 0, [DomainCreated(name="d"), LegDigit(leg_id="x")], Meta())
    ((token, _),) = a.log.read_feed(types=["leg.*"])
    assert list(a.log.read_feed(token)) == []


@pytest.mark.parametrize("token", ["7", "k1.x", "k1.a:zz", "k1.a:-1", "k2.a:1"])
def test_a_token_that_is_none_is_refused(node: MakeNode, token: str) -> None:
    with pytest.raises(LogError, match="is no position"):
        list(node("a").log.read_feed(token))


def test_tokens_and_positions_come_back() -> None:
    assert parse_token(make_token({"pbx.calls/1": 77, "pbx.config/0": 1})) == {
        "pbx.calls/1": 77,
        "pbx.config/0": 1,
    }
    assert parse_token("") == {}
    assert place_of(position_of(12345, 4095)) == (12345, 4095)
    assert position_of(0, 0) == 1
