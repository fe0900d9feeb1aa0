"""What is PostgreSQL's own in the read model: sessions, bulk rows, second copies, its absence."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, select, text
from sqlalchemy.engine import make_url

from pbx.domain import calls as c
from pbx.domain.accounts import DomainCreated
from pbx.eventlog import MemoryLog, Meta
from pbx.kernel.errors import ReadModelAway, ReadModelError
from pbx.readmodel import (
    PROJECTION_NAMES,
    Projector,
    catch_up,
    load_checkpoints,
    make_projector,
    open_read_model,
    projection_status,
    queries,
    wait_for,
)
from pbx.readmodel.database import migrate
from pbx.readmodel.postgres import COPY_PREFIX, PostgresDatabase
from pbx.readmodel.projections.accounts import DomainProjection
from pbx.readmodel.replay import rebuilt, replay
from pbx.readmodel.tables import HEAD_REVISION, calls, cdrs, domains, legs, metadata
from tests.contract.test_projections import ANSWERED, CALL, ENDED, over, started
from tests.support.call_histories import history, write_history
from tests.support.postgres import PostgresServer

pytestmark = pytest.mark.needs("initdb", "psycopg")

PATIENCE_S = 30.0


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return postgres.new_database()


@pytest.fixture
def database(url: str, tmp_path: Path) -> Iterator[PostgresDatabase]:
    opened = PostgresDatabase(url, tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog(node="n1")


def schemas(database: PostgresDatabase) -> list[str]:
    with database.read() as connection:
        found = connection.execute(text("SELECT nspname FROM pg_namespace")).scalars()
        return [name for name in found if name.startswith(COPY_PREFIX)]


class TestTables:
    def test_migrated_tables_are_those_of_the_code(self, database: PostgresDatabase) -> None:
        with database.read() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            assert compare_metadata(context, metadata) == []

    def test_every_migration_can_be_taken_back(self, database: PostgresDatabase) -> None:
        migrate(database._writing, "base", down=True)
        with database.read() as connection:
            assert inspect(connection).get_table_names() == ["alembic_version"]
        migrate(database._writing)
        with database.read() as connection:
            assert set(inspect(connection).get_table_names()) > set(metadata.tables)

    def test_nodes_that_start_together_migrate_once(self, url: str, tmp_path: Path) -> None:
        opened: list[PostgresDatabase] = []

        def start() -> None:
            opened.append(PostgresDatabase(url, tmp_path))

        threads = [threading.Thread(target=start) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [database._revision() for database in opened] == [HEAD_REVISION] * 4
        for database in opened:
            database.close()

    def test_tables_of_a_newer_version_say_what_to_do(
        self, database: PostgresDatabase, url: str, tmp_path: Path
    ) -> None:
        with database.write() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        with pytest.raises(ReadModelError, match="made by a newer version, update this node"):
            open_read_model(tmp_path, url)

    def test_order_is_that_of_code_points(
        self, database: PostgresDatabase, log: MemoryLog, postgres: PostgresServer
    ) -> None:
        """The test's server sorts as people do; merging rows and ranges of ids must not."""
        names = ["B", "a", "Ä", "z", "ä", "_"]
        for name in names:
            log.append(f"domain/{name}", 0, [DomainCreated(name=name)], Meta())
        catch_up(log, database)
        with database.read() as connection:
            found = connection.execute(select(domains.c.name).order_by(domains.c.name)).scalars()
            assert list(found) == sorted(names)
            people = connection.execute(
                text("SELECT x FROM unnest(ARRAY['B', 'a']) AS x ORDER BY x")
            ).scalars()
            assert list(people) == ["a", "B"]

    def test_a_call_of_weeks_fits(self, database: PostgresDatabase, log: MemoryLog) -> None:
        weeks_ms = 60 * 86_400_000
        log.append(f"call/{CALL}", 0, [started(), over(weeks_ms, talk_ms=weeks_ms)], Meta())
        catch_up(log, database)
        with database.read() as connection:
            assert connection.execute(select(cdrs.c.talk_ms)).scalar_one() == weeks_ms

    def test_what_the_user_may_not_do_is_said(
        self, postgres: PostgresServer, url: str, tmp_path: Path
    ) -> None:
        with postgres.connect() as connection:
            connection.execute("DROP ROLE IF EXISTS weak")
            connection.execute("CREATE ROLE weak LOGIN")
        weak = url.replace("ringlog@", "weak@")
        with pytest.raises(ReadModelError, match="cannot be made: permission denied for schema"):
            open_read_model(tmp_path, weak)


