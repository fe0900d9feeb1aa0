"""Texts of messages that no mailbox has any more: finding their files, to set the room free.

Removing a message leaves its text, so that a mistake can be repaired and copies elsewhere stay
whole. After a while that is of no use; ``pbx mailbox clean`` then deletes the files. The log is
read once, from its beginning.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Final, NamedTuple

from mail.mailbox import span_uids
from pbx.blobs import BlobStore
from pbx.domain.mailboxes import MailClosed, MailRemoved, MailStored
from pbx.domain.messages import MESSAGES
from pbx.eventlog import EventLog

TYPES: Final = ("mail.stored.v1", "mail.removed.v1", "mail.closed.v1")


class Cleaned(NamedTuple):
    """What was found, or deleted."""

    files: int
    size_bytes: int


def unneeded(log: EventLog, before_ns: int) -> list[str]:
    """Hashes of the texts whose last message was removed before a time."""
    held: defaultdict[str, dict[int, str]] = defaultdict(dict)
    uses: defaultdict[str, int] = defaultdict(int)
    gone_ns: dict[str, int] = {}

    def drop(stream: str, uid: int, time_ns: int) -> None:
        sha256 = held[stream].pop(uid, None)
        if sha256 is not None:
            uses[sha256] -= 1
            gone_ns[sha256] = max(time_ns, gone_ns.get(sha256, 0))

    for record in log.read(category=MESSAGES, types=TYPES):
        match record.event:
            case MailStored(uid=uid, sha256=sha256):
                held[record.stream][uid] = sha256
                uses[sha256] += 1
            case MailRemoved(uids=uids):
                for uid in span_uids(uids):
                    drop(record.stream, uid, record.time_ns)
            case MailClosed():
                for uid in list(held[record.stream]):
                    drop(record.stream, uid, record.time_ns)
    return [sha256 for sha256, count in uses.items() if not count and gone_ns[sha256] < before_ns]


def clean(log: EventLog, blobs: BlobStore, before_ns: int) -> Cleaned:
    """Delete the files of :func:`unneeded`. Raises ``BlobError``."""
    freed = [blobs.discard(sha256) for sha256 in unneeded(log, before_ns)]
    return Cleaned(sum(size > 0 for size in freed), sum(freed))
