"""Sealing keys in PostgreSQL: one store for all nodes of a cluster.

The table ``ringlog_keys`` lies apart from the read model, best in a database of its own with a user
and backups of its own: who has the log and the keys can read everything. Reads are served from
memory where they can (:class:`pbx.eventlog.sealing.Keys`), so a call needs the database only for
the first event of a subject; without it such an event waits in the queue, as with a full disk.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, ClassVar, Final

import psycopg

from pbx.eventlog.keystore import Key, new_key
from pbx.kernel.errors import LogUnavailable

SCHEMES: Final = ("postgresql://", "postgres://")
_CREATE: Final = (
    'CREATE TABLE IF NOT EXISTS ringlog_keys (subject TEXT COLLATE "C" PRIMARY KEY, id TEXT UNIQUE,'
    " key BYTEA, created_ns BIGINT NOT NULL, erased_ns BIGINT)"
)
_ON_CONFLICT: Final = (
    "ON CONFLICT (subject) DO UPDATE SET"
    " id = excluded.id, key = excluded.key, created_ns = excluded.created_ns"
    " WHERE old.key IS NULL"
)


class PostgresStore:
    """A :class:`~pbx.eventlog.keystore.KeyStore` in a PostgreSQL database. Thread-safe."""

    remote: ClassVar[bool] = True

    def __init__(self, url: str, random_bytes: Callable[[int], bytes] = os.urandom) -> None:
        self._url = url
        self._random = random_bytes
        self._lock = threading.Lock()
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None
        self._created = False

    def get(self, subject: str) -> Key | None:
        return _key(self._rows("SELECT id, key FROM ringlog_keys WHERE subject = %s", (subject,)))

    def get_or_create(self, subject: str) -> Key:
        key = self.get(subject)
        if key is None:
            self._insert(subject, new_key(self._random))
            key = self.get(subject)
            assert key is not None
        return key

    def create_all(self, subjects: Sequence[str]) -> dict[str, Key]:
        if not subjects:
            return {}
        keys = [new_key(self._random) for _ in subjects]
        now_ns = time.time_ns()
        # One statement: it commits, and waits for the disk, once.
        self._rows(
            "INSERT INTO ringlog_keys AS old (subject, id, key, created_ns)"
            " SELECT subject, id, key, %s FROM"
            " unnest(%s::text[], %s::text[], %s::bytea[]) AS new (subject, id, key)"
            f" {_ON_CONFLICT}",
            (now_ns, list(subjects), [key.id for key in keys], [key.secret for key in keys]),
        )
        found = self._rows(
            "SELECT subject, id, key FROM ringlog_keys"
            " WHERE subject = ANY (%s) AND key IS NOT NULL",
            (list(subjects),),
        )
        return {subject: Key(key_id, bytes(secret)) for subject, key_id, secret in found}

    def _insert(self, subject: str, key: Key) -> None:
        self._rows(
            "INSERT INTO ringlog_keys AS old (subject, id, key, created_ns)"
            f" VALUES (%s, %s, %s, %s) {_ON_CONFLICT}",
            (subject, *key, time.time_ns()),
        )

    def by_id(self, key_id: str) -> Key | None:
        return _key(self._rows("SELECT id, key FROM ringlog_keys WHERE id = %s", (key_id,)))

    def erase(self, subject: str) -> bool:
        rows = self._rows(
            "UPDATE ringlog_keys SET key = NULL, erased_ns = %s"
            " WHERE subject = %s AND key IS NOT NULL RETURNING id",
            (time.time_ns(), subject),
        )
        return bool(rows)

    def erased(self, subject: str) -> bool:
        query = "SELECT 1 FROM ringlog_keys WHERE subject = %s AND erased_ns IS NOT NULL"
        return bool(self._rows(query, (subject,)))

    def subjects(self) -> list[str]:
        rows = self._rows("SELECT subject FROM ringlog_keys WHERE key IS NOT NULL ORDER BY 1", ())
        return [row[0] for row in rows]

    def put(self, subject: str, key: Key) -> None:
        if not self.erased(subject):
            self._insert(subject, key)

    def close(self) -> None:
        """Close the connection; the next use opens another."""
        with self._lock:
            self._drop()

    def __del__(self) -> None:
        # Logs and commands hold keys as long as they need them and know of no connections.
        self._drop()

    def _rows(self, statement: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        with self._lock:
            for again in (True, False):
                try:
                    cursor = self._connected().execute(statement.encode(), values)
                    return cursor.fetchall() if cursor.description else []
                except psycopg.Error as error:
                    # One that was idle may have died unseen: that is no failure yet.
                    idle = again and isinstance(error, psycopg.OperationalError)
                    self._drop()
                    if not idle:
                        reason = str(error).strip().partition("\n")[0]
                        raise LogUnavailable(f"sealing keys in PostgreSQL: {reason}") from None
        raise AssertionError("unreachable")

    def _connected(self) -> psycopg.Connection[tuple[Any, ...]]:
        if self._connection is None:
            self._connection = psycopg.connect(
                self._url,
                autocommit=True,
                # A host that does not answer must not hang the caller.
                connect_timeout=3,
                keepalives_idle=5,
                keepalives_interval=2,
                keepalives_count=3,
                tcp_user_timeout=5000,
                application_name="ringlog keys",
            )
            # The promise of a key is the promise of the event: on disk before it is used.
            self._connection.execute("SET synchronous_commit = on")
            if not self._created:
                # Several nodes may start at once on an empty database.
                self._connection.execute("SELECT pg_advisory_lock(hashtext('ringlog_keys'))")
                try:
                    self._connection.execute(_CREATE.encode())
                finally:
                    self._connection.execute("SELECT pg_advisory_unlock(hashtext('ringlog_keys'))")
                self._created = True
        return self._connection

    def _drop(self) -> None:
        if self._connection is not None:
            with suppress(psycopg.Error):
                self._connection.close()
            self._connection = None


def _key(rows: Sequence[tuple[Any, ...]]) -> Key | None:
    if not rows or rows[0][1] is None:
        return None
    return Key(rows[0][0], bytes(rows[0][1]))
