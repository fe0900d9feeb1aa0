"""Call records as events, on either database: each once, changed ones once more, nothing else."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import delete, select, update

from pbx.domain.calls import CallErased, erased_subject, named_account
from pbx.domain.cdrs import CdrRecorded, CdrWithdrawn
from pbx.eventlog import ANY_VERSION, Codec, LogUnavailable, MemoryLog, Meta, Record, memory_keys
from pbx.readmodel import CdrFeed, Database, make_projector, open_read_model
from pbx.readmodel.cdr_feed import BATCH
from pbx.readmodel.projections.cdrs import RULES
from pbx.readmodel.replay import replay
from pbx.readmodel.tables import cdr_changed, cdr_feed, cdr_legs, cdrs
from tests.support.call_histories import history, write_history
from tests.support.clock import VirtualClock
from tests.support.partitioned_log import PartitionedMemoryLog

NewPlace = Callable[[], tuple[Path, str]]
CALLS = 60


@pytest.fixture
def live(new_place: NewPlace) -> Iterator[Database]:
    database = open_read_model(*new_place())
    yield database
    database.close()


def a_log(*, sealed: bool = False) -> MemoryLog:
    log = MemoryLog(codec=Codec(memory_keys(), seal_personal=sealed), node="n1")
    write_history(log, history(7, CALLS))
    return log


def project(log: MemoryLog, database: Database) -> None:
    """What a server does: one that starts, projects and stops."""
    make_projector(log, database, feed=True).catch_up(log.head())


def told(log: MemoryLog) -> list[Record]:
    return list(log.read(category="pbx.cdrs"))


def newest(log: MemoryLog) -> dict[str, Any]:
    return {record.correlation: record.event for record in told(log)}


def rows(database: Database, table: Any, call_id: str) -> list[Mapping[str, Any]]:
    with database.read() as connection:
        query = select(table).where(table.c.call_id == call_id).order_by(*table.primary_key.columns)
        return [dict(row) for row in connection.execute(query).mappings()]


def ids(database: Database) -> list[str]:
    with database.read() as connection:
        return list(connection.execute(select(cdrs.c.call_id).order_by(cdrs.c.position)).scalars())


@pytest.mark.parametrize("sealed", [False, True], ids=["clear", "sealed"])
def test_every_record_is_told_once_with_all_that_the_tables_say(
    live: Database, sealed: bool
) -> None:
    log = a_log(sealed=sealed)
    project(log, live)
    records = told(log)
    assert [record.correlation for record in records] == ids(live)
    for record in records:
        event = record.event
        assert isinstance(event, CdrRecorded)
        assert (record.stream, record.version) == (f"cdr/{event.call_id}", 1)
        (row,) = rows(live, cdrs, event.call_id)
        assert record.tenant == row["tenant"]
        said = msgspec.structs.asdict(event)
        legs = said.pop("legs")
        assert said.pop("rules") == RULES
        assert said == {k: v for k, v in row.items() if k not in ("position", "partition", "legs")}
        assert len(legs) == row["legs"]
        by_id = {leg["leg_id"]: leg for leg in rows(live, cdr_legs, event.call_id)}
        for leg in legs:
            other = by_id[leg.leg_id]
            assert msgspec.structs.asdict(leg).items() <= dict(other).items()
            # What a leg leaves out is the call's.
            for name in set(other) - set(leg.__struct_fields__) - {"position", "day", "call_id"}:
                assert other[name] == said[name]
        assert (b"@example.org" in record.data) is not sealed
    assert [r.position for r in told(log)] == [
        step[1].position for step in log.read_feed(categories=["pbx.cdrs"]) if step[1] is not None
    ]


def test_a_repetition_says_nothing_again(live: Database, new_place: NewPlace) -> None:
    log = a_log()
    project(log, live)
    before = log.head()
    project(log, live)
    assert log.head() == before
    with live.write() as connection:  # a crash between the append and the note of it
        connection.execute(update(cdr_feed).values(position=5))
    project(log, live)
    assert log.head() == before
    fresh = open_read_model(*new_place())  # the read model was deleted
    project(log, fresh)
    fresh.close()
    assert log.head() == before


def test_who_publishes_at_the_same_time_says_the_same(
    live: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second does not see what the first appended: the log drops the same fact."""
    log = a_log()
    make_projector(log, live).catch_up(log.head())
    ends = {call_id: rows(live, cdrs, call_id)[0]["end_ns"] for call_id in ids(live)}
    now_ns = max(ends.values())
    for later_ns in (0, 1_000_000_000):
        clock = VirtualClock(epoch_ns=now_ns + later_ns)
        feed = CdrFeed(log, live, "", node="n1", rules=RULES, clock=clock)
        monkeypatch.setattr(feed, "_newest", lambda _: None)
        with live.write() as connection:
            connection.execute(delete(cdr_feed))
        assert not feed.publish()
        assert feed.published == len(ends)
    recent = [r for r in told(log) if now_ns - ends[r.correlation] < 50_000_000_000]
    assert recent
    assert len({record.correlation for record in recent}) == len(recent)
    assert all(record.time_ns == ends[record.correlation] for record in recent)


