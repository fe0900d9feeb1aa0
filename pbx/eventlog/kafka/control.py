"""The log role's ear: takes questions from the processes of this node over a Unix socket.

One thread reads; answers are sent by whichever thread has them. Only the owner of the data
directory can connect.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from pbx.eventlog.kafka.wire import Answer, Decide, Frames, frame, question
from pbx.kernel.errors import DecodeError

logger = logging.getLogger(__name__)

CONNECTIONS: Final = 200
"""The signal role, and commands that run at once."""
SEND_S: Final = 1.0
"""A caller that does not take its answer for so long is cut off."""

Send = Callable[[Answer], None]


class _Caller:
    """One connection."""

    __slots__ = ("connection", "frames", "lock")

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.frames = Frames()
        self.lock = threading.Lock()

    def send(self, message: Answer) -> None:
        """Send, or cut the caller off."""
        try:
            with self.lock:
                self.connection.sendall(frame(message))
        except OSError:
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)


class ControlServer:
    """Listens at `path`; `decide` takes a question and where its answer goes, `status` is asked."""

    def __init__(
        self,
        path: Path,
        decide: Callable[[Decide, Send], None],
        status: Callable[[], dict[str, Any]],
    ) -> None:
        self._path = path
        self._decide = decide
        self._status = status
        self._selector = selectors.DefaultSelector()
        self._wake_out, self._wake_in = os.pipe()
        self._stopping = False
        self._callers: set[_Caller] = set()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with contextlib.suppress(FileNotFoundError):
            path.unlink()  # of a former life; the server's lock says that it is over
        self._listener.bind(os.fspath(path))
        path.chmod(0o600)
        self._listener.listen(CONNECTIONS)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._wake_out, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name="log-control", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Close all connections; who waits for an answer asks the next one that listens."""
        self._stopping = True
        os.write(self._wake_in, b".")
        self._thread.join()
        self._path.unlink(missing_ok=True)
        for caller in self._callers:
            caller.connection.close()
        self._listener.close()
        self._selector.close()
        os.close(self._wake_in)
        os.close(self._wake_out)

    def _run(self) -> None:
        while not self._stopping:
            for key, _ in self._selector.select():
                if key.fileobj is self._listener:
                    self._accept()
                elif isinstance(key.data, _Caller):
                    self._read(key.data)

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError as error:
            logger.warning("cannot accept a caller: %s", error)
            return
        if len(self._callers) >= CONNECTIONS:
            connection.close()
            return
        connection.settimeout(SEND_S)
        caller = _Caller(connection)
        self._callers.add(caller)
        self._selector.register(connection, selectors.EVENT_READ, caller)

    def _read(self, caller: _Caller) -> None:
        try:
            data = caller.connection.recv(262_144)
        except OSError:
            data = b""
        try:
            for one in caller.frames.feed(data):
                asked = question(one)
                if isinstance(asked, Decide):
                    self._decide(asked, caller.send)
                else:
                    caller.send(Answer(status=self._status()))
        except DecodeError as error:
            logger.warning("a process of this node sent what is no question: %s", error)
            data = b""
        if not data:
            self._selector.unregister(caller.connection)
            self._callers.discard(caller)
            caller.connection.close()
