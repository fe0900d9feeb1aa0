"""The event log: what happened, in order, for ever. ``docs/event-log.md`` explains it.

``open_log(data_dir)`` opens the embedded log of a server's data directory, for reading and for
decided appends; a role that observes puts a :class:`LogWriter` in front of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from pbx.eventlog.embedded import EmbeddedLog
from pbx.eventlog.embedded_file import CLUSTER_FORMAT, format_of
from pbx.eventlog.keystore import FileStore, KeyStore, create_private
from pbx.eventlog.memory import MemoryLog
from pbx.eventlog.port import TIME_DISORDER_NS, EventLog, EventWriter
from pbx.eventlog.record import ANY_VERSION, START, Meta, Position, Record
from pbx.eventlog.registry import (
    ERASED_TEXT,
    SEALED_TEXT,
    Codec,
    UnknownEvent,
    category_of,
    json_schemas,
)
from pbx.eventlog.sealing import Keys, memory_keys
from pbx.eventlog.subscription import Subscription, follow
from pbx.eventlog.writer import LogWriter
from pbx.kernel.clock import Clock
from pbx.kernel.errors import (
    Conflict,
    DecodeError,
    LogError,
    LogFormatError,
    LogUnavailable,
    OutcomeUnknown,
)

LOG_FILE: Final = "log.sqlite3"
KEYS_FILE: Final = "keys.sqlite3"
KEYS_URL_FILE: Final = "keys.url"
"""Names the database of the keys, with what it takes to log in there: readable by us alone."""


def open_log(
    data_dir: Path,
    *,
    node: str = "",
    clock: Clock | None = None,
    unseal: bool | Literal["personal"] = True,
    seal_personal: bool = False,
    busy_timeout_s: float = 1.0,
) -> EmbeddedLog:
    """Open, or create, the log in `data_dir` (which must exist).

    The file says whether this node is one of a cluster: then it is a ``ClusterLog``.

    Without `unseal` the key file is not touched and sealed fields read ``[sealed]``: for
    everything that shows events to people; ``"personal"`` opens who called whom, for those who
    make records of it, and no secrets. `seal_personal`: what is appended tells nobody without
    keys of persons. Raises ``LogUnavailable`` or ``LogFormatError``.
    """
    if unseal:
        codec = Codec(
            open_keys(data_dir), seal_personal=seal_personal, secrets=unseal != "personal"
        )
    else:
        codec = Codec()
    path = data_dir / LOG_FILE
    kind = EmbeddedLog
    if format_of(path) == CLUSTER_FORMAT:
        # Imported for nodes of a cluster only; none of it imports kafka-python.
        from pbx.eventlog.kafka.log import ClusterLog

        kind = ClusterLog
    return kind(path, codec=codec, node=node, clock=clock, busy_timeout_s=busy_timeout_s)


def open_keys(data_dir: Path) -> Keys:
    """The sealing keys of `data_dir`: ``erase(stream)`` on them is the erasure of a subject.

    They lie in a file, or where the file ``keys.url`` says (:func:`use_keys`): the nodes of a
    cluster need the same ones.
    """
    return Keys(open_key_store(data_dir))


def open_key_store(data_dir: Path) -> KeyStore:
    """Where the keys of `data_dir` lie. Raises ``LogUnavailable``."""
    try:
        url = (data_dir / KEYS_URL_FILE).read_text().strip()
    except FileNotFoundError:
        return FileStore(data_dir / KEYS_FILE)
    except OSError as error:
        raise LogUnavailable(f"{data_dir / KEYS_URL_FILE}: {error.strerror}") from error
    return shared_key_store(url)


def shared_key_store(url: str) -> KeyStore:
    """Keys in the database of a cluster. Raises ``LogUnavailable``."""
    try:
        # Imported here: who keeps his keys in a file needs no PostgreSQL client.
        from pbx.eventlog.keystore_postgres import PostgresStore
    except ImportError as error:
        raise LogUnavailable(
            "keys in PostgreSQL need its client: pip install 'ringlog[postgresql]'"
        ) from error
    return PostgresStore(url)


def use_keys(data_dir: Path, url: str) -> None:
    """Have everybody who opens `data_dir` take the keys from `url`; empty: from the file again."""
    path = data_dir / KEYS_URL_FILE
    if not url:
        path.unlink(missing_ok=True)
        return
    fresh = path.with_suffix(".new")
    create_private(fresh)
    fresh.write_text(url + "\n")
    fresh.replace(path)


__all__ = [
    "ANY_VERSION",
    "ERASED_TEXT",
    "KEYS_FILE",
    "LOG_FILE",
    "SEALED_TEXT",
    "START",
    "TIME_DISORDER_NS",
    "Codec",
    "Conflict",
    "DecodeError",
    "EmbeddedLog",
    "EventLog",
    "EventWriter",
    "Keys",
    "LogError",
    "LogFormatError",
    "LogUnavailable",
    "LogWriter",
    "MemoryLog",
    "Meta",
    "OutcomeUnknown",
    "Position",
    "Record",
    "Subscription",
    "UnknownEvent",
    "category_of",
    "follow",
    "json_schemas",
    "memory_keys",
    "open_keys",
    "open_log",
]
