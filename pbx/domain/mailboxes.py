"""Mailboxes and the messages in them: events, folds, decisions (pure; no I/O, no clock).

Two kinds of streams, category ``pbx.messages``, all *decided* (``docs/adr/0014``):

==========================  ==================================================================
``mailbox/<account>``       the *catalog*: which mailboxes there are, who may use them, aliases
``mailbox/<account>/<n>``   the messages of mailbox number n; a number is never used again
==========================  ==================================================================

The text of a message is a blob, encrypted with a key of its own; the key is in the event, sealed
with the account's. Numbers instead of names in streams let a mailbox be renamed without touching
its messages. A mailbox ends with ``mail.closed`` in its own stream, before the catalog forgets it:
a message that comes at that moment is refused by the version of the stream and never lost unseen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Final, TypeAlias

import msgspec

from mail.flags import DELETED, MEDIA, SEEN, FlagSet, ordered
from mail.mailbox import (
    Mailbox,
    Message,
    next_uid_validity,
    span_uids,
    spans_text,
)
from mail.names import INBOX, is_below, moved
from pbx.domain.messages import MESSAGES
from pbx.kernel.errors import DomainError
from pbx.kernel.events import PERSONAL, SEALED, Durability, Event, event

MAX_MAILBOXES: Final = 1000
"""Of an account, unless its setting says less: lists of them are read as a whole."""
MAX_RIGHTS: Final = 200
"""Entries of one access control list."""
MAX_ALIASES: Final = 200
MAX_SUBSCRIBED: Final = 1000
MAX_ATTRIBUTES: Final = 50
"""Of one message."""
MAX_ATTRIBUTE_CHARS: Final = 16_000
"""All names and values of one message: they are in each event that is about them."""
UIDS_PER_EVENT: Final = 2000
"""Messages one event is about at most; a larger change is several events of one append."""
RIGHTS: Final = "lrswipcda"
"""Letters of access rights, in their order (mail reference §7.5)."""


# The catalog.


@event("mailbox.created.v1", category=MESSAGES, durability=Durability.DECIDED)
class MailboxCreated(Event):
    """An account has a mailbox."""

    number: int
    name: Annotated[str, PERSONAL]
    uid_validity: int
    mailbox_class: str = ""
    """Empty for mail, else such as ``IPF.Contact``."""
    folder: bool = False
    """Only a place for mailboxes below it."""


@event("mailbox.renamed.v1", category=MESSAGES, durability=Durability.DECIDED)
class MailboxRenamed(Event):
    """It has another name, and the same messages."""

    number: int
    name: Annotated[str, PERSONAL]


@event("mailbox.deleted.v1", category=MESSAGES, durability=Durability.DECIDED)
class MailboxDeleted(Event):
    """It is gone; its messages were before."""

    number: int


class AccessEntry(msgspec.Struct, frozen=True, gc=False):
    """Rights of somebody."""

    who: Annotated[str, PERSONAL]
    """``user``, ``user@domain``, ``#group``, ``anyone``, ``anyone@domain``; - or + in front."""
    rights: str


@event("mailbox.access-set.v1", category=MESSAGES, durability=Durability.DECIDED)
class MailboxAccessSet(Event):
    """Who but the owner may use it, all of them."""

    number: int
    entries: tuple[AccessEntry, ...] = ()


class MailboxAlias(msgspec.Struct, frozen=True, gc=False):
    """A name that stands for somebody's mailbox."""

    name: Annotated[str, PERSONAL]
    target: Annotated[str, PERSONAL]
    """``~account/mailbox``."""


@event("mailbox.aliases-set.v1", category=MESSAGES, durability=Durability.DECIDED)
class MailboxAliasesSet(Event):
    """Aliases of the account, all of them."""

    aliases: tuple[MailboxAlias, ...] = ()


@event("mailbox.subscription-set.v1", category=MESSAGES, durability=Durability.DECIDED)
class MailboxSubscriptionSet(Event):
    """Mailboxes that clients show, all of them."""

    names: Annotated[tuple[str, ...], PERSONAL] = ()


@event("mailbox.account-closed.v1", category=MESSAGES, durability=Durability.DECIDED)
class MailAccountClosed(Event):
    """The account is gone, with all it had here."""


# The messages.


