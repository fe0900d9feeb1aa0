"""Programs over real mailboxes: an offline run whose mail goes to a :class:`MailLab`.

Calls, sounds, accounts and files are the offline ones; mailboxes and mail are the product's own, on
a worker without a thread, with the log followed as the signal role follows it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pbx.calls.directory import Directory
from pbx.mailboxes.provider import MailProvider
from pbx.mailboxes.worker import InlineWorker
from pbx.script.environment import Level
from pbx.script.offline.files import OfflineFiles
from pbx.script.offline.run import OfflineRun, stock_directory
from pbx.script.offline.scenario import scenario_of
from pbx.script.requests.base import HostRequest
from pbx.script.runtime.ports import Answer
from pbx.script.runtime.task import Task
from tests.support.mail_lab import ANN, MailLab


def directory_of(lab: MailLab) -> Directory:
    """The names in the lab's log, as call control knows them."""
    made = Directory()
    for record in lab.log.read(category="pbx.config"):
        made.apply(record.stream, record.event)
    return made


class MailRun(OfflineRun):
    """See the module."""

    def __init__(self, lab: MailLab, program: str, files: OfflineFiles, scenario: Any) -> None:
        super().__init__(program, scenario, files)
        self.lab = lab
        self.worker = InlineWorker()
        self.wakes = 0
        """How often a task was given something."""
        self.provider = MailProvider(
            lab.store,
            self.worker,
            directory_of(lab),
            lab.clock,
            tasks=lambda: self.node,
            new_token=lambda: f"{lab.rng.getrandbits(64):016x}",
            woken=self._woken,
        )
        self._handlers = self.provider.handlers()
        self._followed = lab.log.head()
        self._offline = self.node.services
        self.node.services = self
        pump = self.node.pump

        def pump_and_work() -> bool:
            more = pump()
            self.worker.run()
            for record in lab.log.read(self._followed, category="pbx.messages"):
                self._followed = record.position
                self.provider.apply(record)
            self.worker.run()
            return more or bool(self.node._ready)

        self.node.pump = pump_and_work  # type: ignore[method-assign]

    def _woken(self) -> None:
        self.wakes += 1
        assert self.node._ready, "woken for nothing"

    # The services port.

    def perform(self, task: Task, request: HostRequest) -> Answer:
        handler = self._handlers.get(type(request))
        if handler is not None:
            return handler(task, request)
        return self._offline.perform(task, request)

    def language_of(self, account: str | None) -> str | None:
        return self._offline.language_of(account)

    def zone_of(self, account: str | None) -> str | None:
        return self._offline.zone_of(account)


def run_program(
    lab: MailLab, program: str, *, files: Mapping[str, bytes] | None = None, **scenario: Any
) -> MailRun:
    """Run a stock program, or one of `files`, to its end."""
    scenario.setdefault("account", ANN)
    found = OfflineFiles({Level.STOCK: stock_directory()}, extra=dict(files or {}), imagine=True)
    done = MailRun(lab, program, found, scenario_of(scenario))
    done.run()
    problems = [str(one) for one in done.failures]
    assert not problems, "\n".join([*problems, str(done.transcript)])
    assert done.start_problem is None
    assert not done.still_running, str(done.transcript)
    return done


def run_text(lab: MailLab, text: str, **scenario: Any) -> list[str]:
    """Run a program text as the account ``ann``; what it logged."""
    return run_program(lab, "x", files={"x.sppr": text.encode()}, **scenario).log
