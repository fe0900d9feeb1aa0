"""What running programs see of environments: an index of all files, and contents in memory.

Fed with the records of ``pbx.config`` in order (:meth:`EnvironmentFiles.apply`), which is what
drops a file that was stored anew: the index says which content a name has *now*, and contents are
kept by their hash, so nothing can be stale. An administrator's own files hide stock ones by the
order in which levels are asked (:class:`~pbx.script.environment.ApplicationFiles`).
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from pbx.blobs import BlobError, BlobStore
from pbx.domain import environments as env
from pbx.domain.accounts import DomainCreated, DomainDeleted
from pbx.environments.stock import StockFiles
from pbx.eventlog import EventLog, Record
from pbx.kernel.events import Event
from pbx.script.environment import Level

log = logging.getLogger("pbx.environments")

CACHE_BYTES: Final = 64 * 1024 * 1024
"""Contents in memory: all stock prompts of two languages are 20 MB."""
_SERVER: Final = "server"


class EnvironmentFiles:
    """The :class:`~pbx.script.environment.FilePort` of a server. One thread."""

    def __init__(
        self, blobs: BlobStore, stock: StockFiles | None = None, *, cache_bytes: int = CACHE_BYTES
    ) -> None:
        self._blobs = blobs
        self._stock = StockFiles() if stock is None else stock
        self._index: dict[str, dict[str, str]] = {_SERVER: {}}
        """Stream -> name (with the language in front) -> hash."""
        self._cache: OrderedDict[str, bytes] = OrderedDict()
        self._cache_bytes = cache_bytes
        self._cached_bytes = 0

    def load(self, event_log: EventLog, streams: Iterable[str]) -> None:
        """Fold what the log has so far of `streams`, those that have files
        (:class:`~pbx.configdb.Noted`). :meth:`apply` goes on with what came later; to see a record
        twice does no harm, if all behind it are seen twice."""
        for stream in streams:
            for record in event_log.read_stream(stream):
                self.apply(record)

    def apply(self, record: Record) -> None:
        """The next record of the log; those of other things are passed over."""
        if not record.type.startswith(("environment.", "domain.")):
            return
        if record.stream == _SERVER or record.stream.startswith("domain/"):
            self._fold(record.stream, record.event)

    def _fold(self, stream: str, happened: Event) -> None:
        match happened:
            case env.EnvironmentFileStored(name=name):
                self._index.setdefault(stream, {})[name] = happened.sha256
            case env.EnvironmentFileDeleted(name=name):
                self._index.get(stream, {}).pop(name, None)
            case env.EnvironmentDeleted(language=language):
                files = self._index.get(stream, {})
                for name in [name for name in files if name.startswith(f"{language}/")]:
                    del files[name]
            case DomainCreated() | DomainDeleted():
                self._index.pop(stream, None)

    def read(self, level: Level, domain: str, language: str | None, name: str) -> bytes | None:
        """See the port. A content that is missing from the disk is reported and counts as none."""
        path = f"{language}/{name}" if language else name
        if level is Level.STOCK:
            if self._stock.path(path) is None:
                return None
            return self._content(f"stock:{path}", path)
        stream = _SERVER if level is Level.SERVER else f"domain/{domain.lower()}"
        files = self._index.get(stream)
        sha256 = None if files is None else files.get(path)
        return None if sha256 is None else self._content(sha256, "")

    def _content(self, key: str, stock_path: str) -> bytes | None:
        found = self._cache.get(key)
        if found is not None:
            self._cache.move_to_end(key)
            return found
        try:
            data = self._stock.read(stock_path) if stock_path else self._blobs.get(key)
        except (BlobError, OSError) as error:
            log.error("a file of an application environment is not there: %s", error)
            return None
        if data is not None and len(data) <= self._cache_bytes:
            self._cache[key] = data
            self._cached_bytes += len(data)
            while self._cached_bytes > self._cache_bytes:
                self._cached_bytes -= len(self._cache.popitem(last=False)[1])
        return data

    def statistics(self) -> dict[str, int]:
        """How much is kept."""
        return {
            "files": sum(len(files) for files in self._index.values()),
            "cached": len(self._cache),
            "cached_bytes": self._cached_bytes,
        }
