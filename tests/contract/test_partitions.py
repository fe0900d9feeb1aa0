"""A log of several partitions, projected by one node or shared out over several."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Table, select, text

from pbx.domain.accounts import DomainCreated
from pbx.domain.bindings import BindingAdded
from pbx.eventlog import ANY_VERSION, MemoryLog, Meta, Record, UnknownEvent
from pbx.kernel.errors import ProjectionStopped
from pbx.readmodel import (
    PROJECTION_NAMES,
    Database,
    LagTimeout,
    catch_up,
    load_checkpoints,
    make_projector,
    open_read_model,
    skip_event,
)
from pbx.readmodel.partitions import concerned, heads_of, views_of
from pbx.readmodel.projections import all_projections
from pbx.readmodel.replay import replay
from pbx.readmodel.share import Share, share_of
from pbx.readmodel.tables import HEAD_REVISION, bindings, cdr_legs, cdrs, domains, legs
from tests.contract.conftest import Open
from tests.support.call_histories import history, write_history
from tests.support.partitioned_log import PartitionedMemoryLog

PATIENCE_S = 30.0


def fill(log: MemoryLog, calls: int = 40) -> None:
    """Calls, phones and domains."""
    for number in range(8):
        name = f"d{number}.example"
        log.append(f"domain/{name}", 0, [DomainCreated(name=name)], Meta(time_ns=5))
        added = BindingAdded(
            contact_id="c", contact="sip:c@x", expires_ns=1, sip_call_id="r", cseq=1
        )
        log.append(f"binding/al@{name}", 0, [added], Meta(time_ns=5))
    write_calls(log, calls)


def write_calls(log: MemoryLog, calls: int, seed: int = 1) -> None:
    write_history(log, history(seed, calls))


def projected(log: PartitionedMemoryLog) -> list[str]:
    """The partitions that tables are made from: call records as events are made from the tables."""
    return sorted(name for name in log.partitions() if not name.startswith("pbx.cdrs"))


def rows(database: Database, table: Table, *without: str) -> list[Mapping[str, Any]]:
    with database.read() as connection:
        found = connection.execute(select(table).order_by(*table.primary_key.columns))
        return [{k: v for k, v in row.items() if k not in without} for row in found.mappings()]


@pytest.fixture
def log() -> PartitionedMemoryLog:
    return PartitionedMemoryLog()


POSTGRESQL = pytest.mark.parametrize(
    "kind", [pytest.param("postgresql", marks=pytest.mark.needs("initdb", "psycopg"))]
)
"""One server has the file of SQLite for itself."""


@POSTGRESQL
class TestPartitions:
    def test_the_rows_are_those_of_one_log(
        self,
        log: PartitionedMemoryLog,
        database: Database,
        new_place: Callable[[], tuple[Path, str]],
    ) -> None:
        whole = MemoryLog(node="n1")
        fill(log)
        fill(whole)
        other = open_read_model(*new_place())
        catch_up(log, database)
        catch_up(whole, other)
        for table in (domains, bindings, legs):
            assert rows(database, table) == rows(other, table)
        for table in (cdrs, cdr_legs):
            apart = rows(database, table, "position", "partition")
            assert apart == rows(other, table, "position", "partition")
        other.close()

    def test_position_and_partition_of_a_record_name_its_event(
        self, log: PartitionedMemoryLog, database: Database
    ) -> None:
        fill(log)
        catch_up(log, database)
        found = rows(database, cdrs)
        assert len({row["partition"] for row in found}) > 1
        for row in found:
            record = log.partition(row["partition"]).at(row["position"])
            assert record is not None
            assert (record.stream, record.type) == (f"call/{row['call_id']}", "call.ended.v1")

    def test_only_those_projections_have_checkpoints_that_a_partition_concerns(
        self, log: PartitionedMemoryLog, database: Database
    ) -> None:
        fill(log)
        catch_up(log, database)
        with database.read() as connection:
            found = {(c.name, c.partition): c.position for c in load_checkpoints(connection)}
        heads = heads_of(log, database)
        assert found[("domains", "pbx.config/0")] == heads["pbx.config/0"]
        assert found[("cdrs", "pbx.calls/3")] == heads["pbx.calls/3"]
        assert len(found) == 2 + 4 + 2 * 4
        assert all(found[key] == heads[key[1]] for key in found)

    def test_a_partition_of_unknown_name_concerns_all(self, database: Database) -> None:
        every = all_projections(MemoryLog())
        assert concerned("", every) == concerned("everything", every) == every
        assert [p.name for p in concerned("pbx.bindings-2", every)] == ["bindings"]
        assert [p.name for p in concerned("pbx.messages-0", every)] == ["mailboxes"]
        assert list(views_of(MemoryLog(), database)) == [""]

    def test_no_text_files_are_written(self, log: PartitionedMemoryLog, database: Database) -> None:
        fill(log)
        catch_up(log, database)
        assert list(database.folder.glob("CDRs/*")) == []

    def test_replay_rebuilds_all_partitions(
        self, log: PartitionedMemoryLog, database: Database
    ) -> None:
        fill(log)
        catch_up(log, database)
        write_calls(log, 10, seed=2)  # the live tables are behind; that is no difference
        outcome = replay(log, database, PROJECTION_NAMES)
        assert outcome.different == 0
        assert outcome.rows > 100
        right = rows(database, cdrs)
        with database.write() as connection:
            connection.execute(text("UPDATE cdrs SET status = 7"))
        assert replay(log, database, ["cdrs"]).different == len(right)
        assert rows(database, cdrs) == right
        with database.read() as connection:
            generations = {c.generation for c in load_checkpoints(connection) if c.name == "cdrs"}
        assert generations == {1} if database.atomic else generations != {0}
        catch_up(log, database)
        assert len(rows(database, cdrs)) > len(right)
        assert replay(log, database, PROJECTION_NAMES).different == 0

    def test_a_stop_holds_up_its_partition_only_and_can_be_skipped(
        self, log: PartitionedMemoryLog, database: Database
    ) -> None:
        bad = UnknownEvent(type="call.ended.v1", data=b'{"status": "?"}')
        log.append("call/bad", ANY_VERSION, [bad], Meta())
        fill(log)
        with pytest.raises(ProjectionStopped):
            catch_up(log, database)
        for partition in log.partitions():
            make_projector(log, database, partition).catch_up(10_000)
        with database.read() as connection:
            stopped = {(c.name, c.partition) for c in load_checkpoints(connection) if c.error}
        place = next(name for name, view in log.views.items() if view is log.place_of("call/bad"))
        assert stopped == {("calls", place), ("cdrs", place)}
        for name, partition in stopped:
            assert skip_event(log, database, name, partition, actor="cli:al") == 1
        assert skip_event(log, database, "calls", place) is None
        catch_up(log, database)
        assert replay(log, database, PROJECTION_NAMES).different == 0

    def test_a_partition_of_another_log_empties_the_projection_everywhere(
        self, log: PartitionedMemoryLog, database: Database
    ) -> None:
        fill(log)
        catch_up(log, database)
        other = PartitionedMemoryLog()
        write_calls(other, 80, seed=2)
        fill(other, 0)
        catch_up(other, database)
        assert replay(other, database, PROJECTION_NAMES).different == 0

    def test_a_node_whose_copy_is_behind_leaves_the_rows_of_others_alone(
        self, log: PartitionedMemoryLog, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It takes a lease of a node that has read more of the log."""
        monkeypatch.setattr("pbx.readmodel.replay.BEHIND_S", 0.0)
        behind = PartitionedMemoryLog()
        for each in (log, behind):
            fill(each)
        write_calls(log, 20, seed=2)
        catch_up(log, database)
        right = rows(database, cdrs)
        projectors = {name: make_projector(behind, database, name) for name in log.partitions()}
        for projector in projectors.values():
            projector.catch_up(10_000)
        catch_up(behind, database)
        assert rows(database, cdrs) == right
        with database.read() as connection:
            assert all(c.generation == 0 for c in load_checkpoints(connection))
        with pytest.raises(LagTimeout, match="ahead of this node's copy"):
            replay(behind, database, ["cdrs"])
        write_calls(behind, 20, seed=2)
        write_calls(behind, 5, seed=3)
        for projector in projectors.values():
            projector.catch_up(10_000)
        assert len(rows(database, cdrs)) > len(right)
        assert replay(behind, database, PROJECTION_NAMES).different == 0

    def test_another_log_is_found_out_as_soon_as_it_reaches_so_far(
        self, log: PartitionedMemoryLog, database: Database
    ) -> None:
        fill(log, 10)
        catch_up(log, database)
        other = PartitionedMemoryLog()
        projectors = {name: make_projector(other, database, name) for name in log.partitions()}
        write_calls(other, 80, seed=2)
        fill(other, 0)
        for projector in projectors.values():
            projector.catch_up(10_000)
        catch_up(other, database)
        assert replay(other, database, PROJECTION_NAMES).different == 0


