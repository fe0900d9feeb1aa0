"""Sockets and the event loop around the media service: the only asyncio of ``media.server``.

Fed by Unix datagram clients (our signalling process, which also gets events), UDP clients
(Kamailio, OpenSIPS, tests) and the relay's event descriptor; feeds ``front`` and ``service``.

Sockets are drained a bounded number of datagrams a wake, so that a flood on one of them does not
keep the others or the timers waiting.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import stat
from pathlib import Path
from typing import Any, Final, NamedTuple

from media.native.relay import Relay
from media.server.front import NgFront
from media.server.patient import PatientSender
from media.server.service import NgService

log = logging.getLogger("media.server")

#: Datagrams of one socket a wake.
BATCH: Final = 64
MAX_DATAGRAM_BYTES: Final = 65_535
#: A Unix socket's queue is counted in datagrams (net.unix.max_dgram_qlen) and in these bytes.
BUFFER_BYTES: Final = 1 << 20


class _Peer(NamedTuple):
    """A client as one listener knows it."""

    listener: int
    address: str | tuple[Any, ...]


class _Listener:
    """One bound socket."""

    __slots__ = ("is_unix", "name", "sender", "sock")

    def __init__(self, sock: socket.socket, name: str, sender: PatientSender[_Peer]) -> None:
        self.sock = sock
        self.name = name
        self.sender = sender
        self.is_unix = sock.family == socket.AF_UNIX


class MediaShell:
    """Runs one service on the current event loop until :meth:`close`."""

    def __init__(self, service: NgService, relay: Relay) -> None:
        self._loop = asyncio.get_running_loop()
        self._service = service
        self._front = NgFront(service)
        self._relay = relay
        self._listeners: list[_Listener] = []
        self._timer: asyncio.TimerHandle | None = None
        self._unix_paths: list[Path] = []
        self._tick: asyncio.TimerHandle | None = None
        self._pacing = False
        self._loop.add_reader(relay.fileno(), self._relay_ready)

    def listen_unix(self, path: Path) -> None:
        """Take requests on a Unix datagram socket that only our user can reach."""
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISSOCK(path.lstat().st_mode):
                raise FileExistsError(f"{path} exists and is not a socket")
            path.unlink()  # left by a former life: the supervisor runs one media process
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        before = os.umask(0o177)
        try:
            sock.bind(str(path))
        finally:
            os.umask(before)
        self._unix_paths.append(path)
        self._add(sock, str(path))

    def listen_udp(self, host: str, port: int) -> int:
        """Take requests on UDP; NG knows no authentication, so give a loopback or private
        address. Returns the port."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_DGRAM)
        sock.bind((host, port))
        bound: int = sock.getsockname()[1]
        self._add(sock, f"{host}:{bound}")
        return bound

    def close(self) -> None:
        """Stop taking requests; the relay is its owner's to shut down."""
        for timer in (self._timer, self._tick):
            if timer is not None:
                timer.cancel()
        self._loop.remove_reader(self._relay.fileno())
        for listener in self._listeners:
            self._loop.remove_reader(listener.sock.fileno())
            listener.sender.close()
            listener.sock.close()
        for path in self._unix_paths:
            path.unlink(missing_ok=True)

    def _add(self, sock: socket.socket, name: str) -> None:
        def send(data: bytes, peer: _Peer) -> None:
            sock.sendto(data, peer.address)

        listener = _Listener(sock, name, PatientSender(self._loop, send, self._send_failed))
        listener.sock.setblocking(False)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            listener.sock.setsockopt(socket.SOL_SOCKET, option, BUFFER_BYTES)
        number = len(self._listeners)
        self._listeners.append(listener)
        self._loop.add_reader(listener.sock.fileno(), self._readable, listener, number)
        log.info("NG listener on %s", listener.name)

    def _readable(self, listener: _Listener, number: int) -> None:
        now = self._loop.time()
        for _ in range(BATCH):
            try:
                datagram, address = listener.sock.recvfrom(MAX_DATAGRAM_BYTES)
            except (BlockingIOError, InterruptedError):
                break
            except OSError as error:  # an ICMP error of an earlier reply
                log.debug("receiving on %s: %s", listener.name, error)
                continue
            peer = _Peer(number, address)
            try:
                reply = self._front.receive(datagram, peer, now, subscribable=listener.is_unix)
            except Exception:
                # A fault of ours in one request must not take the media of all calls down.
                log.exception("NG request of %d bytes on %s", len(datagram), listener.name)
                continue
            if reply is not None and address:
                self._send(peer, reply)
        self._after_work()

    def _relay_ready(self) -> None:
        self._service.relay_ready(self._loop.time())
        self._after_work()

    def _timer_fired(self) -> None:
        self._timer = None
        self._service.handle_timers(self._loop.time())
        self._after_work()

    def _tick_due(self) -> None:
        """The audio path's 20 ms. A fault of ours in one tick must not end the sound of all."""
        self._tick = None
        try:
            self._service.tick(self._loop.time())
        except Exception:
            log.exception("tick of the audio path")
        self._after_work()

    def _pace(self) -> None:
        """Have ticks while somebody is hosted, and none while nobody is."""
        audio = self._service.audio
        if audio is None or self._tick is not None:
            return
        if audio.active:
            if not self._pacing:
                audio.pacer.start(self._loop.time())
            self._pacing = True
            self._tick = self._loop.call_at(audio.pacer.due, self._tick_due)
        else:
            self._pacing = False

    def _after_work(self) -> None:
        """Send events and arm the timers."""
        self._pace()
        for peer, data in self._front.events():
            if isinstance(peer, _Peer):
                self._send(peer, data)
        due = self._service.next_timer()
        if self._timer is not None:
            if due == self._timer.when():
                return
            self._timer.cancel()
            self._timer = None
        if due is not None:
            self._timer = self._loop.call_at(due, self._timer_fired)

    def _send(self, peer: _Peer, data: bytes) -> None:
        self._listeners[peer.listener].sender.send(data, peer)

    def _send_failed(self, peer: _Peer, error: OSError) -> None:
        if isinstance(error, FileNotFoundError | ConnectionRefusedError):
            self._front.peer_gone(peer)
        else:  # the client repeats its request
            name = self._listeners[peer.listener].name
            log.warning("sending to a client of %s: %s", name, error)
