"""What an account's end takes along: its mailboxes and all messages in them.

Called by :mod:`pbx.commands` and :mod:`pbx.erasure`, again after a crash if need be. First each
mailbox is closed in its own stream, then the catalog: whoever stores a message meanwhile loses the
race for the stream's version and is told that there is no such mailbox.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from pbx.domain.mailboxes import (
    Catalog,
    MailAccountClosed,
    MailClosed,
    Messages,
    apply_message,
    catalog_stream,
    messages_stream,
)
from pbx.eventlog import Conflict, EventLog, Meta
from pbx.kernel.errors import LogUnavailable
from pbx.kernel.events import Event

MAX_TRIES: Final = 20


def close_mail_account(log: EventLog, account: str, meta: Meta) -> bool:
    """Close all mailboxes of an account; False if it had nothing."""
    closed = False
    for _ in range(MAX_TRIES):
        catalog, version = Catalog(), 0
        for record in log.read_stream(catalog_stream(account)):
            catalog.apply(record.event, record.version)
            version = record.version
        if catalog.empty:
            return closed
        for number in catalog.boxes:
            close_mailbox(log, account, number, meta)
        try:
            log.append(catalog_stream(account), version, [MailAccountClosed()], meta)
        except Conflict:
            continue
        closed = True
    raise LogUnavailable(f"the mailboxes of {account} change all the time; try again later")


def close_mailbox(log: EventLog, account: str, number: int, meta: Meta) -> None:
    """End the stream of a mailbox; nothing if it has ended."""
    box, stream = Messages(), messages_stream(account, number)

    def decide() -> Sequence[Event]:
        return [] if box.closed else [MailClosed()]

    _decided(log, stream, lambda event, version: apply_message(box, event, version), decide, meta)


def _decided(
    log: EventLog,
    stream: str,
    apply: Callable[[Event, int], None],
    decide: Callable[[], Sequence[Event]],
    meta: Meta,
) -> None:
    version = 0
    for _ in range(MAX_TRIES):
        for record in log.read_stream(stream, after_version=version):
            apply(record.event, record.version)
            version = record.version
        events = decide()
        if not events:
            return
        try:
            log.append(stream, version, events, meta)
        except Conflict:
            continue
        return
    raise LogUnavailable(f"{stream} changes faster than it can be decided on; try again later")
