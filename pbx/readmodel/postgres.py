"""The read model in PostgreSQL: one database that all nodes of a cluster project into and read.

The tables lie in the first schema of the connection's search path, made by the same migrations as
the file's. What is PostgreSQL's own is here: sessions, leases that die with their holder, rows in
bulk, second copies as schemas of their own.

Leases are session advisory locks on one connection of their own: the server takes them back when
the process dies, or within some ten seconds when its machine does (keep-alives on both sides).
They only keep two nodes from doing the same work. That no event counts twice does not hang on
them: a projector locks and compares its checkpoint in the transaction that moves it.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from sqlalchemy import BigInteger, Boolean, Connection, Engine, Float, Table, create_engine, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, ProgrammingError

from pbx.kernel.errors import ReadModelAway, ReadModelError
from pbx.readmodel.database import MIGRATE_S, PROJECTORS, Database, reason_of
from pbx.readmodel.tables import metadata

if TYPE_CHECKING:
    import psycopg

_SESSION: Final = {
    # A host that does not answer must not hang a command, nor a dead one keep the leases.
    "connect_timeout": "5",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
    "application_name": "ringlog",
}
"""Parameters of a connection that the URL does not set."""
_SERVER: Final = {
    # A crash of the server may cost the last transactions: the log has them.
    "synchronous_commit": "off",
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "idle_in_transaction_session_timeout": "600000",  # ms; a stopped process must not pin rows
}
"""Settings of a session on the server's side."""
_CONNECTIONS: Final = 20
"""At once by one process: a projector for each partition it holds, besides its leases."""
_RETRY_S: Final = 0.1
_FEW: Final = 100
"""Rows up to which plain statements are cheaper than COPY (some 30 µs of the client each)."""
_CAREFUL: Final = "ringlog_careful"
COPY_PREFIX: Final = "ringlog_replay_"
"""Of the schemas of second copies."""


class PostgresDatabase(Database):
    """The tables in a PostgreSQL database."""

    shared = True
    atomic = True
    hint = "update this node"

    def __init__(self, url: str, folder: Path, *, schema: str = "") -> None:
        """`schema` is that of a second copy; its tables need no migrations."""
        self._url = url
        self._schema = schema
        try:
            engine = _engine(url, schema)
        except (ArgumentError, NoSuchModuleError, ValueError):
            # Their words may hold the URL, and the URL a password.
            raise ReadModelError("readmodel.url is not the URL of a PostgreSQL database") from None
        except ModuleNotFoundError as error:
            raise ReadModelError(
                f"a read model in PostgreSQL needs {error.name}: pip install 'ringlog[postgresql]'"
            ) from error
        super().__init__(engine, folder)
        # One snapshot for all that a reader asks, as in SQLite.
        self._reading = engine.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )
        self.session = _LeaseSession(engine, self.place)
        self._leases: dict[str, AdvisoryLease] = {}
        if not schema:
            with self._permitted():
                self._open(AdvisoryLease(self.session, "migrations").held(MIGRATE_S))
            self.session.end_if_idle()

    @property
    def place(self) -> str:
        url = make_url(self._url)
        host = url.host or str(url.query.get("host", "local socket"))
        port = f":{url.port}" if url.port else ""
        return f"{url.database or url.username or 'postgres'} on {host}{port}"

    def lease_of(self, partition: str) -> AdvisoryLease:
        lease = self._leases.get(partition)
        if lease is None:
            lease = self._leases[partition] = AdvisoryLease(self.session, f"partition {partition}")
        return lease

    @contextmanager
    def second_copy(self) -> Iterator[Database]:
        with self._available(), self._engine.begin() as connection:
            _drop_abandoned(connection)
        schema = f"{COPY_PREFIX}{secrets.token_hex(6)}"
        owner = _LeaseSession(self._engine, self.place)
        copy: PostgresDatabase | None = None
        try:
            if not owner.try_lock(_key(schema)):
                raise ReadModelError(f"schema {schema} is in use")
            with self._permitted(), self.write() as connection:
                connection.execute(text(f"CREATE SCHEMA {schema}"))
            copy = PostgresDatabase(self._url, self.folder, schema=schema)
            with copy.write() as connection:
                metadata.create_all(connection)
            yield copy
        finally:
            if copy is not None:
                copy.close()
            try:
                with self.write() as connection:
                    connection.execute(text(f"DROP SCHEMA IF EXISTS {schema} CASCADE"))
            except ReadModelAway:
                pass  # the next second copy drops it
            finally:
                owner.close()

    def members(self, kind: str = PROJECTORS) -> tuple[int, int]:
        return self.session.members(self.session.join(kind))

    def leases_alive(self, partitions: Iterable[str]) -> bool:
        return self.session.check() and all(self.lease_of(p).is_held for p in partitions)

    def careful(self) -> bool:
        if self._writing.get_execution_options().get(_CAREFUL):
            return False
        self._writing = self._engine.execution_options(**{_CAREFUL: True})
        return True

    def close(self) -> None:
        self.session.close()
        super().close()

    @contextmanager
    def _permitted(self) -> Iterator[None]:
        """What the user may not do is said in one line."""
        try:
            yield
        except ProgrammingError as error:
            raise ReadModelError(
                f"the read model ({self.place}) cannot be made: {reason_of(error)}"
            ) from error


