"""The event log: what happened, in order, for ever. ``docs/event-log.md`` explains it.

``open_log(data_dir)`` opens the embedded log of a server's data directory, for reading and for
decided appends; a role that observes puts a :class:`LogWriter` in front of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pbx.eventlog.embedded import EmbeddedLog
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
from pbx.eventlog.sealing import FileStore, Keys, memory_keys
from pbx.eventlog.subscription import Subscription, follow
from pbx.eventlog.writer import LogWriter
from pbx.kernel.clock import Clock
from pbx.kernel.errors import Conflict, DecodeError, LogError, LogFormatError, LogUnavailable

LOG_FILE: Final = "log.sqlite3"
KEYS_FILE: Final = "keys.sqlite3"


def open_log(
    data_dir: Path,
    *,
    node: str = "",
    clock: Clock | None = None,
    unseal: bool = True,
    busy_timeout_s: float = 1.0,
) -> EmbeddedLog:
    """Open, or create, the log in `data_dir` (which must exist).

    Without `unseal` the key file is not touched and sealed fields read ``[sealed]``: for
    everything that shows events to people. Raises ``LogUnavailable`` or ``LogFormatError``.
    """
    codec = Codec(open_keys(data_dir)) if unseal else Codec()
    return EmbeddedLog(
        data_dir / LOG_FILE, codec=codec, node=node, clock=clock, busy_timeout_s=busy_timeout_s
    )


def open_keys(data_dir: Path) -> Keys:
    """The sealing keys of `data_dir`: ``erase(stream)`` on them is the erasure of a subject."""
    return Keys(FileStore(data_dir / KEYS_FILE))


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
