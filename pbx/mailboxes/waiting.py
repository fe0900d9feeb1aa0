"""How many voice messages wait for an account: what lights the lamp of a phone (RFC 3842).

Asked by event packages on the loop of the signal role, so it answers at once; followed from the
log, so that it does not matter who changed a flag: the menu of an account, a command, another node,
later IMAP. An account is folded when it is first asked for, and only what its INBOX says of voice
messages is kept. Mail reference §11.
"""

from __future__ import annotations

import logging
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final, NamedTuple, Protocol

from mail.mailbox import span_uids
from mail.names import INBOX
from pbx.domain.mailboxes import (
    Catalog,
    MailClosed,
    MailFlagsSet,
    MailRemoved,
    MailStored,
    Waiting,
    catalog_stream,
    mailbox_of,
    messages_stream,
    waiting,
)
from pbx.eventlog import Codec, Record
from pbx.kernel.errors import LogError
from pbx.kernel.events import Event

log = logging.getLogger("pbx.mail")

KEPT_ACCOUNTS: Final = 20_000
"""As many as one node has phones that subscribe; each is a kilobyte and some bytes a message."""
KEPT_MESSAGES: Final = 500_000
"""Messages known of, 150 bytes each."""
AT_ONCE: Final = 2000
"""Events folded before the loop has its turn again: 20 ms. The INBOX of a phone has fewer."""


class ReadsStreams(Protocol):
    """The part of a log that is needed here."""

    def read_stream(self, stream: str, after_version: int = 0) -> Iterator[Record]: ...


class VoiceCounts(NamedTuple):
    """Voice messages of an account; urgent ones count in both numbers (RFC 3842 §3.5)."""

    new: int = 0
    old: int = 0
    urgent_new: int = 0
    urgent_old: int = 0


class _Inbox:
    """What is known of one account."""

    __slots__ = ("complete", "number", "totals", "urgent", "version", "waiting")

    def __init__(self, number: int) -> None:
        self.number = number
        """Of its INBOX; 0 while there is none."""
        self.version = 0
        self.complete = False
        self.urgent: dict[int, bool] = {}
        """By UID."""
        self.waiting: dict[int, Waiting] = {}
        self.totals: Counter[Waiting] = Counter()

    @property
    def counts(self) -> VoiceCounts:
        """Empty until all is folded: a lamp must not flicker while that is done."""
        if not self.complete:
            return VoiceCounts()
        urgent_new, urgent_old = (self.totals[Waiting(new, True)] for new in (True, False))
        new, old = (self.totals[Waiting(new, False)] for new in (True, False))
        return VoiceCounts(new + urgent_new, old + urgent_old, urgent_new, urgent_old)

    def fold(self, event: Event, version: int) -> None:
        self.version = version
        match event:
            case MailStored():
                self.urgent[event.uid] = event.urgent
                self._set(event.uid, event.flags)
            case MailFlagsSet():
                for same in event.messages:
                    for uid in span_uids(same.uids):
                        if uid in self.urgent:
                            self._set(uid, same.flags)
            case MailRemoved():
                for uid in span_uids(event.uids):
                    self._forget(uid)
                    self.urgent.pop(uid, None)
            case MailClosed():
                self.urgent.clear()
                self.waiting.clear()
                self.totals.clear()

    def _set(self, uid: int, flags: tuple[str, ...]) -> None:
        self._forget(uid)
        found = waiting(flags, self.urgent[uid])
        if found is not None:
            self.waiting[uid] = found
            self.totals[found] += 1

    def _forget(self, uid: int) -> None:
        held = self.waiting.pop(uid, None)
        if held is not None:
            self.totals[held] -= 1


class WaitingMessages:
    """See the module. For one loop.

    `changed` is told the account whose numbers are others now (or may be). `later` has a function
    called on the loop's next turn; without it everything is folded at once.
    """

    def __init__(
        self,
        event_log: ReadsStreams,
        *,
        changed: Callable[[str], None] = lambda account: None,
        later: Callable[[Callable[[], None]], object] | None = None,
    ) -> None:
        self._log = event_log
        self.changed = changed
        self._later = later
        self._accounts: OrderedDict[str, _Inbox] = OrderedDict()
        self._held = 0
        """Messages known of, over all accounts."""
        # Without keys: what opens a text is of no use here and costs most to decode.
        self._codec = Codec()

    def counts(self, account: str) -> VoiceCounts:
        """Of account ``name@domain``."""
        inbox = self._accounts.get(account)
        if inbox is None:
            try:
                inbox = self._load(account)
            except LogError as error:
                log.warning("voice messages of %s cannot be counted now: %s", account, error)
                return VoiceCounts()
        else:
            self._accounts.move_to_end(account)
        return inbox.counts

    def apply(self, record: Record) -> None:
        """Take in a record of a mailbox, whoever wrote it."""
        if not record.stream.startswith("mailbox/"):
            return
        account, number = mailbox_of(record.stream)
        inbox = self._accounts.get(account)
        if inbox is None:
            self.changed(account)  # who watches it asks, and then it is folded
        elif not number:
            self._catalog_changed(account, inbox)
        elif number == inbox.number and inbox.complete and record.version > inbox.version:
            before = inbox.counts
            if record.version != inbox.version + 1:
                self._drop(account)
            else:
                self._fold(inbox, record)
            if account not in self._accounts or inbox.counts != before:
                self.changed(account)

    def statistics(self) -> dict[str, int]:
        """Table sizes."""
        return {"mail_accounts": len(self._accounts)}

    def _catalog_changed(self, account: str, inbox: _Inbox) -> None:
        if self._inbox_number(account) != inbox.number:
            self._drop(account)
            self.changed(account)

    def _inbox_number(self, account: str) -> int:
        catalog = Catalog()
        for record in self._log.read_stream(catalog_stream(account)):
            catalog.apply(record.event, record.version)
        found = catalog.find(INBOX)
        return 0 if found is None else found.number

    def _load(self, account: str) -> _Inbox:
        inbox = _Inbox(self._inbox_number(account))
        self._accounts[account] = inbox
        self._continue(account, inbox)
        while len(self._accounts) > 1 and (
            self._held > KEPT_MESSAGES or len(self._accounts) > KEPT_ACCOUNTS
        ):
            self._drop(next(iter(self._accounts)))
        return inbox

    def _drop(self, account: str) -> None:
        self._held -= len(self._accounts.pop(account).urgent)

    def _fold(self, inbox: _Inbox, record: Record) -> None:
        before = len(inbox.urgent)
        event = self._codec.decode(record.stream, record.type, record.data)
        inbox.fold(event, record.version)
        self._held += len(inbox.urgent) - before

    def _continue(self, account: str, inbox: _Inbox, *, again: bool = False) -> None:
        """Fold some more; told when that was all, if somebody was answered meanwhile."""
        if self._accounts.get(account) is not inbox:
            return  # forgotten meanwhile
        limit = None if self._later is None else AT_ONCE
        count = 0
        if inbox.number:
            stream = messages_stream(account, inbox.number)
            for record in islice(self._log.read_stream(stream, inbox.version), limit):
                self._fold(inbox, record)
                count += 1
        inbox.complete = limit is None or count < limit
        if not inbox.complete and self._later is not None:
            self._later(lambda: self._continue(account, inbox, again=True))
        elif again:
            self.changed(account)