class AdvisoryLease:
    """One advisory lock. Not to be shared by threads."""

    def __init__(self, session: _LeaseSession, name: str) -> None:
        self._session = session
        self._name = name
        self._key = 0

    def acquire(self) -> bool:
        """Take it if nobody has it; True if we hold it now. Raises ``ReadModelAway``."""
        if not self._key:
            self._key = _key(f"{self._session.schema()} {self._name}")
        return self._session.try_lock(self._key)

    @property
    def is_held(self) -> bool:
        """Whether we hold it, as far as we know."""
        return self._session.holds(self._key)

    def release(self) -> None:
        """Give it back; harmless without it, and when the database is away."""
        self._session.unlock(self._key)

    @contextmanager
    def held(self, timeout_s: float) -> Iterator[None]:
        """Hold it for the block; waits for it. Raises ``ReadModelError``."""
        deadline = time.monotonic() + timeout_s
        pause = threading.Event()
        had = self.is_held
        while not self.acquire():
            if time.monotonic() > deadline:
                raise ReadModelError(f"another node keeps the {self._name} of the read model")
            pause.wait(_RETRY_S)
        try:
            yield
        finally:
            if not had:
                self.release()


class _LeaseSession:
    """The connection whose life is that of the leases taken on it; opened when first needed."""

    def __init__(self, engine: Engine, place: str) -> None:
        self._engine = engine
        self._place = place
        self._connection: Connection | None = None
        self._held: set[int] = set()
        self._shared: set[int] = set()
        self._guard = threading.Lock()
        self._schema = ""

    def schema(self) -> str:
        """The schema of the tables: leases of one are no business of another."""
        if not self._schema:
            self._schema = str(self._scalar("SELECT current_schema()"))
        return self._schema

    def holds(self, key: int) -> bool:
        return key in self._held

    def try_lock(self, key: int) -> bool:
        """Take a lock that one session may have."""
        if key in self._held:
            return True
        if not self._scalar("SELECT pg_try_advisory_lock(:key)", key=key):
            return False
        self._held.add(key)
        return True

    def join(self, name: str) -> int:
        """Take a lock that many may have; the key by which :meth:`members` counts them."""
        key = _key(f"{self.schema()} {name}")
        if key not in self._shared:
            self._scalar("SELECT pg_advisory_lock_shared(:key)", key=key)
            self._shared.add(key)
        return key

    def members(self, key: int) -> tuple[int, int]:
        """How many sessions have joined, and the place of this one among them."""
        rows = self._rows(
            "SELECT pid, pid = pg_backend_pid() FROM pg_locks"
            " WHERE locktype = 'advisory' AND granted AND objsubid = 1"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            " AND classid = :high AND objid = :low ORDER BY pid",
            high=(key >> 32) & 0xFFFF_FFFF,
            low=key & 0xFFFF_FFFF,
        )
        mine = [bool(own) for _, own in rows]
        if True not in mine:  # the session that had joined is gone, another asked
            self.close()
            raise ReadModelAway(f"the read model ({self._place}) ended our session")
        return len(mine), mine.index(True)

    def check(self) -> bool:
        """Whether the session, and with it every lease, is still there; never raises."""
        if self._connection is None:
            return not self._held
        try:
            self._scalar("SELECT 1")
        except ReadModelAway:
            return False
        return True

    def unlock(self, key: int) -> None:
        if key not in self._held:
            return
        try:
            self._scalar("SELECT pg_advisory_unlock(:key)", key=key)
        except ReadModelAway:
            pass  # with the session the lock is gone, too
        self._held.discard(key)

    def end_if_idle(self) -> None:
        """Do not keep a connection that holds nothing."""
        if not self._held and not self._shared:
            self.close()

    def close(self) -> None:
        """Give back all leases."""
        with self._guard:
            self._end()

    def _end(self) -> None:
        self._held.clear()
        self._shared.clear()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.invalidate()  # really closed: the pool would keep the session and its locks
            connection.close()

    def _scalar(self, query: str, **values: object) -> Any:
        return self._rows(query, **values)[0][0]

    def _rows(self, query: str, **values: object) -> Sequence[Any]:
        with self._guard:
            try:
                if self._connection is None:
                    self._connection = self._engine.connect().execution_options(
                        isolation_level="AUTOCOMMIT"
                    )
                return self._connection.execute(text(query), values).all()
            except DBAPIError as error:
                self._end()
                raise ReadModelAway(
                    f"the read model ({self._place}) cannot be used now: {reason_of(error)}"
                ) from error


