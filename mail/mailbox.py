"""The rules of one mailbox: UIDs, UIDVALIDITY, modification sequences; no I/O, no clock.

RFC 9051 §2.3.1.1: a UID is given once and never again, they only grow, and with the UIDVALIDITY
they name a message for ever. RFC 7162 §3.1: every change has a larger modification sequence than
any before. Whoever keeps the events of a mailbox folds them into a :class:`Mailbox`; what to append
is decided from it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Generic, TypeVar

from mail.errors import MailboxFull
from mail.flags import DELETED, Flags, FlagSet

MAX_UID: Final = 2**32 - 1
MAX_MESSAGES: Final = 100_000
"""Of one mailbox: 40 MB in memory. Clients become unusable before that; archives are split."""
MAX_TOKENS: Final = 1000
"""Deliveries remembered, to tell a repeated one: they are repeated within minutes."""

C = TypeVar("C")
Span = tuple[int, int]
"""First and last UID of a range, both included."""


@dataclass(frozen=True, slots=True)
class Message(Generic[C]):
    """A message of a mailbox."""

    uid: int
    modseq: int
    """Of its last change."""
    flags: Flags
    size_bytes: int
    received_ns: int
    """IMAP's internal date: when it came, wall time."""
    original_uid: int
    """Kept when a message is replaced by an edited one; else its UID."""
    content: C
    """Where its text is, and what is known of it; the business of who stores."""
    attributes: Mapping[str, str] = field(default_factory=dict)


class Mailbox(Generic[C]):
    """A mailbox as of its last change. Changed in place by whoever folds its events."""

    __slots__ = ("closed", "messages", "modseq", "size_bytes", "tokens", "uid_next")

    def __init__(self) -> None:
        self.uid_next = 1
        self.modseq = 0
        self.size_bytes = 0
        self.closed = False
        """Nothing is in it and nothing will ever be."""
        self.messages: dict[int, Message[C]] = {}
        """By UID, in their order."""
        self.tokens: OrderedDict[str, int] = OrderedDict()
        """UIDs by the token of their delivery."""

    # Folding.

    def stored(self, message: Message[C], token: str = "") -> None:
        """A message came; its UID is :attr:`uid_next` or larger."""
        self.messages[message.uid] = message
        self.size_bytes += message.size_bytes
        self.uid_next = max(self.uid_next, message.uid + 1)
        self.modseq = max(self.modseq, message.modseq)
        if token:
            self.tokens[token] = message.uid
            if len(self.tokens) > MAX_TOKENS:
                self.tokens.popitem(last=False)

    def flagged(self, uids: Iterable[int], flags: Flags, modseq: int) -> None:
        """Messages have exactly these flags from now on; those that are gone stay so."""
        self.modseq = max(self.modseq, modseq)
        for uid in uids:
            held = self.messages.get(uid)
            if held is not None:
                self.messages[uid] = replace(held, flags=flags, modseq=modseq)

    def described(self, uid: int, attributes: Mapping[str, str], modseq: int) -> None:
        """A message has exactly these attributes from now on."""
        self.modseq = max(self.modseq, modseq)
        held = self.messages.get(uid)
        if held is not None:
            self.messages[uid] = replace(held, attributes=attributes, modseq=modseq)

    def removed(self, uids: Iterable[int], modseq: int) -> None:
        """Messages are gone."""
        self.modseq = max(self.modseq, modseq)
        for uid in uids:
            gone = self.messages.pop(uid, None)
            if gone is not None:
                self.size_bytes -= gone.size_bytes

    def close(self, modseq: int) -> None:
        """Everything is gone, for good."""
        self.messages.clear()
        self.tokens.clear()
        self.size_bytes = 0
        self.modseq = max(self.modseq, modseq)
        self.closed = True

    # Deciding.

    def next_uid(self, count: int = 1) -> int:
        """The first UID of the next `count` messages. Raises :class:`MailboxFull`."""
        if self.uid_next + count - 1 > MAX_UID:
            raise MailboxFull("the mailbox has given out all UIDs: move its messages to a new one")
        if len(self.messages) + count > MAX_MESSAGES:
            raise MailboxFull(
                f"the mailbox has {MAX_MESSAGES} messages: move some elsewhere or delete them"
            )
        return self.uid_next

    def with_flags(self, wanted: FlagSet) -> list[int]:
        """UIDs of the messages that have and lack what is wanted."""
        return [uid for uid, message in self.messages.items() if wanted.fits(message.flags)]

    def deleted(self) -> list[int]:
        """UIDs of the messages that an expunge removes."""
        return [uid for uid, message in self.messages.items() if DELETED in message.flags]

    def within(self, spans: Iterable[Span]) -> list[int]:
        """UIDs in ranges, each once, in order."""
        merged = iter(sorted(spans))
        span = next(merged, None)
        found = []
        for uid in self.messages:
            while span is not None and span[1] < uid:
                span = next(merged, None)
            if span is None:
                break
            if span[0] <= uid:
                found.append(uid)
        return found

    def changes(self, uids: Iterable[int], change: FlagSet) -> dict[Flags, list[int]]:
        """What a change of flags leads to: the messages that it changes, by their new flags.

        Raises :class:`~mail.errors.FlagError`.
        """
        found: dict[Flags, list[int]] = {}
        for uid in uids:
            message = self.messages.get(uid)
            if message is not None:
                flags = change.applied(message.flags)
                if flags != message.flags:
                    found.setdefault(flags, []).append(uid)
        return found

    def changed_since(self, modseq: int) -> Iterator[int]:
        """UIDs of messages that came or changed after a modification sequence."""
        return (uid for uid, message in self.messages.items() if message.modseq > modseq)

    def by_original(self, original_uid: int) -> int | None:
        """The newest message of an original UID."""
        return next(
            (u for u in reversed(self.messages) if self.messages[u].original_uid == original_uid),
            None,
        )


def next_uid_validity(last: int, now_s: int) -> int:
    """UIDVALIDITY of a mailbox made now: larger than that of any the account had before."""
    return min(max(last + 1, now_s), MAX_UID)


def spans_of(uids: Collection[int]) -> list[Span]:
    """Sorted UIDs as ranges."""
    spans: list[Span] = []
    for uid in sorted(uids):
        if spans and spans[-1][1] == uid - 1:
            spans[-1] = (spans[-1][0], uid)
        elif not spans or spans[-1][1] < uid:
            spans.append((uid, uid))
    return spans


def spans_text(uids: Collection[int]) -> str:
    """``1:5,9`` (RFC 9051 §9, sequence-set)."""
    return ",".join(
        str(first) if first == last else f"{first}:{last}" for first, last in spans_of(uids)
    )


def parse_spans(text: str) -> list[Span]:
    """The ranges of ``1:5,9``. Raises ``ValueError``."""
    spans = []
    for word in text.split(","):
        first, colon, last = word.partition(":")
        span = (int(first), int(last) if colon else int(first))
        if not 1 <= span[0] <= span[1] <= MAX_UID:
            raise ValueError(f"{word[:40]!r} is no range of UIDs")
        spans.append(span)
    return spans


def span_uids(text: str) -> Iterator[int]:
    """All UIDs of ``1:5,9``."""
    for first, last in parse_spans(text):
        yield from range(first, last + 1)
