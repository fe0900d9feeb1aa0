"""What programs do, in the server's log: for as long as nobody writes it down better."""

from __future__ import annotations

import logging
from typing import Literal

from pbx.script.machine import Failed
from pbx.script.requests.base import HostRequest
from pbx.script.runtime.task import Task
from pbx.script.values import Value

log = logging.getLogger("pbx.voice")


class LoggingObserver:
    """The :class:`~pbx.script.runtime.ports.Observer` port over the standard log."""

    def started(self, task: Task, parent: Task | None) -> None:
        log.info("task %s: %s for %s starts", task.task_id, task.program_name, task.account)

    def ended(self, task: Task, reason: str, failure: Failed | None) -> None:
        if failure is not None:
            log.error("task %s: %s broke down: %s", task.task_id, task.program_name, failure)
        else:
            log.info("task %s: %s has ended (%s)", task.task_id, task.program_name, reason)

    def input_read(self, task: Task, kind: Literal["digit", "event"], value: Value) -> None:
        """Digits may be a PIN: not logged."""

    def requested(self, task: Task, request: HostRequest) -> None:
        """Arguments may be anybody's secrets: not logged."""

    def logged(self, task: Task, text: str) -> None:
        log.info("task %s: %s", task.task_id, text)
