"""The rows of :class:`~pbx.webhooks.progress.Progress`, in a file or shared by the nodes.

They are no projection: no event says what a receiver took. If they are lost, each webhook begins
where it was created or last replayed: again, but without a gap. Each row is written when an answer
has come; a power cut may take the last of them, which costs repetitions and no events.

A server alone delivers everything (:class:`ProgressFile`). Nodes that share a database share the
webhooks out (:class:`SharedProgress`): each is delivered by one of them at a time.
"""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol

from pbx.eventlog.keystore import create_private
from pbx.kernel.errors import LogUnavailable, ReadModelError
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
_ALL: Final = f"SELECT webhook_id, {', '.join(_FIELDS)} FROM progress"
_LOAD: Final = f"SELECT {', '.join(_FIELDS)} FROM progress WHERE webhook_id = ?"


class Overtaken(LogUnavailable):
    """Another node delivers this webhook now."""


class ProgressStore(Protocol):
    """Where progress is kept, and which webhooks are this node's to deliver.

    Methods raise ``LogUnavailable`` while that cannot be used, unless they say otherwise.
    """

    def load(self, webhook_id: str) -> Progress | None:
        """The row of a webhook, None if it never did anything."""
        ...

    def save(self, webhook_id: str, progress: Progress) -> None:
        """Keep a row. Raises :class:`Overtaken` if another node wrote it since this one loaded or
        saved it."""
        ...

    def forget(self, webhook_id: str) -> None:
        """Drop the row of a webhook that was removed."""
        ...

    def deliverer(self, webhook_id: str) -> str:
        """Name of the node that delivered last, where there are several."""
        ...

    def share(self, count: int) -> int:
        """How many of `count` webhooks this node is to deliver."""
        ...

    def take(self, webhook_id: str) -> bool:
        """Have a webhook to deliver; False if another node has it."""
        ...

    def give(self, webhook_id: str) -> None:
        """Leave it to others; never raises."""
        ...

    def alive(self, webhook_ids: Iterable[str]) -> bool:
        """Whether the webhooks that were taken still are this node's; never raises."""
        ...

    def close(self) -> None:
        """Release what is held."""
        ...


class ProgressFile:
    """The file `path`, made if missing: one server delivers everything."""

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
        """As the protocol says; so do the others."""
        try:
            row = self._database.execute(_LOAD, (webhook_id,)).fetchone()
        except sqlite3.Error as error:
            raise LogUnavailable(f"{self._path}: {error}") from error
        return None if row is None else Progress(*row)

    def save(self, webhook_id: str, progress: Progress) -> None:
        values = (webhook_id, *dataclasses.astuple(progress))
        try:
            self._database.execute(_SAVE, values)
        except sqlite3.Error as error:
            raise LogUnavailable(f"{self._path}: {error}") from error

    def forget(self, webhook_id: str) -> None:
        try:
            self._database.execute("DELETE FROM progress WHERE webhook_id = ?", (webhook_id,))
        except sqlite3.Error as error:
            raise LogUnavailable(f"{self._path}: {error}") from error

    def all(self) -> dict[str, Progress]:
        """Every row."""
        try:
            rows = self._database.execute(_ALL).fetchall()
        except sqlite3.Error as error:
            raise LogUnavailable(f"{self._path}: {error}") from error
        return {row[0]: Progress(*row[1:]) for row in rows}

    def deliverer(self, webhook_id: str) -> str:
        return ""

    def share(self, count: int) -> int:
        return count

    def take(self, webhook_id: str) -> bool:
        return True

    def give(self, webhook_id: str) -> None:
        pass

    def alive(self, webhook_ids: Iterable[str]) -> bool:
        return True

    def close(self) -> None:
        self._database.close()


class SharedRows(Protocol):
    """The rows in a database of several nodes, and its leases: ``WebhookRows`` of the read model.

    Methods raise ``ReadModelError`` while it cannot be used.
    """

    def load(self, webhook_id: str) -> dict[str, Any] | None: ...
    def save(
        self, webhook_id: str, before: Mapping[str, Any] | None, values: Mapping[str, Any]
    ) -> bool: ...
    def forget(self, webhook_id: str) -> None: ...
    def deliverer(self, webhook_id: str) -> str: ...
    def share(self, count: int) -> int: ...
    def take(self, webhook_id: str) -> bool: ...
    def give(self, webhook_id: str) -> None: ...
    def alive(self, webhook_ids: Iterable[str]) -> bool: ...
    def close(self) -> None: ...


class SharedProgress:
    """Progress in a database that nodes share; `rows` is closed with it."""

    def __init__(self, rows: SharedRows) -> None:
        self._rows = rows
        self._seen: dict[str, dict[str, Any] | None] = {}
        """The rows as this node loaded or saved them last."""

    def adopt(self, path: Path) -> None:
        """Bring along what the file `path` says of webhooks that have no row yet, then delete it:
        this node was alone before."""
        if not path.exists():
            return
        file = ProgressFile(path)
        try:
            for webhook_id, progress in file.all().items():
                with _available():
                    self._rows.save(webhook_id, None, dataclasses.asdict(progress))
        finally:
            file.close()
        path.unlink()

    def load(self, webhook_id: str) -> Progress | None:
        """As the protocol says; so do the others."""
        with _available():
            row = self._seen[webhook_id] = self._rows.load(webhook_id)
        return None if row is None else Progress(**row)

    def save(self, webhook_id: str, progress: Progress) -> None:
        values = dataclasses.asdict(progress)
        with _available():
            saved = self._rows.save(webhook_id, self._seen.get(webhook_id), values)
        if not saved:
            raise Overtaken(f"another node delivers webhook {webhook_id} now")
        self._seen[webhook_id] = values

    def forget(self, webhook_id: str) -> None:
        self._seen.pop(webhook_id, None)
        with _available():
            self._rows.forget(webhook_id)

    def deliverer(self, webhook_id: str) -> str:
        with _available():
            return self._rows.deliverer(webhook_id)

    def share(self, count: int) -> int:
        with _available():
            return self._rows.share(count)

    def take(self, webhook_id: str) -> bool:
        with _available():
            return self._rows.take(webhook_id)

    def give(self, webhook_id: str) -> None:
        self._seen.pop(webhook_id, None)
        self._rows.give(webhook_id)

    def alive(self, webhook_ids: Iterable[str]) -> bool:
        return self._rows.alive(webhook_ids)

    def close(self) -> None:
        self._rows.close()


@contextmanager
def _available() -> Iterator[None]:
    try:
        yield
    except ReadModelError as error:
        raise LogUnavailable(str(error)) from error