def test_an_erased_person_is_gone_from_the_newest_version(live: Database) -> None:
    log = a_log()
    project(log, live)
    before = newest(log)
    person = "user3@example.org"
    named = [c for c, event in before.items() if named_account(event.from_uri) == person]
    assert named
    for call_id in named:
        event = CallErased(subject=erased_subject(call_id, person))
        log.append(f"call/{call_id}", ANY_VERSION, [event], Meta(correlation=call_id))
    head = log.head()
    project(log, live)
    later = [record for record in told(log) if record.position > head]
    assert {record.correlation for record in later} == set(named)
    assert {record.version for record in later} == {2}
    for call_id in named:
        old, new = before[call_id], newest(log)[call_id]
        assert new.from_uri == new.source == "[erased]"
        assert (new.start_ns, new.talk_ms, len(new.legs)) == (
            old.start_ns, old.talk_ms, len(old.legs),
        )  # fmt: skip
    with live.read() as connection:
        assert not connection.execute(select(cdr_changed)).all()


def test_a_rebuild_tells_what_differs(live: Database) -> None:
    log = a_log()
    make_projector(log, live).catch_up(log.head())
    wrong, missing, twice, *_ = ids(live)
    with live.write() as connection:
        connection.execute(update(cdrs).where(cdrs.c.call_id == wrong).values(talk_ms=1))
        connection.execute(
            update(cdr_legs).where(cdr_legs.c.call_id == twice).values(talk_ms=999_999)
        )
        connection.execute(delete(cdrs).where(cdrs.c.call_id == missing))
        connection.execute(delete(cdr_legs).where(cdr_legs.c.call_id == missing))
        surplus = dict(rows(live, cdrs, twice)[0]) | {"call_id": "zz"}
        connection.execute(cdrs.insert(), [surplus])
    project(log, live)
    assert missing not in newest(log)
    assert newest(log)[wrong].talk_ms == 1
    head = log.head()
    replay(log, live, ["cdrs"])
    project(log, live)
    later = {r.correlation: r for r in told(log) if r.position > head}
    assert {call: r.version for call, r in later.items()} == {
        wrong: 2, twice: 2, missing: 1, "zz": 2,
    }  # fmt: skip
    assert newest(log)["zz"] == CdrWithdrawn(call_id="zz", rules=RULES)
    right = records_of(log)
    assert {c: e for c, e in newest(log).items() if c != "zz"} == right
    before = log.head()
    project(log, live)
    assert log.head() == before


def records_of(log: MemoryLog) -> dict[str, Any]:
    """The records as a log of the same calls alone has them."""
    other = MemoryLog(node="n1")
    other.commit([record.row for record in log.read(category="pbx.calls")])
    with tempfile.TemporaryDirectory() as folder:
        database = open_read_model(Path(folder), "")
        project(other, database)
        database.close()
    return newest(other)


def test_many_records_of_the_past_are_told_piece_by_piece(live: Database) -> None:
    log = MemoryLog(node="n1")
    write_history(log, history(3, BATCH * 2))
    make_projector(log, live).catch_up(log.head())
    feed = CdrFeed(log, live, "", node="n1", rules=RULES, budget_s=-1)
    assert feed.publish(), "no time at all: there is more"
    assert not told(log)
    feed = CdrFeed(log, live, "", node="n1", rules=RULES, clock=VirtualClock())
    assert not feed.publish()
    assert feed.published == len(told(log)) == len(ids(live)) > BATCH


def test_a_log_that_takes_nothing_loses_nothing(
    live: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = a_log()
    projector = make_projector(log, live, feed=True)

    def full(*_: object) -> None:
        raise LogUnavailable("the disk is full")

    with monkeypatch.context() as trouble:
        trouble.setattr(log, "commit", full)
        with pytest.raises(LogUnavailable):
            projector.catch_up(log.head())
    projector.catch_up(log.head())
    assert [record.correlation for record in told(log)] == ids(live)


def test_without_the_feed_nothing_is_told(live: Database) -> None:
    log = a_log()
    make_projector(log, live, feed=False).catch_up(log.head())
    assert ids(live)
    assert told(log) == []


def test_of_nodes_with_tables_of_their_own_each_tells_its_calls(tmp_path: Path) -> None:
    """They project all calls, and one of them tells each."""
    log = PartitionedMemoryLog()
    write_history(log, history(5, CALLS))  # all of n1
    for node in ("n2", "n1"):
        log.node = node
        folder = tmp_path / node
        folder.mkdir()
        database = open_read_model(folder)
        project(log, database)
        assert bool(told(log)) is (node == "n1")
        ended = ids(database)
        database.close()
    assert [record.correlation for record in told(log)] == ended


@pytest.mark.needs("initdb", "psycopg")
def test_of_shared_tables_whoever_has_a_partition_tells_its_records(
    postgres: Any, tmp_path: Path
) -> None:
    log = PartitionedMemoryLog()
    write_history(log, history(5, CALLS))
    database = open_read_model(tmp_path, postgres.new_database())
    for name in log.partitions():
        if name.startswith("pbx.calls"):
            projector = make_projector(log, database, name, feed=True)
            projector.catch_up(log.partition(name).head())
    assert sorted(record.correlation for record in told(log)) == sorted(ids(database))
    database.close()
