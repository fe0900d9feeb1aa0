"""What goes over the control socket: a request and a reply, each one line of JSON.

``{"op": "start", "program": …, "account": …, "entry": …, "parameter": "(\\"401\\")"}`` is answered
``{"ok": …}`` or ``{"error": "why"}``. Values of programs travel in the data format's text form.
Sans-I/O: :func:`answer` carries a line out, :func:`request` and :func:`result` are the client's.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, Final

from pbx.kernel.errors import PbxError
from pbx.script.errors import ProgramException
from pbx.script.limits import Limits, Meter
from pbx.script.textform import object_to_text, text_to_object
from pbx.script.values import Value, string_of, text_of
from pbx.voice.control import ControlError, TaskControl

log = logging.getLogger("pbx.voice")

MAX_LINE_BYTES: Final = 4 * 1024 * 1024
"""A parameter of 1 MiB, which is what an event may carry, escaped twice."""
NULL: Final = "#NULL#"


def value_text(value: Value) -> str:
    """A value as text. Raises :class:`ControlError` for one that has none."""
    if value is None:
        return NULL
    try:
        return text_of(object_to_text(Meter(Limits()), value))
    except ProgramException as problem:
        raise ControlError(f"the value cannot be written: {problem}") from None


def value_of(text: str) -> Value:
    """The reverse. Raises :class:`ControlError`."""
    if text.strip() in ("", NULL):
        return None
    try:
        value = text_to_object(Meter(Limits()), string_of(text))
    except ProgramException as problem:
        raise ControlError(f"the parameter cannot be read: {problem}") from None
    if value is None:
        raise ControlError('the parameter cannot be read: expected an object such as ("401")')
    return value


def request(op: str, **fields: object) -> bytes:
    """The line a client sends. Raises :class:`ControlError` if it would be too long."""
    line = json.dumps({"op": op, **fields}, ensure_ascii=False).encode() + b"\n"
    if len(line) > MAX_LINE_BYTES:
        raise ControlError(f"the command has more than {MAX_LINE_BYTES} bytes")
    return line


def result(line: bytes) -> Any:
    """What the reply says. Raises :class:`ControlError` with the reason of a refusal."""
    try:
        reply = json.loads(line)
    except ValueError:
        raise ControlError("the server's reply cannot be read") from None
    if not isinstance(reply, dict) or not reply.keys() & {"ok", "error"}:
        raise ControlError("the server's reply cannot be read")
    if "error" in reply:
        raise ControlError(str(reply["error"]))
    return reply["ok"]


def answer(control: TaskControl, line: bytes) -> bytes:
    """Carry out one request; whatever is wrong with it becomes the reply."""
    try:
        asked = json.loads(line)
        if not isinstance(asked, dict):
            raise ValueError(asked)
        operation = _OPERATIONS[str(asked.get("op"))]
        reply: dict[str, object] = {"ok": operation(control, asked)}
    except PbxError as error:
        reply = {"error": str(error)}
    except (ValueError, KeyError, TypeError) as error:
        reply = {"error": f"not a request: {type(error).__name__} {error}"}
    except Exception:
        # A defect costs its command, not the process in which calls run.
        log.exception("a command on tasks failed")
        reply = {"error": "internal error, see the log of the server"}
    return json.dumps(reply, ensure_ascii=False).encode() + b"\n"


def _text(asked: Mapping[str, Any], name: str, default: str | None = None) -> str:
    found = asked[name] if default is None else asked.get(name, default)
    if not isinstance(found, str):
        raise TypeError(name)
    return found


def _start(control: TaskControl, asked: Mapping[str, Any]) -> object:
    return control.start(
        _text(asked, "program"),
        account=_text(asked, "account"),
        entry=_text(asked, "entry", "main"),
        parameter=value_of(_text(asked, "parameter", "")),
        actor=_text(asked, "actor", ""),
    )


def _send(control: TaskControl, asked: Mapping[str, Any]) -> object:
    control.send_event(
        _text(asked, "task"), _text(asked, "event"), value_of(_text(asked, "parameter", ""))
    )
    return None


def _kill(control: TaskControl, asked: Mapping[str, Any]) -> object:
    control.kill(_text(asked, "task"), actor=_text(asked, "actor", ""))
    return None


_OPERATIONS: Final[Mapping[str, Callable[[TaskControl, Mapping[str, Any]], object]]] = {
    "start": _start,
    "send": _send,
    "kill": _kill,
    "status": lambda control, asked: value_text(control.status(_text(asked, "task"))),
    "describe": lambda control, asked: asdict(control.describe(_text(asked, "task"))),
    "list": lambda control, asked: [asdict(info) for info in control.running()],
}
