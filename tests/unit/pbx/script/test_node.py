"""The node against ports that answer late, or in an unlucky order."""

from __future__ import annotations

from random import Random
from typing import Any
from unittest.mock import MagicMock

import pytest

from pbx.script.environment import Level
from pbx.script.requests.communications import HTTPCall
from pbx.script.runtime import PENDING, Mode, StartProblem, Task, TaskNode

PROGRAM = b"""
entry Other { SysLog(ReadInput(60).what); }
entry main { SysLog(HTTPCall("http://x")); SysLog(AcceptCall()); SysLog(IsConnected()); }
"""


class Clock:
    """Time that stands still unless it is moved."""

    now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s

    def wall_ns(self) -> int:
        return int(self.now_s * 1e9)


class Files:
    """One program."""

    def read(self, level: Level, domain: str, language: str | None, name: str) -> bytes | None:
        return PROGRAM if name == "x.sppr" and language is None else None


class Lab:
    """A node whose ports only note what they are asked."""

    def __init__(self, **more: Any) -> None:
        self.calls, self.services, self.observer = MagicMock(), MagicMock(), MagicMock()
        self.services.perform.return_value = PENDING
        self.services.language_of.return_value = None
        self.services.zone_of.return_value = "No/Where"
        ids = iter(range(1, 100))
        self.node = TaskNode(
            files=Files(),
            calls=self.calls,
            services=self.services,
            observer=self.observer,
            clock=Clock(),
            entropy=Random(1),
            new_id=lambda: f"T{next(ids)}",
            **more,
        )

    def start(self) -> Task:
        task = self.node.start("x", account="pbx@example.org", incoming=True)
        self.run()
        return task

    def run(self) -> None:
        while self.node.pump():
            pass

    @property
    def log(self) -> list[str]:
        return [call.args[1] for call in self.observer.logged.call_args_list]


def test_a_cancelled_call_does_not_answer_other_requests() -> None:
    """A caller who gives up while the program waits for a web server: that request goes on."""
    lab = Lab()
    task = lab.start()
    assert lab.services.perform.call_args.args == (task, HTTPCall("http://x"))
    lab.node.peer_gone(task)
    lab.run()
    assert lab.log == []
    lab.node.answer(task, b"timeout")
    lab.run()
    assert lab.log == ["timeout", "500-no call is waiting for an answer", "#null#"]
    lab.calls.accept.assert_not_called()


def test_a_late_answer_does_not_connect() -> None:
    """CANCEL and 200 cross: the program sees 487 and stays disconnected."""
    lab = Lab()
    task = lab.start()
    lab.node.answer(task, None)
    lab.run()
    lab.calls.accept.assert_called_once_with(task)
    lab.node.peer_gone(task)
    lab.node.accepted(task, None)
    lab.run()
    assert lab.log == ["#null#", "487-Request Terminated", "#null#"]
    assert task.mode is Mode.DISCONNECTED
    lab.calls.hang_up.assert_not_called()
    lab.calls.reject.assert_not_called()


def test_a_killed_task_refuses_its_call() -> None:
    """KILLNODE while the call is pending."""
    lab = Lab()
    task = lab.start()
    assert lab.node.kill(task.task_id)
    lab.calls.reject.assert_called_once_with(task, 500, "application finished", None)
    assert lab.observer.ended.call_args.args[1] == "killed"
    assert not lab.node.kill(task.task_id)
    lab.node.answer(task, None)
    lab.run()
    assert lab.log == []


def test_events_of_administrators() -> None:
    """They have no sender; a task that is not there is an error."""
    lab = Lab()
    task = lab.node.start("x", account="pbx@example.org", entry="Other")
    lab.run()
    assert lab.node.deadline() == 60.0
    assert lab.node.send_event(task.task_id, "hello") is None
    lab.run()
    assert lab.log == ["hello"]
    assert lab.node.send_event(task.task_id, "hello") == "there is no such task"
    assert lab.node.deadline() is None


def test_starting_problems() -> None:
    """No such program, no such entry, too many tasks."""
    lab = Lab(max_tasks=1)
    for program, entry, status in (("y", "main", 404), ("x", "z", 500)):
        with pytest.raises(StartProblem) as caught:
            lab.node.start(program, account="pbx@example.org", entry=entry)
        assert caught.value.status == status
    lab.start()
    with pytest.raises(StartProblem) as caught:
        lab.start()
    assert caught.value.status == 503
