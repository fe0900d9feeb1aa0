"""Opening the read model: its engine, its migrations, what both databases promise.

Used by the project role, by listing commands and by the web. A fresh database is made by the same
migrations as an old one is brought up by, so there is one way for tables to come into being.
:class:`SqliteDatabase` is the file of a server alone; :mod:`pbx.readmodel.postgres` has the
database that the nodes of a cluster share.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Final, Protocol, cast

from sqlalchemy import Connection, Engine, Inspector, Select, create_engine, event, inspect, select
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.sql import column, table

from pbx.eventlog.keystore import create_private
from pbx.kernel.errors import ReadModelAway, ReadModelError
from pbx.readmodel.lease import Lease
from pbx.readmodel.tables import HEAD_REVISION

READ_MODEL_FILE: Final = "readmodel.sqlite3"
LEASE_FILE: Final = "readmodel.lock"
COPY_PREFIX: Final = "replay-"
"""Of the folders of second copies."""
PROJECTORS: Final = "projectors"
"""The kind of work that a read model is there for."""
BUSY_S: Final = 5.0
"""Longest wait for another process's transaction; batches of the projector take milliseconds."""
MIGRATE_S: Final = 30.0
"""Longest wait for another process that migrates."""

_REVISION: Final[Select[Any]] = select(column("version_num")).select_from(table("alembic_version"))


class Holder(Protocol):
    """A lease: whoever holds it projects a partition of the log (or, without partitions, all)."""

    def acquire(self) -> bool:
        """Take it if nobody has it; True if we hold it now."""
        ...

    def release(self) -> None:
        """Give it back; harmless without it."""
        ...

    def held(self, timeout_s: float) -> AbstractContextManager[None]:
        """Hold it for the block; waits for it. Raises ``ReadModelError``."""
        ...


class Database(ABC):
    """The tables at the current revision, in either database."""

    shared: bool
    """Whether other nodes use it, too."""
    atomic: bool
    """Whether readers go on while a long transaction writes: a rebuild is then installed in one."""
    hint: str
    """What to do about tables of a newer version."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.folder = folder
        """The data directory: what a projection writes besides its tables lies there."""
        self._engine = engine
        self._reading = engine
        self._writing = engine

    @property
    @abstractmethod
    def place(self) -> str:
        """Where it is, for people; without password."""

    @abstractmethod
    def lease_of(self, partition: str) -> Holder:
        """The lease of one partition of the log, or by its name of other work that nodes share
        out; one instance for each name."""

    @abstractmethod
    def second_copy(self) -> AbstractContextManager[Database]:
        """Empty tables beside these that nobody else uses, gone at the end of the block."""

    @property
    def lease(self) -> Holder:
        """The lease of a log that has no partitions."""
        return self.lease_of("")

    def is_current(self) -> bool:
        """Whether the tables are still those of this version: another node may have migrated them.
        Raises :class:`ReadModelAway`."""
        with self._available():
            return self._revision() == HEAD_REVISION

    def members(self, kind: str = PROJECTORS) -> tuple[int, int]:
        """How many nodes do work of a kind with this database (project into it, if nothing else
        is said), and the place of this one among them. Who asks is one of them from then on."""
        return 1, 0

    def leases_alive(self, partitions: Iterable[str]) -> bool:
        """Whether the leases of `partitions`, once acquired, are still held; never raises."""
        return True

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One snapshot of all tables. Raises :class:`ReadModelAway`."""
        with self._available(), self._reading.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A write transaction, committed at the end of the block. Raises :class:`ReadModelAway`."""
        with self._available(), self._writing.begin() as connection:
            yield connection

    def careful(self) -> bool:
        """A batch could not be written: look through the values from now on. True if that is news
        and may help."""
        return False

    def close(self) -> None:
        """Release files and connections."""
        self._engine.dispose()

    @contextmanager
    def _available(self) -> Iterator[None]:
        try:
            yield
        except (OperationalError, InterfaceError) as error:
            raise ReadModelAway(
                f"the read model ({self.place}) cannot be used now: {reason_of(error)}"
            ) from error
        except PoolTimeout as error:
            raise ReadModelAway(
                f"the read model ({self.place}) cannot be used now: all connections are busy"
            ) from error

    def _open(self, migrating: AbstractContextManager[None]) -> None:
        """Migrate within `migrating` if need be; everything is released if that fails."""
        try:
            with self._available():
                if self._revision() != HEAD_REVISION:
                    with migrating:
                        migrate(self._writing, hint=self.hint)
        except BaseException:
            self.close()
            raise

    def _revision(self) -> str:
        with self._engine.connect() as connection:
            found: Inspector = inspect(connection)
            if not found.has_table("alembic_version"):
                return ""
            return str(connection.execute(_REVISION).scalar_one_or_none() or "")


class SqliteDatabase(Database):
    """The file of a server that shares its tables with nobody."""

    shared = False
    atomic = False
    hint = "delete it to rebuild it"

    def __init__(self, path: Path, *, fresh: bool = False) -> None:
        """`fresh`: a scratch file; it need not survive a power cut, nor may anybody else open it
        meanwhile."""
        self.path = path
        self._lease = Lease(path.with_name(LEASE_FILE))
        create_private(path)
        super().__init__(_engine(path, "OFF" if fresh else "NORMAL"), path.parent)
        self._writing = self._engine.execution_options(begin="BEGIN IMMEDIATE")
        try:
            self._open(self._lease.held(MIGRATE_S))
        except DBAPIError as error:
            raise self._broken(error) from error
        except ReadModelAway as error:
            raise self._broken(cast(DBAPIError, error.__cause__)) from error

    @property
    def place(self) -> str:
        return str(self.path)

    def lease_of(self, partition: str) -> Lease:
        """The file's lease, whatever the partition: one process projects them all."""
        return self._lease

    @contextmanager
    def second_copy(self) -> Iterator[Database]:
        self._drop_abandoned()
        with tempfile.TemporaryDirectory(prefix=COPY_PREFIX, dir=self.folder) as folder:
            copy = SqliteDatabase(Path(folder) / self.path.name, fresh=True)
            copy.lease.acquire()  # says that somebody lives who uses it
            try:
                yield copy
            finally:
                copy.close()

    def close(self) -> None:
        self._lease.release()
        super().close()

    def _drop_abandoned(self) -> None:
        """Second copies whose makers were killed."""
        for lock in self.folder.glob(f"{COPY_PREFIX}*/{LEASE_FILE}"):
            lease = Lease(lock)
            if lease.acquire():
                shutil.rmtree(lock.parent, ignore_errors=True)
                lease.release()

    def _broken(self, error: DBAPIError) -> ReadModelError:
        return ReadModelError(
            f"read model {self.path}: {error.orig}; it can be deleted, the log rebuilds it"
        )


def reason_of(error: DBAPIError) -> str:
    """The database's words in one line: without the statement, whose values are people's calls."""
    return " ".join(str(error.orig).split())


def migrate(
    engine: Engine, revision: str = "head", *, down: bool = False, hint: str = SqliteDatabase.hint
) -> None:
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
                f"read model: {error}; it was made by a newer version, {hint}"
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
