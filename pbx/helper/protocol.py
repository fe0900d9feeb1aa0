"""The line protocol of external programs (Objects and settings reference §8.1), without I/O.

A request is a line ``number COMMAND words``, an answer begins with the same number; answers come in
any order. ``000000 INTF n`` agrees on the version, ``QUIT`` ends. A line that begins with ``*`` is
for the log. What is not answered in time fails, and the program is to be stopped: one that has lost
a request is not to be trusted with the next.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, NamedTuple

log = logging.getLogger("pbx.helper")

MAX_LINE_BYTES: Final = 4096
"""With its end."""
MAX_PENDING: Final = 200
"""Requests on the way; more fail at once: the program is slower than calls come."""
INTERFACE: Final = 1
_FIRST: Final = 0

Done = Callable[[str, str], None]
"""Word and text of the answer; ``FAILURE`` with the reason if there is none."""


class _Pending(NamedTuple):
    done: Done
    due: float


class HelperProtocol:
    """One run of a program."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._serial = _FIRST
        self._pending: dict[int, _Pending] = {}
        self._agreed = False

    @property
    def pending(self) -> int:
        """Requests that wait for their answer."""
        return len(self._pending)

    @property
    def agreed(self) -> bool:
        """Whether the program has answered the first request."""
        return self._agreed

    def opening(self, now: float) -> bytes:
        """The first line."""
        self._pending[_FIRST] = _Pending(self._interface, now + self._timeout_s)
        return b"000000 INTF %d\n" % INTERFACE

    def _interface(self, word: str, text: str) -> None:
        self._agreed = word == "INTF"

    def request(self, command: str, words: tuple[str, ...], done: Done, now: float) -> bytes:
        """The line of a request; empty if it cannot be made, `done` knows why then."""
        if any(not word or not word.isprintable() or " " in word for word in words):
            done("FAILURE", "it cannot be written on one line")
            return b""
        if len(self._pending) >= MAX_PENDING:
            done("FAILURE", f"{MAX_PENDING} requests wait for their answer already")
            return b""
        serial = self._serial + 1
        line = f"{serial:06d} {' '.join((command, *words))}\n".encode()
        if len(line) > MAX_LINE_BYTES:
            done("FAILURE", "it is too long")
            return b""
        self._serial = serial
        self._pending[serial] = _Pending(done, now + self._timeout_s)
        return line

    def received(self, line: bytes) -> None:
        """One line of the program."""
        text = line.decode("utf-8", "replace").rstrip("\r\n")
        if text.startswith("*"):
            log.info("%s", text[1:].strip()[:500])
            return
        number, _, rest = text.partition(" ")
        word, _, rest = rest.partition(" ")
        pending = None
        if number.isascii() and number.isdigit() and len(number) <= 18:
            pending = self._pending.pop(int(number), None)
        if pending is None:
            # Not shown: it may be the answer with a password to a question that was given up.
            log.warning("a line that answers no request was ignored")
            return
        pending.done(word.upper(), rest.strip())

    def next_due(self) -> float | None:
        """When the first request is too late; None: nothing waits."""
        return min((pending.due for pending in self._pending.values()), default=None)

    def overdue(self, now: float) -> bool:
        """Whether an answer has not come in time."""
        due = self.next_due()
        return due is not None and due <= now

    def ended(self, reason: str) -> None:
        """The program is gone: whatever waits fails."""
        pending, self._pending = self._pending, {}
        for waiting in pending.values():
            waiting.done("FAILURE", reason)
