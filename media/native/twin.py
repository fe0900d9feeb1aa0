"""The relay in Python: sockets and one thread around `core.py`.

Serves where the C core could not be built, and as the readable half of the contract tests. One
thread waits on all sockets; a lock keeps it and the control side apart.
"""

from __future__ import annotations

import os
import select
import socket
import threading
import time

from media.native import sockets
from media.native.check import MAX_DATAGRAM_BYTES
from media.native.core import RelayCore, unpacked
from media.native.relay import Address, Buffer, RelayEvent, RelayOptions, StreamConfig, StreamStats

BATCH_PACKETS = 32  # of one socket in a row, so that a flood does not starve the others


class TwinRelay:
    """`Relay` in Python."""

    def __init__(self, options: RelayOptions | None = None) -> None:
        self._options = options or RelayOptions()
        sockets.raise_file_limit()
        self._lock = threading.Lock()
        self._core = RelayCore(sockets.local_hosts())
        self._sockets: dict[int, socket.socket] = {}
        self._handles: dict[int, int] = {}  # file descriptor to handle
        self._event_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._stop_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll = select.epoll()
        self._epoll.register(self._stop_fd, select.EPOLLIN)
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="relay-twin", daemon=True)
        self._thread.start()

    def open(self, host: str, port: int) -> int:
        sock = sockets.bind(host, port, self._options)
        with self._lock:
            handle = self._core.open(sockets.bound_address(sock))
            self._sockets[handle] = sock
            self._handles[sock.fileno()] = handle
            self._epoll.register(sock.fileno(), select.EPOLLIN)
        return handle

    def address(self, handle: int) -> Address:
        with self._lock:
            return self._core.address(handle)

    def configure(self, handle: int, config: StreamConfig) -> None:
        with self._lock:
            self._core.configure(handle, config)

    def stats(self, handle: int) -> StreamStats:
        with self._lock:
            return self._core.stats(handle, time.monotonic())

    def close(self, handle: int) -> StreamStats:
        with self._lock:
            stats = self._core.close(handle, time.monotonic())
            self._close_socket(self._sockets.pop(handle))
        return stats

    def events(self) -> list[RelayEvent]:
        with self._lock:
            if not self._core.has_events:
                return []
            os.eventfd_read(self._event_fd)
            return self._core.events()

    def take(self, heads: Buffer, payloads: Buffer, stride: int) -> int:
        with self._lock:
            return self._core.take(heads, payloads, stride)

    def send(
        self, handles: Buffer, sizes: Buffer, packets: Buffer, stride: int, control: bool
    ) -> int:
        data = memoryview(packets).cast("B")
        count = 0
        with self._lock:
            for number, (handle, size) in enumerate(unpacked(handles, sizes)):
                forward = self._core.aim(handle, control=control)
                if forward is None or size > stride:
                    continue
                packet = data[number * stride : number * stride + size]
                try:
                    self._sockets[handle].sendto(packet, forward.destination)
                except OSError:
                    continue  # the kernel's buffer is full: to the peer it is a lost packet
                self._core.sent(forward, size)
                count += 1
        return count

    def fileno(self) -> int:
        return self._event_fd

    def shutdown(self) -> None:
        if self._stopping:
            return
        self._stopping = True
        os.eventfd_write(self._stop_fd, 1)
        self._thread.join()
        for sock in self._sockets.values():
            self._close_socket(sock)
        self._sockets.clear()
        self._epoll.close()
        os.close(self._stop_fd)
        os.close(self._event_fd)

    def _close_socket(self, sock: socket.socket) -> None:
        self._epoll.unregister(sock.fileno())
        del self._handles[sock.fileno()]
        sock.close()

    def _run(self) -> None:
        while not self._stopping:
            for descriptor, _ in self._epoll.poll():
                with self._lock:
                    handle = self._handles.get(descriptor, 0)
                    if handle:
                        self._receive(handle, self._sockets[handle])

    def _receive(self, handle: int, sock: socket.socket) -> None:
        """Relay what waits on a socket; what is left over wakes the thread again."""
        told = self._core.has_events
        for _ in range(BATCH_PACKETS):
            try:
                data, source = sock.recvfrom(MAX_DATAGRAM_BYTES)
            except OSError:
                break  # nothing left
            forward = self._core.receive(handle, data, (source[0], source[1]), time.monotonic())
            if forward is None:
                continue
            try:
                self._sockets[forward.sink].sendto(data, forward.destination)
            except OSError:
                self._core.refused(handle)
            else:
                self._core.sent(forward, len(data))
        if self._core.has_events and not told:
            os.eventfd_write(self._event_fd, 1)
