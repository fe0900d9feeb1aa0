"""Asking the log role: many questions in flight, answers in any order, restarts survived.

Used by :class:`pbx.eventlog.kafka.log.ClusterLog` in the signal role and in commands. One thread
reads answers and minds deadlines; questions are sent by whoever asks.

While the log role is away questions wait: it is back within a second after a crash, gets all open
questions again, and knows the verdicts of those that its former life had sent. Where no server
runs at all there is no socket, and the answer is no, at once.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from pbx.eventlog.kafka.wire import Answer, Ask, Decide, Frames, answer, frame
from pbx.eventlog.record import Position
from pbx.kernel.errors import ClusterAway, Conflict, DecodeError, OutcomeUnknown

logger = logging.getLogger(__name__)

Done = Callable[[Position | Exception], None]

RETRY_S: Final = 0.05
"""Between attempts to reach a log role that is just starting again."""
GRACE_S: Final = 1.0
"""The log role minds deadlines itself and explains; we do for one that does not answer."""
IN_FLIGHT: Final = 10_000
"""Decisions that may wait at once; more are refused. A busy cluster has a hundred."""

NOT_RUNNING: Final = (
    "the log of this node is on Kafka and its server is not running:"
    " start it (pbx serve), then try again"
)


class _Pending:
    __slots__ = ("asked", "certain_at", "done", "question", "unknown_at")

    def __init__(self, question: Decide, done: Done, certain_at: float, unknown_at: float) -> None:
        self.question = question
        self.done = done
        self.certain_at = certain_at
        self.unknown_at = unknown_at
        self.asked = False


class DecisionClient:
    """Questions to the log role behind `path`; `done` functions run on a thread of this client."""

    def __init__(self, path: Path, *, decide_s: float, unknown_s: float) -> None:
        self._path = path
        self._decide_s = decide_s + GRACE_S
        self._unknown_s = unknown_s + GRACE_S
        self._lock = threading.Lock()
        self._pending: dict[str, _Pending] = {}
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._wake_out, self._wake_in = os.pipe()
        os.set_blocking(self._wake_out, False)
        os.set_blocking(self._wake_in, False)
        self._closed = False

    def submit(self, question: Decide, done: Done) -> None:
        """Ask; `done` gets the position, ``Conflict``, ``ClusterAway`` or ``OutcomeUnknown``."""
        now = time.monotonic()
        pending = _Pending(question, done, now + self._decide_s, now + self._unknown_s)
        with self._lock:
            if self._closed:
                refusal = "the log is closed"
            elif len(self._pending) >= IN_FLIGHT:
                refusal = f"{IN_FLIGHT} decisions wait for Kafka already"
            else:
                refusal = ""
                self._pending[question.id] = pending
                if self._thread is None:
                    self._thread = threading.Thread(
                        target=self._run, name="log-decisions", daemon=True
                    )
                    self._thread.start()
                if self._socket is not None:
                    self._send(self._socket, pending)
        if refusal:
            done(ClusterAway(refusal))
            return
        self._wake()

    def close(self) -> None:
        """Open questions end: refused if they were never sent, unknown else."""
        with self._lock:
            self._closed = True
            thread = self._thread
        self._wake()
        if thread is not None and thread is not threading.current_thread():
            thread.join()
        with contextlib.suppress(OSError):
            os.close(self._wake_in)
        with contextlib.suppress(OSError):
            os.close(self._wake_out)

    # The client's thread.

    def _run(self) -> None:
        frames = Frames()
        while not self._closed:
            if self._socket is None and self._pending:
                frames = Frames()
                self._connect()
            self._wait(frames)
            self._expire()
        with self._lock:
            connection, self._socket = self._socket, None
            left, self._pending = list(self._pending.values()), {}
        if connection is not None:
            connection.close()
        for pending in left:
            _finish(pending.done, _given_up(pending, "the log was closed"))

    def _connect(self) -> None:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(1.0)
        try:
            connection.connect(os.fspath(self._path))
        except FileNotFoundError:
            connection.close()
            self._refuse_unasked()
            return
        except OSError:
            connection.close()
            return
        with self._lock:
            self._socket = connection
            for pending in self._pending.values():
                self._send(connection, pending)

    def _send(self, connection: socket.socket, pending: _Pending) -> None:
        pending.asked = True
        try:
            connection.sendall(frame(pending.question))
        except OSError:
            self._drop(connection)

    def _drop(self, connection: socket.socket) -> None:
        if self._socket is connection:
            self._socket = None
        with contextlib.suppress(OSError):
            # The thread may be waiting on it: it reads the end and closes.
            connection.shutdown(socket.SHUT_RDWR)

    def _wait(self, frames: Frames) -> None:
        connection = self._socket
        with self._lock:
            deadlines = [p.unknown_at if p.asked else p.certain_at for p in self._pending.values()]
        timeout = min(deadlines) - time.monotonic() if deadlines else None
        if deadlines and connection is None:
            timeout = RETRY_S
        readable: list[Any] = [self._wake_out]
        if connection is not None:
            readable.append(connection)
        ready = select.select(readable, (), (), None if timeout is None else max(0.0, timeout))[0]
        if self._wake_out in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self._wake_out, 4096)
        if connection is None:
            return
        if connection not in ready:
            return
        try:
            data = connection.recv(262_144)
        except OSError:
            data = b""
        if not data:
            with self._lock:
                if self._socket is connection:
                    self._socket = None
            connection.close()
            return
        try:
            for one in frames.feed(data):
                self._answered(answer(one))
        except DecodeError as error:
            logger.error("the log role sent what is no answer: %s", error)
            with self._lock:
                self._drop(connection)

    def _answered(self, message: Answer) -> None:
        with self._lock:
            pending = self._pending.pop(message.id, None)
        if pending is not None:
            _finish(pending.done, _result(pending.question, message))

    def _refuse_unasked(self) -> None:
        with self._lock:
            refused = [p for p in self._pending.values() if not p.asked]
            for pending in refused:
                del self._pending[pending.question.id]
        for pending in refused:
            _finish(pending.done, ClusterAway(NOT_RUNNING))

    def _expire(self) -> None:
        now = time.monotonic()
        with self._lock:
            over = [
                p
                for p in self._pending.values()
                if now >= (p.unknown_at if p.asked else p.certain_at)
            ]
            for pending in over:
                del self._pending[pending.question.id]
        for pending in over:
            _finish(pending.done, _given_up(pending, "the log role does not answer"))

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # full: it is awake
            os.write(self._wake_in, b".")


def ask_status(path: Path, timeout_s: float = 2.0) -> dict[str, Any] | None:
    """What the log role says of itself; None if there is none."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout_s)
        try:
            connection.connect(os.fspath(path))
            connection.sendall(frame(Ask()))
            frames = Frames()
            while data := connection.recv(262_144):
                for one in frames.feed(data):
                    return answer(one).status
        except (OSError, DecodeError):
            return None
    return None


def _result(question: Decide, message: Answer) -> Position | Exception:
    if message.error:
        kind = OutcomeUnknown if message.unknown else ClusterAway
        return kind(message.error)
    if message.conflict >= 0:
        return Conflict(question.stream, question.expected, message.conflict)
    return message.position


def _given_up(pending: _Pending, reason: str) -> OutcomeUnknown | ClusterAway:
    if pending.asked:
        return OutcomeUnknown(
            f"{reason}: the change of {pending.question.stream} may or may not have been made;"
            " look before you try again"
        )
    return ClusterAway(f"{reason}; nothing was changed")


def _finish(done: Done, result: Position | Exception) -> None:
    try:
        done(result)
    except Exception:  # a defect in one caller must not keep the verdict from the others
        logger.exception("completion of an append failed")