@event("mail.stored.v1", category=MESSAGES, durability=Durability.DECIDED)
class MailStored(Event):
    """A message is in the mailbox."""

    uid: int
    sha256: str
    """Of the blob, which is encrypted."""
    key: Annotated[str, SEALED]
    """What opens the blob."""
    size_bytes: int
    received_ns: int
    """The internal date."""
    flags: tuple[str, ...] = ()
    sender: Annotated[str, PERSONAL] = ""
    subject: Annotated[str, PERSONAL] = ""
    content_class: str = ""
    """``voice`` of a recorded message."""
    urgent: bool = False
    original_uid: int = 0
    """0: its UID."""
    source: str = ""
    """Who handed it in: ``CGPL``, ``PBX``, ``CLI`` …, or ``COPY``."""
    token: str = ""
    """Of the delivery: the same one is stored once."""
    attributes: dict[str, str] = msgspec.field(default_factory=dict)


class SameFlags(msgspec.Struct, frozen=True, gc=False):
    """Messages that have the same flags."""

    uids: str
    """``1:5,9``."""
    flags: tuple[str, ...] = ()


@event("mail.flags-set.v1", category=MESSAGES, durability=Durability.DECIDED)
class MailFlagsSet(Event):
    """Messages have these flags now, and no others."""

    messages: tuple[SameFlags, ...]


@event("mail.attributes-set.v1", category=MESSAGES, durability=Durability.DECIDED)
class MailAttributesSet(Event):
    """A message has these attributes now, and no others."""

    uid: int
    attributes: dict[str, str] = msgspec.field(default_factory=dict)


@event("mail.removed.v1", category=MESSAGES, durability=Durability.DECIDED)
class MailRemoved(Event):
    """Messages are gone."""

    uids: str
    """``1:5,9``."""


@event("mail.closed.v1", category=MESSAGES, durability=Durability.DECIDED)
class MailClosed(Event):
    """The mailbox is gone with its messages; nothing follows in this stream."""


# Streams.


def catalog_stream(account: str) -> str:
    """Of an account ``name@domain``."""
    return f"mailbox/{account}"


def messages_stream(account: str, number: int) -> str:
    """Of one of its mailboxes."""
    return f"mailbox/{account}/{number}"


def mailbox_of(stream: str) -> tuple[str, int]:
    """Account and number of a stream; 0 for the catalog."""
    _, account, *number = stream.split("/", 2)
    return account, int(number[0]) if number else 0


# State: the catalog.


@dataclass(frozen=True, slots=True)
class Box:
    """A mailbox as the catalog has it."""

    number: int
    name: str
    uid_validity: int
    mailbox_class: str = ""
    folder: bool = False
    access: tuple[AccessEntry, ...] = ()


@dataclass(slots=True)
class Catalog:
    """The mailboxes of an account as of the last event; changed in place by :meth:`apply`."""

    boxes: dict[int, Box] = field(default_factory=dict)
    last_number: int = 0
    last_validity: int = 0
    aliases: dict[str, str] = field(default_factory=dict)
    subscription: tuple[str, ...] = ()

    def apply(self, happened: Event, version: int) -> None:
        """Fold one event of the catalog's stream."""
        match happened:
            case MailboxCreated():
                self.boxes[happened.number] = Box(
                    happened.number,
                    happened.name,
                    happened.uid_validity,
                    happened.mailbox_class,
                    happened.folder,
                )
                self.last_number = max(self.last_number, happened.number)
                self.last_validity = max(self.last_validity, happened.uid_validity)
            case MailboxRenamed(number=number) if number in self.boxes:
                self.boxes[number] = replace(self.boxes[number], name=happened.name)
            case MailboxDeleted(number=number):
                self.boxes.pop(number, None)
            case MailboxAccessSet(number=number) if number in self.boxes:
                self.boxes[number] = replace(self.boxes[number], access=happened.entries)
            case MailboxAliasesSet():
                self.aliases = {alias.name: alias.target for alias in happened.aliases}
            case MailboxSubscriptionSet():
                self.subscription = happened.names
            case MailAccountClosed():
                self.boxes.clear()
                self.aliases = {}
                self.subscription = ()

    def find(self, name: str) -> Box | None:
        """The mailbox of a name as it is stored; None where there is none to open."""
        return next((b for b in self.boxes.values() if b.name == name and not b.folder), None)

    def below(self, name: str) -> list[Box]:
        """All that lies inside of a name."""
        return [box for box in self.boxes.values() if is_below(box.name, name)]

    @property
    def empty(self) -> bool:
        """Whether there is nothing that an account's end would have to take away."""
        return not (self.boxes or self.aliases or self.subscription)


