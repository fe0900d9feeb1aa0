"""Names of mailboxes: UTF-8, ``/`` between levels, ``INBOX`` in any letter case.

Mail reference §7.1. A mailbox ``X`` and the mailboxes below it (``X/Y``) are two things: either may
be there without the other. Patterns are those of IMAP (RFC 9051 §6.3.9).
"""

from __future__ import annotations

import unicodedata
from typing import Final, NamedTuple

from mail.errors import MailboxNameError

SEPARATOR: Final = "/"
INBOX: Final = "INBOX"
MAX_NAME_BYTES: Final = 255
"""Of a whole name in UTF-8: as file systems have it, where mail is exported to."""
MAX_LEVELS: Final = 20
_RESERVED: Final = frozenset("*%")
"""They stand for other characters in patterns."""


class Place(NamedTuple):
    """What a program calls a mailbox: its name, and whose it is."""

    owner: str
    """As it was written: ``name``, ``name@domain``; empty for the own account."""
    name: str


def mailbox_name(text: str) -> str:
    """The name in its stored form. Raises :class:`MailboxNameError`."""
    name = unicodedata.normalize("NFC", text)
    try:
        size_bytes = len(name.encode())
    except UnicodeEncodeError:
        raise MailboxNameError("the name of a mailbox is UTF-8") from None
    levels = name.split(SEPARATOR)
    if not name or size_bytes > MAX_NAME_BYTES:
        raise MailboxNameError(f"the name of a mailbox has 1 to {MAX_NAME_BYTES} bytes")
    if len(levels) > MAX_LEVELS:
        raise MailboxNameError(f"a mailbox lies at most {MAX_LEVELS} levels deep")
    for level in levels:
        if not level or level != level.strip() or level in (".", ".."):
            raise MailboxNameError(
                f"{text[:80]!r} is no name of a mailbox: between / stands a name without blanks "
                "around it"
            )
    if name[0] in "~#" or not name.isprintable() or _RESERVED & set(name):
        raise MailboxNameError(
            f"{text[:80]!r} is no name of a mailbox: it has printable characters other than * and "
            "%, and begins with neither ~ nor #"
        )
    if levels[0].upper() == INBOX:
        levels[0] = INBOX
    return SEPARATOR.join(levels)


def place(text: str) -> Place:
    """Owner and name of ``box``, ``~/box``, ``~account/box``, ``~account@domain/box``.

    The name is as it was written. Raises :class:`MailboxNameError` for an owner without a name.
    """
    if not text.startswith("~"):
        return Place("", text)
    owner, slash, name = text[1:].partition(SEPARATOR)
    if not slash or not name:
        raise MailboxNameError(f"{text[:80]!r} names no mailbox: write ~account/mailbox")
    return Place(owner, name)


def is_below(name: str, parent: str) -> bool:
    """Whether `name` lies inside of `parent`, at any depth."""
    return name.startswith(parent + SEPARATOR)


def moved(name: str, old: str, new: str) -> str:
    """What `name`, which is `old` or below it, is called once `old` is `new`."""
    return new + name[len(old) :]


def parents(name: str) -> list[str]:
    """The names that `name` lies below, outermost first."""
    levels = name.split(SEPARATOR)
    return [SEPARATOR.join(levels[:count]) for count in range(1, len(levels))]


def matches(name: str, pattern: str) -> bool:
    """Whether a name fits: ``*`` stands for any text, ``%`` for any within one level.

    INBOX is compared without letter case. The time is the product of both lengths at worst.
    """
    if pattern.upper() == INBOX:
        return name == INBOX
    places = {0}
    for index, symbol in enumerate(pattern):
        if symbol not in _RESERVED:
            places = {at + 1 for at in places if at < len(name) and name[at] == symbol}
        else:
            reached: set[int] = set()
            for at in sorted(places):
                while at <= len(name) and at not in reached:
                    reached.add(at)
                    if at < len(name) and symbol == "%" and name[at] == SEPARATOR:
                        break
                    at += 1
            places = reached
        if not places or index >= MAX_NAME_BYTES:
            return False
    return len(name) in places
