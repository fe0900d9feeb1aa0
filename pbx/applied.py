"""How far the running server has taken commands up: read-your-writes for the command line.

The signal role writes the position of the last configuration event it applied into a small file;
a command that appended one waits for it, so that an account works when the command returns. The
file is there only while a server runs; without one there is nobody to wait for.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Final

_BYTES: Final = 8
_STEP_S: Final = 0.005


class AppliedMark:
    """The writing side; a context manager that removes the file at the end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def __enter__(self) -> AppliedMark:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._path.unlink(missing_ok=True)
        os.close(self._descriptor)

    def set(self, position: int) -> None:
        """Everything up to `position` is applied."""
        os.pwrite(self._descriptor, position.to_bytes(_BYTES, "big"), 0)


def wait_applied(path: Path, position: int, timeout_s: float) -> bool:
    """Wait until a running server has applied `position`; False if it did not in time.

    A server that was killed leaves its file behind: that costs one command the time-out.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        with contextlib.suppress(OSError):
            if int.from_bytes(path.read_bytes()[:_BYTES], "big") >= position:
                return True
        if not path.exists():
            return True
        if time.monotonic() >= deadline:
            return False
        time.sleep(_STEP_S)