def decide_create(
    catalog: Catalog,
    name: str,
    now_s: int,
    *,
    mailbox_class: str = "",
    folder: bool = False,
    most: int = MAX_MAILBOXES,
) -> list[Event]:
    """Make a mailbox, or a folder; who may use the one it lies in may use it, too."""
    held = next((box for box in catalog.boxes.values() if box.name == name), None)
    if held is not None and not (held.folder and not folder):
        raise DomainError(f"there is a mailbox {name} already")
    if len(catalog.boxes) >= most and name != INBOX:
        raise DomainError(f"the account has {most} mailboxes: delete some first")
    number = catalog.last_number + 1
    events: list[Event] = []
    if held is not None:
        events.append(MailboxDeleted(number=held.number))
    events.append(
        MailboxCreated(
            number=number,
            name=name,
            uid_validity=next_uid_validity(catalog.last_validity, now_s),
            mailbox_class=mailbox_class,
            folder=folder,
        )
    )
    parent = _parent_of(catalog, name)
    if parent is not None and parent.access:
        events.append(MailboxAccessSet(number=number, entries=parent.access))
    return events


def _parent_of(catalog: Catalog, name: str) -> Box | None:
    outer = [box for box in catalog.boxes.values() if is_below(name, box.name)]
    return max(outer, key=lambda box: len(box.name), default=None)


def decide_rename(catalog: Catalog, old: str, new: str, *, sub: bool) -> list[Event]:
    """Give a mailbox another name; with `sub` to those below it as well."""
    if old == INBOX:
        raise DomainError("INBOX cannot be renamed: mail is delivered into it")
    if new == old:
        return []
    if is_below(new, old) and sub:
        raise DomainError(f"{new} lies inside of {old}")
    moving = [box for box in catalog.boxes.values() if box.name == old]
    if sub:
        moving += catalog.below(old)
    if not moving:
        raise DomainError("there is no such mailbox")
    numbers = {box.number for box in moving}
    taken = {box.name for box in catalog.boxes.values() if box.number not in numbers}
    events: list[Event] = []
    for box in moving:
        name = moved(box.name, old, new)
        if name in taken or (name == INBOX):
            raise DomainError(f"there is a mailbox {name} already")
        events.append(MailboxRenamed(number=box.number, name=name))
    return events


def deleted_boxes(catalog: Catalog, name: str, *, sub: bool) -> list[Box]:
    """The mailboxes that go when a name is deleted. Raises :class:`DomainError`."""
    if name == INBOX:
        raise DomainError("INBOX cannot be deleted: mail is delivered into it")
    going = [box for box in catalog.boxes.values() if box.name == name]
    if sub:
        going += catalog.below(name)
    if not going:
        raise DomainError("there is no such mailbox")
    return going


def decide_forget(catalog: Catalog, numbers: Iterable[int]) -> list[Event]:
    """Take mailboxes that are closed out of the catalog."""
    return [MailboxDeleted(number=number) for number in numbers if number in catalog.boxes]


def decide_access(catalog: Catalog, number: int, changes: Mapping[str, str | None]) -> list[Event]:
    """Change an access control list; None, or no rights, takes an entry out.

    Rights with ``+`` in front are added to what an entry has, with ``-`` taken away from it, else
    they replace it.
    """
    box = catalog.boxes.get(number)
    if box is None:
        raise DomainError("there is no such mailbox")
    held = {entry.who: entry.rights for entry in box.access}
    for who, text in changes.items():
        name = access_identifier(who)
        rights = _rights(text or "", held.get(name, ""))
        if rights:
            held[name] = rights
        else:
            held.pop(name, None)
    if len(held) > MAX_RIGHTS:
        raise DomainError(f"an access control list has at most {MAX_RIGHTS} entries")
    entries = tuple(AccessEntry(who=who, rights=rights) for who, rights in sorted(held.items()))
    return [] if entries == box.access else [MailboxAccessSet(number=number, entries=entries)]


def access_identifier(text: str) -> str:
    """Whom an entry is about, in its stored form. Raises :class:`DomainError`."""
    who = text.strip().lower()
    bare = who.lstrip("+-")
    if (
        not bare
        or len(who) > 400
        or not who.isprintable()
        or " " in who
        or len(who) - len(bare) > 1
    ):
        raise DomainError(f"{text[:80]!r} names nobody: user, user@domain, #group or anyone")
    return who


def _rights(text: str, held: str) -> str:
    sign = text[:1] if text[:1] in ("+", "-") else ""
    letters = text.removeprefix(sign)
    wrong = set(letters) - set(RIGHTS)
    if wrong:
        raise DomainError(f"{min(wrong)!r} is no right: the letters are {RIGHTS}")
    if sign == "+":
        wanted = set(held) | set(letters)
    elif sign == "-":
        wanted = set(held) - set(letters)
    else:
        wanted = set(letters)
    return "".join(letter for letter in RIGHTS if letter in wanted)


