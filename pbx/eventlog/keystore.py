"""Where sealing keys live: in memory, in a file beside the log, in the database of a cluster.

Used by :class:`pbx.eventlog.sealing.Keys`. A key belongs to a subject, which is a stream (an
account's secrets) or ``server``; it has an id of its own, so that a value sealed with it says
nothing of whose it is. One contract test runs on all stores (``tests/contract/test_keystore.py``).
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Final, NamedTuple, Protocol

from pbx.kernel.errors import LogUnavailable

KEY_BYTES: Final = 32
ID_BYTES: Final = 8
_INSERT: Final = (
    "INSERT INTO keys (subject, id, key, created_ns) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (subject) DO UPDATE SET"
    " id = excluded.id, key = excluded.key, created_ns = excluded.created_ns"
    " WHERE key IS NULL"
)
_AT_ONCE: Final = 500
"""Subjects named in one statement."""
_BUSY_S: Final = 2.0
"""Keys are written once per account; two seconds outlast any other writer."""


class Key(NamedTuple):
    """A key and its id, which is public."""

    id: str
    secret: bytes


class KeyStore(Protocol):
    """Where keys live. Methods raise ``LogUnavailable`` when the store cannot be reached."""

    remote: ClassVar[bool]
    """Whether to ask may take long: it is somewhere else."""

    def get(self, subject: str) -> Key | None:
        """The key, or None if there is none or it was destroyed."""
        ...

    def get_or_create(self, subject: str) -> Key:
        """The key; a new one, durable on return, if there was none (also after an erasure)."""
        ...

    def create_all(self, subjects: Sequence[str]) -> dict[str, Key]:
        """The keys of all subjects: a new one, durable on return, for everybody who has none:
        :meth:`get_or_create`, but with one wait for the disk."""
        ...

    def by_id(self, key_id: str) -> Key | None:
        """The key with this id, or None if there is none (any more)."""
        ...

    def erase(self, subject: str) -> bool:
        """Destroy the key for ever; False if there was none."""
        ...

    def erased(self, subject: str) -> bool:
        """Whether a key of `subject` was ever destroyed."""
        ...

    def subjects(self) -> list[str]:
        """Everybody who has a key, in order."""
        ...

    def put(self, subject: str, key: Key) -> None:
        """Take a key over from another store; one that is there already stays."""
        ...


def new_key(random_bytes: Callable[[int], bytes]) -> Key:
    """A key nobody has."""
    return Key(random_bytes(ID_BYTES).hex(), random_bytes(KEY_BYTES))


class MemoryStore:
    """Keys in a dict."""

    remote: ClassVar[bool] = False

    def __init__(self, random_bytes: Callable[[int], bytes] = os.urandom) -> None:
        self._random = random_bytes
        self._keys: dict[str, Key] = {}
        self._erased: set[str] = set()

    def get(self, subject: str) -> Key | None:
        return self._keys.get(subject)

    def get_or_create(self, subject: str) -> Key:
        return self._keys.get(subject) or self._keys.setdefault(subject, new_key(self._random))

    def create_all(self, subjects: Sequence[str]) -> dict[str, Key]:
        return {subject: self.get_or_create(subject) for subject in subjects}

    def by_id(self, key_id: str) -> Key | None:
        return next((key for key in self._keys.values() if key.id == key_id), None)

    def erase(self, subject: str) -> bool:
        self._erased.add(subject)
        return self._keys.pop(subject, None) is not None

    def erased(self, subject: str) -> bool:
        return subject in self._erased

    def subjects(self) -> list[str]:
        return sorted(self._keys)

    def put(self, subject: str, key: Key) -> None:
        self._keys.setdefault(subject, key)


def create_private(path: Path) -> None:
    """Create an empty file that only its owner may read, if there is none.

    With its final permissions from the start: there is no moment in which others may open it
    (SQLite gives its journals the same permissions). An existing database is not opened here: to
    close any descriptor of it would drop the POSIX locks this process holds on it.
    """
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


class FileStore:
    """Keys in an SQLite file that only its owner may read.

    A key is on disk before the first event sealed with it. The file has a rollback journal, not a
    WAL, and ``secure_delete``: no copy of a destroyed key stays in the database file. (What a disk
    keeps in blocks it no longer uses is outside a program's reach.)
    """

    remote: ClassVar[bool] = False

    def __init__(self, path: Path, random_bytes: Callable[[int], bytes] = os.urandom) -> None:
        self._path = path
        self._random = random_bytes
        self._lock = threading.Lock()
        create_private(path)
        try:
            self._database = sqlite3.connect(
                path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
            )
            # Logs and commands hold keys as long as they need them and know of no files.
            weakref.finalize(self, self._database.close)
            self._database.execute("PRAGMA synchronous = FULL")
            self._database.execute("PRAGMA secure_delete = ON")
            self._create()
        except sqlite3.Error as error:
            raise LogUnavailable(f"sealing keys {path}: {error}") from error

    def _create(self) -> None:
        database = self._database
        database.execute(
            "CREATE TABLE IF NOT EXISTS keys (subject TEXT PRIMARY KEY, key BLOB,"
            " created_ns INTEGER NOT NULL, erased_ns INTEGER, id TEXT) WITHOUT ROWID"
        )
        columns = [row[1] for row in database.execute("PRAGMA table_info(keys)")]
        if "id" not in columns:  # made before keys had ids
            with suppress(sqlite3.OperationalError):  # another process was faster
                database.execute("ALTER TABLE keys ADD COLUMN id TEXT")
        database.execute(
            f"UPDATE keys SET id = lower(hex(randomblob({ID_BYTES})))"
            " WHERE id IS NULL AND key IS NOT NULL"
        )
        database.execute("CREATE UNIQUE INDEX IF NOT EXISTS keys_by_id ON keys (id)")

    def get(self, subject: str) -> Key | None:
        return _key(self._one("SELECT id, key FROM keys WHERE subject = ?", (subject,)))

    def get_or_create(self, subject: str) -> Key:
        key = self.get(subject)
        if key is None:
            # Two processes may come here at once: whoever is first wins, both read the winner's.
            self._insert(subject, new_key(self._random))
            key = self.get(subject)
            assert key is not None
        return key

    def create_all(self, subjects: Sequence[str]) -> dict[str, Key]:
        rows = [(subject, *new_key(self._random), time.time_ns()) for subject in subjects]
        with self._lock:
            try:
                self._database.execute("BEGIN IMMEDIATE")
                try:
                    self._database.executemany(_INSERT, rows)
                    found = []
                    for start in range(0, len(subjects), _AT_ONCE):
                        chunk = subjects[start : start + _AT_ONCE]
                        marks = ", ".join("?" * len(chunk))
                        found += self._database.execute(
                            f"SELECT subject, id, key FROM keys WHERE subject IN ({marks})", chunk
                        ).fetchall()
                except BaseException:
                    self._database.execute("ROLLBACK")
                    raise
                self._database.execute("COMMIT")
            except sqlite3.Error as error:
                raise LogUnavailable(f"sealing keys {self._path}: {error}") from error
        return {subject: Key(key_id, secret) for subject, key_id, secret in found}

    def _insert(self, subject: str, key: Key) -> None:
        self._one(_INSERT, (subject, *key, time.time_ns()))

    def by_id(self, key_id: str) -> Key | None:
        return _key(self._one("SELECT id, key FROM keys WHERE id = ?", (key_id,)))

    def erase(self, subject: str) -> bool:
        row = self._one(
            "UPDATE keys SET key = NULL, erased_ns = ? WHERE subject = ? AND key IS NOT NULL"
            " RETURNING id, key",
            (time.time_ns(), subject),
        )
        return row is not None

    def erased(self, subject: str) -> bool:
        query = "SELECT id, key FROM keys WHERE subject = ? AND erased_ns IS NOT NULL"
        return self._one(query, (subject,)) is not None

    def subjects(self) -> list[str]:
        rows = self._query("SELECT subject, key FROM keys WHERE key IS NOT NULL ORDER BY 1", ())
        return [row[0] for row in rows]

    def put(self, subject: str, key: Key) -> None:
        if not self.erased(subject):
            self._insert(subject, key)

    def close(self) -> None:
        self._database.close()

    def _one(self, statement: str, values: tuple[object, ...]) -> tuple[str, bytes] | None:
        rows = self._query(statement, values)
        return rows[0] if rows else None

    def _query(self, statement: str, values: tuple[object, ...]) -> list[tuple[str, bytes]]:
        with self._lock:
            try:
                return self._database.execute(statement, values).fetchall()
            except sqlite3.Error as error:
                raise LogUnavailable(f"sealing keys {self._path}: {error}") from error


def _key(row: tuple[str, bytes] | None) -> Key | None:
    return None if row is None or row[1] is None else Key(row[0], row[1])
