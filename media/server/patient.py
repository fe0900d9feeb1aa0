"""Datagrams for a receiver whose queue is full for a moment.

A Unix datagram socket queues only ``net.unix.max_dgram_qlen`` datagrams for its reader, ten on many
machines: a burst of call set-ups overruns it in a millisecond, and a datagram lost there costs its
call the half second until it is repeated. Both ends of our own control socket send through this.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from collections import deque
from collections.abc import Callable
from typing import Final, Generic, TypeVar

log = logging.getLogger("media.server")

A = TypeVar("A")

#: Between tries; the reader drains its ten datagrams in about that time.
RETRY_S: Final = 0.001
#: Datagrams that wait, some megabytes at worst: a reader that far behind is stuck, and what is
#: dropped then is repeated by whoever asked.
MAX_WAITING: Final = 4096
_FULL: Final = frozenset({errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS})


class PatientSender(Generic[A]):
    """Keeps the order of datagrams; `send(data, address)` raises ``OSError`` as a socket does.

    Errors other than a full queue go to `failed(address, error)`, once for each datagram.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        send: Callable[[bytes, A], object],
        failed: Callable[[A, OSError], None],
    ) -> None:
        self._loop = loop
        self._send = send
        self._failed = failed
        self._waiting: deque[tuple[bytes, A]] = deque()
        self._retry: asyncio.TimerHandle | None = None
        self.dropped = 0

    def __len__(self) -> int:
        """Datagrams that wait."""
        return len(self._waiting)

    def send(self, data: bytes, address: A) -> None:
        """Send now, or as soon as there is room."""
        if not self._waiting and self._try(data, address):
            return
        if len(self._waiting) >= MAX_WAITING:
            if self.dropped % MAX_WAITING == 0:
                log.warning("a reader of the control socket is stuck: datagrams are dropped")
            self.dropped += 1
            return
        self._waiting.append((data, address))
        if self._retry is None:
            self._retry = self._loop.call_later(RETRY_S, self._again)

    def close(self) -> None:
        """Send no more."""
        self._waiting.clear()
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None

    def _again(self) -> None:
        self._retry = None
        while self._waiting:
            if not self._try(*self._waiting[0]):
                self._retry = self._loop.call_later(RETRY_S, self._again)
                return
            self._waiting.popleft()

    def _try(self, data: bytes, address: A) -> bool:
        """False if the queue is full; any other error settles the datagram as well."""
        try:
            self._send(data, address)
        except OSError as error:
            if error.errno in _FULL:
                return False
            self._failed(address, error)
        return True