def decide_aliases(catalog: Catalog, aliases: Mapping[str, str]) -> list[Event]:
    """Replace the aliases of the account; names and targets are checked before."""
    if len(aliases) > MAX_ALIASES:
        raise DomainError(f"an account has at most {MAX_ALIASES} mailbox aliases")
    if dict(aliases) == catalog.aliases:
        return []
    listed = tuple(MailboxAlias(name=n, target=t) for n, t in sorted(aliases.items()))
    return [MailboxAliasesSet(aliases=listed)]


def decide_subscription(catalog: Catalog, names: Sequence[str]) -> list[Event]:
    """Replace the list of subscribed mailboxes; they need not exist (RFC 9051 §6.3.7)."""
    wanted = tuple(dict.fromkeys(names))
    if len(wanted) > MAX_SUBSCRIBED:
        raise DomainError(f"an account subscribes to at most {MAX_SUBSCRIBED} mailboxes")
    return [] if wanted == catalog.subscription else [MailboxSubscriptionSet(names=wanted)]


# State: the messages.


@dataclass(frozen=True, slots=True)
class Content:
    """Where the text of a message is, and what listings say of it."""

    sha256: str
    key: str = field(repr=False)
    sender: str = ""
    subject: str = ""
    content_class: str = ""
    urgent: bool = False


Messages: TypeAlias = Mailbox[Content]
Mail: TypeAlias = Message[Content]


def apply_message(box: Messages, happened: Event, version: int) -> None:
    """Fold one event of a mailbox's stream; its version is the modification sequence."""
    match happened:
        case MailStored():
            box.stored(
                Message(
                    happened.uid,
                    version,
                    frozenset(happened.flags),
                    happened.size_bytes,
                    happened.received_ns,
                    happened.original_uid or happened.uid,
                    Content(
                        happened.sha256,
                        happened.key,
                        happened.sender,
                        happened.subject,
                        happened.content_class,
                        happened.urgent,
                    ),
                    happened.attributes,
                ),
                happened.token,
            )
        case MailFlagsSet():
            for same in happened.messages:
                box.flagged(span_uids(same.uids), frozenset(same.flags), version)
        case MailAttributesSet():
            box.described(happened.uid, happened.attributes, version)
        case MailRemoved():
            box.removed(span_uids(happened.uids), version)
        case MailClosed():
            box.close(version)


def require_open(box: Messages) -> None:
    """Raises :class:`DomainError` if the mailbox is gone."""
    if box.closed:
        raise DomainError("there is no such mailbox")


def decide_flags(box: Messages, uids: Iterable[int], change: FlagSet) -> list[Event]:
    """Set and clear flags; nothing for messages that have them so."""
    require_open(box)
    events: list[Event] = []
    for flags, changed in box.changes(uids, change).items():
        for start in range(0, len(changed), UIDS_PER_EVENT):
            some = spans_text(changed[start : start + UIDS_PER_EVENT])
            events.append(MailFlagsSet(messages=(SameFlags(uids=some, flags=ordered(flags)),)))
    return events


def decide_remove(box: Messages, uids: Iterable[int]) -> list[Event]:
    """Take messages out, those that are there."""
    require_open(box)
    there = sorted({uid for uid in uids if uid in box.messages})
    return [
        MailRemoved(uids=spans_text(there[start : start + UIDS_PER_EVENT]))
        for start in range(0, len(there), UIDS_PER_EVENT)
    ]


def decide_attributes(box: Messages, uid: int, values: Mapping[str, str | None]) -> list[Event]:
    """Change attributes of a message; None takes one away."""
    require_open(box)
    message = box.messages.get(uid)
    if message is None:
        raise DomainError("there is no such message")
    wanted = dict(message.attributes)
    for name, value in values.items():
        if value is None:
            wanted.pop(name, None)
        else:
            wanted[name] = value
    size = sum(len(text) for pair in wanted.items() for text in pair)
    if len(wanted) > MAX_ATTRIBUTES or size > MAX_ATTRIBUTE_CHARS:
        raise DomainError(
            f"a message has at most {MAX_ATTRIBUTES} attributes, of {MAX_ATTRIBUTE_CHARS} "
            "characters together"
        )
    if wanted == message.attributes:
        return []
    return [MailAttributesSet(uid=uid, attributes=wanted)]


class Waiting(msgspec.Struct, frozen=True, gc=False):
    """How a message counts for the lamp of a phone (mail reference §11)."""

    new: bool
    urgent: bool


def waiting(flags: Iterable[str], urgent: bool) -> Waiting | None:
    """None for what is no voice message, or deleted."""
    held = set(flags)
    if MEDIA not in held or DELETED in held:
        return None
    return Waiting(new=SEEN not in held, urgent=urgent)