class TestRows:
    def test_many_rows_go_by_copy_and_are_the_same(
        self, database: PostgresDatabase, log: MemoryLog, tmp_path: Path
    ) -> None:
        write_history(log, history(3, 150))
        catch_up(log, database)
        other = tmp_path / "other"
        other.mkdir()
        sqlite = open_read_model(other)
        for position in range(0, log.head() + 40, 40):  # few rows at a time
            Projector(log, sqlite, make_projector(log, sqlite)._projections.values()).catch_up(  # type: ignore[arg-type]
                position
            )
        for table in (calls, legs, cdrs):
            query = select(table).order_by(*table.primary_key.columns)
            with database.read() as left, sqlite.read() as right:
                assert left.execute(query).all() == right.execute(query).all()
        sqlite.close()

    @pytest.mark.parametrize("others", [0, 80])
    def test_a_nul_character_stops_nothing(
        self, database: PostgresDatabase, log: MemoryLog, others: int
    ) -> None:
        """PostgreSQL cannot store it: it is replaced, in few rows and in many."""
        write_history(log, history(4, others))
        before = log.head()
        log.append(f"call/{CALL}", 0, [started(from_display="a\0b"), *ANSWERED[1:]], Meta())
        log.append(f"call/{CALL}", len(ANSWERED), [*ENDED, over(64_002)], Meta())
        catch_up(log, database)
        with database.read() as connection:
            rows = queries.call_records(connection)
            query = select(calls.c.from_display).where(calls.c.call_id == CALL)
            assert connection.execute(query).scalar_one() == "a\ufffdb"
            assert {c.position for c in load_checkpoints(connection)} == {log.head()}
        assert CALL in {row["call_id"] for row in rows}
        assert before < log.head()
        assert replay(log, database, PROJECTION_NAMES).different == 0


class TestLeases:
    def test_a_partition_has_one_holder(
        self, database: PostgresDatabase, url: str, tmp_path: Path
    ) -> None:
        other = PostgresDatabase(url, tmp_path)
        assert database.lease_of("p").acquire()
        assert database.lease_of("p").acquire(), "who has it has it"
        assert not other.lease_of("p").acquire()
        assert other.lease_of("q").acquire()
        database.lease_of("p").release()
        database.lease_of("p").release()
        assert other.lease_of("p").acquire()
        other.close()

    def test_waiting_for_one_is_bounded(
        self, database: PostgresDatabase, url: str, tmp_path: Path
    ) -> None:
        other = PostgresDatabase(url, tmp_path)
        with (
            database.lease_of("p").held(0),
            pytest.raises(ReadModelError, match="another node keeps the partition p"),
            other.lease_of("p").held(0),
        ):
            raise AssertionError
        with database.lease_of("p").held(0), database.lease_of("p").held(0):
            pass
        assert other.lease_of("p").acquire()
        other.close()

    def test_a_holder_that_dies_loses_them(
        self, database: PostgresDatabase, url: str, tmp_path: Path, postgres: PostgresServer
    ) -> None:
        other = PostgresDatabase(url, tmp_path)
        assert database.lease_of("p").acquire()
        assert database.leases_alive(["p"])
        end_sessions(postgres, url)
        assert not database.leases_alive(["p"])
        assert not database.leases_alive(["p"]), "also when asked again"
        assert other.lease_of("p").acquire()
        assert not database.lease_of("p").acquire()
        other.close()

    def test_nodes_count_each_other(
        self, database: PostgresDatabase, url: str, tmp_path: Path
    ) -> None:
        assert database.members() == (1, 0)
        other = PostgresDatabase(url, tmp_path)
        assert {database.members(), other.members()} >= {other.members()}
        assert database.members()[0] == 2
        assert {database.members()[1], other.members()[1]} == {0, 1}
        other.close()
        assert database.members() == (1, 0)

    def test_another_schema_is_another_read_model(
        self, database: PostgresDatabase, url: str, tmp_path: Path
    ) -> None:
        with database.write() as connection:
            connection.execute(text("CREATE SCHEMA second"))
        other = PostgresDatabase(f"{url}&options=-csearch_path%3Dsecond", tmp_path)
        assert database.lease.acquire()
        assert other.lease.acquire()
        other.close()