def upsert_many(
    connection: Connection, table: Table, names: tuple[str, ...], rows: Sequence[tuple[Any, ...]]
) -> bool:
    """Upsert `rows`, no two of the same key, by COPY; False: there are too few for it to pay.

    COPY fills a table of the session, from which one statement takes them over: three times as
    fast as the same statement for each row, at a fifth of the client's CPU.
    """
    if len(rows) <= _FEW:
        return False
    make, fill, take = _staged(table, names)
    driver = cast("psycopg.Connection[Any]", connection.connection.driver_connection)
    with driver.cursor() as cursor:
        cursor.execute(make)
        with cursor.copy(fill) as copy:
            copy.set_types(_types_of(table, names))
            for row in rows:
                copy.write_row(row)
        cursor.execute(take)
        cursor.execute(f"TRUNCATE stage_{table.name}")
    return True


def storable(connection: Connection, rows: Sequence[tuple[Any, ...]]) -> Sequence[tuple[Any, ...]]:
    """`rows` without the one character that PostgreSQL cannot store: U+0000 becomes U+FFFD.

    Many rows are looked through only once such a one was met (:meth:`PostgresDatabase.careful`):
    it costs 2 µs a row, and phones that send it are broken or hostile.
    """
    if len(rows) > _FEW and not connection.get_execution_options().get(_CAREFUL):
        return rows
    return [
        tuple(
            value.replace("\0", "\ufffd") if isinstance(value, str) and "\0" in value else value
            for value in row
        )
        for row in rows
    ]


@cache
def _staged(table: Table, names: tuple[str, ...]) -> tuple[str, str, str]:
    columns = ", ".join(names)
    keys = [column.name for column in table.primary_key.columns]
    rest = ", ".join(f"{name} = excluded.{name}" for name in names if name not in keys)
    stage = f"stage_{table.name}"
    make = (
        f"CREATE TEMP TABLE IF NOT EXISTS {stage} (LIKE {table.name} INCLUDING DEFAULTS)"
        " ON COMMIT DELETE ROWS"
    )
    fill = f"COPY {stage} ({columns}) FROM STDIN (FORMAT binary)"
    take = (
        f"INSERT INTO {table.name} ({columns}) SELECT {columns} FROM {stage}"
        f" ON CONFLICT ({', '.join(keys)}) DO " + (f"UPDATE SET {rest}" if rest else "NOTHING")
    )
    return make, fill, take


@cache
def _types_of(table: Table, names: tuple[str, ...]) -> list[str]:
    """Their names in PostgreSQL, which binary COPY must match."""

    def type_of(kind: object) -> str:
        if isinstance(kind, Boolean):
            return "bool"
        if isinstance(kind, Float):
            return "float8"
        return "int8" if isinstance(kind, BigInteger) else "text"

    variants = (table.c[name].type for name in names)
    return [type_of(kind._variant_mapping.get("postgresql", kind)) for kind in variants]


def _engine(url: str, schema: str) -> Engine:
    parsed: URL = make_url(url)
    server = dict(_SERVER)
    if schema:
        server["search_path"] = schema
    options = " ".join(f"-c{name}={value}" for name, value in server.items())
    given = parsed.query.get("options", "")
    if given:
        options = f"{given if isinstance(given, str) else ' '.join(given)} {options}"
    arguments = {name: value for name, value in _SESSION.items() if name not in parsed.query}
    engine = create_engine(
        parsed,
        connect_args={**arguments, "options": options},
        # Positional parameters, as SQLite's: rows are bound as they are.
        paramstyle="format",
        pool_size=4,
        max_overflow=_CONNECTIONS - 4,
        # After a restart of the server nobody is given a connection of the old one.
        pool_pre_ping=True,
        hide_parameters=True,
    )
    if engine.dialect.name != "postgresql":
        raise ValueError(engine.dialect.name)
    return engine


def _drop_abandoned(connection: Connection) -> None:
    """Second copies whose makers died."""
    names = connection.execute(
        text("SELECT nspname FROM pg_namespace WHERE starts_with(nspname, :prefix)"),
        {"prefix": COPY_PREFIX},
    ).scalars()
    for name in names.all():
        free = connection.execute(
            text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": _key(name)}
        ).scalar_one()
        if free:
            connection.execute(text(f"DROP SCHEMA IF EXISTS {name} CASCADE"))


def _key(name: str) -> int:
    """The number of an advisory lock: signed, 64 bits."""
    digest = blake2b(name.encode(), digest_size=8, person=b"ringlog").digest()
    return int.from_bytes(digest, "big", signed=True)
