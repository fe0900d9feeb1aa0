"""Files of the server-wide environment as the log has them now, for web programs."""

from __future__ import annotations

import threading
from typing import Final

from pbx.blobs import BlobError, BlobStore
from pbx.domain import environments as env
from pbx.domain.environments import Environment
from pbx.eventlog import EventLog
from pbx.script.environment import MAX_NAME_CHARS, safe_name
from pbx.settings_changes import Target

SUFFIX: Final = ".wcgp"


class ServerEnvironment:
    """Follows the stream of the server; several threads."""

    def __init__(self, log: EventLog, blobs: BlobStore) -> None:
        self._log = log
        self._blobs = blobs
        self._lock = threading.Lock()
        self._state: Environment = env.SERVER_ENVIRONMENT
        self._version = 0

    def refresh(self) -> None:
        """Take up what was stored since. Raises ``LogUnavailable``."""
        with self._lock:
            for record in self._log.read_stream(Target("server").stream, self._version):
                self._state = env.evolve_environment(self._state, record.event)
                self._version = record.version

    def read(self, name: str) -> bytes | None:
        """Content of a file as of the last :meth:`refresh`, or None."""
        with self._lock:
            file = self._state.files.get(name)
        if file is None:
            return None
        try:
            return self._blobs.get(file.sha256)
        except BlobError:
            return None


def program_in(path: str) -> str:
    """The program that a path below ``/sys/`` names, without its suffix; empty for none.

    A path behind the name is the program's business: ``form.wcgp/a/b`` runs ``form``.
    """
    first = path.partition("/")[0]
    if len(first) > MAX_NAME_CHARS or not first.lower().endswith(SUFFIX):
        return ""
    return (safe_name(first) or "").removesuffix(SUFFIX)
