"""Sealed fields: AES-256-GCM with one key per subject, kept outside the log.

Used by :class:`pbx.eventlog.registry.Codec`. The subject is the stream. Destroying its key is
erasure: every sealed value of the subject, in the log and in all its copies, becomes unreadable,
while the rest of its events (and every total) stays. NIST SP 800-38D: a nonce is random, 96 bits;
a key seals far fewer than 2^32 values.
"""

from __future__ import annotations

import base64
import binascii
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pbx.eventlog.registry import ERASED_TEXT
from pbx.kernel.errors import LogUnavailable

_FORM: Final = "v1."
"""Starts a sealed value; names the construction, so that it can be changed one day."""
_NONCE_BYTES: Final = 12
_KEY_BYTES: Final = 32
_BUSY_S: Final = 2.0
"""Keys are written once per account; two seconds outlast any other writer."""


class KeyStore(Protocol):
    """Where keys live."""

    def get(self, subject: str) -> bytes | None:
        """The key, or None if there is none or it was destroyed."""
        ...

    def get_or_create(self, subject: str) -> bytes:
        """The key; a new one, durable on return, if there was none (also after an erasure)."""
        ...

    def erase(self, subject: str) -> bool:
        """Destroy the key for ever; False if there was none."""
        ...

    def erased(self, subject: str) -> bool:
        """Whether a key of `subject` was ever destroyed."""
        ...


class Keys:
    """A sealer over a key store."""

    __slots__ = ("_random", "_store")

    def __init__(self, store: KeyStore, random_bytes: Callable[[int], bytes] = os.urandom) -> None:
        self._store = store
        self._random = random_bytes

    def seal(self, subject: str, type_name: str, field: str, text: str) -> str:
        """Encrypt; the value opens only as this field of this event type of this subject."""
        nonce = self._random(_NONCE_BYTES)
        cipher = AESGCM(self._store.get_or_create(subject))
        sealed = cipher.encrypt(nonce, text.encode(), _bound_to(subject, type_name, field))
        return _FORM + base64.b64encode(nonce + sealed).decode("ascii")

    def unseal(self, subject: str, type_name: str, field: str, sealed: str) -> str:
        """Decrypt; ``[erased]`` without a key. Raises ``ValueError`` if the value was altered.

        A subject that was erased and sealed something again has a new key, which cannot open the
        old values: they read as erased too.
        """
        key = self._store.get(subject)
        if key is None:
            return ERASED_TEXT
        if not sealed.startswith(_FORM):
            raise ValueError(f"{field} is not a sealed value")
        try:
            raw = base64.b64decode(sealed[len(_FORM) :], validate=True)
        except binascii.Error as error:
            raise ValueError(f"{field} is not a sealed value") from error
        if len(raw) <= _NONCE_BYTES:
            raise ValueError(f"{field} is not a sealed value")
        try:
            text = AESGCM(key).decrypt(
                raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], _bound_to(subject, type_name, field)
            )
        except InvalidTag:
            if self._store.erased(subject):
                return ERASED_TEXT
            raise ValueError(f"{field} was altered or moved") from None
        return text.decode()

    def erase(self, subject: str) -> bool:
        """Destroy the key of `subject`."""
        return self._store.erase(subject)


def _bound_to(subject: str, type_name: str, field: str) -> bytes:
    """Associated data: a sealed value cannot be moved to another subject, event or field."""
    return "\0".join((subject, type_name, field)).encode()


class MemoryStore:
    """Keys in a dict."""

    def __init__(self, random_bytes: Callable[[int], bytes] = os.urandom) -> None:
        self._random = random_bytes
        self._keys: dict[str, bytes] = {}
        self._erased: set[str] = set()

    def get(self, subject: str) -> bytes | None:
        return self._keys.get(subject)

    def get_or_create(self, subject: str) -> bytes:
        if subject not in self._keys:
            self._keys[subject] = self._random(_KEY_BYTES)
        return self._keys[subject]

    def erase(self, subject: str) -> bool:
        self._erased.add(subject)
        return self._keys.pop(subject, None) is not None

    def erased(self, subject: str) -> bool:
        return subject in self._erased


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
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS keys (subject TEXT PRIMARY KEY, key BLOB,"
                " created_ns INTEGER NOT NULL, erased_ns INTEGER) WITHOUT ROWID"
            )
        except sqlite3.Error as error:
            raise LogUnavailable(f"sealing keys {path}: {error}") from error

    def get(self, subject: str) -> bytes | None:
        row = self._query("SELECT key FROM keys WHERE subject = ?", (subject,))
        return None if row is None else row[0]

    def get_or_create(self, subject: str) -> bytes:
        key = self.get(subject)
        if key is None:
            # Two processes may come here at once: whoever is first wins, both read the winner's.
            self._query(
                "INSERT INTO keys (subject, key, created_ns) VALUES (?, ?, ?)"
                " ON CONFLICT (subject) DO UPDATE SET"
                " key = excluded.key, created_ns = excluded.created_ns WHERE key IS NULL",
                (subject, self._random(_KEY_BYTES), time.time_ns()),
            )
            key = self.get(subject)
            assert key is not None
        return key

    def erase(self, subject: str) -> bool:
        row = self._query(
            "UPDATE keys SET key = NULL, erased_ns = ? WHERE subject = ? AND key IS NOT NULL"
            " RETURNING 1",
            (time.time_ns(), subject),
        )
        return row is not None

    def erased(self, subject: str) -> bool:
        row = self._query(
            "SELECT 1 FROM keys WHERE subject = ? AND erased_ns IS NOT NULL", (subject,)
        )
        return row is not None

    def close(self) -> None:
        self._database.close()

    def _query(self, statement: str, values: tuple[object, ...]) -> tuple[bytes, ...] | None:
        with self._lock:
            try:
                rows: list[tuple[bytes, ...]] = self._database.execute(statement, values).fetchall()
            except sqlite3.Error as error:
                raise LogUnavailable(f"sealing keys {self._path}: {error}") from error
        return rows[0] if rows else None


def memory_keys(random_bytes: Callable[[int], bytes] = os.urandom) -> Keys:
    """A sealer whose keys die with it; with a seeded `random_bytes` it is deterministic."""
    return Keys(MemoryStore(random_bytes), random_bytes)
