"""Tables ``mailboxes`` and ``messages`` from ``mailbox/…`` streams: mail as listings show it.

A row of ``mailboxes`` is a function of the catalog's stream, one of ``messages`` of its mailbox's,
so partitions need not agree on an order between them. What opens the texts is not in the tables.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection, bindparam, delete, update

from mail.flags import flags_text
from mail.mailbox import span_uids
from pbx.domain.mailboxes import (
    MailAccountClosed,
    MailboxAccessSet,
    MailboxCreated,
    MailboxDeleted,
    MailboxRenamed,
    MailClosed,
    MailFlagsSet,
    MailRemoved,
    MailStored,
    mailbox_of,
)
from pbx.domain.messages import MESSAGES
from pbx.eventlog import Record
from pbx.kernel.events import Event
from pbx.readmodel.projection import ProjectionBase, Statements, run_rows, write_rows
from pbx.readmodel.tables import mailboxes, messages

_COLUMNS: Final = tuple(messages.columns.keys())
_KEY: Final = ("key_account", "key_number", "key_uid")
_BOX: Final = (messages.c.account == bindparam(_KEY[0])) & (messages.c.number == bindparam(_KEY[1]))
_THIS: Final = _BOX & (messages.c.uid == bindparam(_KEY[2]))
_FLAG: Final = (
    update(messages).where(_THIS).values(flags=bindparam("flags"), modseq=bindparam("modseq"))
)
_DELETE: Final = delete(messages).where(_THIS)
_EMPTY: Final = delete(messages).where(_BOX)
_OF_ACCOUNT: Final = mailboxes.c.account == bindparam("key_account")
_OF_NUMBER: Final = _OF_ACCOUNT & (mailboxes.c.number == bindparam("key_number"))
_RENAME: Final = update(mailboxes).where(_OF_NUMBER).values(name=bindparam("name"))
_ALLOW: Final = update(mailboxes).where(_OF_NUMBER).values(access=bindparam("access"))
_FORGET: Final = delete(mailboxes).where(_OF_NUMBER)
_CLOSE: Final = delete(mailboxes).where(_OF_ACCOUNT)

_Key = tuple[str, int, int]


class MailboxProjection(ProjectionBase):
    """One row a mailbox, one row a message."""

    name = "mailboxes"
    categories = frozenset((MESSAGES,))
    tables = (mailboxes, messages)

    def __init__(self) -> None:
        self._catalog = Statements()
        # The last state of what the batch touched.
        self._rows: dict[_Key, dict[str, Any]] = {}
        self._flags: dict[_Key, tuple[str, int]] = {}
        self._removed: dict[_Key, None] = {}
        self._emptied: dict[tuple[str, int], None] = {}

    def apply(self, record: Record, event: Event) -> None:
        if not record.stream.startswith("mailbox/"):
            return
        account, number = mailbox_of(record.stream)
        match event:
            case MailStored():
                self._rows[account, number, event.uid] = _row(account, number, record, event)
            case MailFlagsSet():
                for same in event.messages:
                    text = flags_text(same.flags)
                    for uid in span_uids(same.uids):
                        self._flag((account, number, uid), text, record.version)
            case MailRemoved():
                for uid in span_uids(event.uids):
                    self._drop((account, number, uid))
            case MailClosed():
                self._empty(account, number)
            case _:
                self._change(account, record, event)

    def _flag(self, key: _Key, flags: str, modseq: int) -> None:
        row = self._rows.get(key)
        if row is not None:
            row.update(flags=flags, modseq=modseq)
        else:
            self._flags[key] = flags, modseq

    def _drop(self, key: _Key) -> None:
        self._flags.pop(key, None)
        # What came in this batch was never written; a UID does not come back.
        if self._rows.pop(key, None) is None:
            self._removed[key] = None

    def _empty(self, account: str, number: int) -> None:
        for held in (self._rows, self._flags, self._removed):
            for key in [key for key in held if key[:2] == (account, number)]:
                del held[key]
        self._emptied[account, number] = None

    def _change(self, account: str, record: Record, event: Event) -> None:
        add = self._catalog.add
        match event:
            case MailboxCreated():
                add(
                    mailboxes,
                    account=account,
                    number=event.number,
                    name=event.name,
                    mailbox_class=event.mailbox_class,
                    folder=event.folder,
                    uid_validity=event.uid_validity,
                    access="",
                    created_ns=record.time_ns,
                )
            case MailboxRenamed():
                add(_RENAME, key_account=account, key_number=event.number, name=event.name)
            case MailboxAccessSet():
                lines = "\n".join(f"{entry.who}\t{entry.rights}" for entry in event.entries)
                add(_ALLOW, key_account=account, key_number=event.number, access=lines)
            case MailboxDeleted():
                add(_FORGET, key_account=account, key_number=event.number)
            case MailAccountClosed():
                add(_CLOSE, key_account=account)

    def flush(self, connection: Connection) -> None:
        self._catalog.flush(connection)
        rows = [tuple(row.values()) for row in self._rows.values()]
        write_rows(connection, messages, _COLUMNS, rows)
        flagged = [(flags, modseq, *key) for key, (flags, modseq) in self._flags.items()]
        run_rows(connection, _FLAG, ("flags", "modseq", *_KEY), flagged)
        run_rows(connection, _DELETE, _KEY, list(self._removed))
        run_rows(connection, _EMPTY, _KEY[:2], list(self._emptied))
        self.reset()

    def reset(self) -> None:
        self._catalog.clear()
        self._rows.clear()
        self._flags.clear()
        self._removed.clear()
        self._emptied.clear()


def _row(account: str, number: int, record: Record, event: MailStored) -> dict[str, Any]:
    """The columns in their order."""
    return {
        "account": account,
        "number": number,
        "uid": event.uid,
        "modseq": record.version,
        "flags": flags_text(event.flags),
        "size_bytes": event.size_bytes,
        "received_ns": event.received_ns,
        "sender": event.sender,
        "subject": event.subject,
        "content_class": event.content_class,
        "urgent": event.urgent,
        "original_uid": event.original_uid or event.uid,
        "sha256": event.sha256,
        "source": event.source,
        "stored_ns": record.time_ns,
    }
