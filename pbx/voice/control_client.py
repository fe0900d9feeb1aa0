"""The other end of the control socket, for commands: blocks, with a time-out."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any, Final

from pbx.script.values import Value
from pbx.voice.control import ControlError, TaskInfo
from pbx.voice.control_wire import MAX_LINE_BYTES, request, result, value_of, value_text

PATIENCE_S: Final = 5.0
"""A node answers between two turns of its tasks: in milliseconds."""
_CHUNK: Final = 65_536


class ControlClient:
    """A :class:`~pbx.voice.control.TaskControl` in another process; a connection a command."""

    def __init__(self, path: Path, patience_s: float = PATIENCE_S) -> None:
        self._path = path
        self._patience_s = patience_s

    def start(
        self,
        program: str,
        *,
        account: str,
        entry: str = "main",
        parameter: Value = None,
        actor: str = "",
    ) -> str:
        """See the protocol."""
        text = value_text(parameter)
        return str(
            self._ask(
                "start",
                program=program,
                account=account,
                entry=entry,
                parameter=text,
                actor=actor,
            )
        )

    def send_event(self, task_id: str, name: str, parameter: Value = None) -> None:
        """See the protocol."""
        self._ask("send", task=task_id, event=name, parameter=value_text(parameter))

    def kill(self, task_id: str, *, actor: str = "") -> None:
        """See the protocol."""
        self._ask("kill", task=task_id, actor=actor)

    def status(self, task_id: str) -> Value:
        """See the protocol; handles come as text."""
        text = str(self._ask("status", task=task_id))
        try:
            return value_of(text)
        except ControlError:
            return text.encode()

    def describe(self, task_id: str) -> TaskInfo:
        """See the protocol."""
        return _info(self._ask("describe", task=task_id))

    def running(self) -> list[TaskInfo]:
        """See the protocol."""
        found = self._ask("list")
        if not isinstance(found, list):
            raise ControlError("the server's reply cannot be read")
        return [_info(one) for one in found]

    def _ask(self, op: str, **fields: object) -> Any:
        line = request(op, **fields)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
                link.settimeout(self._patience_s)
                link.connect(str(self._path))
                link.sendall(line)
                return result(_read_line(link))
        except TimeoutError:
            raise ControlError("the server does not answer; it may be overloaded") from None
        except (FileNotFoundError, ConnectionRefusedError):
            raise ControlError("no applications run here: start the server (pbx serve)") from None
        except OSError as error:
            raise ControlError(f"the server cannot be asked: {error.strerror or error}") from None


def _read_line(link: socket.socket) -> bytes:
    found = bytearray()
    while not found.endswith(b"\n"):
        chunk = link.recv(_CHUNK)
        if not chunk or len(found) > 2 * MAX_LINE_BYTES:
            raise ControlError("the server broke off its reply")
        found += chunk
    return bytes(found)


def _info(fields: object) -> TaskInfo:
    if not isinstance(fields, dict):
        raise ControlError("the server's reply cannot be read")
    try:
        return TaskInfo(**{str(name): str(value) for name, value in fields.items()})
    except TypeError:
        raise ControlError("the server is of another version") from None
