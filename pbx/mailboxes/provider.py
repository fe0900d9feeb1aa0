"""Requests of programs about mailboxes and mail: an implementation of ``Provider`` of tasks.

Each request becomes a job for the store's thread and is answered with ``PENDING``; its outcome goes
to the task by ``TaskNode.answer``. What changes something is answered when that is durable. All is
done with the rights of the account the task acts as at that moment. Errors are strings, so that a
program takes its error branch. CG/PL reference §9.11, §9.14.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from pbx.eventlog import Record
from pbx.kernel.clock import Clock
from pbx.kernel.errors import DomainError
from pbx.mailboxes.catalog_requests import CatalogRequests
from pbx.mailboxes.desk import NO_ACCOUNT, Desk, Held, missing
from pbx.mailboxes.message_requests import MessageRequests, by_index
from pbx.mailboxes.outgoing import Recipient, routed
from pbx.mailboxes.sending_requests import SendingRequests
from pbx.mailboxes.store import MailStore
from pbx.mailboxes.worker import Worker
from pbx.router import RoutingState
from pbx.script.builtins.general import copy
from pbx.script.errors import ProgramException
from pbx.script.limits import Limits, Meter
from pbx.script.requests import mailboxes as q
from pbx.script.requests.base import HostRequest
from pbx.script.runtime.node import TaskNode
from pbx.script.runtime.ports import Answer
from pbx.script.runtime.task import Task
from pbx.script.values import Handle, Value, string_of

NO_CALENDARS: Final = b"500-calendars are not available on this server"
_HANDLES: Final = ("mailbox", "view", "message")
"""Fields of requests that hold one."""

Handler = Callable[[Task, Any], Answer]


class MailProvider:
    """See the module.

    Made before the node of the tasks: `tasks` gives that when it is needed. `store` is used on the
    thread of `worker` only. `new_token` draws texts that are never the same twice. A task that was
    given something has its turn by `woken`.
    """

    def __init__(
        self,
        store: MailStore,
        worker: Worker,
        routing: RoutingState,
        clock: Clock,
        *,
        tasks: Callable[[], TaskNode],
        new_token: Callable[[], str],
        woken: Callable[[], None] = lambda: None,
    ) -> None:
        self._desk = Desk(store, worker, routing, clock, tasks, new_token, woken)
        self._routing = routing

    def handlers(self) -> Mapping[type[HostRequest], Handler]:
        """Request class to what carries it out."""
        messages, sending = MessageRequests(self._desk), SendingRequests(self._desk)
        table: dict[type[HostRequest], Handler] = {
            q.SubscribeEvents: self._subscribe,
            q.OpenCalendar: lambda task, request: NO_CALENDARS,
            q.FindInCalendar: lambda task, request: NO_CALENDARS,
            q.ProcessCalendar: lambda task, request: NO_CALENDARS,
            **sending.handlers(),
        }
        for kind, job in CatalogRequests(self._desk).jobs().items():
            table[kind] = self._for_account(job)
        for kind, opens in messages.opening().items():
            table[kind] = self._opening(opens)
        for kind, inside in {**messages.jobs(), **sending.jobs()}.items():
            table[kind] = self._for_handle(inside)
        for kind, onward in sending.onward().items():
            table[kind] = self._onward(onward)
        return table

    def apply(self, record: Record) -> None:
        """Take in a record of the category ``pbx.messages``, whoever wrote it."""
        self._desk.apply(record)

    def _for_account(self, job: Callable[[str, Any], Value]) -> Handler:
        def handle(task: Task, request: Any) -> Answer:
            who = task.account
            if who is None:
                return NO_ACCOUNT
            return self._desk.later(task, lambda: job(who, request))

        return handle

    def _opening(self, job: Callable[[str, str, Any], Value | Held]) -> Handler:
        def handle(task: Task, request: Any) -> Answer:
            who = task.account
            if who is None:
                return NO_ACCOUNT
            refusal = self._desk.refusal(task)
            if refusal is not None:
                return refusal
            return self._desk.later(task, lambda: job(task.task_id, who, request))

        return handle

    def _for_handle(self, job: Callable[[str, Held, Any], Value]) -> Handler:
        def handle(task: Task, request: Any) -> Answer:
            who = task.account
            held = self._desk.held(task.task_id, _handle_of(request))
            if held is None:
                return missing()
            if who is None:
                return NO_ACCOUNT
            parameters = getattr(request, "parameters", None) or getattr(request, "flags", None)
            if by_index(parameters) and held.view is None:
                raise ProgramException(f"{request.function}: useIndex is for mailbox views")
            return self._desk.later(task, lambda: job(who, held, request))

        return handle

    def _onward(self, job: Callable[[str, Held, Any, Sequence[Recipient]], Value]) -> Handler:
        def handle(task: Task, request: Any) -> Answer:
            try:
                recipients = routed([request.addresses], self._routing, task.account or "")
            except DomainError as error:
                return string_of(str(error))
            inside = self._for_handle(lambda who, held, asked: job(who, held, asked, recipients))
            return inside(task, request)

        return handle

    def _subscribe(self, task: Task, request: q.SubscribeEvents) -> Answer:
        held = self._desk.held(task.task_id, request.view)
        if held is not None and held.view is not None:
            held.told = False
            held.notify = copy(Meter(Limits()), request.reference)
        return None


def _handle_of(request: HostRequest) -> Handle | None:
    for name in _HANDLES:
        found = getattr(request, name, None)
        if isinstance(found, Handle):
            return found
    return None