@pytest.fixture
def share_in(log: PartitionedMemoryLog) -> Iterator[Callable[[Database], Share]]:
    """Makes shares; closed after the test, whatever came of it."""
    made: list[Share] = []

    def make(database: Database) -> Share:
        made.append(Share(log, database))
        return made[-1]

    yield make
    for share in made:
        share.close()


@pytest.mark.parametrize("kind", ["sqlite"])
def test_a_node_with_tables_of_its_own_takes_the_log_at_hand(
    log: PartitionedMemoryLog, database: Database
) -> None:
    """With what the broker does not have yet, and with text files."""
    fill(log, 10)
    log.shipping = False
    write_calls(log, 10, seed=2)
    catch_up(log, database)
    with database.read() as connection:
        found = load_checkpoints(connection)
    assert {(c.partition, c.position) for c in found} == {("", log.head())}
    assert list(database.folder.glob("CDRs/*.cdr"))
    assert replay(log, database, PROJECTION_NAMES).different == 0


class TestShare:
    @pytest.mark.parametrize(
        ("partitions", "nodes", "shares"),
        [(9, 1, [9]), (9, 2, [5, 4]), (4, 3, [2, 1, 1]), (2, 3, [1, 1, 0]), (0, 2, [0, 0])],
    )
    def test_it_is_fair(self, partitions: int, nodes: int, shares: list[int]) -> None:
        assert [share_of(partitions, nodes, rank) for rank in range(nodes)] == shares

    def test_a_node_alone_projects_everything(
        self,
        log: PartitionedMemoryLog,
        database: Database,
        share_in: Callable[[Database], Share],
    ) -> None:
        share = share_in(database)
        share.tick()
        assert share.held == (projected(log) if database.shared else [""])
        fill(log)
        share.close()  # what is in the log by then is projected
        assert share.applied == sum(heads_of(log, database).values())
        assert replay(log, database, PROJECTION_NAMES).different == 0
        assert len(rows(database, domains)) == 8

    @POSTGRESQL
    def test_who_comes_gets_a_share_and_who_dies_leaves_it(
        self,
        log: PartitionedMemoryLog,
        database: Database,
        reopen: Open,
        share_in: Callable[[Database], Share],
    ) -> None:
        second_database, third_database = reopen(), reopen()
        first, second, third = (share_in(d) for d in (database, second_database, third_database))
        every = projected(log)
        first.tick()
        assert first.held == every
        for _ in range(2):  # the first gives back, the others take
            for share in (second, third, first, second, third):
                share.tick()
        assert sorted(first.held + second.held + third.held) == every
        assert [len(share.held) for share in (first, second, third)] == [3, 3, 3]
        fill(log)
        catch_up(log, reopen(), PATIENCE_S)
        # It dies: its threads with it, its session by the server's hand.
        second.close()
        second_database.close()
        for share in (first, third, first, third):
            share.tick()
        assert sorted(first.held + third.held) == every
        write_calls(log, 10, seed=2)
        catch_up(log, reopen(), PATIENCE_S)
        for share in (first, third):
            share.close()
        assert replay(log, database, PROJECTION_NAMES).different == 0

    @POSTGRESQL
    def test_nodes_whose_sessions_end_share_anew(
        self,
        log: PartitionedMemoryLog,
        database: Database,
        reopen: Open,
        share_in: Callable[[Database], Share],
    ) -> None:
        """A restart of the server, a network that was away: nobody believes what it held."""
        shares = [share_in(database), share_in(reopen())]
        for _ in range(3):
            for share in shares:
                share.tick()
        every = projected(log)
        assert sorted(shares[0].held + shares[1].held) == every
        with reopen().read() as connection:
            connection.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            )
        for _ in range(4):
            for share in shares:
                share.tick()
        assert sorted(shares[0].held + shares[1].held) == every
        assert abs(len(shares[0].held) - len(shares[1].held)) == 1
        fill(log)
        catch_up(log, reopen(), PATIENCE_S)
        for share in shares:
            share.close()
        assert replay(log, database, PROJECTION_NAMES).different == 0

    @POSTGRESQL
    def test_a_node_of_an_older_version_leaves_newer_tables_alone(
        self,
        database: Database,
        share_in: Callable[[Database], Share],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        share = share_in(database)
        share.tick()
        assert share.held
        _set_revision(database, "9999")
        share.tick()
        share.tick()
        assert share.held == []
        assert caplog.text.count("are of a newer version: update this node") == 1
        _set_revision(database, HEAD_REVISION)
        share.tick()
        assert share.held

    def test_a_projector_that_dies_is_noticed(
        self, log: PartitionedMemoryLog, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("pbx.readmodel.runner.Projector.run", lambda *_: None)
        monkeypatch.setattr("pbx.readmodel.share.TICK_S", 0.001)
        share = Share(log, database)
        share.tick()
        stop = threading.Event()
        share.run(stop)
        assert share.died
        share.close()


def _set_revision(database: Database, revision: str) -> None:
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :r"), {"r": revision})


def test_records_say_where_they_are() -> None:
    """The fake keeps to what a partitioned log promises: a stream lies in one partition."""
    log = PartitionedMemoryLog()
    fill(log, 5)
    seen: dict[str, str] = {}
    records: list[tuple[str, Record]] = [
        (name, record) for name, view in log.views.items() for record in view.read()
    ]
    assert len(records) == log.head()
    for name, record in records:
        assert seen.setdefault(record.stream, name) == name
