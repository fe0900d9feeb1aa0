"""The rows of :class:`~pbx.webhooks.progress.Progress`, in a file beside the log.

They are no projection: no event says what a receiver took. If the file is lost, each webhook begins
where it was created or last replayed: again, but without a gap. Each row is written when an answer
has come; a power cut may take the last of them, which costs repetitions and no events.
"""

from __future__ import annotations

import dataclasses
import sqlite3
from pathlib import Path
from typing import Final

from pbx.eventlog.keystore import create_private
from pbx.kernel.errors import LogUnavailable
from pbx.webhooks.progress import Progress

PROGRESS_FILE: Final = "webhooks.sqlite3"

_FIELDS: Final = tuple(field.name for field in dataclasses.fields(Progress))
_SCHEMA: Final = f"""
CREATE TABLE IF NOT EXISTS progress (
    webhook_id TEXT PRIMARY KEY,
    {
    ", ".join(
        f"{name} {'TEXT' if name in ('after', 'error') else 'INTEGER'} NOT NULL" for name in _FIELDS
    )
}
) STRICT
"""
_SAVE: Final = (
    f"INSERT OR REPLACE INTO progress (webhook_id, {', '.join(_FIELDS)}) "
    f"VALUES ({', '.join('?' * (len(_FIELDS) + 1))})"
)
_LOAD: Final = f"SELECT {', '.join(_FIELDS)} FROM progress WHERE webhook_id = ?"


class ProgressStore:
    """The file `path`, made if missing. Raises ``LogUnavailable`` wherever it cannot be used."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            create_private(path)
            self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = NORMAL")
            self._database.execute(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise LogUnavailable(f"{path}: {error}") from error

    def load(self, webhook_id: str) -> Progress | None:
        """The row of a webhook, None if it never did anything."""
        try:
            row = self._database.execute(_LOAD, (webhook_id,)).fetchone()
        except sqlite3.Error as error:
            raise LogUnavailable(f"{self._path}: {error}") from error
        return None if row is None else Progress(*row)

    def save(self, webhook_id: str, progress: Progress) -> None:
        """Keep a row."""
        values = (webhook_id, *dataclasses.astuple(progress))
        try:
            self._database.execute(_SAVE, values)
        except sqlite3.Error as error:
            raise LogUnavailable(f"{self._path}: {error}") from error

    def forget(self, webhook_id: str) -> None:
        """Drop the row of a webhook that was removed."""
        try:
            self._database.execute("DELETE FROM progress WHERE webhook_id = ?", (webhook_id,))
        except sqlite3.Error as error:
            raise LogUnavailable(f"{self._path}: {error}") from error

    def close(self) -> None:
        """Release the file."""
        self._database.close()