def end_sessions(postgres: PostgresServer, url: str) -> None:
    """Have the server end all sessions of a database, as a crash would."""
    with postgres.connect() as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
            [make_url(url).database],
        )


class TestSecondCopies:
    def test_nothing_stays_of_them(self, database: PostgresDatabase, log: MemoryLog) -> None:
        write_history(log, history(1, 5))
        catch_up(log, database)
        with rebuilt(log, database, ["cdrs"]):
            assert len(schemas(database)) == 1
        assert schemas(database) == []

    def test_those_of_a_command_that_died_are_dropped_by_the_next(
        self, database: PostgresDatabase, log: MemoryLog
    ) -> None:
        with database.write() as connection:
            connection.execute(text(f"CREATE SCHEMA {COPY_PREFIX}dead"))
        with rebuilt(log, database, ["cdrs"]):
            mine = schemas(database)
            with rebuilt(log, database, ["cdrs"]):
                assert set(schemas(database)) > set(mine), "one in use is left alone"
        assert schemas(database) == []

    def test_readers_see_the_old_rows_until_all_are_new(
        self, database: PostgresDatabase, log: MemoryLog
    ) -> None:
        write_history(log, history(1, 30))
        catch_up(log, database)
        with database.write() as connection:
            connection.execute(text("UPDATE cdrs SET cause = 'wrong'"))
        query = select(cdrs.c.cause == "wrong").distinct()
        seen: list[list[bool]] = []

        def look() -> None:
            with database.read() as connection:
                seen.append(list(connection.execute(query).scalars()))

        with rebuilt(log, database, ["cdrs"]) as rebuild:
            assert len(list(rebuild.compare("cdrs"))) > 20
            rebuild.put_right("cdrs", look)
        look()
        assert seen == [[True], [False]]

    def test_an_abandoned_correction_changes_nothing(
        self, database: PostgresDatabase, log: MemoryLog
    ) -> None:
        write_history(log, history(1, 5))
        catch_up(log, database)
        with database.write() as connection:
            connection.execute(text("UPDATE cdrs SET cause = 'wrong'"))

        def refuse() -> None:
            raise ZeroDivisionError

        with rebuilt(log, database, ["cdrs"]) as rebuild:
            list(rebuild.compare("cdrs"))
            with pytest.raises(ZeroDivisionError):
                rebuild.put_right("cdrs", refuse)
        with database.read() as connection:
            causes = connection.execute(select(cdrs.c.cause).distinct()).scalars()
            assert list(causes) == ["wrong"]


