"""Answers of programs' requests about the world: the server itself, DNS, other servers, commands.

Nothing here waits on the loop of calls: look-ups and HTTP run beside it, bounded in number and
time. HTTP goes where settings let rules go (``limits.rule_urls``): programs are written by users.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from pbx.script.limits import Limits, Meter
from pbx.script.requests import ambient, communications
from pbx.script.requests.base import HostRequest
from pbx.script.runtime.ports import PENDING, Answer, StartProblem
from pbx.script.textform import text_to_object
from pbx.script.values import Timestamp, Value, string_of, text_of
from pbx.voice.web import WebCaller, WebProblem, web_request

if TYPE_CHECKING:
    from pbx.calls.node import SignalNode
    from pbx.script.runtime.task import Task
    from pbx.voice.accounts import Offload
    from pbx.voice.configuration import ConfigurationBook
    from pbx.voice.host import ApplicationHost
    from pbx.voice.services import Handler

_START_TASK: Final = re.compile(
    r"STARTPBXTASK\s+(\S+)\s+PROGRAM\s+([^\s(]+)(?:\s+ENTRY\s+([^\s(]+))?(?:\s+PARAM\s*(.*))?\Z",
    re.IGNORECASE | re.DOTALL,
)
MAX_COUNTERS: Final = 1000
"""Elements of statistics that programs may make."""
_STATUSES: Final = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,63}\Z")


class AmbientServices:
    """The provider; see the module."""

    def __init__(
        self,
        node: SignalNode,
        book: ConfigurationBook,
        host: Callable[[], ApplicationHost],
        offload: Offload,
        web: WebCaller,
        version: str,
    ) -> None:
        self._node = node
        self._book = book
        self._host = host
        self._offload = offload
        self._web = web
        self._version = version
        self._started_s = node.clock.wall_ns() // 1_000_000_000
        self._counters: dict[str, int] = {}

    def handlers(self) -> Mapping[type[HostRequest], Handler]:
        """See the port."""
        return {
            ambient.SystemInfo: self._system_info,
            ambient.DnsLookup: self._dns,
            communications.ExecuteCLI: self._command,
            communications.StartPBXTask: self._start_task,
            communications.HTTPCall: self._http,
            communications.SendInstantMessage: self._message,
            communications.Statistics: self._statistics,
            communications.UpdateStatistics: self._update_statistics,
            communications.StoreCDR: self._store_cdr,
        }

    # The server.

    def _system_info(self, task: Task, request: ambient.SystemInfo) -> Answer:
        facts: dict[str, Value] = {
            "serverVersion": string_of(f"Ringlog {self._version}"),
            "mainDomainName": string_of(self._node.directory.main_domain),
            "startTime": Timestamp(self._started_s),
            "serverInstance": string_of(self._node.config.node),
            "serverOS": b"Linux",
            "serverCPU": b"any",
        }
        return facts.get(request.what)

    # Tasks and commands.

    def _may_start(self, task: Task, account: str) -> bool:
        own = task.account or ""
        if own == account:
            return True
        rights = self._book.rights(own) if own else frozenset()
        same = own.partition("@")[2] == account.partition("@")[2]
        return bool({"Master", "UserAccounts"} & rights) or ("Domain" in rights and same)

    def _begin(
        self, task: Task, name: str, program: str, entry: str, parameter: Value
    ) -> tuple[str, str]:
        """(task id, error): one of them is empty."""
        directory = self._node.directory
        user, at, domain = name.lower().rpartition("@")
        if not at:
            user, domain = domain, task.domain or directory.main_domain
        found = directory.account(user, directory.local_domain(domain) or domain)
        if found is None:
            return "", f"{name} is no account"
        if not self._may_start(task, found.address):
            return "", f"{task.account} may not start tasks of {found.address}"
        try:
            started = self._host().start_task(
                found.address, program, entry=entry, parameter=parameter
            )
        except StartProblem as problem:
            return "", f"{problem.status}-{problem}"
        return started, ""

    def _start_task(self, task: Task, request: communications.StartPBXTask) -> Answer:
        task_id, error = self._begin(
            task, request.account, request.program, "main", request.parameter
        )
        return string_of(task_id or error)

    def _command(self, task: Task, request: communications.ExecuteCLI) -> Answer:
        """Commands are carried out in another process; those on tasks belong here."""
        task.machine.variables.set(b"executeCLIResult", None)
        match = _START_TASK.match(request.command.strip())
        if match is None:
            return b"500-programs may give STARTPBXTASK; other commands are for administrators"
        account, program, entry, parameter = match.groups()
        value: Value = None
        if parameter is not None:
            value = text_to_object(Meter(Limits()), string_of(parameter.strip()))
            if value is None:
                return b"the parameter cannot be read"
        task_id, error = self._begin(task, account, program, entry or "main", value)
        if error:
            return string_of(error)
        task.machine.variables.set(b"executeCLIResult", string_of(task_id))
        return None

    # The outside.

    def _dns(self, task: Task, request: ambient.DnsLookup) -> Answer:
        name = request.value
        if not isinstance(name, bytes) or not name:
            return b"a name is needed"
        record, text = request.record, text_of(name)
        return self._beside(task, lambda: self._web.look_up(record, text))

    def _http(self, task: Task, request: communications.HTTPCall) -> Answer:
        try:
            wanted = web_request(request.url, request.parameters)
        except WebProblem as problem:
            return string_of(str(problem))
        return self._beside(task, lambda: self._web.call(wanted))

    def _beside(self, task: Task, work: Callable[[], Value]) -> Answer:
        def done(outcome: Any) -> None:
            if isinstance(outcome, WebProblem):
                outcome = string_of(str(outcome))
            elif isinstance(outcome, Exception):
                outcome = b"500-the request failed"
            host = self._host()
            host.tasks.answer(task, outcome)
            host.wake(self._node.now())

        self._offload(work, done)
        return PENDING

    def _message(self, task: Task, request: communications.SendInstantMessage) -> Answer:
        """MESSAGE to the devices of an address (RFC 3428), as the current account."""
        sender = task.account
        if sender is None:
            return b"there is no account to send as"
        error = self._host().send_message(sender, request.to, request.content)
        return None if error is None else string_of(error)

    # Figures.

    def _statistics(self, task: Task, request: communications.Statistics) -> Answer:
        name = request.name
        if not _STATUSES.match(name):
            return b"no name of a statistics element"
        operation = (request.operation or "").lower()
        before = self._counters.get(name)
        if not operation:
            return 0 if before is None else before
        value = request.value if isinstance(request.value, int) else 1
        if operation not in ("inc", "set"):
            return b"the operation is inc or set"
        if before is None and len(self._counters) >= MAX_COUNTERS:
            return b"there are too many statistics elements"
        self._counters[name] = (before or 0) + value if operation == "inc" else value
        return self._counters[name]

    def _update_statistics(self, task: Task, request: communications.UpdateStatistics) -> Answer:
        if isinstance(request.name, bytes):
            name = text_of(request.name)
            self._statistics(task, communications.Statistics(name, "inc", request.value))
        return None

    def _store_cdr(self, task: Task, request: communications.StoreCDR) -> Answer:
        """A line of an application about its call: kept with the call."""
        self._host().note_in_call(task, "APP", request.text)
        return None
