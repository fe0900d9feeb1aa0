"""Commands on tasks: here, over the wire, and as an administrator gives them."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from pbx.script.conversion import from_python
from pbx.script.values import Data, Dictionary, TaskHandle, Timestamp, Value
from pbx.signal.control_server import ControlServer
from pbx.voice.control import ControlError, NoTasks, TaskControl, node_of, task_ids
from pbx.voice.control_client import ControlClient
from pbx.voice.control_wire import MAX_LINE_BYTES, answer, request, result, value_of, value_text
from tests.support.program_lab import ProgramLab

ALICE = "alice@example.org"
ECHO = """
entry main {
  SetApplicationStatus(Vars().startParameter);
  while(true) {
    var event = ReadInput(1000);
    if(IsDictionary(event)) { SetApplicationStatus(event); }
  }
}
entry other { SetApplicationStatus("other"); void(ReadInput(1000)); }
"""


class Served:
    """A node of tasks behind a control socket, on a loop of its own."""

    def __init__(self, path: Path) -> None:
        self.lab = ProgramLab(ECHO)
        self.path = path
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        assert self._ready.wait(10)

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        self.lab.control._acted = self.lab.pump
        server = ControlServer(self.lab.control, self.path)
        await server.start()
        self._ready.set()
        await self._stop.wait()
        await server.aclose()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        self._loop.close()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    served = Served(tmp_path / "control.sock")
    yield served
    served.stop()


@pytest.fixture
def here() -> TaskControl:
    lab = ProgramLab(ECHO)
    lab.control._acted = lab.pump
    return lab.control


@pytest.fixture(params=["here", "socket"])
def control(request: pytest.FixtureRequest) -> TaskControl:
    """The same control in this process, and from another one."""
    if request.param == "here":
        found: TaskControl = request.getfixturevalue("here")
        return found
    return ControlClient(request.getfixturevalue("served").path)


def test_start_send_ask_kill(control: TaskControl) -> None:
    task_id = control.start("x.sppr", account=ALICE, parameter=[b"401", 5])
    assert control.status(task_id) == [b"401", 5]
    control.send_event(task_id, "hello", from_python({"a": 1}))
    status = control.status(task_id)
    assert isinstance(status, Dictionary)
    assert (status.get(b"what"), status.get(b"sender")) == (b"hello", None)
    info = control.describe(task_id)
    assert (info.program, info.account, info.state) == ("x", ALICE, "disconnected")
    assert info.position == "domain/x.sppr:5"
    assert "hello" in info.status
    other = control.start("x", account="bob@example.org", entry="other")
    assert [one.task_id for one in control.running()] == [task_id, other]
    control.kill(task_id)
    assert [one.account for one in control.running()] == ["bob@example.org"]
    for refused in (
        lambda: control.kill(task_id),
        lambda: control.status(task_id),
        lambda: control.send_event(task_id, "hello"),
        lambda: control.describe("nobody"),
    ):
        with pytest.raises(ControlError, match="unknown task"):
            refused()


def test_refusals_say_why(control: TaskControl) -> None:
    with pytest.raises(ControlError, match="application nosuch not found"):
        control.start("nosuch", account=ALICE)
    with pytest.raises(ControlError, match="no entry nothing"):
        control.start("x", account=ALICE, entry="nothing")
    task_id = control.start("x", account=ALICE)
    for name in ("disconnect", "1x", ""):
        with pytest.raises(ControlError, match="name"):
            control.send_event(task_id, name)
    with pytest.raises(ControlError, match="runs on the node b: give the command there"):
        control.kill("T00@b")


def test_a_program_that_does_not_compile_says_where() -> None:
    lab = ProgramLab("entry main {\n  PlayFile(\n}")
    with pytest.raises(ControlError, match=r"x\.sppr:3:1: error"):
        lab.control.start("x", account=ALICE)


def test_ids_name_their_node() -> None:
    new_id = task_ids("node-a", Random(1).getrandbits)
    first, second = new_id(), new_id()
    assert first != second
    assert node_of(first) == "node-a"
    assert len(first) == 1 + 16 + 1 + 6
    assert node_of("T1") == ""


def test_where_nothing_runs_every_command_says_so(tmp_path: Path) -> None:
    for control in (NoTasks(), ControlClient(tmp_path / "missing.sock")):
        commands: list[Callable[[TaskControl], object]] = [
            lambda c: c.start("x", account=ALICE),
            lambda c: c.kill("T1"),
            lambda c: c.status("T1"),
            lambda c: c.describe("T1"),
            lambda c: c.send_event("T1", "e"),
        ]
        for command in commands:
            with pytest.raises(ControlError, match="no applications run here"):
                command(control)
    assert NoTasks().running() == []


@pytest.mark.parametrize(
    "value",
    [None, b"", b"401", -5, [b"a", None, [2]], from_python({"k": {"": "x"}}), Data(b"\0\xff"),
     Timestamp(1_000_000), b"\n\"\\ \x01 \xc3\xa9"],
)  # fmt: skip
def test_values_cross_the_wire(value: Value) -> None:
    text = value_text(value)
    assert type(value_of(text)) is type(value)
    assert value_text(value_of(text)) == text


def test_handles_come_as_text(served: Served) -> None:
    task_id = served.lab.control.start("x", account=ALICE)
    served.lab.node.tasks[task_id].status = [TaskHandle("T9")]
    assert ControlClient(served.path).status(task_id) == b"(#task:T9)"


def test_what_is_no_request_is_answered_with_a_reason() -> None:
    control = ProgramLab(ECHO).control
    for line in (
        b"", b"nonsense", b"[]", b'{"op": "nosuch"}', b'{"op": "kill"}',
        b'{"op": "kill", "task": 5}',
        b'{"op": "start", "program": "x", "account": "a@b", "parameter": "(("}', b"\xff",
    ):  # fmt: skip
        reply = json.loads(answer(control, line))
        assert set(reply) == {"error"}, line
    with pytest.raises(ControlError, match="more than"):
        request("send", parameter="x" * MAX_LINE_BYTES)
    for line in (b"", b"[]", b"{}", b"x"):
        with pytest.raises(ControlError, match="cannot be read"):
            result(line)


def test_only_the_owner_may_open_the_socket(served: Served) -> None:
    assert served.path.stat().st_mode & 0o077 == 0
