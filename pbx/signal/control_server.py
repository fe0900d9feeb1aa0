"""The control socket of the process in which applications run: ``run/control.sock``.

A Unix socket that only the owner of the data directory can open. Connections are few and short:
one command of an administrator each, or those of the admin role.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path
from typing import Final

from pbx.voice.control import TaskControl
from pbx.voice.control_wire import MAX_LINE_BYTES, answer

MAX_CONNECTIONS: Final = 64
"""More administrators than give commands at the same time."""
IDLE_S: Final = 60.0


class ControlServer:
    """Serves a :class:`TaskControl` on the loop it is started on: it takes turns with tasks."""

    def __init__(self, control: TaskControl, path: Path) -> None:
        self._control = control
        self._path = path
        self._server: asyncio.Server | None = None
        self._open = 0

    async def start(self) -> None:
        """Open the socket; what an earlier run left there is removed."""
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        self._server = await asyncio.start_unix_server(
            self._serve, self._path, limit=MAX_LINE_BYTES
        )
        os.chmod(self._path, 0o600)

    async def aclose(self) -> None:
        """Take nothing more."""
        if self._server is not None:
            self._server.close()
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            if self._open > MAX_CONNECTIONS:
                return
            while True:
                async with asyncio.timeout(IDLE_S):
                    line = await reader.readline()
                if not line.endswith(b"\n"):
                    return
                writer.write(answer(self._control, line))
                async with asyncio.timeout(IDLE_S):
                    await writer.drain()
        except (OSError, ValueError, TimeoutError):
            return  # a peer that went away, sends too much or nothing
        finally:
            self._open -= 1
            writer.close()
