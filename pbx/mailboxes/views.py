"""A mailbox view: sorted, filtered, and told changes one by one (CG/PL reference §9.11).

The view shows what was committed by ``Sync`` calls, not what the mailbox has become meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from mail.flags import Flags, FlagSet, parse_flags
from pbx.domain.mailboxes import Mail, Messages
from pbx.kernel.errors import DomainError
from pbx.script.values import Dictionary, string_of

_SORTS: Final[Mapping[str, Callable[[Mail], Any]]] = {
    "uid": lambda message: message.uid,
    "internaldate": lambda message: message.received_ns,
    "date": lambda message: message.received_ns,
    "size": lambda message: message.size_bytes,
    "from": lambda message: message.content.sender.casefold(),
    "e-from": lambda message: _address(message.content.sender),
    "subject": lambda message: message.content.subject.casefold(),
    "flags": lambda message: tuple(sorted(message.flags)),
}
_FILTERS: Final[Mapping[str, Callable[[Mail], str]]] = {
    "from": lambda message: message.content.sender,
    "e-from": lambda message: _address(message.content.sender),
    "subject": lambda message: message.content.subject,
}


def _address(sender: str) -> str:
    return sender.rpartition("<")[2].rstrip(">").casefold()


class Shown(NamedTuple):
    """A message as the view has told it."""

    flags: Flags
    attributes: Mapping[str, str]


class Change(NamedTuple):
    """One step from what is shown to what there is."""

    mode: str
    """``removed`` ``updated`` ``attrsUpdated`` ``added``."""
    uid: int
    place: int
    """Index in the order of the view, from 0."""

    def value(self) -> Dictionary:
        """As ``Sync`` gives it."""
        return Dictionary({b"mode": string_of(self.mode), b"UID": self.uid, b"index": self.place})


@dataclass(slots=True)
class View:
    """How a mailbox is looked at, and what of it was told."""

    sort: str = "uid"
    descending: bool = False
    text: str = ""
    """To be in the field; empty for all."""
    field_name: str = ""
    flags: FlagSet = field(default_factory=FlagSet)
    first_uid: int = 0
    hidden: bool = False
    """Whether hidden messages are shown."""
    order: list[int] = field(default_factory=list)
    """UIDs as they are shown."""
    shown: dict[int, Shown] = field(default_factory=dict)

    def wanted(self, box: Messages) -> list[int]:
        """UIDs of what should be shown now, in order."""
        key = _SORTS[self.sort]
        text = _FILTERS.get(self.field_name)
        found = [
            message
            for message in box.messages.values()
            if message.uid >= self.first_uid
            and self.flags.fits(message.flags)
            and (self.hidden or "Hidden" not in message.flags)
            and (text is None or self.text in text(message).casefold())
        ]
        found.sort(key=lambda message: (key(message), message.uid), reverse=self.descending)
        return [message.uid for message in found]

    def begin(self, box: Messages) -> None:
        """Show what there is."""
        self.order = self.wanted(box)
        self.shown = {uid: _shown(box, uid) for uid in self.order}

    def has_news(self, box: Messages) -> bool:
        """Whether ``Sync`` would tell something, or the order has changed."""
        return self.wanted(box) != self.order or any(
            _shown(box, uid) != self.shown[uid] for uid in self.order
        )

    def sync(self, box: Messages) -> Change | None:
        """One change, which is committed; None when all is told."""
        wanted = self.wanted(box)
        there = set(wanted)
        for index, uid in enumerate(self.order):
            if uid not in there:
                del self.order[index], self.shown[uid]
                return Change("removed", uid, index)
        for index, uid in enumerate(self.order):
            before, now = self.shown[uid], _shown(box, uid)
            if before != now:
                self.shown[uid] = now
                mode = "updated" if before.flags != now.flags else "attrsUpdated"
                return Change(mode, uid, index)
        for index, uid in enumerate(wanted):
            if uid not in self.shown:
                self.order.insert(index, uid)
                self.shown[uid] = _shown(box, uid)
                return Change("added", uid, index)
        self.order = wanted  # a flag that changed may have moved a message
        return None


def _shown(box: Messages, uid: int) -> Shown:
    message = box.messages[uid]
    return Shown(message.flags, message.attributes)


def view_of(parameters: Mapping[str, Any]) -> View:
    """The view that a program asks for. Raises :class:`DomainError`."""
    sort = str(parameters.get("sortField") or "UID").lower()
    if sort not in _SORTS:
        raise DomainError(f"a view cannot be sorted by {sort[:40]!r}: {', '.join(sorted(_SORTS))}")
    order = str(parameters.get("sortOrder") or "asc").lower()
    if order not in ("asc", "desc", "ascending", "descending"):
        raise DomainError("sortOrder is asc or desc")
    view = View(sort, order.startswith("desc"))
    first = parameters.get("UIDMin")
    if isinstance(first, int):
        view.first_uid = first
    text = str(parameters.get("filter") or "")
    name = str(parameters.get("filterField") or "").lower()
    if text and name == "flags":
        view.flags = parse_flags(text)
    elif text:
        if name not in _FILTERS:
            raise DomainError(
                f"a view cannot be filtered by {name[:40]!r}: FLAGS, {', '.join(sorted(_FILTERS))}"
            )
        view.field_name, view.text = name, text.casefold()
    return view
