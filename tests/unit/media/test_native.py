"""Which relay is opened, and what the C core refuses when it is not asked properly."""

from __future__ import annotations

import errno
import socket
from typing import Any, NoReturn

import pytest

import media.native as native_package
from media.native import RelayOptions, StreamConfig, open_relay, sockets
from media.native._relay import Relay as Core
from media.native.native import NativeRelay
from media.native.twin import TwinRelay


@pytest.mark.parametrize(
    ("argument", "variable", "made"),
    [
        (None, None, NativeRelay),
        (None, "", NativeRelay),
        (None, "twin", TwinRelay),
        (None, "auto", NativeRelay),
        ("native", "twin", NativeRelay),
        ("twin", "native", TwinRelay),
    ],
)
def test_argument_and_environment_choose(
    monkeypatch: pytest.MonkeyPatch, argument: str | None, variable: str | None, made: type
) -> None:
    monkeypatch.delenv(native_package.IMPLEMENTATION_VARIABLE, raising=False)
    if variable is not None:
        monkeypatch.setenv(native_package.IMPLEMENTATION_VARIABLE, variable)
    relay = open_relay(implementation=argument)
    assert type(relay) is made
    relay.shutdown()


def test_without_the_c_core_the_twin_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(native_package.IMPLEMENTATION_VARIABLE, raising=False)
    monkeypatch.setattr(native_package, "native_is_built", lambda: False)
    relay = open_relay()
    assert type(relay) is TwinRelay
    relay.shutdown()


def test_an_unknown_relay_is_refused() -> None:
    with pytest.raises(ValueError, match='not "kernel"'):
        open_relay(implementation="kernel")


@pytest.mark.parametrize("workers", [0, 65])
def test_the_number_of_workers_is_bounded(workers: int) -> None:
    with pytest.raises(ValueError, match="worker"):
        NativeRelay(RelayOptions(workers=workers))


def test_a_socket_that_the_core_refuses_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    relay = NativeRelay()
    made: list[socket.socket] = []
    bind = sockets.bind

    def closed_by_somebody(host: str, port: int, options: RelayOptions) -> socket.socket:
        made.append(bind(host, port, options))
        return made[-1]

    def refuse(_: socket.socket) -> NoReturn:
        raise OSError(errno.EBADF, "gone")

    monkeypatch.setattr(sockets, "bind", closed_by_somebody)
    monkeypatch.setattr(sockets, "bound_address", refuse)
    with pytest.raises(OSError, match="gone"):
        relay.open("127.0.0.1", 0)
    assert made[0].fileno() == -1
    relay.shutdown()


class TestCore:
    """The binding checks types and what the packet path must never meet."""

    def configure(
        self,
        core: Core,
        handle: int,
        *,
        remote: Any = None,
        payload_types: bytes | None = None,
        max_packet_bytes: int = 1500,
    ) -> None:
        core.configure(
            *(handle, 0, 0, False, 0, False, remote, None, False, False, 1, payload_types, 0),
            *(max_packet_bytes, 8000, 0, True, True, 5.0, False, 0),
        )

    @pytest.mark.parametrize(
        ("of", "error"),
        [
            ({"remote": ("::1", 5)}, ValueError),  # another family
            ({"remote": ("127.0.0.1", 0)}, ValueError),
            ({"remote": ("localhost", 5)}, ValueError),
            ({"remote": ("127.0.0.1", 65536)}, ValueError),
            ({"remote": "127.0.0.1"}, TypeError),
            ({"payload_types": b"short"}, ValueError),
            ({"max_packet_bytes": 2048}, ValueError),
        ],
    )
    def test_unchecked_values_are_refused(self, of: dict[str, Any], error: type[Exception]) -> None:
        core = Core(0, ())
        handle = core.open(-1, ("127.0.0.1", 30000))
        with pytest.raises(error):
            self.configure(core, handle, **of)
        assert core.stats(handle, 0.0)[13] is None
        core.shutdown()

    def test_a_relay_that_is_shut_down_says_so(self) -> None:
        core = Core(1, ("127.0.0.1",))
        handle = 65536
        core.shutdown()
        core.shutdown()
        for call in (core.events, core.fileno, core.reclaim):
            with pytest.raises(ValueError, match="shut down"):
                call()
        for reader in (core.stats, core.close, core.address):
            with pytest.raises(ValueError, match="shut down"):
                reader(handle)
        with pytest.raises(ValueError, match="shut down"):
            core.is_own_port(("127.0.0.1", 5))
        with pytest.raises(ValueError, match="shut down"):
            core.inject(handle, b"", ("127.0.0.1", 5), 0.0)

    def test_a_bad_descriptor_is_an_os_error(self) -> None:
        core = Core(1, ())
        with pytest.raises(OSError, match="descriptor"):
            core.open(-1, ("127.0.0.1", 30000))
        core.shutdown()

    def test_hosts_are_numeric(self) -> None:
        with pytest.raises(ValueError, match="numeric"):
            Core(0, ("localhost",))

    def test_datagrams_are_injected_without_workers_only(self) -> None:
        core = Core(1, ())
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1", 0))
            handle = core.open(sock.detach(), ("127.0.0.1", 30000))
        with pytest.raises(ValueError, match="without workers"):
            core.inject(handle, b"", ("127.0.0.1", 5), 0.0)
        core.shutdown()

    def test_a_forgotten_relay_ends_its_threads(self) -> None:
        relay = NativeRelay()
        address = relay.address(relay.open("127.0.0.1", 0))
        del relay
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(address)

    def test_handles_are_found_among_thousands(self) -> None:
        core = Core(0, ())
        handles = [core.open(-1, ("127.0.0.1", port)) for port in range(10_000, 30_000)]
        for handle in handles[::2]:
            core.close(handle)
        again = [core.open(-1, ("127.0.0.1", port)) for port in range(10_000, 30_000, 2)]
        assert len({*handles, *again}) == len(handles) + len(again)
        assert [core.address(handle)[1] for handle in again] == list(range(10_000, 30_000, 2))
        assert all(core.is_own_port(("127.0.0.1", port)) for port in range(10_000, 30_000))
        core.shutdown()


def test_the_twin_of_an_old_reader_stays_usable() -> None:
    """Closing a stream in the middle of its packets harms nobody."""
    relay = TwinRelay()
    first = relay.open("127.0.0.1", 0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"x", relay.address(first))
    relay.close(first)
    second = relay.open("127.0.0.1", 0)
    relay.configure(second, StreamConfig(remote=("127.0.0.1", 5)))
    assert relay.stats(second).dropped == {}
    relay.shutdown()
