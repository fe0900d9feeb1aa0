"""A network between two programs that can be cut: a TCP proxy on loopback.

Stands for a firewall that drops (`stall`: connections stay, nothing passes) or a link that is gone
(`cut`: connections are reset, new ones refused). Needs no rights, unlike network namespaces.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import threading

CHUNK_BYTES = 65_536


class TcpProxy:
    """Passes connections to `target` (HOST, PORT) until it is cut; a context manager."""

    def __init__(self, port: int, target: tuple[str, int]) -> None:
        self._target = target
        self._port = port
        self._selector = selectors.DefaultSelector()
        self._peers: dict[socket.socket, socket.socket] = {}
        self._lock = threading.Lock()
        self._flowing = threading.Event()
        self._flowing.set()
        self._open = True
        self._stopping = False
        self._listener = self._listen()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> TcpProxy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping = True
        self._flowing.set()
        self._thread.join()
        self._reset_all()
        self._listener.close()

    def cut(self) -> None:
        """Reset what is connected, refuse what comes."""
        self._open = False
        self._reset_all()

    def stall(self) -> None:
        """Let nothing pass; who sends sees nothing of it."""
        self._flowing.clear()

    def heal(self) -> None:
        """All well again."""
        self._open = True
        self._flowing.set()

    def _listen(self) -> socket.socket:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self._port))
        listener.listen(64)
        self._selector.register(listener, selectors.EVENT_READ)
        return listener

    def _run(self) -> None:
        while not self._stopping:
            self._flowing.wait()
            for key, _ in self._selector.select(0.1):
                if key.fileobj is self._listener:
                    self._accept()
                elif isinstance(key.fileobj, socket.socket):
                    self._pass(key.fileobj)

    def _accept(self) -> None:
        near, _ = self._listener.accept()
        if not self._open:
            _reset(near)
            return
        try:
            far = socket.create_connection(self._target, 1.0)
        except OSError:
            _reset(near)
            return
        with self._lock:
            self._peers[near], self._peers[far] = far, near
            for one in (near, far):
                one.settimeout(5.0)
                self._selector.register(one, selectors.EVENT_READ)

    def _pass(self, source: socket.socket) -> None:
        peer = self._peers.get(source)
        if peer is None:
            return
        try:
            data = source.recv(CHUNK_BYTES)
            if data:
                peer.sendall(data)
                return
        except OSError:
            pass
        with self._lock:
            self._drop(source)

    def _drop(self, one: socket.socket) -> None:
        peer = self._peers.pop(one, None)
        for each in (one, peer):
            if each is not None:
                self._peers.pop(each, None)
                with contextlib.suppress(KeyError, ValueError):
                    self._selector.unregister(each)
                _reset(each)

    def _reset_all(self) -> None:
        with self._lock:
            for one in list(self._peers):
                self._drop(one)


def _reset(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    one.close()
