"""Datagrams between call control and the media service (NG protocol).

A Unix datagram socket for our own service, UDP for an rtpengine daemon. Feeds
:class:`~pbx.calls.media.NgMedia` and arms its one timer. A service that restarts is found again
by its address: sending fails until it is back, the client repeats.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

from media.server.patient import PatientSender
from pbx.calls.media import NgMedia

_MAX_DATAGRAM_BYTES: Final = 65_536


class MediaLink:
    """One socket to one media service."""

    def __init__(
        self,
        opened: socket.socket,
        make: Callable[[Callable[[bytes], None]], NgMedia],
        monotonic: Callable[[], float],
        after: Callable[[], None],
        own_path: Path | None = None,
    ) -> None:
        """`make` builds the media port around our `send`; `after` flushes what it caused."""
        self._socket = opened
        self._monotonic = monotonic
        self._after = after
        self._own_path = own_path
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._sender: PatientSender[None] = PatientSender(
            self._loop, lambda datagram, _: opened.send(datagram), _not_there
        )
        self.media = make(self._send)
        self._loop.add_reader(opened.fileno(), self._readable)

    def start(self) -> None:
        """Say hello."""
        self.media.start(self._monotonic())
        self.rearm()

    def rearm(self) -> None:
        """Arm the loop's timer for the client's next one; call it after any request."""
        due = self.media.next_timer()
        timer = self._timer
        if due is None:
            return
        if timer is not None:
            if self._timer_at <= due:
                return
            timer.cancel()
        self._timer_at = due
        delay_s = max(0.0, due - self._monotonic())
        self._timer = self._loop.call_later(delay_s, self._fire)

    def close(self) -> None:
        """Close the socket."""
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self._socket.fileno())
        self._sender.close()
        self._socket.close()
        if self._own_path is not None:
            self._own_path.unlink(missing_ok=True)

    def _fire(self) -> None:
        self._timer = None
        self.media.handle_timers(self._monotonic())
        self.rearm()
        self._after()

    def _send(self, datagram: bytes) -> None:
        self._sender.send(datagram, None)
        self.rearm()

    def _readable(self) -> None:
        # One datagram a wake: replies come one at a time, asking for a second that is not there
        # costs a system call and an exception, and if there is one the loop comes back at once.
        try:
            datagram = self._socket.recv(_MAX_DATAGRAM_BYTES)
        except OSError:  # nothing there after all, or ICMP: the daemon is away
            return
        self.media.receive(datagram, self._monotonic())
        self.rearm()
        self._after()


def _not_there(_address: None, _error: OSError) -> None:
    """The service is away: the client repeats after half a second."""


def open_unix(own: Path, service: Path) -> socket.socket:
    """A datagram socket bound to `own`, talking to the service's socket file."""
    own.unlink(missing_ok=True)
    opened = _UnixDatagram(str(service))
    opened.setblocking(False)
    opened.bind(str(own))
    os.chmod(own, 0o600)
    return opened


class _UnixDatagram(socket.socket):
    """``send`` connects where the service's file is a new one: it is, after each restart.

    Connected, since naming the file each time has the kernel look it up for each datagram.
    """

    def __init__(self, service: str) -> None:
        super().__init__(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._service = service

    def send(self, data: bytes, flags: int = 0) -> int:  # type: ignore[override]
        try:
            return super().send(data, flags)
        except OSError as error:
            if error.errno not in _ELSEWHERE:
                raise
        self.connect(self._service)
        return super().send(data, flags)


#: What sending says when the socket is not connected, or to a service that has gone.
_ELSEWHERE: Final = frozenset(
    {errno.ENOTCONN, errno.ECONNREFUSED, errno.ECONNRESET, errno.EPIPE, errno.EDESTADDRREQ}
)


def open_udp(host: str, port: int) -> socket.socket:
    """A UDP socket connected to an rtpengine daemon."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_DGRAM)
    opened.setblocking(False)
    opened.connect((host, port))
    return opened
