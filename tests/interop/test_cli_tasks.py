"""Commands on running applications over real sockets: TCP to the administrator's protocol, the
control socket between the process of commands and that of tasks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pbx.admin.server import AdminServer, ServerLimits
from pbx.kernel.clock import SystemClock
from pbx.kernel.entropy import SystemEntropy
from pbx.signal.control_server import ControlServer
from pbx.voice.control_client import ControlClient
from tests.support import task_commands
from tests.support.admin_lab import AdminLab
from tests.support.cli_client import CliClient

PATIENCE_S = 20


class Served:
    """A node of tasks and the command protocol, each on a loop of its own."""

    def __init__(self, socket: Path) -> None:
        self.voice = task_commands.lab()
        self.admin = AdminLab(tasks=ControlClient(socket))
        self._socket = socket
        self._stops: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
        self._threads: list[threading.Thread] = []
        self.address = ("", 0)
        self._begin(self._tasks)
        self._begin(self._commands)

    def _begin(self, serve: object) -> None:
        ready = threading.Event()

        async def main() -> None:
            stop = asyncio.Event()
            self._stops.append((asyncio.get_running_loop(), stop))
            await serve(ready, stop)  # type: ignore[operator]

        thread = threading.Thread(target=lambda: asyncio.run(main()))
        self._threads.append(thread)
        thread.start()
        assert ready.wait(PATIENCE_S)

    async def _tasks(self, ready: threading.Event, stop: asyncio.Event) -> None:
        server = ControlServer(self.voice.control, self._socket)
        await server.start()
        ready.set()
        await stop.wait()
        await server.aclose()

    async def _commands(self, ready: threading.Event, stop: asyncio.Event) -> None:
        server = AdminServer(self.admin.service, SystemClock(), SystemEntropy(), ServerLimits())
        self.address = await server.listen("127.0.0.1", 0)
        ready.set()
        await stop.wait()
        await server.aclose()

    def stop(self) -> None:
        for loop, event in self._stops:
            loop.call_soon_threadsafe(event.set)
        for thread in self._threads:
            thread.join(PATIENCE_S)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    served = Served(tmp_path / "control.sock")
    yield served
    served.stop()


def test_the_dialogue_over_tcp(served: Served) -> None:
    with CliClient(*served.address) as client:
        task_commands.play(client)
    assert not served.voice.node.tasks


def test_a_parameter_of_a_mebibyte_and_one_that_is_too_large(served: Served) -> None:
    with CliClient(*served.address) as client:
        assert client.login("postmaster", "Pa$$w0rd").code == 200
        task = client.value(f'STARTPBXTASK pbx PROGRAM x PARAM "{"a" * 1_000_000}"')
        assert len(client.value(f"READNODESTATUS {task}")) == 1_000_000
        refused = client.command(f'SENDTASKEVENT {task} EVENT e PARAM "{"a" * 2_000_000}"')
        assert (refused.code, refused.text) == (501, "the parameter is larger than 1048576 bytes")
        refused = client.command(f'SENDTASKEVENT {task} EVENT e PARAM "{"a" * 6_000_000}"')
        assert refused.code == 501
        assert client.command("NOOP").code == 200
