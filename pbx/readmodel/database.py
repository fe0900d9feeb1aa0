"""Opening the read model: the file, its pragmas, its migrations.

Used by the project role, by listing commands and by the web. A fresh file is made by the same
migrations as an old one is brought up by, so there is one way for tables to come into being.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import DatabaseError, OperationalError

from pbx.eventlog.sealing import create_private
from pbx.kernel.errors import ReadModelError
from pbx.readmodel.lease import Lease
from pbx.readmodel.tables import HEAD_REVISION

READ_MODEL_FILE: Final = "readmodel.sqlite3"
LEASE_FILE: Final = "readmodel.lock"
BUSY_S: Final = 5.0
"""Longest wait for another process's transaction; batches of the projector take milliseconds."""
MIGRATE_S: Final = 30.0
"""Longest wait for another process that migrates."""


class Database:
    """The read model's file, at the current revision of its tables."""

    def __init__(self, path: Path, *, fresh: bool = False) -> None:
        """`fresh`: a scratch file; it need not survive a power cut, nor may anybody else open it
        meanwhile."""
        self.path = path
        self.lease = Lease(path.with_name(LEASE_FILE))
        """Whoever holds it may project and migrate."""
        create_private(path)
        self._engine = _engine(path, "OFF" if fresh else "NORMAL")
        self._writing = self._engine.execution_options(begin="BEGIN IMMEDIATE")
        try:
            if self._revision() != HEAD_REVISION:
                with self.lease.held(MIGRATE_S):
                    migrate(self._writing)
        except DatabaseError as error:
            self._engine.dispose()
            raise ReadModelError(
                f"read model {path}: {error.orig}; it can be deleted, the log rebuilds it"
            ) from error
        except ReadModelError:
            self._engine.dispose()
            raise

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One snapshot of all tables."""
        with self._engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A write transaction, committed at the end of the block."""
        with self._writing.begin() as connection:
            yield connection

    def close(self) -> None:
        """Release the file."""
        self.lease.release()
        self._engine.dispose()

    def _revision(self) -> str:
        with self._engine.connect() as connection:
            try:
                found = connection.execute(text("SELECT version_num FROM alembic_version"))
            except OperationalError as error:
                if "no such table" in str(error.orig):
                    return ""
                raise
            return str(found.scalar_one_or_none() or "")


def migrate(engine: Engine, revision: str = "head", *, down: bool = False) -> None:
    """Bring the tables up (or `down`) to `revision`; nothing to do if they are there."""
    # Imported here: every listing command opens the read model, hardly any of them migrates.
    from alembic import command
    from alembic.config import Config
    from alembic.util.exc import CommandError

    import migrations

    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        try:
            (command.downgrade if down else command.upgrade)(config, revision)
        except CommandError as error:
            raise ReadModelError(
                f"read model: {error}; it was made by a newer version, delete it to rebuild it"
            ) from error


def _engine(path: Path, synchronous: str) -> Engine:
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": BUSY_S})

    # The driver's own idea of transactions is off (it would begin them late and commit DDL): we
    # say BEGIN ourselves, IMMEDIATE where we will write, so that no upgrade of a lock can fail.
    @event.listens_for(engine, "connect")
    def connected(connection: sqlite3.Connection, record: Any) -> None:
        connection.isolation_level = None
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            # A crash of the machine may cost the last transactions: the log has them.
            connection.execute(f"PRAGMA synchronous = {synchronous}")
        except sqlite3.Error:
            connection.close()
            raise

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        connection.exec_driver_sql(options.get("begin", "BEGIN"))

    return engine
