"""Opening and migrating the read model; the lease."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, select

import migrations
from pbx.domain.accounts import DomainCreated
from pbx.domain.bindings import BindingAdded
from pbx.eventlog import MemoryLog, Meta
from pbx.kernel.errors import ReadModelError
from pbx.readmodel import PROJECTION_NAMES, load_checkpoints, make_projector, open_read_model
from pbx.readmodel.database import SqliteDatabase, migrate
from pbx.readmodel.lease import Lease
from pbx.readmodel.replay import replay
from pbx.readmodel.tables import HEAD_REVISION, bindings, metadata


def test_the_code_is_at_the_head_of_the_migrations() -> None:
    """Alembic's cookbook: one head, and the constant that spares Alembic's import names it."""
    scripts = ScriptDirectory(str(Path(migrations.__file__).parent))
    assert scripts.get_heads() == [HEAD_REVISION]


def test_migrated_tables_are_those_of_the_code(tmp_path: Path) -> None:
    database = open_read_model(tmp_path)
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    database.close()


def test_every_migration_can_be_taken_back(tmp_path: Path) -> None:
    database = open_read_model(tmp_path)
    migrate(database._writing, "base", down=True)
    with database.read() as connection:
        assert inspect(connection).get_table_names() == ["alembic_version"]
    migrate(database._writing)
    with database.read() as connection:
        assert set(inspect(connection).get_table_names()) > set(metadata.tables)
    database.close()


def test_bindings_of_the_first_tables_are_projected_anew(tmp_path: Path) -> None:
    """They lack their versions; the other projections go on where they are."""
    log = MemoryLog(node="n1")
    added = BindingAdded(contact_id="c", contact="sip:c@x", expires_ns=1, sip_call_id="r", cseq=1)
    log.append("binding/al@x", 0, [added], Meta())
    log.append("domain/x", 0, [DomainCreated(name="x")], Meta())
    database = open_read_model(tmp_path)
    make_projector(log, database).catch_up(log.head())
    migrate(database._writing, "0001", down=True)
    database.close()
    database = open_read_model(tmp_path)
    with database.read() as connection:
        assert {c.name: c.position for c in load_checkpoints(connection)} == {
            "accounts": 2,
            "calls": 2,
            "cdrs": 2,
            "domains": 2,
        }
    make_projector(log, database).catch_up(log.head())
    assert replay(log, database, PROJECTION_NAMES).different == 0
    with database.read() as connection:
        assert connection.execute(select(bindings.c.account, bindings.c.version)).all() == [
            ("al@x", 1)
        ]
    database.close()


def test_an_open_at_head_needs_neither_alembic_nor_the_lease(tmp_path: Path) -> None:
    """Listing commands open the read model beside a server that holds the lease."""
    server = open_read_model(tmp_path)
    assert server.lease.acquire()
    command = open_read_model(tmp_path)
    assert not command.lease.acquire()
    server.close()
    assert command.lease.acquire()
    command.close()


def test_a_read_model_of_a_newer_version_says_that_it_can_be_deleted(tmp_path: Path) -> None:
    open_read_model(tmp_path).close()
    with sqlite3.connect(tmp_path / "readmodel.sqlite3") as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    with pytest.raises(ReadModelError, match="delete it to rebuild it"):
        open_read_model(tmp_path)


def test_a_file_that_is_no_database_says_that_it_can_be_deleted(tmp_path: Path) -> None:
    (tmp_path / "readmodel.sqlite3").write_bytes(b"no database" * 1000)
    with pytest.raises(ReadModelError, match="it can be deleted, the log rebuilds it"):
        open_read_model(tmp_path)


def test_the_file_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "readmodel.sqlite3")
    assert database.path.stat().st_mode & 0o777 == 0o600
    database.close()


def test_a_second_copy_of_a_command_that_was_killed_is_removed_by_the_next(
    tmp_path: Path,
) -> None:
    database = open_read_model(tmp_path)
    with database.second_copy() as first:
        dead = tmp_path / "replay-dead"
        shutil.copytree(first.folder, dead)
        with database.second_copy():
            assert not dead.exists()
            assert first.folder.exists(), "one in use is left alone"
    assert list(tmp_path.glob("replay-*")) == []
    database.close()


class TestLease:
    def test_it_is_held_by_one_and_given_back(self, tmp_path: Path) -> None:
        first, second = Lease(tmp_path / "lock"), Lease(tmp_path / "lock")
        assert first.acquire()
        assert first.acquire(), "who has it has it"
        assert not second.acquire()
        first.release()
        first.release()
        assert second.acquire()
        second.release()

    def test_waiting_for_it_is_bounded(self, tmp_path: Path) -> None:
        first, second = Lease(tmp_path / "lock"), Lease(tmp_path / "lock")
        with (
            first.held(0),
            pytest.raises(ReadModelError, match="another process keeps"),
            second.held(0),
        ):
            raise AssertionError
        with second.held(0):
            assert not first.acquire()
        assert first.acquire()
        with first.held(0):
            pass
        assert not second.acquire(), "a nested use does not give it away"
        first.release()
