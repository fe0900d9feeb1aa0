"""The read model on either database: checkpoints, stopping, catching up, rebuilds."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Table, select, text, update
from sqlalchemy.exc import OperationalError

from pbx.domain.accounts import DomainCreated, DomainDeleted
from pbx.domain.calls import CALLS, LegDigit
from pbx.domain.readmodel import ProjectionSkipped
from pbx.eventlog import ANY_VERSION, MemoryLog, Meta, Record, UnknownEvent
from pbx.kernel.errors import LagTimeout, ProjectionStopped
from pbx.kernel.events import Event
from pbx.readmodel import (
    PROJECTION_NAMES,
    Checkpoint,
    Database,
    Projector,
    all_projections,
    catch_up,
    load_checkpoints,
    make_projector,
    open_read_model,
    projection_status,
    reached,
    skip_event,
    wait_for,
)
from pbx.readmodel import replay as replay_module
from pbx.readmodel.projections.accounts import DomainProjection
from pbx.readmodel.replay import Rebuild, replay
from pbx.readmodel.tables import cdr_legs, cdrs, domains
from tests.contract.conftest import Open
from tests.support.call_histories import history, write_history

PATIENCE_S = 30.0


class Picky(DomainProjection):
    """Fails at a domain named `hated`, in `apply` or in `flush`."""

    name = "picky"

    def __init__(self, hated: str = "bad", where: str = "apply") -> None:
        super().__init__()
        self.hated = hated
        self.where = where
        self.applied: list[str] = []
        self._failing = False

    def apply(self, record: Record, event: Event) -> None:
        hated = isinstance(event, DomainCreated) and event.name == self.hated
        if hated and self.where == "apply":
            raise KeyError(self.hated)
        self._failing = self._failing or hated
        self.applied.append(record.stream)

    def flush(self, connection: Connection) -> None:
        if self._failing:
            raise ZeroDivisionError("hated")

    def reset(self) -> None:
        super().reset()
        self._failing = False


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog(node="n1")


def create(log: MemoryLog, *names: str) -> None:
    for name in names:
        log.append(f"domain/{name}", ANY_VERSION, [DomainCreated(name=name)], Meta())


def names_in(database: Database) -> list[str]:
    with database.read() as connection:
        return list(connection.execute(select(domains.c.name).order_by(domains.c.name)).scalars())


def checkpoints(database: Database) -> dict[str, Checkpoint]:
    with database.read() as connection:
        return {checkpoint.name: checkpoint for checkpoint in load_checkpoints(connection)}


class TestCheckpoints:
    def test_a_projector_goes_on_where_another_stopped(
        self, log: MemoryLog, database: Database
    ) -> None:
        create(log, "a", "b")
        first = Projector(log, database, all_projections(log))
        first.catch_up(log.head())
        create(log, "c")
        second = Projector(log, database, all_projections(log))
        second.catch_up(log.head())
        assert second.applied == 1
        assert names_in(database) == ["a", "b", "c"]
        assert {c.position for c in checkpoints(database).values()} == {3}

    def test_catching_up_ends_exactly_at_the_wanted_position(
        self, log: MemoryLog, database: Database
    ) -> None:
        create(log, "a", "b", "c")
        Projector(log, database, all_projections(log)).catch_up(2)
        assert names_in(database) == ["a", "b"]
        assert not reached(database, 3)
        assert reached(database, 2, ["domains"])
        assert not reached(database, 2, ["domains", "unheard"])

    def test_rows_and_checkpoint_are_one_transaction(
        self, log: MemoryLog, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A crash between them is a rollback of both."""
        create(log, "a")
        projector = Projector(log, database, all_projections(log))

        def crash(*arguments: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr("pbx.readmodel.runner.store_checkpoints", crash)
            with pytest.raises(KeyboardInterrupt):
                projector.step()
        assert names_in(database) == []
        assert projector.step()
        assert names_in(database) == ["a"]

    def test_an_empty_log_is_level(self, log: MemoryLog, database: Database) -> None:
        assert not Projector(log, database, all_projections(log)).step()
        wait_for(database, 0, PROJECTION_NAMES, PATIENCE_S)


class TestStopping:
    @pytest.mark.parametrize("where", ["apply", "flush"])
    def test_a_failing_event_stops_its_projection_right_before_it(
        self, log: MemoryLog, database: Database, where: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        create(log, "a", "b", "bad", "c")
        projector = Projector(log, database, [Picky(where=where), DomainProjection()])
        projector.catch_up(log.head())
        picky, sound = checkpoints(database)["picky"], checkpoints(database)["domains"]
        assert (picky.position, picky.error_position) == (2, 3)
        assert picky.error in ("KeyError: 'bad'", "ZeroDivisionError: hated")
        assert (sound.position, sound.error) == (4, "")
        assert names_in(database) == ["a", "b", "bad", "c"], "the others go on"
        assert "projection picky stopped at position 3" in caplog.text
        create(log, "d")
        projector.catch_up(log.head())
        assert checkpoints(database)["picky"].position == 2
        assert checkpoints(database)["domains"].position == 5

    def test_data_that_cannot_be_decoded_stops_only_who_reads_it(
        self, log: MemoryLog, database: Database
    ) -> None:
        create(log, "a")
        log.append(
            "call/x", 0, [UnknownEvent(type="call.ended.v1", data=b'{"status": "?"}')], Meta()
        )
        create(log, "b")
        Projector(log, database, all_projections(log)).catch_up(log.head())
        found = checkpoints(database)
        assert {name for name, c in found.items() if c.error} == {"calls", "cdrs"}
        assert found["calls"].error.startswith("DecodeError: call.ended.v1 in call/x")
        assert found["domains"].position == 3

    def test_unknown_types_stop_nobody(self, log: MemoryLog, database: Database) -> None:
        log.append("call/x", 0, [UnknownEvent(type="call.praised.v1", data=b"{}")], Meta())
        log.append("domain/x", 0, [UnknownEvent(type="domain.praised.v1", data=b"{}")], Meta())
        Projector(log, database, all_projections(log)).catch_up(log.head())
        assert reached(database, 2, PROJECTION_NAMES)

    def test_who_waits_is_told(self, log: MemoryLog, database: Database) -> None:
        create(log, "a", "bad")
        Projector(log, database, [Picky()]).catch_up(log.head())
        with pytest.raises(ProjectionStopped, match="picky stopped at position 2: KeyError"):
            wait_for(database, 2, timeout_s=PATIENCE_S)
        wait_for(database, 1, timeout_s=PATIENCE_S)

    def test_who_waits_too_long_is_told(self, log: MemoryLog, database: Database) -> None:
        with pytest.raises(LagTimeout, match="did not reach position 7"):
            wait_for(database, 7, timeout_s=0)

    def test_a_new_start_tries_again(self, log: MemoryLog, database: Database) -> None:
        """The program was mended meanwhile."""
        create(log, "a", "bad", "c")
        Projector(log, database, [Picky()]).catch_up(log.head())
        mended = Picky(hated="")
        Projector(log, database, [mended]).catch_up(log.head())
        assert mended.applied == ["domain/bad", "domain/c"]
        last = log.at(3)
        assert last is not None
        assert checkpoints(database)["picky"] == Checkpoint("picky", 3, 0, "", 0, last.time_ns)

    def test_an_operator_skips_the_event_of_a_running_projector(
        self, log: MemoryLog, database: Database
    ) -> None:
        create(log, "a", "bad", "c")
        picky = Picky()
        projector = Projector(log, database, [picky])
        stop = threading.Event()
        thread = threading.Thread(target=projector.run, args=(stop,))
        thread.start()
        try:
            stopped = _until(database, lambda found: found["picky"].error)
            assert stopped["picky"].error_position == 2
            assert skip_event(log, database, "picky") == 2
            create(log, "d")
            wait_for(database, log.head(), timeout_s=PATIENCE_S)
        finally:
            stop.set()
            thread.join()
        assert picky.applied[-3:] == ["domain/c", "server/read-model", "domain/d"]
        assert skip_event(log, database, "picky") is None
        assert skip_event(log, database, "unheard") is None

    def test_what_was_skipped_stays_skipped(self, log: MemoryLog, database: Database) -> None:
        """By rebuilds, by a new projector, and when the stream of a call is read again."""
        broken = UnknownEvent(type="leg.digit.v1", data=b"{}")
        digit = LegDigit(leg_id="a")
        log.append("call/x", 0, [digit, broken, digit], Meta())
        for name in ("calls", "cdrs"):
            make_projector(log, database).catch_up(log.head())
            assert skip_event(log, database, name) == 2
        make_projector(log, database).catch_up(log.head())
        log.append("call/x", 3, [digit], Meta())
        make_projector(log, database).catch_up(log.head())
        assert reached(database, log.head(), PROJECTION_NAMES)
        assert replay(log, database, PROJECTION_NAMES).different == 0

    def test_the_log_remembers_what_was_skipped(
        self,
        log: MemoryLog,
        database: Database,
        new_place: Callable[[], tuple[Path, str]],
    ) -> None:
        """The tables may be deleted; what a person decided about them stays."""
        broken = UnknownEvent(type="domain.created.v1", data=b"{}")
        log.append("domain/x", 0, [broken], Meta())
        for name in ("domains", "accounts"):
            with pytest.raises(ProjectionStopped):
                catch_up(log, database)
            assert skip_event(log, database, name, actor="cli:al") == 1
        catch_up(log, database)
        made_anew = open_read_model(*new_place())
        catch_up(log, made_anew)
        assert reached(made_anew, log.head(), PROJECTION_NAMES)
        assert replay(log, made_anew, PROJECTION_NAMES).different == 0
        made_anew.close()
        first, second = log.read_stream("server/read-model")
        assert first.event == ProjectionSkipped(
            projection="domains",
            position=1,
            reason="DecodeError: domain.created.v1 in domain/x: Object missing required field"
            " `name`",
        )
        assert (first.actor, second.type) == ("cli:al", "projection.skipped.v1")


class TestOtherHistories:
    """A log restored from a backup, or one that lost its last second in a power cut."""

    @pytest.mark.parametrize("count", [2, 3, 9])
    def test_rows_of_another_log_are_dropped_and_projected_anew(
        self, log: MemoryLog, database: Database, caplog: pytest.LogCaptureFixture, count: int
    ) -> None:
        create(log, "a", "b", "lost")
        write_history(log, history(1, 2))
        make_projector(log, database).catch_up(log.head())
        other = MemoryLog(node="n1")
        for name in ["a", "b", *(f"new{n}" for n in range(count - 2))]:
            other.append(f"domain/{name}", 0, [DomainCreated(name=name)], Meta())
        catch_up(other, database)
        assert names_in(database) == sorted(r.stream.removeprefix("domain/") for r in other.read())
        assert rows_of(database, cdrs) == []
        assert "projection cdrs is at position" in caplog.text
        assert replay(other, database, PROJECTION_NAMES).different == 0

    def test_what_that_log_had_skipped_is_skipped(self, log: MemoryLog, database: Database) -> None:
        create(log, "a", "b", "c", "d")
        catch_up(log, database)
        other = MemoryLog(node="n1")
        other.append("domain/x", 0, [UnknownEvent(type="domain.created.v1", data=b"{}")], Meta())
        for name in ("domains", "accounts"):
            skipped = ProjectionSkipped(projection=name, position=1)
            other.append("server/read-model", ANY_VERSION, [skipped], Meta())
        catch_up(other, database)
        assert reached(database, 3, PROJECTION_NAMES)
        assert names_in(database) == []

    def test_a_checkpoint_of_an_older_version_is_taken_as_it_is(
        self, log: MemoryLog, database: Database
    ) -> None:
        create(log, "a", "b")
        make_projector(log, database).catch_up(log.head())
        with database.write() as connection:
            connection.execute(text("UPDATE projections SET time_ns = 0"))
        projector = make_projector(log, database)
        create(log, "c")
        projector.catch_up(log.head())
        assert projector.applied == 1

    def test_trouble_with_the_file_stops_nothing(
        self,
        log: MemoryLog,
        database: Database,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """A full disk is not the fault of an event: the projector tries again."""
        caplog.set_level(logging.WARNING)
        create(log, "a")
        projector = Projector(log, database, [DomainProjection()])
        failed = threading.Event()

        def full(self: DomainProjection, connection: Connection) -> None:
            failed.set()
            raise OperationalError("INSERT", {}, Exception("database or disk is full"))

        stop = threading.Event()
        monkeypatch.setattr("pbx.readmodel.runner.WAIT_S", 0.01)
        with monkeypatch.context() as patch:
            patch.setattr(DomainProjection, "flush", full)
            thread = threading.Thread(target=projector.run, args=(stop,))
            thread.start()
            assert failed.wait(PATIENCE_S)
            failed.clear()
            assert failed.wait(PATIENCE_S), "it tries again"
        try:
            wait_for(database, 1, timeout_s=PATIENCE_S)
        finally:
            stop.set()
            thread.join()
        assert names_in(database) == ["a"]
        assert caplog.text.count("read model cannot be written") == 1
        assert caplog.text.count("read model works again") == 1


def _until(database: Database, condition: Any) -> dict[str, Checkpoint]:
    pause = threading.Event()
    for _ in range(3000):
        found = checkpoints(database)
        if condition(found):
            return found
        pause.wait(0.01)
    raise AssertionError("the condition did not come true")


class TestCatchUp:
    def test_without_a_server_the_caller_projects(self, log: MemoryLog, database: Database) -> None:
        create(log, "a")
        catch_up(log, database)
        assert names_in(database) == ["a"]
        assert database.lease.acquire(), "the lease was given back"

    def test_beside_a_server_the_caller_waits_for_it(
        self, log: MemoryLog, database: Database, reopen: Open
    ) -> None:
        server = reopen()
        assert server.lease.acquire()
        stop = threading.Event()
        thread = threading.Thread(target=make_projector(log, server).run, args=(stop,))
        thread.start()
        try:
            create(log, "a", "b")
            catch_up(log, database, PATIENCE_S)
            assert names_in(database) == ["a", "b"]
        finally:
            stop.set()
            thread.join()

    def test_a_server_that_does_not_project_is_named(
        self, log: MemoryLog, database: Database, reopen: Open
    ) -> None:
        server = reopen()
        assert server.lease.acquire()
        create(log, "a")
        with pytest.raises(LagTimeout, match="is the server's project role alive"):
            catch_up(log, database, timeout_s=0)

    def test_a_stopped_projection_is_tried_once_more_and_reported(
        self, log: MemoryLog, database: Database, reopen: Open
    ) -> None:
        log.append("domain/x", 0, [UnknownEvent(type="domain.created.v1", data=b"{}")], Meta())
        for _ in range(2):
            with pytest.raises(ProjectionStopped, match="accounts stopped at position 1"):
                catch_up(log, database)
            assert database.lease.acquire()
            database.lease.release()
        server = reopen()
        assert server.lease.acquire()
        with pytest.raises(ProjectionStopped):
            catch_up(log, database)


def rows_of(database: Database, table: Table) -> list[Mapping[str, Any]]:
    with database.read() as connection:
        found = connection.execute(select(table).order_by(*table.primary_key.columns))
        return [dict(row) for row in found.mappings()]


class TestReplay:
    @pytest.fixture
    def live(self, log: MemoryLog, database: Database) -> Database:
        create(log, "a", "b")
        write_history(log, history(1, 20))
        catch_up(log, database)
        return database

    def test_an_honest_read_model_is_found_equal_and_left_alone(
        self, log: MemoryLog, live: Database
    ) -> None:
        before = checkpoints(live)
        outcome = replay(log, live, PROJECTION_NAMES)
        assert (outcome.different, outcome.differences) == (0, [])
        assert outcome.events == log.head()
        assert outcome.rows > 40
        assert outcome.rate > 0
        assert checkpoints(live) == before

    def test_differences_are_named_and_put_right(self, log: MemoryLog, live: Database) -> None:
        right = rows_of(live, cdrs)
        keys = [row["call_id"] for row in right]
        with live.write() as connection:
            connection.execute(update(cdrs).where(cdrs.c.call_id == keys[0]).values(status=999))
            connection.execute(text("DELETE FROM cdrs WHERE call_id = :id"), {"id": keys[1]})
            connection.execute(cdrs.insert(), [{**right[2], "call_id": "zz"}])
        outcome = replay(log, live, ["cdrs"])
        assert outcome.different == 3
        changed, missing, surplus = outcome.differences
        assert (changed.key, changed.table) == ((keys[0],), "cdrs")
        assert changed.before is not None
        assert changed.before["status"] == 999
        assert changed.after == right[0]
        assert (missing.key, missing.before) == ((keys[1],), None)
        assert (surplus.key, surplus.after) == (("zz",), None)
        assert rows_of(live, cdrs) == right
        assert checkpoints(live)["cdrs"].generation == 1

    def test_tables_are_put_right_in_parts_while_the_projector_goes_on(
        self, log: MemoryLog, live: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The lock is kept for a part only: what is projected between two of them is kept."""
        steps = history(2, 10)
        projector = make_projector(log, live)
        with live.write() as connection:
            connection.execute(text("UPDATE legs SET codec = 'wrong', talk_ms = 1"))
            connection.execute(text("DELETE FROM calls WHERE call_id > '01b8d9e4'"))
        level = Rebuild._level
        written: list[int] = []

        def levelled(*arguments: Any, **options: Any) -> None:
            """Between any two parts something happens, and the projector has it first."""
            if len(written) < len(steps):
                write_history(log, [steps[len(written)]])
                written.append(log.head())
            level(*arguments, **options)

        monkeypatch.setattr(replay_module, "PART", 3)
        monkeypatch.setattr(Rebuild, "_level", levelled)
        outcome = replay(log, live, ["calls"])
        monkeypatch.undo()
        assert outcome.different > 40
        if live.atomic:
            assert checkpoints(live)["calls"].generation == 1, "readers see the old or the new"
        else:
            assert len(written) > 20
            assert checkpoints(live)["calls"].generation > 20
        projector.catch_up(log.head())
        assert replay(log, live, PROJECTION_NAMES).different == 0

    def test_a_running_projector_goes_on_with_the_rebuilt_rows(
        self, log: MemoryLog, live: Database
    ) -> None:
        """It must not trust what it remembers of calls under way, nor its checkpoint."""
        projector = make_projector(log, live)
        steps = history(2, 10)
        write_history(log, steps[:40])
        projector.catch_up(log.head())
        with live.write() as connection:
            connection.execute(text("UPDATE calls SET state = 'wrong'"))
        assert replay(log, live, ["calls"]).different > 0
        write_history(log, steps[40:])
        projector.catch_up(log.head())
        assert reached(live, log.head(), PROJECTION_NAMES)
        assert replay(log, live, PROJECTION_NAMES).different == 0

    def test_a_rebuild_that_stops_replaces_nothing(self, log: MemoryLog, live: Database) -> None:
        log.append("domain/x", 0, [UnknownEvent(type="domain.created.v1", data=b"{}")], Meta())
        with live.write() as connection:
            connection.execute(text("UPDATE projections SET position = :p"), {"p": log.head()})
        with pytest.raises(ProjectionStopped):
            replay(log, live, ["domains"])
        assert names_in(live) == ["a", "b"]

    def test_a_projection_of_its_own_kind_can_be_replayed(
        self, log: MemoryLog, database: Database
    ) -> None:
        """A changed projection corrects the past."""
        create(log, "old")
        catch_up(log, database)

        class Shouting(DomainProjection):
            def apply(self, record: Record, event: Event) -> None:
                if isinstance(event, DomainCreated):
                    event = DomainCreated(name=event.name.upper())
                super().apply(record, event)

        outcome = replay(log, database, ["domains"], make=lambda _: [Shouting()])
        assert outcome.different == 2
        assert names_in(database) == ["OLD"]


def test_the_status_is_a_table_for_operators(log: MemoryLog, database: Database) -> None:
    create(log, "a", "bad")
    log.append("domain/a", ANY_VERSION, [DomainDeleted(name="a")], Meta())
    Projector(log, database, [Picky(), DomainProjection()]).catch_up(log.head())
    with database.read() as connection:
        domains_row, picky_row = projection_status(connection)
    assert (domains_row["position"], domains_row["error"]) == (3, "")
    assert (picky_row["position"], picky_row["error_position"]) == (1, 2)
    assert picky_row["updated_ns"] > 0


def test_call_records_do_not_depend_on_how_history_is_cut(
    log: MemoryLog, database: Database, new_place: Callable[[], tuple[Path, str]]
) -> None:
    """One batch for all, or a restart after every event: same rows."""
    write_history(log, history(5, 8))
    for position in range(1, log.head() + 1):
        Projector(log, database, all_projections(log)).catch_up(position)
    whole = open_read_model(*new_place())
    catch_up(log, whole)
    assert rows_of(database, cdr_legs) == rows_of(whole, cdr_legs)
    assert CALLS in {record.category for record in log.read()}
    whole.close()
