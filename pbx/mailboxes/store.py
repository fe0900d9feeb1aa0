"""The mail store: reads and changes the mailboxes of accounts, over the log and the blobs.

Synchronous, for one thread at a time; when a method returns, what it did is durable. Several stores
(processes, nodes) may work on the same mailboxes: the version of a stream decides between them, and
the loser decides again. Folded mailboxes are kept, within bounds, and brought level with the log
before each use, so a store sees what others did.

Raises :class:`~pbx.kernel.errors.DomainError` or :class:`~mail.errors.MailError` with words for
whoever asked, ``BlobError``, ``LogUnavailable``. Rights are the caller's to check
(:mod:`pbx.mailboxes.access`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Generic, NamedTuple, TypeVar

from mail.compose import MAX_MESSAGE_BYTES
from mail.errors import MessageError
from mail.flags import MEDIA, NONE, Flags, FlagSet, ordered
from mail.names import INBOX, mailbox_name
from mail.reading import MailPart, read_message
from pbx.domain import mailboxes as m
from pbx.domain.mailboxes import Box, Catalog, Mail, Messages
from pbx.eventlog import Conflict, EventLog, Meta, OutcomeUnknown
from pbx.kernel.clock import Clock
from pbx.kernel.errors import DomainError, LogUnavailable
from pbx.kernel.events import Event
from pbx.mail_closing import close_mailbox
from pbx.mailboxes.bodies import Bodies, StoredBody
from pbx.mailboxes.settings import MailSettings

KEPT_MESSAGES: Final = 50_000
"""Messages in folded mailboxes that are kept, some 600 bytes each; at least the last mailbox is."""
KEPT_STREAMS: Final = 500
MAX_TRIES: Final = 20
"""Each lost race means that another writer succeeded."""
APPEND_BYTES: Final = 1 << 20
"""Of the events of one append: a record of Kafka has three times as much."""
APPEND_MESSAGES: Final = 500
"""Fewer than the tokens that a mailbox remembers."""
_NS_PER_S: Final = 1_000_000_000
_SHOWN_CHARS: Final = 300
"""Of sender and subject, in events and listings."""

S = TypeVar("S")


@dataclass(slots=True)
class _Tracked(Generic[S]):
    state: S
    version: int = 0


@dataclass(frozen=True, slots=True)
class Prepared:
    """A message whose text is stored already: it may go into any number of mailboxes."""

    body: StoredBody
    size_bytes: int
    flags: Flags
    sender: str
    subject: str
    content_class: str
    urgent: bool


class Stored(NamedTuple):
    """Where a message is now."""

    account: str
    number: int
    uid: int


class MailStore:
    """See the module. `actor` is who acts where a call names nobody."""

    def __init__(
        self,
        log: EventLog,
        bodies: Bodies,
        clock: Clock,
        *,
        actor: str = "",
        settings: MailSettings | None = None,
    ) -> None:
        self._log = log
        self._bodies = bodies
        self._clock = clock
        self._actor = actor
        self.settings = MailSettings(log) if settings is None else settings
        self._catalogs: OrderedDict[str, _Tracked[Catalog]] = OrderedDict()
        self._boxes: OrderedDict[str, _Tracked[Messages]] = OrderedDict()

    # The catalog.

    def catalog(self, account: str) -> Catalog:
        """The mailboxes of an account as of now; not to be changed."""
        return self._catalog(account).state

    def box(self, account: str, name: str) -> Box:
        """A mailbox by its name; INBOX is made when it is first asked for."""
        name = mailbox_name(name)
        if name == INBOX:
            return self._inbox(account)
        found = self.catalog(account).find(name)
        if found is None:
            raise DomainError("there is no such mailbox")
        return found

    def create(self, account: str, name: str, *, mailbox_class: str = "", actor: str = "") -> None:
        """Make a mailbox; with ``/`` at the end of its name only the folder."""
        folder = name.endswith("/")
        wanted = mailbox_name(name.removesuffix("/"))
        self._require_account(account)
        most = self.settings.limits(account).max_mailboxes
        now_s = self._clock.wall_ns() // _NS_PER_S
        self._on_catalog(
            account,
            lambda catalog: m.decide_create(
                catalog, wanted, now_s, mailbox_class=mailbox_class, folder=folder, most=most
            ),
            actor,
        )

    def rename(self, account: str, name: str, new_name: str, *, sub: bool, actor: str = "") -> None:
        """Give a mailbox another name; with `sub` those below it move along."""
        old, new = mailbox_name(name), mailbox_name(new_name)
        self._on_catalog(
            account, lambda catalog: m.decide_rename(catalog, old, new, sub=sub), actor
        )

    def delete(self, account: str, name: str, *, sub: bool, actor: str = "") -> None:
        """Delete a mailbox with its messages; with `sub` those below it as well."""
        wanted = mailbox_name(name)
        going = m.deleted_boxes(self.catalog(account), wanted, sub=sub)
        meta = self._meta(account, actor)
        for box in going:
            close_mailbox(self._log, account, box.number, meta)
        numbers = [box.number for box in going]
        self._on_catalog(account, lambda catalog: m.decide_forget(catalog, numbers), actor)

    def set_access(
        self, account: str, number: int, changes: Mapping[str, str | None], *, actor: str = ""
    ) -> None:
        """Change who else may use a mailbox."""
        self._on_catalog(account, lambda catalog: m.decide_access(catalog, number, changes), actor)

    def set_aliases(self, account: str, aliases: Mapping[str, str], *, actor: str = "") -> None:
        """Replace the mailbox aliases of an account."""
        self._require_account(account)
        self._on_catalog(account, lambda catalog: m.decide_aliases(catalog, aliases), actor)

    def set_subscription(self, account: str, names: Sequence[str], *, actor: str = "") -> None:
        """Replace the list of mailboxes that clients show."""
        self._require_account(account)
        self._on_catalog(account, lambda catalog: m.decide_subscription(catalog, names), actor)

    def _inbox(self, account: str) -> Box:
        now_s = self._clock.wall_ns() // _NS_PER_S
        for _ in range(MAX_TRIES):
            found = self.catalog(account).find(INBOX)
            if found is not None and not self.messages(account, found.number).closed:
                return found
            self._require_account(account)
            if found is not None:  # an account's end was interrupted, and it was made anew
                number = found.number
                self._on_catalog(account, lambda c, n=number: m.decide_forget(c, [n]), "")  # type: ignore[misc]
            self._on_catalog(account, lambda catalog: _missing_inbox(catalog, now_s), "")
        raise LogUnavailable(f"the INBOX of {account} comes and goes; try again later")

    # The messages.

    def messages(self, account: str, number: int) -> Messages:
        """The messages of a mailbox as of now; not to be changed."""
        return self._messages(account, number).state

    def size_bytes(self, account: str) -> int:
        """Of all messages of an account."""
        return sum(
            self.messages(account, number).size_bytes for number in self.catalog(account).boxes
        )

    def prepare(self, raw: bytes) -> Prepared:
        """Store the text of a message. Raises ``MessageError`` for one that is too large."""
        if len(raw) > MAX_MESSAGE_BYTES:
            raise MessageError(f"the message is larger than {MAX_MESSAGE_BYTES >> 20} MB")
        facts = _facts(read_message(raw))
        return Prepared(self._bodies.put(raw), len(raw), *facts)

    def store(
        self,
        account: str,
        number: int,
        message: Prepared,
        *,
        token: str,
        flags: Flags = NONE,
        received_ns: int = 0,
        replaces: int = 0,
        source: str = "",
        attributes: Mapping[str, str] | None = None,
        actor: str = "",
    ) -> Stored:
        """Put a message into a mailbox; the same `token` again gives the message of then.

        `replaces` is the UID of a message that it is the new version of: it has the same original
        UID, and the old one is removed in the same append.
        """
        self._require_room(account, message.size_bytes)
        flags = FlagSet(flags).applied(NONE) | message.flags
        wall_ns = self._clock.wall_ns()
        uid = 0

        def decide(box: Messages) -> Sequence[Event]:
            nonlocal uid
            m.require_open(box)
            if token in box.tokens:
                uid = box.tokens[token]
                return []
            uid = box.next_uid()
            old = box.messages.get(replaces)
            events: list[Event] = [
                m.MailStored(
                    uid=uid,
                    sha256=message.body.sha256,
                    key=message.body.key,
                    size_bytes=message.size_bytes,
                    received_ns=received_ns or wall_ns,
                    flags=ordered(flags),
                    sender=message.sender,
                    subject=message.subject,
                    content_class=message.content_class,
                    urgent=message.urgent,
                    original_uid=0 if old is None else old.original_uid,
                    source=source,
                    token=token,
                    attributes=dict(attributes or {}),
                )
            ]
            if old is not None:
                events += m.decide_remove(box, [replaces])
            return events

        self._on_messages(account, number, decide, actor)
        return Stored(account, number, uid)

    def set_flags(
        self, account: str, number: int, uids: Iterable[int], change: FlagSet, *, actor: str = ""
    ) -> None:
        """Set and clear flags of messages, of those that are there."""
        wanted = list(uids)
        self._on_messages(account, number, lambda box: m.decide_flags(box, wanted, change), actor)

    def expunge(self, account: str, number: int, *, actor: str = "") -> None:
        """Remove the messages that are marked as deleted."""
        self._on_messages(account, number, lambda box: m.decide_remove(box, box.deleted()), actor)

    def remove(self, account: str, number: int, uids: Iterable[int], *, actor: str = "") -> None:
        """Remove messages, marked or not."""
        wanted = list(uids)
        self._on_messages(account, number, lambda box: m.decide_remove(box, wanted), actor)

    def set_attributes(
        self, account: str, number: int, uid: int, values: Mapping[str, str | None],
        *, actor: str = "",
    ) -> None:  # fmt: skip
        """Change attributes of a message; None takes one away."""
        self._on_messages(account, number, lambda box: m.decide_attributes(box, uid, values), actor)

    def copy(
        self,
        source: tuple[str, int],
        uids: Iterable[int],
        target: tuple[str, int],
        *,
        token: str,
        move: bool = False,
        actor: str = "",
    ) -> list[int]:
        """Copy messages to another mailbox, with flags and dates; gives their UIDs there.

        They come in appends of a megabyte at most, as many at once as fit. Moved ones are removed
        after each: a crash in between leaves both (RFC 6851 §3.3), never neither.
        """
        there = self.messages(*source)
        m.require_open(there)
        copied = [there.messages[uid] for uid in uids if uid in there.messages]
        if copied and (source[0] != target[0] or not move):
            self._require_room(target[0], sum(message.size_bytes for message in copied))
        new: list[int] = []
        for number, portion in enumerate(_portions(copied)):
            new += self._copy_some(portion, target, f"{token}/{number}", actor)
            if move:
                self.remove(*source, [message.uid for message in portion], actor=actor)
        return new

    def _copy_some(
        self, copied: Sequence[Mail], target: tuple[str, int], token: str, actor: str
    ) -> list[int]:
        """In one append, or not at all."""
        new: list[int] = []

        def decide(box: Messages) -> Sequence[Event]:
            nonlocal new
            m.require_open(box)
            if f"{token}/0" in box.tokens:
                new = [box.tokens.get(f"{token}/{index}", 0) for index in range(len(copied))]
                return []
            first = box.next_uid(len(copied))
            new = list(range(first, first + len(copied)))
            return [
                m.MailStored(
                    uid=first + index,
                    sha256=message.content.sha256,
                    key=message.content.key,
                    size_bytes=message.size_bytes,
                    received_ns=message.received_ns,
                    flags=ordered(message.flags),
                    sender=message.content.sender,
                    subject=message.content.subject,
                    content_class=message.content.content_class,
                    urgent=message.content.urgent,
                    source="COPY",
                    token=f"{token}/{index}",
                    attributes=dict(message.attributes),
                )
                for index, message in enumerate(copied)
            ]

        self._on_messages(*target, decide, actor)
        return new

    def read(self, account: str, number: int, uid: int) -> bytes:
        """The text of a message. Raises ``BodyError`` if it is erased."""
        message = self.messages(account, number).messages.get(uid)
        if message is None:
            raise DomainError("there is no such message")
        return self._bodies.get(StoredBody(message.content.sha256, message.content.key))

    # Parts.

    def _require_account(self, account: str) -> None:
        if not self.settings.exists(account):
            raise DomainError(f"there is no account {account}")

    def _require_room(self, account: str, size_bytes: int) -> None:
        """Right before the append: two that come at once may pass the limit together."""
        self._require_account(account)
        limits = self.settings.limits(account)
        if 0 <= limits.max_message_bytes < size_bytes:
            raise DomainError(f"the message is larger than {account} takes")
        if 0 <= limits.max_bytes < size_bytes + self.size_bytes(account):
            raise DomainError(f"the mail storage of {account} is full")

    def _catalog(self, account: str) -> _Tracked[Catalog]:
        tracked = self._catalogs.pop(account, None) or _Tracked(Catalog())
        for record in self._log.read_stream(m.catalog_stream(account), tracked.version):
            tracked.state.apply(record.event, record.version)
            tracked.version = record.version
        self._catalogs[account] = tracked
        if len(self._catalogs) > KEPT_STREAMS:
            self._catalogs.popitem(last=False)
        return tracked

    def _messages(self, account: str, number: int) -> _Tracked[Messages]:
        stream = m.messages_stream(account, number)
        tracked = self._boxes.pop(stream, None) or _Tracked(Messages())
        for record in self._log.read_stream(stream, tracked.version):
            m.apply_message(tracked.state, record.event, record.version)
            tracked.version = record.version
        self._boxes[stream] = tracked
        self._make_room()
        return tracked

    def _make_room(self) -> None:
        held = sum(len(one.state.messages) for one in self._boxes.values())
        while len(self._boxes) > 1 and (held > KEPT_MESSAGES or len(self._boxes) > KEPT_STREAMS):
            _, gone = self._boxes.popitem(last=False)
            held -= len(gone.state.messages)

    def _on_catalog(
        self, account: str, decide: Callable[[Catalog], Sequence[Event]], actor: str
    ) -> None:
        stream = m.catalog_stream(account)
        self._decided(stream, lambda: self._catalog(account), decide, self._meta(account, actor))

    def _on_messages(
        self, account: str, number: int, decide: Callable[[Messages], Sequence[Event]], actor: str
    ) -> Messages:
        stream = m.messages_stream(account, number)
        return self._decided(
            stream, lambda: self._messages(account, number), decide, self._meta(account, actor)
        )

    def _decided(
        self,
        stream: str,
        level: Callable[[], _Tracked[S]],
        decide: Callable[[S], Sequence[Event]],
        meta: Meta,
    ) -> S:
        """The state with what was decided in it."""
        for _ in range(MAX_TRIES):
            tracked = level()
            version = tracked.version
            events = decide(tracked.state)
            if not events:
                return tracked.state
            try:
                self._log.append(stream, version, events, meta)
            except Conflict:
                continue
            except OutcomeUnknown:
                # Of a cluster whose broker is slow. If it took effect, deciding again finds so.
                if level().version == version:
                    raise
                continue
            return level().state
        raise LogUnavailable(f"{stream} changes faster than it can be decided on; try again later")

    def _meta(self, account: str, actor: str) -> Meta:
        return Meta(actor=actor or self._actor, tenant=account.rpartition("@")[2])


def _portions(messages: Sequence[Mail]) -> Iterator[Sequence[Mail]]:
    """In turns, each small enough for one append."""
    portion: list[Mail] = []
    size_bytes = 0
    for message in messages:
        # In JSON a character has at most six bytes, sealed four thirds of four.
        own = 2000 + 6 * sum(len(text) for pair in message.attributes.items() for text in pair)
        if portion and (size_bytes + own > APPEND_BYTES or len(portion) >= APPEND_MESSAGES):
            yield portion
            portion, size_bytes = [], 0
        portion.append(message)
        size_bytes += own
    if portion:
        yield portion


def _missing_inbox(catalog: Catalog, now_s: int) -> Sequence[Event]:
    return [] if catalog.find(INBOX) else m.decide_create(catalog, INBOX, now_s)


def _facts(message: MailPart) -> tuple[Flags, str, str, str, bool]:
    """What is known of a message without opening it again."""
    kinds = {part.maintype for part in message.walk()}
    flags = frozenset((MEDIA,)) if kinds & {"audio", "video"} else NONE
    senders = message.addresses("From")
    sender = ""
    if senders:
        first = senders[0]
        sender = f"{first.name} <{first.address}>" if first.name else first.address
    urgent = (
        message.field("X-Priority").strip()[:1] in ("1", "2")
        or message.field("Importance").strip().lower() == "high"
        or message.field("Priority").strip().lower() == "urgent"
    )
    return (
        flags,
        sender[:_SHOWN_CHARS],
        message.field("Subject")[:_SHOWN_CHARS],
        message.field("Content-Class").strip()[:40].lower(),
        urgent,
    )
