"""A relay in memory: the product's sans-I/O core behind addresses of nobody's network.

For tests of the media service. Time is an attribute; what the relay sends is recorded; ports can
be taken away. The simulator has its own one over the fake network.
"""

from __future__ import annotations

import errno
from typing import NamedTuple

from media.native.core import RelayCore, unpacked
from media.native.relay import Address, Buffer, RelayEvent, StreamConfig, StreamStats


class Sent(NamedTuple):
    """A datagram that left the relay."""

    source: Address
    destination: Address
    data: bytes


class FakeRelay:
    """Satisfies ``media.native.relay.Relay``."""

    def __init__(self) -> None:
        self.now = 0.0
        self.sent: list[Sent] = []
        self.taken: set[int] = set()
        """Ports that another program holds."""
        self.configured: dict[int, StreamConfig] = {}
        self.configure_calls = 0
        self._core = RelayCore()
        self._handles: dict[Address, int] = {}

    def open(self, host: str, port: int) -> int:
        if port in self.taken or (host, port) in self._handles:
            raise OSError(errno.EADDRINUSE, "address in use")
        handle = self._core.open((host, port))
        self._handles[host, port] = handle
        return handle

    def address(self, handle: int) -> Address:
        return self._core.address(handle)

    def configure(self, handle: int, config: StreamConfig) -> None:
        self._core.configure(handle, config)
        self.configured[handle] = config
        self.configure_calls += 1

    def stats(self, handle: int) -> StreamStats:
        return self._core.stats(handle, self.now)

    def close(self, handle: int) -> StreamStats:
        del self._handles[self._core.address(handle)]
        self.configured.pop(handle, None)
        return self._core.close(handle, self.now)

    def events(self) -> list[RelayEvent]:
        return self._core.events()

    def take(self, heads: Buffer, payloads: Buffer, stride: int) -> int:
        return self._core.take(heads, payloads, stride)

    def send(
        self, handles: Buffer, sizes: Buffer, packets: Buffer, stride: int, control: bool
    ) -> int:
        data = memoryview(packets).cast("B")
        count = 0
        for number, (handle, size) in enumerate(unpacked(handles, sizes)):
            forward = self._core.aim(handle, control=control)
            if forward is None:
                continue
            packet = bytes(data[number * stride : number * stride + size])
            self.sent.append(Sent(self._core.address(handle), forward.destination, packet))
            self._core.sent(forward, size)
            count += 1
        return count

    def fileno(self) -> int:
        raise NotImplementedError("nobody selects in memory")

    def shutdown(self) -> None:
        """Nothing to stop."""

    @property
    def open_ports(self) -> int:
        return len(self._handles)

    def config_of(self, port: int, host: str = "10.0.0.1") -> StreamConfig:
        """What the stream bound to this port was told."""
        return self.configured[self._handles[host, port]]

    def arrive(self, data: bytes, source: Address, destination: Address) -> Sent | None:
        """A datagram comes from the network; returns what the relay sent for it."""
        handle = self._handles.get(destination)
        if handle is None:
            return None
        forward = self._core.receive(handle, data, source, self.now)
        if forward is None:
            return None
        self._core.sent(forward, len(data))
        self.sent.append(Sent(self._core.address(forward.sink), forward.destination, data))
        return self.sent[-1]
