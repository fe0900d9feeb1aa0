"""Whatever comes over the control socket, the answer is one line and no task suffers."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as s

from pbx.voice.control_wire import answer
from tests.support.program_lab import ProgramLab

TEXTS = s.sampled_from(["start", "send", "kill", "status", "describe", "list", "x", "main", "a@b"])
FIELDS = s.dictionaries(
    s.sampled_from(["op", "program", "account", "entry", "parameter", "task", "event", "actor"]),
    TEXTS | s.text(max_size=20) | s.integers() | s.none() | s.lists(s.text(max_size=3), max_size=2),
)
LAB = ProgramLab("entry main { void(ReadInput(1000)); }")


@given(s.binary(max_size=200) | FIELDS.map(lambda fields: json.dumps(fields).encode()))
def test_every_line_is_answered(line: bytes) -> None:
    reply = answer(LAB.control, line)
    assert reply.endswith(b"\n")
    assert reply.count(b"\n") == 1
    told = json.loads(reply)
    assert len(told) == 1
    assert told.keys() <= {"ok", "error"}
    if "error" in told:
        assert "internal error" not in told["error"]
    for task_id in list(LAB.node.tasks):
        LAB.node.kill(task_id)
