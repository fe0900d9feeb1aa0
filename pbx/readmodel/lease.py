"""Who may write the read model: one process at a time, by an advisory lock on a file.

The project role holds it as long as it lives; a command takes it for a moment when no server
runs. The kernel gives it back when its holder dies, however it dies.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pbx.kernel.errors import ReadModelError

_RETRY_S: Final = 0.02


class Lease:
    """A lock on `path`. Not to be shared by threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1

    def acquire(self) -> bool:
        """Take the lease if nobody has it; True if we hold it now."""
        if self._descriptor >= 0:
            return True
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Give it back; harmless without it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    @contextmanager
    def held(self, timeout_s: float) -> Iterator[None]:
        """Hold the lease for the block; waits for it. Raises ``ReadModelError``."""
        had = self._descriptor >= 0
        deadline = time.monotonic() + timeout_s
        pause = threading.Event()
        while not self.acquire():
            if time.monotonic() > deadline:
                raise ReadModelError(f"another process keeps {self._path} locked")
            pause.wait(_RETRY_S)
        try:
            yield
        finally:
            if not had:
                self.release()
