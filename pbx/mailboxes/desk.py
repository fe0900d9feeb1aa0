"""What requests of programs share: open handles, the store's thread, rights, texts that were read.

The loop of the signal role owns the table of handles; jobs run on the store's thread and look a
handle up, but never change the table.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from mail.errors import MailError
from mail.flags import HIDDEN
from mail.mailbox import Message
from mail.reading import MailPart, read_message
from pbx.domain.mailboxes import Content, Messages, mailbox_of
from pbx.eventlog import Record
from pbx.kernel.clock import Clock
from pbx.kernel.errors import DomainError, LogUnavailable, PbxError
from pbx.mailboxes import rights as r
from pbx.mailboxes.access import MISSING, MailAccess, Opened
from pbx.mailboxes.store import MailStore
from pbx.mailboxes.views import View
from pbx.mailboxes.worker import Worker
from pbx.router import RoutingState
from pbx.script.events import SystemEvent, make_event
from pbx.script.runtime.node import TaskNode
from pbx.script.runtime.ports import PENDING, Answer
from pbx.script.runtime.task import Task
from pbx.script.values import Handle, Value, string_of

log = logging.getLogger("pbx.mail")

MAX_HANDLES: Final = 100
"""Open mailboxes, views and messages of one task: a program that leaks them is told."""
KEPT_TEXTS: Final = 4
"""Messages that were read and are kept for the next question about them."""
KEPT_BYTES: Final = 32 << 20
"""The same in bytes; the last one is kept whatever its size."""
NO_ACCOUNT: Final = b"the program acts for no account"
BUSY: Final = b"500-the mail store is busy, try again later"


@dataclass(slots=True)
class Held:
    """What a handle stands for."""

    task_id: str
    handle: Handle
    owner: str
    number: int
    """Of the mailbox."""
    uid: int = 0
    """Of a message."""
    view: View | None = None
    notify: Value = None
    """What ``SubscribeEvents`` was given; null: nothing is told."""
    told: bool = False
    """A notification is on its way that ``Sync`` has not followed yet."""


class Desk:
    """See the module."""

    def __init__(
        self,
        store: MailStore,
        worker: Worker,
        routing: RoutingState,
        clock: Clock,
        tasks: Callable[[], TaskNode],
        new_token: Callable[[], str],
        woken: Callable[[], None],
    ) -> None:
        self.store = store
        self.access = MailAccess(store, routing)
        self.routing = routing
        self.clock = clock
        self.tasks = tasks
        self.new_token = new_token
        self._woken = woken
        self._worker = worker
        self._held: dict[int, Held] = {}
        self._last_handle = 0
        self._texts: OrderedDict[tuple[str, int, int], tuple[int, MailPart]] = OrderedDict()

    # On the loop.

    def later(self, task: Task, job: Callable[[], Value | Held]) -> Answer:
        """Have a job done and its outcome given to the task; what it opens gets a handle."""

        def done(outcome: Any) -> None:
            if isinstance(outcome, Held):
                outcome = self._registered(outcome)
            self.tasks().answer(task, outcome, waited=True)
            self._woken()

        def safe() -> Value | Held:
            try:
                return job()
            except (DomainError, MailError) as error:
                return string_of(str(error))
            except LogUnavailable as error:
                log.warning("mail of a program cannot be stored now: %s", error)
                return string_of(f"500-{error}")
            except PbxError as error:
                return string_of(f"500-{error}")
            except Exception:
                log.exception("a request of the program %s failed", task.program_name)
                return b"500-internal error"

        return PENDING if self._worker.submit(safe, done) else BUSY

    def refusal(self, task: Task) -> bytes | None:
        """Why a task may open nothing more; None if it may."""
        if sum(one.task_id == task.task_id for one in self._held.values()) < MAX_HANDLES:
            return None
        return string_of(f"the program has {MAX_HANDLES} mailboxes and messages open")

    def _registered(self, held: Held) -> Handle:
        """Its handle; those of tasks that have ended are forgotten now and then."""
        if len(self._held) % MAX_HANDLES == MAX_HANDLES - 1:
            living = self.tasks().tasks
            self._held = {n: one for n, one in self._held.items() if one.task_id in living}
        self._last_handle += 1
        held.handle.number = self._last_handle
        self._held[self._last_handle] = held
        return held.handle

    def apply(self, record: Record) -> None:
        """Take in a record of a mailbox, whoever wrote it: handles count anew, views are told."""
        if not record.stream.startswith("mailbox/"):
            return
        place = mailbox_of(record.stream)
        for held in self._held.values():
            if (held.owner, held.number) == place and not held.uid:
                self._worker.submit(lambda held=held: self._recount(held), self._recounted)  # type: ignore[misc]

    def _recounted(self, outcome: Any) -> None:
        if isinstance(outcome, Held):
            task = self.tasks().tasks.get(outcome.task_id)
            if outcome.notify is not None and not outcome.told and task is not None:
                outcome.told = True
                event = make_event(SystemEvent.MAILBOX_NOTIFY, None, outcome.notify)
                self.tasks().reading.deliver(task, event)
                self._woken()

    # On either side.

    def held(self, task_id: str, handle: object) -> Held | None:
        """What a handle of a task stands for."""
        held = self._held.get(handle.number) if isinstance(handle, Handle) else None
        if held is None or held.task_id != task_id or held.handle != handle:
            return None
        return held

    # On the store's thread.

    def _recount(self, held: Held) -> Held | None:
        """Bring what a handle answers to ``Length`` up to date; gives it if its view has news."""
        box = self.store.messages(held.owner, held.number)
        if held.view is not None:
            return held if held.view.has_news(box) else None
        held.handle.messages = len(box.messages)
        return None

    def again(self, who: str, held: Held, needed: str = r.READ) -> Opened:
        """The mailbox of a handle, with the rights that there are now."""
        return self.access.again(who, held.owner, held.number, needed)

    def box(self, opened: Opened) -> Messages:
        """The messages of a mailbox."""
        return self.store.messages(opened.owner, opened.box.number)

    def message(self, opened: Opened, uid: int) -> Message[Content] | None:
        """A message that may be seen."""
        message = self.box(opened).messages.get(uid)
        if message is not None and HIDDEN in message.flags and r.ADMINISTER not in opened.rights:
            return None
        return message

    def visible(self, opened: Opened) -> list[int]:
        """UIDs of the messages that may be seen."""
        box = self.box(opened)
        if r.ADMINISTER in opened.rights:
            return list(box.messages)
        return [uid for uid, message in box.messages.items() if HIDDEN not in message.flags]

    def read(self, owner: str, number: int, uid: int) -> MailPart:
        """A message, read; the last few are kept, since programs ask for one thing at a time."""
        key = (owner, number, uid)
        kept = self._texts.pop(key, None)
        if kept is None:
            raw = self.store.read(*key)
            kept = len(raw), read_message(raw)
        self._texts[key] = kept
        while len(self._texts) > 1 and (
            len(self._texts) > KEPT_TEXTS or sum(s for s, _ in self._texts.values()) > KEPT_BYTES
        ):
            self._texts.popitem(last=False)
        return kept[1]

    def source(self, who: str, task_id: str, handle: Handle) -> Held:
        """A message that a program has open and may read. Raises :class:`DomainError`."""
        held = self.held(task_id, handle)
        if held is None or not held.uid:
            raise DomainError("the source of a part is a message that is open")
        self.require_message(self.again(who, held), held.uid)
        return held

    def require_message(self, opened: Opened, uid: int) -> None:
        """Raises :class:`DomainError` unless it is there and may be seen."""
        if self.message(opened, uid) is None:
            raise DomainError("there is no such message")


def missing() -> bytes:
    """Answer to a handle that is none."""
    return string_of(MISSING)