class TestFencing:
    def test_of_two_projectors_that_believe_to_hold_a_lease_each_event_counts_once(
        self, database: PostgresDatabase, url: str, tmp_path: Path, log: MemoryLog
    ) -> None:
        """A node that was cut off and does not know it yet."""
        other = PostgresDatabase(url, tmp_path)
        counted: list[str] = []

        class Counting(DomainProjection):
            def committed(self) -> None:
                counted.extend(self.taken)
                self.taken.clear()

            taken: list[str]

            def apply(self, record, event):  # type: ignore[no-untyped-def]
                self.taken.append(record.stream)
                super().apply(record, event)

            def reset(self) -> None:
                super().reset()
                self.taken = []

        projectors = [Projector(log, place, [Counting()], batch=3) for place in (database, other)]
        for number in range(60):
            log.append(f"domain/{number}", 0, [DomainCreated(name=f"{number}")], Meta())
        threads = [
            threading.Thread(target=projector.catch_up, args=(log.head(),))
            for projector in projectors
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(counted) == sorted(f"domain/{number}" for number in range(60))
        other.close()


class TestAway:
    @pytest.fixture
    def server(self) -> Iterator[PostgresServer]:
        """One of its own, to be stopped."""
        with PostgresServer() as made:
            yield made

    def test_a_server_that_is_not_there_is_said_without_the_password(self, tmp_path: Path) -> None:
        url = "postgresql+psycopg://al:geheim@127.0.0.1:1/ringlog"
        with pytest.raises(ReadModelAway) as caught:
            open_read_model(tmp_path, url)
        assert str(caught.value).startswith("the read model (ringlog on 127.0.0.1:1) cannot be")
        assert "refused" in str(caught.value)
        assert "geheim" not in str(caught.value)

    @pytest.mark.parametrize("url", ["postgresql+psycopg://al:geheim@[::/x", "postgres://geheim"])
    def test_a_url_that_is_none_is_not_repeated(self, tmp_path: Path, url: str) -> None:
        with pytest.raises(ReadModelError, match="not the URL of a PostgreSQL database") as caught:
            open_read_model(tmp_path, url)
        assert "geheim" not in str(caught.value)

    def test_the_projector_waits_for_it_and_goes_on(
        self,
        server: PostgresServer,
        log: MemoryLog,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        monkeypatch.setattr("pbx.readmodel.runner.WAIT_S", 0.05)
        caplog.set_level(logging.WARNING)
        database = PostgresDatabase(server.new_database(), tmp_path)
        log.append("domain/a", 0, [DomainCreated(name="a")], Meta())
        stop = threading.Event()
        projector = make_projector(log, database)
        thread = threading.Thread(target=projector.run, args=(stop,))
        thread.start()
        try:
            wait_for(database, 1, PROJECTION_NAMES, PATIENCE_S)
            server.stop()
            log.append(f"call/{CALL}", 0, [started(), *_secrets()], Meta())
            pause = threading.Event()
            for _ in range(int(PATIENCE_S / 0.05)):
                if "cannot be written" in caplog.text:
                    break
                pause.wait(0.05)
            with pytest.raises(ReadModelAway, match="cannot be used now"), database.read():
                raise AssertionError
            server.start()
            wait_for(database, log.head(), PROJECTION_NAMES, PATIENCE_S)
        finally:
            stop.set()
            thread.join()
        assert caplog.text.count("read model cannot be written, trying again") == 1
        assert caplog.text.count("read model works again") == 1
        assert "alice" not in caplog.text, "what people did is not the operator's log's business"
        with database.read() as connection:
            assert len(queries.live_calls(connection)) == 1
            assert [row["error"] for row in projection_status(connection)] == [""] * len(
                PROJECTION_NAMES
            )
        database.close()


def _secrets() -> tuple[c.CallDecided, ...]:
    return (c.CallDecided(step="routing", outcome="account", reason="alice"),)


def test_sessions_answer_to_keep_alives(database: PostgresDatabase) -> None:
    """A machine that vanished loses its leases within some ten seconds."""
    with database.read() as connection:
        shown = [
            cast(str, connection.execute(text(f"SHOW {name}")).scalar_one())
            for name in ("synchronous_commit", "application_name")
        ]
    assert shown == ["off", "ringlog"]
